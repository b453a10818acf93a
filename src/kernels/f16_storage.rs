//! Which arrays of a call may be stored as f16, whatever algorithm a device takes.

use crate::kernels::algorithm::Source;
use crate::kernels::algorithms::algorithms;
use crate::kernels::kernel::Kernel;
use crate::kernels::source::own_reads_halves;

/// Whether a call may write halves, whichever way it is computed.
pub(crate) fn may_write_halves(kernel: &dyn Kernel) -> bool {
    let ways = algorithms(kernel);
    let mut last = ways.iter().flat_map(|way| &way.calls).filter(|call| call.output.is_none());
    kernel.row().writes_halves() && last.all(|call| call.kernel.row().writes_halves())
}

/// Whether a call may read an input as halves, whichever way it is computed.
pub(crate) fn may_read_halves(kernel: &dyn Kernel, input: usize) -> bool {
    let ways = algorithms(kernel);
    let mut calls = ways.iter().flat_map(|way| &way.calls);
    let reads = |(place, source): (usize, &Source), kernel: &dyn Kernel| {
        *source != Source::Input(input) || own_reads_halves(kernel, place)
    };
    own_reads_halves(kernel, input)
        && calls.all(|call| call.inputs.iter().enumerate().all(|at| reads(at, &*call.kernel)))
}
