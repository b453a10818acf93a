//! The operator Conv in 1-D, 2-D and 3-D, with groups, strides, dilations and pads.

use super::computed_conv::{self, is_computed, label_bias};
use super::constant_channels::{ChannelConstant, Contribution, TapShares, bias_tensor, plain_bias};
use super::conv_lowering::{Convolution, bias_slot, fold, groups, is_depthwise, weights_and_bias};
use super::lower::{Fused, Lowering, Slot};
use super::window::{ResolvedWindow, WindowAttributes};
use super::{Build, Layer, Operator, Rewrite};
use crate::coupling::{Label, Propagation, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::algorithms::pooling_pays;
use crate::kernels::conv::IntegerConv;
use crate::kernels::window::Windows;
use crate::tensor::{Tensor, show};

#[derive(Debug)]
struct Conv {
    window: WindowAttributes,
    groups: usize,
}

/// Builds Conv: a convolution with optional groups and bias.
pub(super) fn conv(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Conv { window: WindowAttributes::parse(&build.attrs)?, groups: groups(&build.attrs)? }))
}

impl Conv {
    fn windowed(&self, inputs: &Inputs) -> Result<ResolvedWindow> {
        let (x, w) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        if x.len() < 3 || x.len() != w.len() {
            return Err(Error::new("a convolution's input and weights do not fit")
                .expected("the same rank, 3 or more")
                .got(format!("input {}, weights {}", show(x), show(w)))
                .with_kind(ErrorKind::InvalidModel));
        }
        if x[1] != w[1] * self.groups || w[0] % self.groups != 0 {
            return Err(Error::new("a convolution's input and weights do not fit")
                .expected(format!("{} input channels in {} groups", w[1] * self.groups, self.groups))
                .got(format!("input {}, weights {}", show(x), show(w)))
                .with_kind(ErrorKind::InvalidModel));
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
                .got(show(&bias.shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(vec![x.with_shape(&windowed.shape(x.shape[0], w.shape[0], x.shape.len()))])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let window = self.windowed(&l.inputs)?;
        let (batch, in_channels, out_channels) = (x[0], x[1], l.shape(0)[1]);
        let convolution = Convolution { batch, in_channels, out_channels, groups: self.groups, window };
        if is_computed(&l.inputs) {
            let bias = bias_slot(l, out_channels);
            return convolution.emit(l, Slot::Input(0), Slot::Input(1), bias);
        }
        let (weights, bias) = weights_and_bias(&l.inputs, 2, out_channels)?;
        if let Some(integers) = l.integers.take() {
            convolution.emit_integers(l, integers, &bias);
            return Ok(());
        }
        let (weights, bias) = fold(l, weights.floats()?.clone(), bias);
        convolution.emit(l, Slot::Input(0), weights, bias)
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        if !flow.is_constant(1) {
            computed_conv::propagate(flow, self.groups);
            return Ok(());
        }
        let x = flow.axis_labels(0, 1);
        let filters = flow.inputs.get(1)?.shape[0];
        let y = flow.filter_labels(1, 0, filters);
        flow.add_producer(1, 0, &y, &y);
        couple_groups(flow, &x, &y, self.groups);
        label_bias(flow, &y);
        flow.set_output_along(0, 1, &y);
        Ok(())
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        if self.groups > 1 {
            let channels = r.kept_inputs(0, 1).iter().filter(|&&k| k).count();
            let per_group = r.kept_inputs(1, 1).iter().filter(|&&k| k).count();
            if channels != per_group * self.groups {
                r.set_int("group", (channels / per_group.max(1)) as i64);
            }
        }
        Ok(())
    }

    fn contribution(&self, inputs: &Inputs, constants: &[Option<ChannelConstant>]) -> Option<Contribution> {
        let weights = inputs.optional(1)?.value.as_ref()?;
        let taps = TapShares::of(&self.windowed(inputs).ok()?);
        let (filters, per_group) = (weights.shape[0], weights.shape[1]);
        let mut sum = Contribution::new(plain_bias(inputs, filters)?);
        let each = weights.shape[2..].iter().product::<usize>().max(1);
        for (i, weights) in weights.floats().ok()?.chunks(each).enumerate() {
            let (filter, channel) = (i / per_group, i % per_group);
            let group = filter / (filters / self.groups);
            let constant = constants[group * per_group + channel];
            sum.add(filter, constant, weights.iter().map(|&w| f64::from(w)), &taps);
        }
        Some(sum)
    }

    fn bias_with(&self, inputs: &Inputs, sums: &[f64]) -> Option<Tensor> {
        let bias = plain_bias(inputs, sums.len())?;
        Some(bias_tensor(inputs, &bias.iter().zip(sums).map(|(b, s)| b + s).collect::<Vec<_>>()))
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
            gates: None,
        })
    }

    fn fuses_scale_shift(&self, inputs: &Inputs) -> bool {
        [1, 2].iter().all(|&i| inputs.optional(i).is_none_or(|f| f.value.is_some()))
    }

    fn fuses_residual(&self, inputs: &Inputs) -> bool {
        let planar = |x: &Fact| x.shape.len() < 5 && !is_depthwise(self.groups, x.shape[1]);
        self.fuses_scale_shift(inputs) && inputs.optional(0).is_some_and(planar)
    }

    fn reads_integers(&self, inputs: &Inputs) -> bool {
        let planar = |x: &&Fact| x.shape.len() < 5 && !is_depthwise(self.groups, x.shape[1]);
        let (Some(x), Ok(w)) = (inputs.optional(0).filter(planar), inputs.get(1)) else { return false };
        let (in_channels, out_channels, groups) = (x.shape[1], w.shape[0], self.groups);
        let applies = |window| {
            let convolution = Convolution { batch: 1, in_channels, out_channels, groups, window };
            IntegerConv::applies(&convolution.planar(&Fused::default(), 1, 1))
        };
        self.fuses_scale_shift(inputs) && self.windowed(inputs).is_ok_and(applies)
    }

    fn fuses_pool(&self, inputs: &Inputs) -> bool {
        let planar = |x: &&Fact| x.shape.len() == 4 && self.groups == 1;
        let (Some(x), Ok(w)) = (inputs.optional(0).filter(planar), inputs.get(1)) else { return false };
        let (in_channels, out_channels) = (x.shape[1], w.shape[0]);
        let pays = |window| {
            let convolution = Convolution { batch: 1, in_channels, out_channels, groups: 1, window };
            pooling_pays(&convolution.planar(&Fused::default(), 1, 1))
        };
        self.fuses_scale_shift(inputs) && self.windowed(inputs).is_ok_and(pays)
    }
}

/// Couples input channels `x` and filters `y` of a convolution, and labels the weights' input axis.
///
/// In a depthwise convolution, filters are coupled with the channel that they consume. With several channels per group,
/// all groups lose corresponding channels.
pub(super) fn couple_groups(flow: &mut Propagation, x: &[Label], y: &[Label], groups: usize) {
    let (inputs, filters) = (x.len() / groups, y.len() / groups);
    if groups == 1 {
        flow.label_constant(1, 1, x, Role::Consumer);
    } else if inputs == 1 {
        for (group, &label) in x.iter().enumerate() {
            flow.unite_all(&vec![label; filters], &y[group * filters..(group + 1) * filters]);
        }
    } else {
        for group in 1..groups {
            flow.unite_all(&x[..inputs], &x[group * inputs..(group + 1) * inputs]);
            flow.unite_all(&y[..filters], &y[group * filters..(group + 1) * filters]);
        }
        flow.label_constant(1, 1, &x[..inputs], Role::Consumer);
    }
}
