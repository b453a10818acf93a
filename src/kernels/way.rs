//! Ways: what a call is computed by on a device, where there is more than its own shader.
//!
//! A call's definition is one; the best algorithm for it depends on the device and the shape. A way is a list of other
//! kernels' calls over the call's inputs, its output and temporaries: plain data, like a plan. Each of those kernels has
//! a row in [`super::KERNELS`] with cases and a reference of its own, and the whole way must agree with the call's.
//! Which way is taken must not depend on the batch, nor may the order of any sum: an image gets the same bits in any
//! company.

use std::sync::Arc;

use super::Kernel;

/// One way of computing a call.
#[derive(Clone, Debug)]
pub struct Way {
    /// Its name, unique among the ways of a call.
    pub name: &'static str,
    /// The adapters on which it is taken where nothing was timed, unless a way before it is.
    pub rule: Option<Adapters>,
    /// Elements of each temporary.
    pub temps: Vec<usize>,
    /// In order.
    pub calls: Vec<Call>,
}

/// Kinds of adapters that want different ways: what is fast on one is slow on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapters {
    /// GPUs.
    Real,
    /// Vulkan or DX12 on the CPU.
    Software,
}

/// A call of a way.
#[derive(Clone, Debug)]
pub struct Call {
    /// The kernel.
    pub kernel: Arc<dyn Kernel>,
    /// What it reads.
    pub inputs: Vec<Source>,
    /// The temporary that it writes; `None` is the output.
    pub output: Option<usize>,
}

/// What a call of a way reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The whole call's input.
    Input(usize),
    /// A temporary, by number.
    Temp(usize),
}

/// How a shader reads an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// A storage buffer.
    Buffer,
    /// A texture of rows of [`TEXELS`] texels and a row of zeros behind them, so many elements a texel: 1 or 4.
    Texels(usize),
}

/// Most elements of a temporary: every device binds so many, and larger ones leave the caches.
pub(super) const MOST_TEMP: usize = 1 << 24;
/// Texels in a row of a view.
pub const TEXELS: usize = 4096;

impl View {
    /// Rows of a texture for so many elements, the zeros included; 0 for a buffer.
    pub fn rows(self, len: usize) -> usize {
        match self {
            Self::Buffer => 0,
            Self::Texels(per) => len.div_ceil(per * TEXELS) + 1,
        }
    }
}

impl Way {
    /// A way of one call that reads what the whole call reads.
    pub(super) fn one(name: &'static str, rule: Option<Adapters>, kernel: impl Kernel) -> Self {
        let inputs = (0..kernel.input_lens().len()).map(Source::Input).collect();
        Self {
            name,
            rule,
            temps: vec![],
            calls: vec![Call { kernel: Arc::new(kernel), inputs, output: None }],
        }
    }
}
