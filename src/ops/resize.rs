//! The operators Resize and Upsample, which resample one axis after the other.
//!
//! For each axis, a table contains the input indices of each output index, with their weights. The formulas are those of
//! the ONNX standard's reference: `coordinate_transformation_mode` maps an output index to a coordinate of the input, and
//! `mode` gives the weights of its neighbours.

use std::sync::Arc;

use super::axes::MOST_INDICES;
use super::lower::{Lowering, Slot};
use super::{Build, Constancy, Operator, Rewrite};
use crate::coupling::{ChannelLabels, FROZEN, Propagation};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::movement::Resample;
use crate::onnx::attrs::Attrs;
use crate::tensor::{Tensor, show};

/// The interpolation between input elements, attribute `mode`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Interpolation {
    Nearest(NearestMode),
    Linear,
    /// Cubic convolution with the coefficient `a`.
    Cubic(f64),
}

/// The rounding of a coordinate to the nearest element, attribute `nearest_mode`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NearestMode {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// The map of output indices to input coordinates, attribute `coordinate_transformation_mode`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CoordinateMode {
    HalfPixel,
    HalfPixelSymmetric,
    /// TensorFlow's mode `tf_half_pixel_for_nn`, in opset 11 only.
    HalfPixelForNearest,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    /// Coordinates within a region of interest, `tf_crop_and_resize`.
    Crop,
}

/// The effect of sizes on the aspect ratio, attribute `keep_aspect_ratio_policy`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AspectRatio {
    Stretch,
    NotLarger,
    NotSmaller,
}

#[derive(Debug)]
struct Resize {
    mode: Interpolation,
    coordinates: CoordinateMode,
    antialias: bool,
    exclude_outside: bool,
    extrapolation: f32,
    axes: Option<Vec<i64>>,
    policy: AspectRatio,
    /// The positions of roi, scales and sizes among the inputs, if the opset has them.
    inputs: [Option<usize>; 3],
    /// The attribute `scales` of Upsample before opset 9.
    scales: Option<Vec<f32>>,
}

fn choice<T: Copy>(attrs: &Attrs, name: &str, default: &str, table: &[(&str, T)]) -> Result<T> {
    let given = attrs.string(name)?.unwrap_or_else(|| default.to_owned());
    table.iter().find(|(n, _)| *n == given).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|(n, _)| *n).collect();
        Error::new(format!("an unknown {name}")).expected(names.join(", ")).got(given).invalid_model()
    })
}

/// Builds Resize: resamples by nearest, linear or cubic interpolation.
pub(super) fn resize(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    if build.opset < 11 {
        return upsample(build);
    }
    let rounding = choice(
        attrs,
        "nearest_mode",
        "round_prefer_floor",
        &[
            ("round_prefer_floor", NearestMode::PreferFloor),
            ("round_prefer_ceil", NearestMode::PreferCeil),
            ("floor", NearestMode::Floor),
            ("ceil", NearestMode::Ceil),
        ],
    )?;
    let cubic = f64::from(attrs.float_or("cubic_coeff_a", -0.75)?);
    let modes = [
        ("nearest", Interpolation::Nearest(rounding)),
        ("linear", Interpolation::Linear),
        ("cubic", Interpolation::Cubic(cubic)),
    ];
    let coordinates = choice(
        attrs,
        "coordinate_transformation_mode",
        "half_pixel",
        &[
            ("half_pixel", CoordinateMode::HalfPixel),
            ("half_pixel_symmetric", CoordinateMode::HalfPixelSymmetric),
            ("pytorch_half_pixel", CoordinateMode::PytorchHalfPixel),
            ("align_corners", CoordinateMode::AlignCorners),
            ("asymmetric", CoordinateMode::Asymmetric),
            ("tf_crop_and_resize", CoordinateMode::Crop),
            ("tf_half_pixel_for_nn", CoordinateMode::HalfPixelForNearest),
        ],
    )?;
    let policies = [
        ("stretch", AspectRatio::Stretch),
        ("not_larger", AspectRatio::NotLarger),
        ("not_smaller", AspectRatio::NotSmaller),
    ];
    Ok(Box::new(Resize {
        mode: choice(attrs, "mode", "nearest", &modes)?,
        coordinates,
        antialias: attrs.int_or("antialias", 0)? != 0,
        exclude_outside: attrs.int_or("exclude_outside", 0)? != 0,
        extrapolation: attrs.float_or("extrapolation_value", 0.0)?,
        axes: attrs.ints("axes")?,
        policy: choice(attrs, "keep_aspect_ratio_policy", "stretch", &policies)?,
        inputs: [Some(1), Some(2), Some(3)],
        scales: None,
    }))
}

/// Builds Upsample, and Resize of opset 10: asymmetric coordinates, and nearest rounds down.
pub(super) fn upsample(build: &Build) -> Result<Box<dyn Operator>> {
    let modes = [
        ("nearest", Interpolation::Nearest(NearestMode::Floor)),
        ("linear", Interpolation::Linear),
        ("bilinear", Interpolation::Linear),
        ("cubic", Interpolation::Cubic(-0.75)),
    ];
    Ok(Box::new(Resize {
        mode: choice(&build.attrs, "mode", "nearest", &modes)?,
        coordinates: CoordinateMode::Asymmetric,
        antialias: false,
        exclude_outside: false,
        extrapolation: 0.0,
        axes: None,
        policy: AspectRatio::Stretch,
        inputs: [None, (build.opset >= 9).then_some(1), None],
        scales: build.attrs.floats("scales")?,
    }))
}

/// The resampling of one axis.
#[derive(Clone, Copy, Debug)]
struct AxisResize {
    size: usize,
    output: usize,
    scale: f64,
    /// The region of interest, in fractions of the axis.
    roi: (f64, f64),
}

/// Formats the numbers of scales, sizes and region bounds for an error message.
fn counts_of([scales, sizes, roi]: [usize; 3]) -> String {
    format!("{scales} scales, {sizes} sizes, {roi} numbers of the region")
}

impl Resize {
    /// Returns the resampling of each axis of the input.
    fn axis_resizes(&self, inputs: &Inputs) -> Result<Vec<AxisResize>> {
        let x = &inputs.get(0)?.shape;
        let axes: Vec<usize> = match &self.axes {
            Some(axes) => axes.iter().map(|&a| axis(a, x.len())).collect::<Result<_>>()?,
            None => (0..x.len()).collect(),
        };
        let floats = |i: Option<usize>, what: &str| -> Result<Option<Vec<f64>>> {
            let Some(i) = i else { return Ok(None) };
            Ok(inputs.constant(i, what)?.map(Tensor::to_f64).filter(|v| !v.is_empty()))
        };
        let scales = match &self.scales {
            Some(scales) => Some(scales.iter().map(|&s| f64::from(s)).collect()),
            None => floats(self.inputs[1], "the scales of Resize")?,
        };
        let sizes = floats(self.inputs[2], "the sizes of Resize")?;
        let roi = match self.coordinates {
            CoordinateMode::Crop => floats(self.inputs[0], "the region of interest")?,
            _ => None,
        };
        let counts = [(&scales, 1), (&sizes, 1), (&roi, 2)];
        if counts.iter().any(|(list, n)| list.as_ref().is_some_and(|l| l.len() != n * axes.len())) {
            return Err(Error::new("scales, sizes or the region of interest do not fit the axes of Resize")
                .expected(counts_of(counts.map(|(list, n)| list.as_ref().map_or(0, |_| n * axes.len()))))
                .got(counts_of(counts.map(|(list, _)| list.as_ref().map_or(0, Vec::len))))
                .with_kind(ErrorKind::InvalidModel));
        }
        let mut changes: Vec<AxisResize> =
            x.iter().map(|&n| AxisResize { size: n, output: n, scale: 1.0, roi: (0.0, 1.0) }).collect();
        let share = |i: usize, size: f64| size / x[axes[i]].max(1) as f64;
        let common = sizes.as_ref().and_then(|sizes| {
            let shares = sizes.iter().enumerate().map(|(i, &s)| share(i, s));
            match self.policy {
                AspectRatio::Stretch => None,
                AspectRatio::NotLarger => shares.reduce(f64::min),
                AspectRatio::NotSmaller => shares.reduce(f64::max),
            }
        });
        for (i, &a) in axes.iter().enumerate() {
            let change = &mut changes[a];
            if let Some(roi) = &roi {
                change.roi = (roi[i], roi[i + axes.len()]);
            }
            let (scale, output) = match (&scales, &sizes, common) {
                (_, Some(_), Some(scale)) => (scale, (scale * change.size as f64 + 0.5).floor()),
                (_, Some(sizes), None) => (share(i, sizes[i]), sizes[i]),
                (Some(scales), None, _) => {
                    let span = if roi.is_some() { change.roi.1 - change.roi.0 } else { 1.0 };
                    (scales[i], (scales[i] * span * change.size as f64).floor())
                }
                (None, None, _) => {
                    return Err(
                        Error::new("a Resize needs scales or sizes").with_kind(ErrorKind::InvalidModel)
                    );
                }
            };
            if !(scale > 0.0 && scale.is_finite() && output >= 1.0 && output <= MOST_INDICES as f64) {
                return Err(Error::new("a scale of Resize does not fit")
                    .expected("a positive factor that leaves at least one element")
                    .got(format!("{scale} of {}", change.size))
                    .with_kind(ErrorKind::InvalidModel));
            }
            (change.scale, change.output) = (scale, output as usize);
        }
        Ok(changes)
    }

    /// Returns the input coordinate of output index `k`.
    fn coordinate(&self, c: &AxisResize, k: usize) -> f64 {
        let (k, size, output) = (k as f64, c.size as f64, c.output as f64);
        match self.coordinates {
            CoordinateMode::HalfPixel => (k + 0.5) / c.scale - 0.5,
            CoordinateMode::HalfPixelForNearest => (k + 0.5) / c.scale,
            CoordinateMode::PytorchHalfPixel if c.output == 1 => 0.0,
            CoordinateMode::PytorchHalfPixel => (k + 0.5) / c.scale - 0.5,
            CoordinateMode::HalfPixelSymmetric => {
                let adjustment = output / (c.scale * size);
                size / 2.0 * (1.0 - adjustment) + (k + 0.5) / c.scale - 0.5
            }
            CoordinateMode::AlignCorners if c.output == 1 => 0.0,
            // As in the reference, the output length is computed from the scale even if it is not that exactly.
            CoordinateMode::AlignCorners => k * (size - 1.0) / (c.scale * size - 1.0).max(f64::MIN_POSITIVE),
            CoordinateMode::Asymmetric => k / c.scale,
            CoordinateMode::Crop if c.output == 1 => (c.roi.0 + c.roi.1) * (size - 1.0) / 2.0,
            CoordinateMode::Crop => {
                c.roi.0 * (size - 1.0) + k * (c.roi.1 - c.roi.0) * (size - 1.0) / (output - 1.0)
            }
        }
    }

    /// Returns the weight of an input element at distance `d` from the coordinate.
    fn weight(&self, d: f64) -> f64 {
        let d = d.abs();
        match self.mode {
            Interpolation::Nearest(_) => 1.0,
            Interpolation::Linear => (1.0 - d).max(0.0),
            Interpolation::Cubic(a) if d < 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
            Interpolation::Cubic(a) if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
            Interpolation::Cubic(_) => 0.0,
        }
    }

    /// Returns the input indices and weights of output index `k`; `None` if its coordinate is outside the axis.
    fn taps(&self, c: &AxisResize, k: usize) -> Option<Vec<(usize, f64)>> {
        let at = self.coordinate(c, k);
        let last = c.size as f64 - 1.0;
        if self.coordinates == CoordinateMode::Crop && !(0.0..=last).contains(&at) {
            return None;
        }
        let clamp = |i: f64| i.clamp(0.0, last) as usize;
        if let Interpolation::Nearest(rounding) = self.mode {
            let i = match rounding {
                NearestMode::Floor => at.floor(),
                NearestMode::Ceil => at.ceil(),
                NearestMode::PreferFloor => (at - 0.5).ceil(),
                NearestMode::PreferCeil => (at + 0.5).floor(),
            };
            return Some(vec![(clamp(i), 1.0)]);
        }
        let reach = if self.mode == Interpolation::Linear { 1.0 } else { 2.0 };
        // With antialiasing, downsampling widens the window by the factor.
        let shrink = if self.antialias && c.scale < 1.0 { c.scale } else { 1.0 };
        let (first, end) = ((at - reach / shrink).floor() + 1.0, (at + reach / shrink).ceil());
        let mut taps: Vec<(usize, f64)> = Vec::new();
        let mut i = first;
        while i < end.max(first + 1.0) {
            let inside = (0.0..=last).contains(&i);
            let weight = self.weight((i - at) * shrink);
            if inside || !self.exclude_outside {
                taps.push((clamp(i), weight));
            }
            i += 1.0;
        }
        let sum: f64 = taps.iter().map(|t| t.1).sum();
        if self.exclude_outside || self.antialias {
            taps.iter_mut().for_each(|t| t.1 /= sum);
        }
        Some(taps)
    }

    /// Returns the kernel of one axis, with its tables of indices and weights.
    fn table(&self, outer: usize, c: &AxisResize, inner: usize) -> (Resample, Slot, Slot) {
        let all: Vec<Option<Vec<(usize, f64)>>> = (0..c.output).map(|k| self.taps(c, k)).collect();
        let taps = all.iter().flatten().map(Vec::len).max().unwrap_or(1);
        let (mut positions, mut weights) = (Vec::new(), Vec::new());
        for row in all {
            let outside = row.is_none();
            let mut row = row.unwrap_or_default();
            row.resize(taps, (0, 0.0));
            positions.extend(row.iter().map(|t| if outside { -1.0 } else { t.0 as f32 }));
            weights.extend(row.iter().map(|t| t.1 as f32));
        }
        let kernel =
            Resample { outer, axis: c.size, out: c.output, inner, taps, outside: self.extrapolation };
        (kernel, Slot::Constant(Arc::new(positions)), Slot::Constant(Arc::new(weights)))
    }

    /// Returns the axes that change: those that are cropped or not scaled by 1.
    fn resized(&self, changes: &[AxisResize]) -> Vec<usize> {
        let same = |c: &AxisResize| c.size == c.output && c.scale == 1.0 && c.roi == (0.0, 1.0);
        (0..changes.len()).filter(|&a| !same(&changes[a])).collect()
    }
}

impl Operator for Resize {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let changes = self.axis_resizes(inputs)?;
        if x.is_empty() || x.shape.iter().any(|&n| n > MOST_INDICES) {
            return Err(Error::new("a Resize of a tensor of this shape is not supported")
                .got(show(&x.shape))
                .unsupported());
        }
        Ok(vec![x.with_shape(&changes.iter().map(|c| c.output).collect::<Vec<_>>())])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let mut shape = l.inputs.get(0)?.shape.clone();
        let changes = self.axis_resizes(&l.inputs)?;
        let mut axes = self.resized(&changes);
        // The axis that shrinks most comes first, so that intermediate tensors stay small.
        axes.sort_by(|&a, &b| changes[a].scale.total_cmp(&changes[b].scale));
        let Some(&last) = axes.last() else {
            l.alias(0, Slot::Input(0));
            return Ok(());
        };
        let mut source = Slot::Input(0);
        for &a in &axes {
            let (outer, inner) = (shape[..a].iter().product(), shape[a + 1..].iter().product());
            let (kernel, positions, weights) = self.table(outer, &changes[a], inner);
            shape[a] = changes[a].output;
            let target = if a == last { Slot::Output(0) } else { l.temp(shape.iter().product()) };
            l.call(kernel, vec![source, positions, weights], target.clone());
            source = target;
        }
        Ok(())
    }

    /// Weights of an output element sum to 1, except beyond a cropped input.
    fn constancy(&self, inputs: &Inputs, channels: &[usize]) -> Constancy {
        match self.axis_resizes(inputs) {
            Ok(changes)
                if self.coordinates != CoordinateMode::Crop
                    && channels.iter().all(|a| !self.resized(&changes).contains(a)) =>
            {
                Constancy::Passed
            }
            _ => Constancy::Lost,
        }
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let axes = self.resized(&self.axis_resizes(&flow.inputs)?);
        if axes.iter().any(|&a| x.varies(a)) {
            flow.freeze(x.labels(), "resamples along channels");
            let frozen = ChannelLabels::uniform(&flow.outputs[0].shape, FROZEN);
            flow.set_output(0, frozen);
            return Ok(());
        }
        let shape = flow.outputs[0].shape.clone();
        flow.set_output(0, x.reshaped(&shape));
        Ok(())
    }

    /// Adapts the sizes, which include the channels.
    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let Some(i) = self.inputs[2] else { return Ok(()) };
        let Some(mut sizes) = r.literal(i) else { return Ok(()) };
        let rank = r.outputs[0].shape.len();
        let axes: Vec<usize> = match &self.axes {
            Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?,
            None => (0..rank).collect(),
        };
        let before = sizes.clone();
        for (size, &a) in sizes.iter_mut().zip(&axes) {
            if let Some(left) = r.shrunk(0, a) {
                *size = left as i64;
            }
        }
        if sizes != before {
            r.set_list("sizes", i, false, sizes);
        }
        Ok(())
    }
}
