//! The operator ConvTranspose, lowered to a convolution of the zero-stuffed input by the flipped filters.

use std::sync::Arc;

use super::computed_conv::{self, is_computed, label_bias};
use super::constant_channels::{ChannelConstant, Contribution, TapShares, bias_tensor, plain_bias};
use super::conv_lowering::{Convolution, bias_slot, fold, groups, weights_and_bias};
use super::data_movement::strided;
use super::lower::{Lowering, Slot};
use super::window::{ResolvedWindow, TransposedAxis, WindowAttributes};
use super::{Build, Layer, Operator, Rewrite};
use crate::coupling::{Label, Propagation, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::movement::Fill;
use crate::tensor::{Tensor, show, strides};

#[derive(Debug)]
struct ConvTranspose {
    window: WindowAttributes,
    groups: usize,
    output_padding: Option<Vec<i64>>,
    output_shape: Option<Vec<i64>>,
}

/// Builds ConvTranspose: a transposed convolution with optional groups and bias.
pub(super) fn conv_transpose(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    Ok(Box::new(ConvTranspose {
        window: WindowAttributes::parse(attrs)?,
        groups: groups(attrs)?,
        output_padding: attrs.ints("output_padding")?,
        output_shape: attrs.ints("output_shape")?,
    }))
}

/// One axis of the input with zeros inserted between its elements.
struct ZeroStuffed {
    /// The length of the axis with zeros.
    len: usize,
    /// The first input index that is used.
    first: usize,
    /// The place of that index.
    at: usize,
    /// The pad of the convolution before the axis.
    pad: usize,
}

impl ZeroStuffed {
    fn of(size: usize, kernel: usize, axis: &TransposedAxis) -> Self {
        let pad = ((kernel - 1) * axis.dilation) as isize - axis.before;
        // A negative pad removes elements at the start.
        let crop = (-pad).max(0) as usize;
        let first = crop.div_ceil(axis.stride);
        let whole = size.saturating_sub(1) * axis.stride + 1;
        Self {
            len: whole.saturating_sub(crop).max(1),
            first,
            at: first * axis.stride - crop,
            pad: pad.max(0) as usize,
        }
    }
}

impl ConvTranspose {
    fn geometry(&self, inputs: &Inputs) -> Result<Vec<TransposedAxis>> {
        let (x, w) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        if x.len() < 3 || x.len() != w.len() || x[1] != w[0] || !x[1].is_multiple_of(self.groups) {
            return Err(Error::new("a transposed convolution's input and weights do not fit")
                .expected(format!("as many input channels as the weights have, in {} groups", self.groups))
                .got(format!("input {}, weights {}", show(x), show(w)))
                .with_kind(ErrorKind::InvalidModel));
        }
        self.window.fit_transposed(x, &w[2..], self.output_padding.as_deref(), self.output_shape.as_deref())
    }

    /// Returns the filters in the layout of a convolution, `[out, in / groups, …kernel]`, flipped along each spatial axis.
    fn flipped(&self, weights: &[f32], shape: &[usize]) -> Vec<f32> {
        let (inputs, outputs) = (shape[0] / self.groups, shape[1]);
        let taps: usize = shape[2..].iter().product();
        let mut flipped = Vec::with_capacity(weights.len());
        for (group, out) in (0..self.groups).flat_map(|g| (0..outputs).map(move |o| (g, o))) {
            for input in group * inputs..(group + 1) * inputs {
                let filter = &weights[(input * outputs + out) * taps..][..taps];
                // Reversing the row-major elements flips every axis.
                flipped.extend(filter.iter().rev());
            }
        }
        flipped
    }
}

impl ConvTranspose {
    /// Emits a copy of computed filters in the layout of [`ConvTranspose::flipped`].
    fn flipped_by_copy(&self, l: &mut Lowering, shape: &[usize]) -> Result<Slot> {
        let (inputs, outputs) = (shape[0] / self.groups, shape[1]);
        let taps: usize = shape[2..].iter().product();
        let counts = [self.groups, outputs, inputs, taps];
        let len: usize = counts.iter().product();
        let [group, out, input] = [inputs * outputs * taps, taps, outputs * taps].map(|n| n as isize);
        let flipped = l.temp(len);
        let from = (len, taps.saturating_sub(1), vec![group, out, input, -1]);
        l.call(strided(&counts, from, (len, 0, strides(&counts)))?, vec![Slot::Input(1)], flipped.clone());
        Ok(flipped)
    }
}

impl Operator for ConvTranspose {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, w) = (inputs.get(0)?, inputs.get(1)?);
        let geometry = self.geometry(inputs)?;
        let channels = w.shape[1] * self.groups;
        if let Some(bias) = inputs.optional(2)
            && bias.shape != [channels]
        {
            return Err(Error::new("the bias does not fit the weights")
                .expected(channels.to_string())
                .got(show(&bias.shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        let mut shape = vec![x.shape[0], channels];
        shape.extend(geometry.iter().map(|s| s.output));
        Ok(vec![x.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = l.inputs.get(0)?.shape.clone();
        let w = l.inputs.get(1)?.shape.clone();
        let geometry = self.geometry(&l.inputs)?;
        let axes: Vec<ZeroStuffed> =
            (0..geometry.len()).map(|a| ZeroStuffed::of(x[2 + a], w[2 + a], &geometry[a])).collect();
        let mut window = ResolvedWindow::POINT;
        for (a, (out, stuffed)) in geometry.iter().zip(&axes).enumerate() {
            let at = 3 - geometry.len() + a;
            let reach = (w[2 + a] - 1) * out.dilation;
            window.input[at] = stuffed.len;
            window.output[at] = out.output;
            window.kernel[at] = w[2 + a];
            window.dilation[at] = out.dilation;
            window.pad_begin[at] = stuffed.pad;
            window.pad_end[at] = (out.output + reach).saturating_sub(stuffed.len + stuffed.pad);
        }
        let source = zero_stuffed(l, &x, &geometry, &axes)?;
        let out_channels = w[1] * self.groups;
        let convolution =
            Convolution { batch: x[0], in_channels: x[1], out_channels, groups: self.groups, window };
        if is_computed(&l.inputs) {
            let weights = self.flipped_by_copy(l, &w)?;
            let bias = bias_slot(l, out_channels);
            return convolution.emit(l, source, weights, bias);
        }
        let (weights, bias) = weights_and_bias(&l.inputs, 2, out_channels)?;
        let flipped = Arc::new(self.flipped(weights.floats()?, &w));
        let (weights, bias) = fold(l, flipped, bias);
        convolution.emit(l, source, weights, bias)
    }

    /// Couples input channels and filters, whose weights are `[in, out / groups, …]`.
    ///
    /// In a depthwise convolution, filters are coupled with the channels that they consume. In a grouped one, all groups
    /// lose corresponding channels.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        if !flow.is_constant(1) {
            computed_conv::propagate_transposed(flow, self.groups);
            return Ok(());
        }
        let x = flow.axis_labels(0, 1);
        let filters = flow.inputs.get(1)?.shape[1];
        let inputs = x.len() / self.groups;
        let y = if self.groups > 1 && inputs == 1 {
            let y: Vec<Label> = x.iter().flat_map(|&label| vec![label; filters]).collect();
            flow.add_producer(1, 0, &x, &y);
            y
        } else {
            for group in 1..self.groups {
                flow.unite_all(&x[..inputs], &x[group * inputs..(group + 1) * inputs]);
            }
            let own = flow.filter_labels(1, 1, filters);
            flow.label_constant(1, 0, &x, Role::Consumer);
            let y = own.repeat(self.groups);
            flow.add_producer(1, 1, &own, &y);
            y
        };
        label_bias(flow, &y);
        flow.set_output_along(0, 1, &y);
        Ok(())
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let kept = r.kept_inputs(0, 1);
        let left = kept.iter().filter(|&&k| k).count();
        // Groups of several channels with computed weights are removed as a whole, others lose channels each.
        let whole = self.groups == kept.len() || r.inputs.get(1)?.value.is_none();
        let groups = left / (kept.len() / self.groups).max(1);
        if self.groups > 1 && whole && groups != self.groups {
            r.set_int("group", groups as i64);
        }
        Ok(())
    }

    fn contribution(&self, inputs: &Inputs, constants: &[Option<ChannelConstant>]) -> Option<Contribution> {
        let weights = inputs.optional(1)?.value.as_ref()?;
        let (spatial, kernel) = (&inputs.optional(0)?.shape[2..], &weights.shape[2..]);
        let taps = TapShares::transposed(&self.geometry(inputs).ok()?, spatial, kernel);
        let (inputs_each, outputs_each) = (weights.shape[0] / self.groups, weights.shape[1]);
        let mut sum = Contribution::new(plain_bias(inputs, outputs_each * self.groups)?);
        let each = kernel.iter().product::<usize>().max(1);
        for (i, weights) in weights.floats().ok()?.chunks(each).enumerate() {
            let (channel, filter) = (i / outputs_each, i % outputs_each);
            let out = channel / inputs_each * outputs_each + filter;
            sum.add(out, constants[channel], weights.iter().map(|&w| f64::from(w)), &taps);
        }
        Some(sum)
    }

    fn bias_with(&self, inputs: &Inputs, sums: &[f64]) -> Option<Tensor> {
        let bias = plain_bias(inputs, sums.len())?;
        Some(bias_tensor(inputs, &bias.iter().zip(sums).map(|(b, s)| b + s).collect::<Vec<_>>()))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> u64 {
        let (Ok(x), Ok(w)) = (inputs.get(0), inputs.get(1)) else { return 0 };
        let positions: usize = x.shape.iter().skip(2).product::<usize>() * x.shape[0];
        w.shape.iter().product::<usize>() as u64 * positions as u64
    }

    fn layer(&self) -> Option<Layer> {
        Some(Layer {
            weight: 1,
            filters: 1,
            channels: 1,
            groups: self.groups,
            transposed: true,
            bias: Some(2),
            plain: true,
            gates: None,
        })
    }

    fn fuses_scale_shift(&self, inputs: &Inputs) -> bool {
        [1, 2].iter().all(|&i| inputs.optional(i).is_none_or(|f| f.value.is_some()))
    }
}

/// Emits the input with zeros inserted between its elements, or the input itself if there are none.
fn zero_stuffed(
    l: &mut Lowering,
    x: &[usize],
    geometry: &[TransposedAxis],
    axes: &[ZeroStuffed],
) -> Result<Slot> {
    let src = x.iter().product();
    if geometry.iter().zip(axes).all(|(s, a)| s.stride == 1 && a.first == 0) {
        return Ok(Slot::Input(0));
    }
    let shape: Vec<usize> = x[..2].iter().copied().chain(axes.iter().map(|a| a.len)).collect();
    let len = shape.iter().product();
    let stuffed = l.temp(len);
    l.call(Fill { len, value: 0.0 }, vec![], stuffed.clone());
    let (from, mut to) = (strides(x), strides(&shape));
    let (mut count, mut start, mut end) = (x.to_vec(), 0, 0);
    for (a, axis) in axes.iter().enumerate() {
        count[2 + a] = x[2 + a].saturating_sub(axis.first);
        start += axis.first * from[2 + a] as usize;
        end += axis.at * to[2 + a] as usize;
        to[2 + a] *= geometry[a].stride as isize;
    }
    if !count.contains(&0) {
        let copy = strided(&count, (src, start, from), (len, end, to))?;
        l.call(copy, vec![Slot::Input(0)], stuffed.clone());
    }
    Ok(stuffed)
}
