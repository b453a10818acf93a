//! ONNX operators: attributes, shape inference, lowering to kernels, and propagation of channel labels.
//!
//! The table [`OPS`] lists all of them. Each has a single lowering, which the GPU and CPU interpreters, the `f64`
//! reference, and constant folding ([`evaluate`]) run. For operators that only move data, the propagation of channel
//! labels runs it as well (`data_movement.rs`).

mod activation;
mod arg_topk;
mod axes;
mod batch_norm;
mod binary;
mod computed_conv;
mod concat;
mod constant_channels;
mod conv;
mod conv_lowering;
mod conv_transpose;
mod data_movement;
mod deform_conv;
mod einsum;
mod gather;
mod gemm;
mod grid_sample;
mod lower;
mod non_max_suppression;
mod nonzero;
mod normalization;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod rewrite;
mod roi_align;
mod scatter;
mod shape;
mod slice;
mod table;
mod unpool;
mod window;

pub use constant_channels::{ChannelConstant, Constancy, Contribution, NEGLIGIBLE};
pub use lower::{Call, Emit, Fused, Integers, Lowering, Slot, evaluate};
pub use rewrite::{Edit, Kept, KeptValues, Rewrite};
pub use table::{MICROSOFT, NEWEST_OPSET, OPS, OPS_OF_MICROSOFT, OpRow};

use std::fmt::Debug;

use crate::coupling::Propagation;
use crate::error::Result;
use crate::fact::{Fact, Inputs};
use crate::kernels::activation::Activation;
use crate::kernels::window::Windows;
use crate::onnx::attrs::Attrs;
use crate::tensor::Tensor;

/// An operator together with the attributes of a node.
pub trait Operator: Debug + Send + Sync {
    /// Infers the facts of the outputs.
    ///
    /// # Errors
    /// Inputs that do not fit the operator.
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>>;

    /// Returns the inputs whose elements determine the shapes of the outputs, for data-dependent operators.
    ///
    /// If one of them is not constant, the node runs on the host after the others (`exec::host_subgraph`).
    /// [`Operator::infer`] is called only if all of them are constant.
    fn shape_inputs(&self) -> &'static [usize] {
        &[]
    }

    /// Lowers the node to kernel calls.
    ///
    /// # Errors
    /// Shapes that no kernel supports.
    fn lower(&self, lowering: &mut Lowering) -> Result<()>;

    /// Propagates channel labels from the inputs to the outputs.
    ///
    /// # Errors
    /// Inputs that do not fit the operator.
    fn propagate(&self, flow: &mut Propagation) -> Result<()>;

    /// Adapts attributes and constant shapes of the node to removed channels.
    ///
    /// # Errors
    /// A cut that the node cannot express.
    fn rewrite(&self, _rewrite: &mut Rewrite) -> Result<()> {
        Ok(())
    }

    /// Returns the inputs, with their axes, to cut in place of a constant output that is cut `along` an axis.
    ///
    /// Cutting inputs preserves the type of constants stored in the file. `None` if the output must be replaced.
    fn sources(&self, _inputs: &Inputs, _along: usize) -> Option<Vec<(usize, usize)>> {
        None
    }

    /// Returns the sums that constant input channels contribute, for a layer with constant weights and bias.
    ///
    /// `constants` has one element for each index of the input's axis of channels.
    fn contribution(&self, _inputs: &Inputs, _constants: &[Option<ChannelConstant>]) -> Option<Contribution> {
        None
    }

    /// Returns the new input 2 of a layer that adds `sums` to its output channels.
    ///
    /// `None` if the layer has no bias.
    fn bias_with(&self, _inputs: &Inputs, _sums: &[f64]) -> Option<Tensor> {
        None
    }

    /// Returns the effect on channels along the axes `channels` of the first input that each hold one number.
    fn constancy(&self, _inputs: &Inputs, _channels: &[usize]) -> Constancy {
        Constancy::Lost
    }

    /// Returns the number that each channel of axis 1 becomes if all its elements are equal, for a normalization.
    fn normalized_constants(&self, _inputs: &Inputs) -> Option<Vec<f64>> {
        None
    }

    /// Returns whether each output element depends on one element of each input only, with broadcasting.
    fn is_pointwise(&self) -> bool {
        false
    }

    /// Returns the number of multiply-accumulate operations of a convolution or matrix product, else 0.
    fn macs(&self, _inputs: &Inputs, _outputs: &[Fact]) -> u64 {
        0
    }

    /// Returns the input that holds recurrence weights, and their part of [`Operator::macs`], for a recurrent layer.
    fn recurrence(&self, _inputs: &Inputs, _outputs: &[Fact]) -> Option<(usize, u64)> {
        None
    }

    /// Describes the layer, for operators whose channels are counted, profiled and cut.
    fn layer(&self) -> Option<Layer> {
        None
    }

    /// Returns the inputs that training changes if they are constant.
    ///
    /// By default weights and bias of [`Operator::layer`]; the weights of recurrent layers are not trained.
    fn parameters(&self) -> Vec<usize> {
        let layer = self.layer().filter(|layer| layer.gates.is_none());
        layer.map_or(vec![], |layer| [Some(layer.weight), layer.bias].into_iter().flatten().collect())
    }

    /// Returns the windows on each channel's plane, and the number of groups, for a 1-D or 2-D convolution.
    fn windows(&self, _inputs: &Inputs) -> Option<(Windows, usize)> {
        None
    }

    /// Returns the pointwise activation that the operator computes, if its parameters are constant.
    fn activation(&self, _inputs: &Inputs) -> Option<Activation> {
        None
    }

    /// Returns the number ε that a BatchNormalization adds to variances.
    fn epsilon(&self) -> Option<f64> {
        None
    }

    /// Returns the shape in which scale and zero point broadcast to the input of a DequantizeLinear without blocks.
    fn dequantization(&self, _inputs: &Inputs) -> Option<Vec<usize>> {
        None
    }

    /// Returns the function that a quantization to 8 bits, or its inverse, computes from input 0, if its parameters are constant.
    fn rounding(&self, _inputs: &Inputs) -> Option<Activation> {
        None
    }

    /// Returns whether the lowering can compute with integers, if input 0 and the weights are such ([`Lowering::integers`]).
    fn reads_integers(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Returns the scale and shift of each channel of axis 1, if the operator computes `scale·x + shift`.
    fn scale_shift(&self, _inputs: &Inputs) -> Option<(Vec<f64>, Vec<f64>)> {
        None
    }

    /// Returns whether the lowering can fuse a following scale and shift ([`Lowering::fused`]).
    fn fuses_scale_shift(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Returns whether the lowering can fuse the addition of a residual of the output's shape.
    fn fuses_residual(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Returns whether the lowering can fuse a following 2×2 max pool.
    fn fuses_pool(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Returns whether the operator is a 2×2 max pool with stride 2.
    fn is_max_pool_2x2(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Returns whether the operator adds two tensors of equal shape.
    fn is_elementwise_add(&self, _inputs: &Inputs) -> bool {
        false
    }

    /// Returns whether the lowering can fuse a following activation.
    fn fuses_activation(&self, inputs: &Inputs) -> bool {
        self.fuses_scale_shift(inputs)
    }
}

/// The layout of a layer's weights, bias and channels.
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
    /// True for ConvTranspose, whose weights have the inputs of all groups on axis 0.
    ///
    /// Every index of `filters` is then one output channel of each group.
    pub transposed: bool,
    /// The input that holds one number for each output channel, if the operator has one.
    pub bias: Option<usize>,
    /// True if the outputs are linear in weights and bias, which are applied without a factor.
    pub plain: bool,
    /// The number of gates of a recurrent layer, whose output channels have a filter for each gate and direction.
    ///
    /// Directions are then axis 0 of the weights.
    pub gates: Option<usize>,
}

impl Layer {
    /// Returns the number of output channels for weights of this shape.
    pub fn out_channels(&self, weights: &[usize]) -> usize {
        weights[self.filters] / self.gates.unwrap_or(1) * if self.transposed { self.groups } else { 1 }
    }

    /// Iterates over runs of consecutive weights that belong to one output channel: the channel and the run.
    pub fn runs<'a>(
        &self,
        weights: &'a [usize],
        data: &'a [f32],
    ) -> impl Iterator<Item = (usize, &'a [f32])> {
        let filters = weights[self.filters];
        let inner: usize = weights[self.filters + 1..].iter().product();
        // If the layer is not transposed, axis 0 does not depend on the group.
        let inputs = if self.transposed { weights[0] / self.groups } else { usize::MAX };
        let gates = self.gates.map(|gates| filters / gates);
        let channel = move |run: usize| match gates {
            Some(channels) => run % filters % channels,
            None => run / filters / inputs * filters + run % filters,
        };
        data.chunks(inner.max(1)).enumerate().map(move |(run, values)| (channel(run), values))
    }

    /// Reorders the weights of one output channel, as [`Layer::runs`] yields them, by input channel.
    ///
    /// Only a recurrent layer yields several runs over all inputs; with `back` the order is restored.
    pub fn by_input(&self, weights: &[usize], row: Vec<f64>, back: bool) -> Vec<f64> {
        let Some(gates) = self.gates else { return row };
        let (runs, inputs) = (weights[0] * gates, row.len() / (weights[0] * gates).max(1));
        let (outer, inner) = if back { (runs, inputs) } else { (inputs, runs) };
        (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))).map(|(o, i)| row[i * outer + o]).collect()
    }
}

/// The parts of a node from which an operator is built.
#[derive(Debug)]
pub struct Build<'a> {
    /// The attributes of the node.
    pub attrs: Attrs<'a>,
    /// The opset of the model.
    pub opset: i64,
    /// The number of outputs that the node declares.
    pub outputs: usize,
}
