//! The operator DeformConv: a 1×1 convolution of the samples that deformed windows take.

use super::conv::couple_groups;
use super::conv_lowering::{Convolution, fold, groups, weights_and_bias};
use super::lower::{Lowering, Slot};
use super::window::{ResolvedWindow, WindowAttributes};
use super::{Build, Layer, Operator, Rewrite};
use crate::coupling::{Propagation, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::kernels::sampling::DeformUnfold;
use crate::onnx::attrs::Attrs;
use crate::tensor::show;

#[derive(Debug)]
struct DeformConv {
    window: WindowAttributes,
    groups: usize,
    offset_groups: usize,
}

/// Builds DeformConv: a convolution whose taps are moved by computed offsets.
pub(super) fn deform_conv(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let count = |attrs: &Attrs| {
        let given = attrs.int_or("offset_group", 1)?;
        usize::try_from(given).ok().filter(|&g| g > 0).ok_or_else(|| {
            Error::new("the attribute offset_group does not fit")
                .expected("1 or more")
                .got(given.to_string())
                .invalid_model()
        })
    };
    Ok(Box::new(DeformConv {
        window: WindowAttributes::parse(attrs)?,
        groups: groups(attrs)?,
        offset_groups: count(attrs)?,
    }))
}

/// The input that holds the bias.
const BIAS: usize = 3;
/// The inputs that move taps and scale samples: offsets and masks.
const COMPUTED: [usize; 2] = [2, 4];

impl DeformConv {
    fn windowed(&self, inputs: &Inputs) -> Result<ResolvedWindow> {
        let (x, w, offsets) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape, &inputs.get(2)?.shape);
        if x.len() != 4 {
            return Err(Error::new("a DeformConv of other tensors than images is not supported")
                .expected("N×C×H×W")
                .got(show(x))
                .unsupported());
        }
        let misfit = || {
            Error::new("the inputs of a DeformConv do not fit")
                .expected(format!(
                    "{} groups of channels, {} groups of offsets, and one offset down and right for each tap",
                    self.groups, self.offset_groups
                ))
                .got(format!("input {}, weights {}, offsets {}", show(x), show(w), show(offsets)))
                .with_kind(ErrorKind::InvalidModel)
        };
        let grouped = w.len() == 4
            && x[1] == w[1] * self.groups
            && w[0].is_multiple_of(self.groups)
            && x[1].is_multiple_of(self.offset_groups);
        if !grouped {
            return Err(misfit());
        }
        let window = self.window.fit(x, Some(&w[2..]))?;
        let samples = self.offset_groups * window.planes().taps();
        let [_, oh, ow] = window.output;
        let masks = inputs.optional(COMPUTED[1]).is_none_or(|m| m.shape == [x[0], samples, oh, ow]);
        let bias = inputs.optional(BIAS).is_none_or(|b| b.shape == [w[0]]);
        if *offsets == [x[0], 2 * samples, oh, ow] && masks && bias { Ok(window) } else { Err(misfit()) }
    }
}

impl Operator for DeformConv {
    /// Its weights must be constant, so they are not trained.
    fn parameters(&self) -> Vec<usize> {
        vec![]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, w) = (inputs.get(0)?, inputs.get(1)?);
        Ok(vec![x.with_shape(&self.windowed(inputs)?.shape(x.shape[0], w.shape[0], 4))])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let window = self.windowed(&l.inputs)?;
        let x = &l.inputs.get(0)?.shape;
        let (batch, channels, out_channels) = (x[0], x[1], l.shape(0)[1]);
        let kernel = DeformUnfold { batch, channels, groups: self.offset_groups, windows: window.planes() };
        let (taps, positions) = (kernel.windows.taps(), kernel.windows.positions());
        let len = batch * channels * taps * positions;
        let mut samples = l.temp(len);
        l.call(kernel, vec![Slot::Input(0), Slot::Input(2)], samples.clone());
        if l.inputs.optional(COMPUTED[1]).is_some() {
            let shape = [batch, self.offset_groups, channels / self.offset_groups, taps * positions];
            let masks = [batch, self.offset_groups, 1, taps * positions];
            let product = BinaryKernel::new(BinaryOp::Mul, &shape, &masks, Activation::None)
                .ok_or_else(|| Error::new("masks that do not broadcast").internal())?;
            let masked = l.temp(len);
            l.call(product, vec![samples, Slot::Input(COMPUTED[1])], masked.clone());
            samples = masked;
        }
        let (weights, bias) = weights_and_bias(&l.inputs, BIAS, out_channels)?;
        let (weights, bias) = fold(l, weights.floats()?.clone(), bias);
        let window = ResolvedWindow { input: window.output, output: window.output, ..ResolvedWindow::POINT };
        let in_channels = channels * taps;
        let convolution = Convolution { batch, in_channels, out_channels, groups: self.groups, window };
        convolution.emit(l, samples, weights, bias)
    }

    /// Couples channels as in a convolution, and those that groups of offsets move alike.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let given: Vec<usize> = COMPUTED.into_iter().filter(|&i| flow.inputs.optional(i).is_some()).collect();
        for i in given {
            let labels = flow.input_labels(i);
            flow.freeze(labels.labels(), "takes the places of its samples from all of them");
        }
        if !flow.is_constant(1) {
            flow.freeze_all("has weights that are computed");
            return Ok(());
        }
        let x = flow.axis_labels(0, 1);
        let share = x.len() / self.offset_groups;
        for group in 1..self.offset_groups {
            flow.unite_all(&x[..share], &x[group * share..(group + 1) * share]);
        }
        let filters = flow.inputs.get(1)?.shape[0];
        let y = flow.filter_labels(1, 0, filters);
        flow.add_producer(1, 0, &y, &y);
        couple_groups(flow, &x, &y, self.groups);
        flow.label_constant(BIAS, 0, &y, Role::Producer);
        flow.set_output_along(0, 1, &y);
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
            bias: Some(BIAS),
            plain: true,
            gates: None,
        })
    }

    fn fuses_scale_shift(&self, inputs: &Inputs) -> bool {
        [1, BIAS].iter().all(|&i| inputs.optional(i).is_none_or(|f| f.value.is_some()))
    }
}
