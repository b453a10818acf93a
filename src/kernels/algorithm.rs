//! Ways: what a call is computed by on a device, where there is more than its own shader.
//!
//! A call's definition is one; the best algorithm for it depends on the device and the shape. A way is a list of other
//! kernels' calls over the call's inputs, its output and temporaries: plain data, like a plan. Each of those kernels has
//! a row in [`super::KERNELS`] with cases and a reference of its own, and the whole way must agree with the call's.
//! Which way is taken must not depend on the batch, nor may the order of any sum: an image gets the same bits in any
//! company.

use std::sync::Arc;

use crate::kernels::kernel::Kernel;

/// One way of computing a call.
#[derive(Clone, Debug)]
pub struct Algorithm {
    /// Its name, unique among the ways of a call.
    pub name: &'static str,
    /// The adapters on which it is taken where nothing was timed, unless a way before it is.
    pub rule: Option<AdapterKind>,
    /// Elements of each temporary.
    pub temps: Vec<usize>,
    /// In order.
    pub calls: Vec<Call>,
}

/// Kinds of adapters that want different ways: what is fast on one is slow on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// GPUs.
    Hardware,
    /// Vulkan or DX12 on the CPU.
    Software,
}

/// A call of a way.
#[derive(Clone, Debug)]
pub struct Call {
    /// The kernel.
    pub kernel: Arc<dyn Kernel>,
    /// What it reads.
    pub inputs: Vec<CallInput>,
    /// The temporary that it writes; `None` is the output.
    pub output: Option<usize>,
}

/// What a call of a way reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallInput {
    /// The whole call's input.
    Input(usize),
    /// A temporary, by number.
    Temp(usize),
}

/// Most elements of a temporary: every device binds so many, and larger ones leave the caches.
pub(crate) const MOST_TEMP: usize = 1 << 24;
impl Algorithm {
    /// A way of one call that reads what the whole call reads.
    pub(crate) fn single(name: &'static str, rule: Option<AdapterKind>, kernel: impl Kernel) -> Self {
        let inputs = (0..kernel.input_lens().len()).map(CallInput::Input).collect();
        Self {
            name,
            rule,
            temps: vec![],
            calls: vec![Call { kernel: Arc::new(kernel), inputs, output: None }],
        }
    }
}
