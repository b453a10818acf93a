//! Conv: 1-D, 2-D and 3-D, with groups, strides, dilations and any pads.

use super::convolve::{Convolution, fold, is_depthwise, weights_and_bias};
use super::lower::{Fused, Lowering, Slot};
use super::window::{Window, Windowed};
use super::{Build, Layer, Operator, Rewrite};
use crate::dye::Label;
use crate::dye::flow::{Flow, Role};
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::algorithms::pooling_pays;
use crate::kernels::window::Windows;
use crate::onnx::attrs::Attrs;
use crate::tensor::show;

#[derive(Debug)]
struct Conv {
    window: Window,
    groups: usize,
}

/// Builds a Conv.
pub(super) fn conv(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Conv { window: Window::parse(&build.attrs)?, groups: groups(&build.attrs)? }))
}

/// What the dead filters of a layer with a bias as input 2 give.
pub(super) fn dead(layer: Layer, inputs: &Inputs) -> Option<Vec<Option<f64>>> {
    let dead = layer.dead_filters(inputs.optional(1)?.value.as_ref()?)?;
    let bias = match inputs.optional(2) {
        Some(bias) => bias.value.as_ref()?.to_f64(),
        None => vec![0.0; dead.len()],
    };
    Some(dead.into_iter().zip(bias).map(|(dead, bias)| dead.then_some(bias)).collect())
}

/// The attribute group.
pub(super) fn groups(attrs: &Attrs) -> Result<usize> {
    let groups = attrs.int_or("group", 1)?;
    usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| {
        Error::new("the attribute group does not fit").expected("1 or more").got(groups.to_string())
    })
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
        Ok(vec![x.with_shape(&windowed.shape(x.shape[0], w.shape[0], x.shape.len()))])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let window = self.windowed(&l.inputs)?;
        let (batch, in_channels, out_channels) = (x[0], x[1], l.shape(0)[1]);
        let (weights, bias) = weights_and_bias(&l.inputs, out_channels)?;
        let (weights, bias) = fold(l, weights.floats()?.clone(), bias);
        let convolution = Convolution { batch, in_channels, out_channels, groups: self.groups, window };
        convolution.emit(l, Slot::Input(0), weights, bias)
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        if !flow.is_constant(1) {
            flow.freeze_all("has weights that are computed");
            return Ok(());
        }
        let x = flow.along(0, 1);
        let filters = flow.inputs.get(1)?.shape[0];
        let y = flow.fresh(1, 0, filters);
        flow.produce(1, 0, &y, &y);
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

    fn dead(&self, inputs: &Inputs) -> Option<Vec<Option<f64>>> {
        dead(self.layer()?, inputs)
    }

    fn absorb(&self, inputs: &Inputs, constants: &[f64]) -> Option<Vec<f64>> {
        let window = self.windowed(inputs).ok()?;
        let weights = inputs.optional(1)?.value.as_ref()?;
        if window.pad_begin != [0; 3] || window.pad_end != [0; 3] {
            return None;
        }
        let (filters, reads) = (weights.shape[0], weights.shape[1]);
        let taps: usize = weights.shape[2..].iter().product();
        let mut sums = vec![0.0; filters];
        for (i, &w) in weights.floats().ok()?.iter().enumerate() {
            let (filter, channel) = (i / taps / reads, i / taps % reads);
            let group = filter / (filters / self.groups);
            sums[filter] += f64::from(w) * constants[group * reads + channel];
        }
        Some(sums)
    }

    fn windows(&self, inputs: &Inputs) -> Option<(Windows, usize)> {
        let flat = inputs.optional(0)?.shape.len() < 5;
        let window = self.windowed(inputs).ok().filter(|_| flat)?;
        Some((window.planes(), self.groups))
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> u64 {
        let (Ok(w), Some(y)) = (inputs.get(1), outputs.first()) else { return 0 };
        let positions: usize = y.shape.iter().skip(2).product::<usize>() * y.shape[0];
        w.shape.iter().product::<usize>() as u64 * positions as u64
    }

    fn layer(&self) -> Option<Layer> {
        Some(Layer {
            weight: 1,
            filters: 0,
            channels: 1,
            groups: self.groups,
            transposed: false,
            bias: Some(2),
            plain: true,
        })
    }

    fn fuses(&self, inputs: &Inputs) -> bool {
        [1, 2].iter().all(|&i| inputs.optional(i).is_none_or(|f| f.value.is_some()))
    }

    fn fuses_addend(&self, inputs: &Inputs) -> bool {
        let planar = |x: &Fact| x.shape.len() < 5 && !is_depthwise(self.groups, x.shape[1]);
        self.fuses(inputs) && inputs.optional(0).is_some_and(planar)
    }

    fn fuses_pool(&self, inputs: &Inputs) -> bool {
        let planar = |x: &&Fact| x.shape.len() == 4 && self.groups == 1;
        let (Some(x), Ok(w)) = (inputs.optional(0).filter(planar), inputs.get(1)) else { return false };
        let (in_channels, out_channels) = (x.shape[1], w.shape[0]);
        let pays = |window| {
            let convolution = Convolution { batch: 1, in_channels, out_channels, groups: 1, window };
            pooling_pays(&convolution.planar(&Fused::default(), 1, 1))
        };
        self.fuses(inputs) && self.windowed(inputs).is_ok_and(pays)
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
