//! Operators: what an ONNX node means. The table [`OPS`] is what everything iterates.
//!
//! An operator knows its attributes with the standard's defaults, infers its outputs, lowers itself to
//! kernels, and says how channels flow through it. It has one lowering and four readers of it: the GPU and the CPU
//! interpreter, the `f64` reference and constant folding ([`evaluate`]), and, for operators that only move data,
//! the dye (`moving.rs`).

mod activation;
mod arg_topk;
mod axes;
mod batch_norm;
mod binary;
mod concat;
mod conv;
mod conv_lowering;
mod conv_transpose;
mod data_movement;
mod einsum;
mod gather;
mod gemm;
mod lower;
mod non_max_suppression;
mod nonzero;
mod normalization;
mod pool;
mod quantize;
mod reduce;
mod reshape;
mod resize;
mod rewrite;
mod scatter;
mod shape;
mod slice;
mod table;
mod window;

pub use lower::{Call, Emit, Fused, Lowering, Slot, evaluate};
pub use rewrite::{Edit, Kept, Rewrite};
pub use table::{NEWEST_OPSET, OPS, OpRow};

use std::fmt::Debug;

use crate::coupling::Propagation;
use crate::error::Result;
use crate::fact::{Fact, Inputs};
use crate::kernels::activation::Activation;
use crate::kernels::window::Windows;
use crate::onnx::attrs::Attrs;
use crate::tensor::Tensor;

/// A node's meaning: its operator with its attributes.
pub trait Operator: Debug + Send + Sync {
    /// The facts of the outputs.
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>>;

    /// The inputs whose elements decide the shapes of the outputs, for operators that find or choose. Where one
    /// of them is not constant, the node runs on the host, after the others (`exec::tail`); [`Operator::infer`]
    /// is asked only where all of them are.
    fn shape_inputs(&self) -> &'static [usize] {
        &[]
    }

    /// The kernels that compute it.
    fn lower(&self, lowering: &mut Lowering) -> Result<()>;

    /// How channels flow through it.
    fn propagate(&self, flow: &mut Propagation) -> Result<()>;

    /// What has to change in the node (attributes, constant shapes) when channels go.
    fn rewrite(&self, _rewrite: &mut Rewrite) -> Result<()> {
        Ok(())
    }

    /// Where a constant output is to be cut `along` an axis: the inputs and their axes that are to be cut
    /// instead, so that the file's own constants stay of their own type. `None` where the output itself has
    /// to be replaced.
    fn sources(&self, _inputs: &Inputs, _along: usize) -> Option<Vec<(usize, usize)>> {
        None
    }

    /// For a layer: each output channel's value where its filter is all zeros, so that nothing it reads matters.
    fn constant_channels(&self, _inputs: &Inputs) -> Option<Vec<Option<f64>>> {
        None
    }

    /// Whether channels that are one constant each come out as the same constants.
    fn keeps_constants(&self) -> bool {
        false
    }

    /// For a layer: what input channels that are constants (zeros for the others) add to each output channel,
    /// where that is a constant too: no padding that cuts them off at the borders.
    fn bias_correction(&self, _inputs: &Inputs, _constants: &[f64]) -> Option<Vec<f64>> {
        None
    }

    /// Multiply-accumulate operations, counted for convolutions and matrix products.
    fn macs(&self, _inputs: &Inputs, _outputs: &[Fact]) -> u64 {
        0
    }

    /// The layer that it is, for those whose channels are counted, profiled and cut.
    fn layer(&self) -> Option<Layer> {
        None
    }

    /// For a convolution over maps: the windows through which it sees each channel's plane, and its groups.
    fn windows(&self, _inputs: &Inputs) -> Option<(Windows, usize)> {
        None
    }

    /// The pointwise activation that it is, when its parameters are constant.
    fn activation(&self, _inputs: &Inputs) -> Option<Activation> {
        None
    }

    /// `y = scale·x + shift` for each channel of axis 1, where it is that with constants.
    fn scale_shift(&self, _inputs: &Inputs) -> Option<(Vec<f64>, Vec<f64>)> {
        None
    }

    /// Whether its lowering takes in what follows it ([`Lowering::fused`]).
    fn fuses_scale_shift(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Whether its lowering takes in what is added to its output, of the same shape.
    fn fuses_residual(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Whether its lowering takes in that the largest of every 2×2 outputs is what stays.
    fn fuses_pool(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Whether it takes the largest of every 2×2 elements of maps.
    fn is_max_pool_2x2(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Whether it adds two arrays of one shape.
    fn is_elementwise_add(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Whether its lowering takes in an activation that follows it, if not a scale and shift.
    fn fuses_activation(&self, inputs: &Inputs) -> bool {
        self.fuses_scale_shift(inputs)
    }
}

/// A layer with weights: where its filters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The input that holds the weights.
    pub weight: usize,
    /// The weights' axis of output channels.
    pub filters: usize,
    /// The outputs' axis of channels; negative counts from the end.
    pub channels: isize,
    /// The number of groups.
    pub groups: usize,
    /// Whether axis 0 of the weights holds the inputs of all groups, so that every index of `filters` stands
    /// for an output channel of each group (ConvTranspose).
    pub transposed: bool,
    /// The input that takes one number an output channel, where there can be one.
    pub bias: Option<usize>,
    /// Whether weights and bias act as they stand, without a factor.
    pub plain: bool,
}

impl Layer {
    /// How many channels the layer makes with weights of this shape.
    pub fn out_channels(&self, weights: &[usize]) -> usize {
        weights[self.filters] * if self.transposed { self.groups } else { 1 }
    }

    /// The weights, of this shape, in runs that belong to one output channel each: the channel and the run.
    pub fn runs<'a>(
        &self,
        weights: &'a [usize],
        data: &'a [f32],
    ) -> impl Iterator<Item = (usize, &'a [f32])> {
        let filters = weights[self.filters];
        let inner: usize = weights[self.filters + 1..].iter().product();
        // Without groups, every input adds to the same channels.
        let inputs = if self.transposed { weights[0] / self.groups } else { usize::MAX };
        let channel = move |run: usize| run / filters / inputs * filters + run % filters;
        data.chunks(inner.max(1)).enumerate().map(move |(run, values)| (channel(run), values))
    }

    /// Returns the bias (input 2, or zero) of each output channel whose filter is zero, `None` for the others.
    fn constant_channels(&self, inputs: &Inputs) -> Option<Vec<Option<f64>>> {
        let zeros = self.zero_filters(inputs.optional(1)?.value.as_ref()?)?;
        let bias = match inputs.optional(2) {
            Some(bias) => bias.value.as_ref()?.to_f64(),
            None => vec![0.0; zeros.len()],
        };
        Some(zeros.into_iter().zip(bias).map(|(zero, bias)| zero.then_some(bias)).collect())
    }

    /// Returns for each output channel whether all weights of its filter are zero.
    fn zero_filters(&self, weights: &Tensor) -> Option<Vec<bool>> {
        let mut zeros = vec![true; self.out_channels(&weights.shape)];
        for (channel, values) in self.runs(&weights.shape, weights.floats().ok()?) {
            zeros[channel] = zeros[channel] && values.iter().all(|&w| w == 0.0);
        }
        Some(zeros)
    }
}

/// What an operator is built from.
#[derive(Debug)]
pub struct Build<'a> {
    /// The node's attributes.
    pub attrs: Attrs<'a>,
    /// The opset of the model.
    pub opset: i64,
    /// The number of outputs that the node declares.
    pub outputs: usize,
}
