//! Conv: 1-D and 2-D, with groups, strides, dilations and any pads.

use std::sync::Arc;

use super::lower::{Lowering, Slot};
use super::window::{Window, Windowed};
use super::{Build, Layer, Operator, Rewrite};
use crate::dye::Label;
use crate::dye::flow::{Flow, Role};
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::conv::Conv as ConvKernel;
use crate::kernels::depthwise::Depthwise;
use crate::tensor::show;

#[derive(Debug)]
struct Conv {
    window: Window,
    groups: usize,
}

/// Builds a Conv.
pub(super) fn conv(build: &Build) -> Result<Box<dyn Operator>> {
    let groups = build.attrs.int_or("group", 1)?;
    let groups = usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| {
        Error::new("the attribute group does not fit").expected("1 or more").got(groups.to_string())
    })?;
    Ok(Box::new(Conv { window: Window::parse(&build.attrs)?, groups }))
}

impl Conv {
    fn windowed(&self, inputs: &Inputs) -> Result<Windowed> {
        let (x, w) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        if x.len() < 3 || x.len() != w.len() {
            return Err(Error::new("a convolution's input and weights do not fit")
                .expected("the same rank, 3 or more")
                .got(format!("input {}, weights {}", show(x), show(w))));
        }
        if x[1] != w[1] * self.groups || w[0] % self.groups != 0 {
            return Err(Error::new("a convolution's input and weights do not fit")
                .expected(format!("{} input channels in {} groups", w[1] * self.groups, self.groups))
                .got(format!("input {}, weights {}", show(x), show(w))));
        }
        self.window.fit(x, Some(&w[2..]))
    }
}

impl Operator for Conv {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, w) = (inputs.get(0)?, inputs.get(1)?);
        let windowed = self.windowed(inputs)?;
        if let Some(bias) = inputs.optional(2)
            && bias.shape != [w.shape[0]]
        {
            return Err(Error::new("the bias does not fit the weights")
                .expected(w.shape[0].to_string())
                .got(show(&bias.shape)));
        }
        Ok(vec![x.with_shape(&windowed.output(x.shape[0], w.shape[0], x.shape.len()))])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let window = self.windowed(&l.inputs)?;
        let (batch, in_channels, out_channels) = (x[0], x[1], l.shape(0)[1]);
        let (weights, bias) = weights_and_bias(l, out_channels, 0)?;
        if self.groups > 1 && self.groups == in_channels {
            let kernel = Depthwise {
                batch,
                channels: in_channels,
                multiplier: out_channels / in_channels,
                in_hw: window.in_hw,
                out_hw: window.out_hw,
                kernel: window.kernel,
                stride: window.stride,
                dilation: window.dilation,
                pad: window.pad_begin,
                activation: l.fused.activation,
            };
            l.call(
                kernel,
                vec![Slot::Input(0), Slot::Constant(weights), Slot::Constant(bias)],
                Slot::Output(0),
            );
            return Ok(());
        }
        let kernel = ConvKernel {
            batch,
            groups: self.groups,
            in_channels,
            out_channels,
            in_hw: window.in_hw,
            out_hw: window.out_hw,
            kernel: window.kernel,
            stride: window.stride,
            dilation: window.dilation,
            pad: window.pad_begin,
            out_offset: 0,
            out_total: out_channels,
            activation: l.fused.activation,
        };
        split_filters(l, kernel, weights, bias);
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let x = flow.along(0, 1);
        let filters = flow.inputs.get(1)?.shape[0];
        let y = flow.produce(1, 0, filters);
        read_grouped(flow, &x, &y, self.groups);
        flow.cut(2, 0, &y, Role::Producer);
        flow.set_along(0, 1, &y);
        Ok(())
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        if self.groups > 1 {
            // Channels of x left, over the channels that a filter still reads.
            let left = r.kept_inputs(0, 1).iter().filter(|&&k| k).count();
            let reads = r.kept_inputs(1, 1).iter().filter(|&&k| k).count();
            if left != reads * self.groups {
                r.set_int("group", (left / reads.max(1)) as i64);
            }
        }
        Ok(())
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> u64 {
        let (Ok(w), Some(y)) = (inputs.get(1), outputs.first()) else { return 0 };
        let positions: usize = y.shape.iter().skip(2).product::<usize>() * y.shape[0];
        w.shape.iter().product::<usize>() as u64 * positions as u64
    }

    fn layer(&self) -> Option<Layer> {
        Some(Layer { weight: 1, filters: 0, channels: 1, groups: self.groups })
    }

    fn fuses(&self, inputs: &Inputs) -> bool {
        [1, 2].iter().all(|&i| inputs.optional(i).is_none_or(|f| f.value.is_some()))
    }
}

/// Ties and cuts the input axis of grouped weights. One channel a group: filters go with the channel
/// that they read. More: every group shrinks alike.
fn read_grouped(flow: &mut Flow, x: &[Label], y: &[Label], groups: usize) {
    let (reads, makes) = (x.len() / groups, y.len() / groups);
    if groups == 1 {
        flow.cut(1, 1, x, Role::Reader);
    } else if reads == 1 {
        for (group, &label) in x.iter().enumerate() {
            flow.tie_all(&vec![label; makes], &y[group * makes..(group + 1) * makes]);
        }
    } else {
        for group in 1..groups {
            flow.tie_all(&x[..reads], &x[group * reads..(group + 1) * reads]);
            flow.tie_all(&y[..makes], &y[group * makes..(group + 1) * makes]);
        }
        flow.cut(1, 1, &x[..reads], Role::Reader);
    }
}

/// The weights (input 1) with what is fused folded in, and the bias (input 2, zeros where absent).
/// `axis` is the weights' axis of output channels.
pub(super) fn weights_and_bias(
    l: &Lowering,
    out_channels: usize,
    axis: usize,
) -> Result<(Arc<Vec<f32>>, Arc<Vec<f32>>)> {
    let weights =
        l.inputs.constant(1, "the weights")?.ok_or_else(|| Error::new("the weights are missing"))?;
    let bias = match l.inputs.constant(2, "the bias")? {
        Some(bias) => bias.floats()?.clone(),
        None => Arc::new(vec![0.0; out_channels]),
    };
    fold(weights.floats()?.clone(), bias, &weights.shape, axis, l)
}

/// Folds `y = scale·x + shift` a channel into weights and bias, in `f64`.
pub(super) fn fold(
    weights: Arc<Vec<f32>>,
    bias: Arc<Vec<f32>>,
    shape: &[usize],
    axis: usize,
    l: &Lowering,
) -> Result<(Arc<Vec<f32>>, Arc<Vec<f32>>)> {
    let Some((scale, shift)) = &l.fused.scale_shift else {
        return Ok((weights, bias));
    };
    let inner: usize = shape[axis + 1..].iter().product();
    let folded = weights
        .iter()
        .enumerate()
        .map(|(i, &w)| (f64::from(w) * scale[(i / inner.max(1)) % shape[axis]]) as f32)
        .collect();
    let bias = bias
        .iter()
        .zip(scale.iter().zip(shift))
        .map(|(&b, (scale, shift))| (f64::from(b) * scale + shift) as f32)
        .collect();
    Ok((Arc::new(folded), Arc::new(bias)))
}

/// Emits a convolution; where its weights are larger than one binding, in parts of output channels.
pub(super) fn split_filters(
    l: &mut Lowering,
    kernel: ConvKernel,
    weights: Arc<Vec<f32>>,
    bias: Arc<Vec<f32>>,
) {
    // The shader reads filters padded to whole tiles of 8.
    let filter = (weights.len() / kernel.out_channels.max(1)).max(1);
    let part = (l.max_constant / filter / 8 * 8).max(8);
    if kernel.groups > 1 || kernel.out_channels <= part {
        l.call(kernel, vec![Slot::Input(0), Slot::Constant(weights), Slot::Constant(bias)], Slot::Output(0));
        return;
    }
    for first in (0..kernel.out_channels).step_by(part) {
        let last = (first + part).min(kernel.out_channels);
        let call = ConvKernel { out_channels: last - first, out_offset: first, ..kernel.clone() };
        let weights = Arc::new(weights[first * filter..last * filter].to_vec());
        let bias = Arc::new(bias[first..last].to_vec());
        l.call(call, vec![Slot::Input(0), Slot::Constant(weights), Slot::Constant(bias)], Slot::Output(0));
    }
}
