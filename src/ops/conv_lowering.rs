//! The lowering of Conv, ConvTranspose, Gemm and MatMul to the convolution kernels.
//!
//! Fused scales are folded into the weights, depth is folded into channels, and weights larger than one binding are
//! split.

use std::sync::Arc;

use super::data_movement::strided;
use super::lower::{Fused, Integers, Lowering, Slot};
use super::window::ResolvedWindow;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::Inputs;
use crate::kernels::conv::ConvKernel;
use crate::kernels::conv::IntegerConv;
use crate::kernels::conv::PooledConv;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::movement::Fill;
use crate::onnx::attrs::Attrs;
use crate::tensor::Tensor;

/// Reads the attribute `group`, which is 1 if absent.
pub(super) fn groups(attrs: &Attrs) -> Result<usize> {
    let groups = attrs.int_or("group", 1)?;
    usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| {
        Error::new("the attribute group does not fit")
            .expected("1 or more")
            .got(groups.to_string())
            .invalid_model()
    })
}

/// Returns the weights (input 1) and the bias (input `bias`, zeros if absent) of a layer.
///
/// # Errors
/// Weights or bias that are not constant, and absent weights.
pub(super) fn weights_and_bias<'a>(
    inputs: &Inputs<'a>,
    bias: usize,
    out_channels: usize,
) -> Result<(&'a Tensor, Arc<Vec<f32>>)> {
    let weights = inputs
        .constant(1, "the weights")?
        .ok_or_else(|| Error::new("the weights are missing").with_kind(ErrorKind::InvalidModel))?;
    let bias = match inputs.constant(bias, "the bias")? {
        Some(bias) => bias.floats()?.clone(),
        None => Arc::new(vec![0.0; out_channels]),
    };
    Ok((weights, bias))
}

/// Returns the bias (input 2), which may be computed, of a layer; zeros if absent.
pub(super) fn bias_slot(l: &Lowering, out_channels: usize) -> Slot {
    match l.inputs.optional(2) {
        Some(_) => Slot::Input(2),
        None => Slot::Constant(Arc::new(vec![0.0; out_channels])),
    }
}

/// Folds the fused scale and shift into weights `[out_channels, …]` and bias, in `f64`.
pub(super) fn fold(l: &Lowering, weights: Arc<Vec<f32>>, bias: Arc<Vec<f32>>) -> (Slot, Slot) {
    let Some((scale, shift)) = &l.fused.scale_shift else {
        return (Slot::Constant(weights), Slot::Constant(bias));
    };
    let filter = (weights.len() / bias.len().max(1)).max(1);
    let scaled = weights.chunks(filter).zip(scale);
    let folded =
        scaled.flat_map(|(w, scale)| w.iter().map(move |&w| (f64::from(w) * scale) as f32)).collect();
    let bias = bias
        .iter()
        .zip(scale.iter().zip(shift))
        .map(|(&b, (scale, shift))| (f64::from(b) * scale + shift) as f32)
        .collect();
    (Slot::Constant(Arc::new(folded)), Slot::Constant(Arc::new(bias)))
}

/// A convolution of a value with weights `[out_channels, in_channels / groups, …kernel]`.
pub(super) struct Convolution {
    pub(super) batch: usize,
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) groups: usize,
    pub(super) window: ResolvedWindow,
}

impl Convolution {
    /// Emits the convolution of `source` to the node's first output, with the fused activation.
    ///
    /// # Errors
    /// Shapes that the copies of a 3-D convolution do not support.
    pub(super) fn emit(&self, l: &mut Lowering, source: Slot, weights: Slot, bias: Slot) -> Result<()> {
        let w = &self.window;
        if w.input[0] == 1 && w.kernel[0] == 1 && w.output[0] == 1 {
            self.emit_2d(l, source, weights, bias);
            return Ok(());
        }
        self.emit_3d(l, source, weights, bias)
    }

    fn emit_2d(&self, l: &mut Lowering, source: Slot, weights: Slot, bias: Slot) {
        if is_depthwise(self.groups, self.in_channels) {
            let kernel = Depthwise {
                batch: self.batch,
                channels: self.in_channels,
                multiplier: self.out_channels / self.in_channels,
                windows: self.window.planes(),
                activation: l.fused.activation,
            };
            l.call(kernel, vec![source, weights, bias], Slot::Output(0));
            return;
        }
        let kernel = self.planar(&l.fused, self.batch, 1);
        split_filters(l, kernel, (source, weights, bias), Slot::Output(0));
    }

    /// Emits a 2-D convolution of the integers in input 0, with the fused activation.
    pub(super) fn emit_integers(&self, l: &mut Lowering, integers: Integers, bias: &[f32]) {
        let Integers { signed, zero, weights, scales } = integers;
        let conv = self.planar(&l.fused, self.batch, 1);
        let bias = bias.iter().zip(&scales).map(|(&b, scale)| (f64::from(b) / scale) as f32).collect();
        let scales = scales.iter().map(|&scale| scale as f32).collect();
        let constants = [weights, Arc::new(bias), Arc::new(scales)].map(Slot::Constant);
        let inputs = std::iter::once(Slot::Input(0)).chain(constants).collect();
        l.call(IntegerConv { conv, signed, zero }, inputs, Slot::Output(0));
    }

    /// Returns the 2-D kernel, in which each channel's `folded` depths are channels of their own.
    pub(super) fn planar(&self, fused: &Fused, batch: usize, folded: usize) -> ConvKernel {
        ConvKernel {
            batch,
            groups: self.groups,
            in_channels: self.in_channels * folded,
            out_channels: self.out_channels,
            windows: self.window.planes(),
            out_offset: 0,
            out_total: self.out_channels,
            residual: fused.residual,
            activation: fused.activation,
        }
    }

    /// Emits a 3-D convolution as a 2-D one.
    ///
    /// The depths under the window's taps become channels, in which order weights are stored already. Every depth of
    /// the output becomes an image.
    fn emit_3d(&self, l: &mut Lowering, source: Slot, weights: Slot, bias: Slot) -> Result<()> {
        let w = &self.window;
        let ([depth, height, width], [out_depth, out_height, out_width]) = (w.input, w.output);
        let (taps, area, out_area) = (w.kernel[0], height * width, out_height * out_width);
        let (n, c, m) = (self.batch, self.in_channels, self.out_channels);
        let len = n * out_depth * c * taps * area;
        let unfolded = l.temp(len);
        if w.pad_begin[0] > 0 || w.pad_end[0] > 0 {
            l.call(Fill { len, value: 0.0 }, vec![], unfolded.clone());
        }
        for tap in 0..taps {
            let shift = (tap * w.dilation[0]) as isize - w.pad_begin[0] as isize;
            let at = |o: usize| (o * w.stride[0]) as isize + shift;
            let inside = |o: &usize| (0..depth as isize).contains(&at(*o));
            let Some(first) = (0..out_depth).find(inside) else { continue };
            let count = (first..out_depth).take_while(inside).count();
            let from = (c * depth * area, w.stride[0] * area, depth * area);
            let to = (out_depth * c * taps * area, c * taps * area, taps * area);
            let walk = |(a, b, c): (usize, usize, usize)| vec![a as isize, b as isize, c as isize, 1];
            let copy = strided(
                &[n, count, c, area],
                (n * c * depth * area, at(first) as usize * area, walk(from)),
                (len, first * to.1 + tap * area, walk(to)),
            )?;
            l.call(copy, vec![source.clone()], unfolded.clone());
        }
        let kernel = self.planar(&l.fused, n * out_depth, taps);
        let result = if out_depth == 1 { Slot::Output(0) } else { l.temp(n * out_depth * m * out_area) };
        split_filters(l, kernel, (unfolded, weights, bias), result.clone());
        if out_depth > 1 {
            let len = n * out_depth * m * out_area;
            let (p, d) = (out_area as isize, out_depth as isize);
            let copy = strided(
                &[n, out_depth, m, out_area],
                (len, 0, vec![d * m as isize * p, m as isize * p, p, 1]),
                (len, 0, vec![m as isize * d * p, p, d * p, 1]),
            )?;
            l.call(copy, vec![result], Slot::Output(0));
        }
        Ok(())
    }
}

/// Returns whether every input channel forms a group of its own.
pub(super) fn is_depthwise(groups: usize, in_channels: usize) -> bool {
    groups > 1 && groups == in_channels
}

/// Emits a convolution, in parts of output channels if constant weights are larger than one binding.
pub(super) fn split_filters(
    l: &mut Lowering,
    kernel: ConvKernel,
    (source, weights, bias): (Slot, Slot, Slot),
    target: Slot,
) {
    let operands = |weights: Slot, bias: Slot| {
        let residual = kernel.residual.then_some(Slot::Residual);
        [source.clone(), weights, bias].into_iter().chain(residual).collect()
    };
    let emit = |l: &mut Lowering, conv: ConvKernel, operands| match l.fused.pooled {
        true => l.call(PooledConv { conv }, operands, target.clone()),
        false => l.call(conv, operands, target.clone()),
    };
    // The shader reads filters padded to multiples of 8.
    let filter = kernel.depth().max(1);
    let part = (l.max_constant / filter / 8 * 8).max(8);
    let whole = kernel.groups > 1 || kernel.out_channels <= part;
    let (weights, bias) = match (weights, bias) {
        (Slot::Constant(weights), Slot::Constant(bias)) if !whole => (weights, bias),
        (weights, bias) => {
            let operands = operands(weights, bias);
            emit(l, kernel, operands);
            return;
        }
    };
    for first in (0..kernel.out_channels).step_by(part) {
        let last = (first + part).min(kernel.out_channels);
        let call = ConvKernel { out_channels: last - first, out_offset: first, ..kernel.clone() };
        let weights = Slot::Constant(Arc::new(weights[first * filter..last * filter].to_vec()));
        let bias = Slot::Constant(Arc::new(bias[first..last].to_vec()));
        emit(l, call, operands(weights, bias));
    }
}
