//! Arrays of a call that may be stored as f16, whichever algorithm a device uses.

use crate::kernels::algorithm::CallInput;
use crate::kernels::algorithms::algorithms;
use crate::kernels::kernel::Kernel;
use crate::kernels::source::shader_reads_f16;

/// Returns whether a call may write its output as f16 by every algorithm.
pub(crate) fn may_write_f16(kernel: &dyn Kernel) -> bool {
    let algorithms = algorithms(kernel);
    let mut last =
        algorithms.iter().flat_map(|algorithm| &algorithm.calls).filter(|call| call.output.is_none());
    kernel.row().writes_f16() && last.all(|call| call.kernel.row().writes_f16())
}

/// Returns whether a call may read an input as f16 by every algorithm.
pub(crate) fn may_read_f16(kernel: &dyn Kernel, input: usize) -> bool {
    let algorithms = algorithms(kernel);
    let mut calls = algorithms.iter().flat_map(|algorithm| &algorithm.calls);
    let reads = |(place, source): (usize, &CallInput), kernel: &dyn Kernel| {
        *source != CallInput::Input(input) || shader_reads_f16(kernel, place)
    };
    shader_reads_f16(kernel, input)
        && calls.all(|call| call.inputs.iter().enumerate().all(|at| reads(at, &*call.kernel)))
}
