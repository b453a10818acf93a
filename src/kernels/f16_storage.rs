//! Which arrays of a call may be stored as f16, whatever algorithm a device takes.

use crate::kernels::algorithm::CallInput;
use crate::kernels::algorithms::algorithms;
use crate::kernels::kernel::Kernel;
use crate::kernels::source::shader_reads_f16;

/// Whether a call may write halves, whichever way it is computed.
pub(crate) fn may_write_f16(kernel: &dyn Kernel) -> bool {
    let algorithms = algorithms(kernel);
    let mut last =
        algorithms.iter().flat_map(|algorithm| &algorithm.calls).filter(|call| call.output.is_none());
    kernel.row().writes_f16() && last.all(|call| call.kernel.row().writes_f16())
}

/// Whether a call may read an input as halves, whichever way it is computed.
pub(crate) fn may_read_f16(kernel: &dyn Kernel, input: usize) -> bool {
    let algorithms = algorithms(kernel);
    let mut calls = algorithms.iter().flat_map(|algorithm| &algorithm.calls);
    let reads = |(place, source): (usize, &CallInput), kernel: &dyn Kernel| {
        *source != CallInput::Input(input) || shader_reads_f16(kernel, place)
    };
    shader_reads_f16(kernel, input)
        && calls.all(|call| call.inputs.iter().enumerate().all(|at| reads(at, &*call.kernel)))
}
