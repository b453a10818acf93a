//! ConvTranspose, as a convolution of the input with zeros put between its elements, by the filters
//! turned around.

use std::sync::Arc;

use super::convolve::{Convolution, fold, weights_and_bias};
use super::lower::{Lowering, Slot};
use super::moving::strided;
use super::window::{Spread, Window, Windowed};
use super::{Build, Layer, Operator, Rewrite};
use crate::dye::flow::{Flow, Role};
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::movement::Fill;
use crate::tensor::{show, strides};

#[derive(Debug)]
struct ConvTranspose {
    window: Window,
    groups: usize,
    output_padding: Option<Vec<i64>>,
    output_shape: Option<Vec<i64>>,
}

/// Builds a ConvTranspose.
pub(super) fn conv_transpose(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let groups = super::conv::groups(attrs)?;
    Ok(Box::new(ConvTranspose {
        window: Window::parse(attrs)?,
        groups,
        output_padding: attrs.ints("output_padding")?,
        output_shape: attrs.ints("output_shape")?,
    }))
}

/// One axis of the input with zeros between its elements: how many elements of the buffer, which input
/// index comes first and where it stands, and the pad of the convolution over it.
struct Stretched {
    len: usize,
    first: usize,
    at: usize,
    pad: usize,
}

impl Stretched {
    fn of(size: usize, kernel: usize, axis: &Spread) -> Self {
        let pad = ((kernel - 1) * axis.dilation) as isize - axis.before;
        // A negative pad takes elements off the start.
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
    fn spreads(&self, inputs: &Inputs) -> Result<Vec<Spread>> {
        let (x, w) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        if x.len() < 3 || x.len() != w.len() || x[1] != w[0] || !x[1].is_multiple_of(self.groups) {
            return Err(Error::new("a transposed convolution's input and weights do not fit")
                .expected(format!("as many input channels as the weights have, in {} groups", self.groups))
                .got(format!("input {}, weights {}", show(x), show(w))));
        }
        self.window.fit_transposed(x, &w[2..], self.output_padding.as_deref(), self.output_shape.as_deref())
    }

    /// The filters as a convolution has them: `[out, in / groups, …kernel]`, turned around.
    fn turned(&self, weights: &[f32], shape: &[usize]) -> Vec<f32> {
        let (reads, makes) = (shape[0] / self.groups, shape[1]);
        let taps: usize = shape[2..].iter().product();
        let mut turned = Vec::with_capacity(weights.len());
        for (group, out) in (0..self.groups).flat_map(|g| (0..makes).map(move |m| (g, m))) {
            for input in group * reads..(group + 1) * reads {
                let filter = &weights[(input * makes + out) * taps..][..taps];
                // Row-major and reversed as a whole is reversed along every axis.
                turned.extend(filter.iter().rev());
            }
        }
        turned
    }
}

impl Operator for ConvTranspose {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, w) = (inputs.get(0)?, inputs.get(1)?);
        let spreads = self.spreads(inputs)?;
        let channels = w.shape[1] * self.groups;
        if let Some(bias) = inputs.optional(2)
            && bias.shape != [channels]
        {
            return Err(Error::new("the bias does not fit the weights")
                .expected(channels.to_string())
                .got(show(&bias.shape)));
        }
        let mut shape = vec![x.shape[0], channels];
        shape.extend(spreads.iter().map(|s| s.output));
        Ok(vec![x.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = l.inputs.get(0)?.shape.clone();
        let w = l.inputs.get(1)?.shape.clone();
        let spreads = self.spreads(&l.inputs)?;
        let axes: Vec<Stretched> =
            (0..spreads.len()).map(|a| Stretched::of(x[2 + a], w[2 + a], &spreads[a])).collect();
        let mut window = Windowed::POINT;
        for (a, (spread, axis)) in spreads.iter().zip(&axes).enumerate() {
            let at = 3 - spreads.len() + a;
            let reach = (w[2 + a] - 1) * spread.dilation;
            window.input[at] = axis.len;
            window.output[at] = spread.output;
            window.kernel[at] = w[2 + a];
            window.dilation[at] = spread.dilation;
            window.pad_begin[at] = axis.pad;
            window.pad_end[at] = (spread.output + reach).saturating_sub(axis.len + axis.pad);
        }
        let source = stretch(l, &x, &spreads, &axes)?;
        let out_channels = w[1] * self.groups;
        let (weights, bias) = weights_and_bias(&l.inputs, out_channels)?;
        let turned = Arc::new(self.turned(weights.floats()?, &w));
        let (weights, bias) = fold(l, turned, bias);
        let convolution =
            Convolution { batch: x[0], in_channels: x[1], out_channels, groups: self.groups, window };
        convolution.emit(l, source, weights, bias)
    }

    /// Weights are `[in, out / groups, …]`. Of a depthwise one the filters go with the channels that they
    /// read; of a grouped one every group shrinks alike.
    fn dye(&self, flow: &mut Flow) -> Result<()> {
        if !flow.is_constant(1) {
            flow.freeze_all("has weights that are computed");
            return Ok(());
        }
        let x = flow.along(0, 1);
        let makes = flow.inputs.get(1)?.shape[1];
        let reads = x.len() / self.groups;
        let y = if self.groups > 1 && reads == 1 {
            let y: Vec<u32> = x.iter().flat_map(|&label| vec![label; makes]).collect();
            flow.produce(1, 0, &x, &y);
            y
        } else {
            for group in 1..self.groups {
                flow.tie_all(&x[..reads], &x[group * reads..(group + 1) * reads]);
            }
            let fresh = flow.fresh(1, 1, makes);
            flow.cut(1, 0, &x, Role::Reader);
            let y = fresh.repeat(self.groups);
            flow.produce(1, 1, &fresh, &y);
            y
        };
        flow.cut(2, 0, &y, Role::Producer);
        flow.set_along(0, 1, &y);
        Ok(())
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let kept = r.kept_inputs(0, 1);
        let left = kept.iter().filter(|&&k| k).count();
        if self.groups > 1 && self.groups == kept.len() && left != self.groups {
            r.set_int("group", left as i64);
        }
        Ok(())
    }

    fn dead(&self, inputs: &Inputs) -> Option<Vec<Option<f64>>> {
        super::conv::dead(self.layer()?, inputs)
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
        })
    }

    fn fuses(&self, inputs: &Inputs) -> bool {
        [1, 2].iter().all(|&i| inputs.optional(i).is_none_or(|f| f.value.is_some()))
    }
}

/// The input with zeros between its elements, or the input itself where there are to be none.
fn stretch(l: &mut Lowering, x: &[usize], spreads: &[Spread], axes: &[Stretched]) -> Result<Slot> {
    let src = x.iter().product();
    if spreads.iter().zip(axes).all(|(s, a)| s.stride == 1 && a.first == 0) {
        return Ok(Slot::Input(0));
    }
    let shape: Vec<usize> = x[..2].iter().copied().chain(axes.iter().map(|a| a.len)).collect();
    let len = shape.iter().product();
    let stretched = l.temp(len);
    l.call(Fill { len, value: 0.0 }, vec![], stretched.clone());
    let (from, mut to) = (strides(x), strides(&shape));
    let (mut count, mut start, mut end) = (x.to_vec(), 0, 0);
    for (a, axis) in axes.iter().enumerate() {
        count[2 + a] = x[2 + a].saturating_sub(axis.first);
        start += axis.first * from[2 + a] as usize;
        end += axis.at * to[2 + a] as usize;
        to[2 + a] *= spreads[a].stride as isize;
    }
    if !count.contains(&0) {
        let copy = strided(&count, (src, start, from), (len, end, to))?;
        l.call(copy, vec![Slot::Input(0)], stretched.clone());
    }
    Ok(stretched)
}
