//! Resize and Upsample, axis by axis: for each axis a table says which old indices make a new one, and
//! with which weights.
//!
//! The formulas are those of the ONNX standard's reference: the coordinate of a new index in the old
//! axis by `coordinate_transformation_mode`, then its neighbours' weights by `mode`.

use std::sync::Arc;

use super::lower::{Lowering, Slot};
use super::rank::MOST_INDICES;
use super::{Build, Operator, Rewrite};
use crate::dye::flow::Flow;
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::movement::Resample;
use crate::onnx::attrs::Attrs;
use crate::tensor::show;

/// How a value between old elements is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Nearest(Rounding),
    Linear,
    /// With the coefficient `a`.
    Cubic(f64),
}

/// Which element is the nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// Where a new index lies in the old axis.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    /// TensorFlow's, in opset 11 only.
    HalfPixelForNearest,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    /// Between the fractions of a region of interest.
    Crop,
}

/// What sizes do to the proportions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

#[derive(Debug)]
struct Resize {
    mode: Mode,
    coordinates: Coordinates,
    antialias: bool,
    exclude_outside: bool,
    extrapolation: f32,
    axes: Option<Vec<i64>>,
    policy: Policy,
    /// Positions of roi, scales and sizes among the inputs, where the opset has them.
    inputs: [Option<usize>; 3],
    /// Upsample up to opset 8.
    scales: Option<Vec<f32>>,
}

fn choice<T: Copy>(attrs: &Attrs, name: &str, default: &str, table: &[(&str, T)]) -> Result<T> {
    let given = attrs.string(name)?.unwrap_or_else(|| default.to_owned());
    table.iter().find(|(n, _)| *n == given).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|(n, _)| *n).collect();
        Error::new(format!("an unknown {name}")).expected(names.join(", ")).got(given)
    })
}

/// Builds a Resize.
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
            ("round_prefer_floor", Rounding::PreferFloor),
            ("round_prefer_ceil", Rounding::PreferCeil),
            ("floor", Rounding::Floor),
            ("ceil", Rounding::Ceil),
        ],
    )?;
    let cubic = f64::from(attrs.float_or("cubic_coeff_a", -0.75)?);
    let modes =
        [("nearest", Mode::Nearest(rounding)), ("linear", Mode::Linear), ("cubic", Mode::Cubic(cubic))];
    let coordinates = choice(
        attrs,
        "coordinate_transformation_mode",
        "half_pixel",
        &[
            ("half_pixel", Coordinates::HalfPixel),
            ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
            ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
            ("align_corners", Coordinates::AlignCorners),
            ("asymmetric", Coordinates::Asymmetric),
            ("tf_crop_and_resize", Coordinates::Crop),
            ("tf_half_pixel_for_nn", Coordinates::HalfPixelForNearest),
        ],
    )?;
    let policies = [
        ("stretch", Policy::Stretch),
        ("not_larger", Policy::NotLarger),
        ("not_smaller", Policy::NotSmaller),
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

/// Builds an Upsample, and a Resize of opset 10, which is one: no half pixels, nearest rounds down.
pub(super) fn upsample(build: &Build) -> Result<Box<dyn Operator>> {
    let modes = [
        ("nearest", Mode::Nearest(Rounding::Floor)),
        ("linear", Mode::Linear),
        ("bilinear", Mode::Linear),
        ("cubic", Mode::Cubic(-0.75)),
    ];
    Ok(Box::new(Resize {
        mode: choice(&build.attrs, "mode", "nearest", &modes)?,
        coordinates: Coordinates::Asymmetric,
        antialias: false,
        exclude_outside: false,
        extrapolation: 0.0,
        axes: None,
        policy: Policy::Stretch,
        inputs: [None, (build.opset >= 9).then_some(1), None],
        scales: build.attrs.floats("scales")?,
    }))
}

/// What happens to one axis.
#[derive(Clone, Copy, Debug)]
struct Change {
    size: usize,
    output: usize,
    scale: f64,
    /// Of the region of interest, as fractions.
    roi: (f64, f64),
}

/// How many scales, sizes and numbers of the region of interest there are, for an error.
fn counts_of([scales, sizes, roi]: [usize; 3]) -> String {
    format!("{scales} scales, {sizes} sizes, {roi} numbers of the region")
}

impl Resize {
    /// For each axis of the input, what happens to it.
    fn changes(&self, inputs: &Inputs) -> Result<Vec<Change>> {
        let x = &inputs.get(0)?.shape;
        let axes: Vec<usize> = match &self.axes {
            Some(axes) => axes.iter().map(|&a| axis(a, x.len())).collect::<Result<_>>()?,
            None => (0..x.len()).collect(),
        };
        let floats = |i: Option<usize>, what: &str| -> Result<Option<Vec<f64>>> {
            let Some(i) = i else { return Ok(None) };
            Ok(inputs.constant(i, what)?.map(crate::tensor::Tensor::to_f64).filter(|v| !v.is_empty()))
        };
        let scales = match &self.scales {
            Some(scales) => Some(scales.iter().map(|&s| f64::from(s)).collect()),
            None => floats(self.inputs[1], "the scales of Resize")?,
        };
        let sizes = floats(self.inputs[2], "the sizes of Resize")?;
        let roi = match self.coordinates {
            Coordinates::Crop => floats(self.inputs[0], "the region of interest")?,
            _ => None,
        };
        let counts = [(&scales, 1), (&sizes, 1), (&roi, 2)];
        if counts.iter().any(|(list, n)| list.as_ref().is_some_and(|l| l.len() != n * axes.len())) {
            return Err(Error::new("scales, sizes or the region of interest do not fit the axes of Resize")
                .expected(counts_of(counts.map(|(list, n)| list.as_ref().map_or(0, |_| n * axes.len()))))
                .got(counts_of(counts.map(|(list, _)| list.as_ref().map_or(0, Vec::len)))));
        }
        let mut changes: Vec<Change> =
            x.iter().map(|&n| Change { size: n, output: n, scale: 1.0, roi: (0.0, 1.0) }).collect();
        let share = |i: usize, size: f64| size / x[axes[i]].max(1) as f64;
        let common = sizes.as_ref().and_then(|sizes| {
            let shares = sizes.iter().enumerate().map(|(i, &s)| share(i, s));
            match self.policy {
                Policy::Stretch => None,
                Policy::NotLarger => shares.reduce(f64::min),
                Policy::NotSmaller => shares.reduce(f64::max),
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
                (None, None, _) => return Err(Error::new("a Resize needs scales or sizes")),
            };
            if !(scale > 0.0 && scale.is_finite() && output >= 1.0 && output <= MOST_INDICES as f64) {
                return Err(Error::new("a scale of Resize does not fit")
                    .expected("a positive factor that leaves at least one element")
                    .got(format!("{scale} of {}", change.size)));
            }
            (change.scale, change.output) = (scale, output as usize);
        }
        Ok(changes)
    }

    /// Where new index `k` lies in the old axis.
    fn coordinate(&self, c: &Change, k: usize) -> f64 {
        let (k, size, output) = (k as f64, c.size as f64, c.output as f64);
        match self.coordinates {
            Coordinates::HalfPixel => (k + 0.5) / c.scale - 0.5,
            Coordinates::HalfPixelForNearest => (k + 0.5) / c.scale,
            Coordinates::PytorchHalfPixel if c.output == 1 => 0.0,
            Coordinates::PytorchHalfPixel => (k + 0.5) / c.scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = output / (c.scale * size);
                size / 2.0 * (1.0 - adjustment) + (k + 0.5) / c.scale - 0.5
            }
            Coordinates::AlignCorners if c.output == 1 => 0.0,
            // A length that the scale does not give exactly counts as the scale says, as in the reference.
            Coordinates::AlignCorners => k * (size - 1.0) / (c.scale * size - 1.0).max(f64::MIN_POSITIVE),
            Coordinates::Asymmetric => k / c.scale,
            Coordinates::Crop if c.output == 1 => (c.roi.0 + c.roi.1) * (size - 1.0) / 2.0,
            Coordinates::Crop => {
                c.roi.0 * (size - 1.0) + k * (c.roi.1 - c.roi.0) * (size - 1.0) / (output - 1.0)
            }
        }
    }

    /// The weight of an old element at distance `d` from a new one.
    fn weight(&self, d: f64) -> f64 {
        let d = d.abs();
        match self.mode {
            Mode::Nearest(_) => 1.0,
            Mode::Linear => (1.0 - d).max(0.0),
            Mode::Cubic(a) if d < 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
            Mode::Cubic(a) if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
            Mode::Cubic(_) => 0.0,
        }
    }

    /// The old indices and weights of new index `k`; `None` where it lies outside of the axis.
    fn taps(&self, c: &Change, k: usize) -> Option<Vec<(usize, f64)>> {
        let at = self.coordinate(c, k);
        let last = c.size as f64 - 1.0;
        if self.coordinates == Coordinates::Crop && !(0.0..=last).contains(&at) {
            return None;
        }
        let clamp = |i: f64| i.clamp(0.0, last) as usize;
        if let Mode::Nearest(rounding) = self.mode {
            let i = match rounding {
                Rounding::Floor => at.floor(),
                Rounding::Ceil => at.ceil(),
                Rounding::PreferFloor => (at - 0.5).ceil(),
                Rounding::PreferCeil => (at + 0.5).floor(),
            };
            return Some(vec![(clamp(i), 1.0)]);
        }
        let reach = if self.mode == Mode::Linear { 1.0 } else { 2.0 };
        // Shrinking with antialiasing widens the window by the factor.
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

    /// The kernel of one axis with its tables.
    fn table(&self, outer: usize, c: &Change, inner: usize) -> (Resample, Slot, Slot) {
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

    /// Which axes change; an axis that only crops nothing and scales by 1 does not.
    fn resized(&self, changes: &[Change]) -> Vec<usize> {
        let same = |c: &Change| c.size == c.output && c.scale == 1.0 && c.roi == (0.0, 1.0);
        (0..changes.len()).filter(|&a| !same(&changes[a])).collect()
    }
}

impl Operator for Resize {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let changes = self.changes(inputs)?;
        if x.is_empty() || x.shape.iter().any(|&n| n > MOST_INDICES) {
            return Err(Error::new("a Resize of a tensor of this shape is not supported")
                .got(show(&x.shape))
                .remedy(LEAVE_OUT));
        }
        Ok(vec![x.with_shape(&changes.iter().map(|c| c.output).collect::<Vec<_>>())])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let mut shape = l.inputs.get(0)?.shape.clone();
        let changes = self.changes(&l.inputs)?;
        let mut axes = self.resized(&changes);
        // What shrinks most comes first: less is left for the others.
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

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let x = flow.dyed(0);
        let axes = self.resized(&self.changes(&flow.inputs)?);
        if axes.iter().any(|&a| x.varies(a)) {
            flow.freeze(x.labels(), "resamples along channels");
            let frozen = crate::dye::Dyed::uniform(&flow.outputs[0].shape, crate::dye::FROZEN);
            flow.set(0, frozen);
            return Ok(());
        }
        let shape = flow.outputs[0].shape.clone();
        let dyed = x.reshaped(&shape);
        flow.set(0, dyed);
        Ok(())
    }

    /// Sizes name every axis, the channels too.
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
