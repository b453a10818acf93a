//! Algorithms: alternatives to a kernel's own shader on a device.
//!
//! A call has one definition; the fastest algorithm for it depends on the device and the shape. An algorithm is a
//! list of calls of other kernels over the call's inputs, its output and temporaries: plain data, like a plan. Each
//! of these kernels has a row in [`KERNELS`](super::KERNELS) with test cases and a reference of its own, and the
//! whole algorithm must agree with the call's reference.
//!
//! Neither the choice of an algorithm nor the order of any sum may depend on the batch: an image gets the same bits
//! in every batch.

use std::sync::Arc;

use crate::kernels::kernel::Kernel;

/// One algorithm for a call.
#[derive(Clone, Debug)]
pub struct Algorithm {
    /// Name, unique among the algorithms of a call.
    pub name: &'static str,
    /// The adapters that use the algorithm by default, if no earlier one applies; `None` if only autotuning selects
    /// it.
    pub rule: Option<AdapterKind>,
    /// Number of elements of each temporary.
    pub temps: Vec<usize>,
    /// The calls, in order of execution.
    pub calls: Vec<AlgorithmCall>,
}

/// Kinds of adapters with different fast algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// Real GPUs, discrete or integrated.
    Hardware,
    /// Vulkan or DX12 on the CPU.
    Software,
}

/// One call of an algorithm.
#[derive(Clone, Debug)]
pub struct AlgorithmCall {
    /// The kernel that is called.
    pub kernel: Arc<dyn Kernel>,
    /// The operands that the call reads.
    pub inputs: Vec<CallInput>,
    /// The temporary that the call writes; `None` for the output.
    pub output: Option<usize>,
}

/// An operand that a call of an algorithm reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallInput {
    /// An input of the whole call.
    Input(usize),
    /// A temporary, by its number.
    Temp(usize),
}

/// Most elements of a temporary. Every device can bind this many; larger temporaries exceed the caches.
pub(crate) const MOST_TEMP: usize = 1 << 24;

impl Algorithm {
    /// An algorithm of one call with the inputs of the whole call.
    pub(crate) fn single(name: &'static str, rule: Option<AdapterKind>, kernel: impl Kernel) -> Self {
        let inputs = (0..kernel.input_lens().len()).map(CallInput::Input).collect();
        Self {
            name,
            rule,
            temps: vec![],
            calls: vec![AlgorithmCall { kernel: Arc::new(kernel), inputs, output: None }],
        }
    }
}
