//! Options of a plan: extra outputs, statistics, fusion and device limits.

use std::sync::Arc;

use crate::graph::ValueId;
use crate::kernels::Kernel;
use crate::tensor::Precision;

/// A kernel call on values of the network that adds one output to the plan.
///
/// If the kernel accumulates, the output is one of [`Plan::sums`](super::Plan::sums), and the kernel's last input is the
/// weights of the batch's images: 1 for a real image, 0 for one that fills the batch up. The plan receives these weights
/// as its last input, shared by all such probes.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Input values of the kernel, in its order.
    pub values: Vec<ValueId>,
    /// The kernel, for the batch size of the plan.
    pub kernel: Arc<dyn Kernel>,
    /// The name of the output.
    pub name: String,
    /// The shape of the output.
    pub shape: Vec<usize>,
}

/// Options for building a plan from a graph.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Values that are outputs too, after the network's own.
    pub taps: Vec<ValueId>,
    /// Extra kernel calls, whose outputs come last or are sums.
    pub probes: Vec<Probe>,
    /// True to compute the network's own outputs.
    pub outputs: bool,
    /// True to fuse layers with the elementwise nodes that follow them.
    pub fuse: bool,
    /// True to fuse residual additions as well. This saves memory bandwidth on GPUs, but nothing on processors, whose
    /// caches hold the sums.
    pub fuse_residual: bool,
    /// True to fuse 2×2 max pooling as well, if the layer supports it.
    pub fuse_pool: bool,
    /// True to compute layers between quantizations with integers, and to round in one call. These calls have no gradients.
    pub integers: bool,
    /// The largest buffer or constant that a step may bind, in bytes.
    pub max_binding: u64,
    /// The storage format of the network's floating-point values between steps; indices are never stored as f16.
    pub precision: Precision,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            taps: vec![],
            probes: vec![],
            outputs: true,
            fuse: true,
            fuse_residual: true,
            fuse_pool: true,
            integers: true,
            max_binding: u64::MAX,
            precision: Precision::F32,
        }
    }
}
