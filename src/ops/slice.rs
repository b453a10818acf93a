//! The operators Slice and Pad.

use super::data_movement::{RegionCopy, propagate_moved};
use super::lower::{Lowering, Slot};
use super::{Build, Constancy, Operator, Rewrite};
use crate::coupling::{ChannelLabels, FROZEN, Propagation, for_each_index};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::movement::Fill;
use crate::tensor::show;

#[derive(Debug)]
struct Slice {
    /// The attributes starts, ends and axes, which are inputs since opset 10.
    attributes: Option<(Vec<i64>, Vec<i64>, Option<Vec<i64>>)>,
}

/// The range of indices along one axis of a slice.
#[derive(Clone, Copy, Debug, PartialEq)]
struct AxisRange {
    start: usize,
    step: isize,
    count: usize,
}

/// Builds Slice: a range of indices along each axis.
pub(super) fn slice(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let attributes = if build.opset < 10 {
        let required = |name: &str| {
            attrs
                .ints(name)?
                .ok_or_else(|| Error::new(format!("the attribute {name} is missing")).invalid_model())
        };
        Some((required("starts")?, required("ends")?, attrs.ints("axes")?))
    } else {
        None
    };
    Ok(Box::new(Slice { attributes }))
}

impl Slice {
    /// Returns (starts, ends, axes, steps), with defaults for absent axes and steps.
    fn bounds(&self, inputs: &Inputs) -> Result<[Vec<i64>; 4]> {
        let (starts, ends, axes, steps) = match &self.attributes {
            Some((starts, ends, axes)) => (starts.clone(), ends.clone(), axes.clone(), None),
            None => {
                let required = |i, what: &str| {
                    inputs.ints(i, what)?.ok_or_else(|| {
                        Error::new(format!("{what} are missing")).with_kind(ErrorKind::InvalidModel)
                    })
                };
                (
                    required(1, "the starts of Slice")?,
                    required(2, "the ends of Slice")?,
                    inputs.ints(3, "the axes of Slice")?,
                    inputs.ints(4, "the steps of Slice")?,
                )
            }
        };
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        let lens = [starts.len(), ends.len(), axes.len(), steps.len()];
        if lens.iter().any(|&n| n != starts.len()) || steps.contains(&0) {
            return Err(Error::new("the bounds of Slice do not fit each other")
                .expected("as many starts, ends, axes and steps, no step of 0")
                .got(format!("{lens:?} of them, steps {steps:?}"))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok([starts, ends, axes, steps])
    }

    fn ranges(&self, inputs: &Inputs) -> Result<Vec<AxisRange>> {
        let shape = &inputs.get(0)?.shape;
        let [starts, ends, axes, steps] = self.bounds(inputs)?;
        let mut ranges: Vec<AxisRange> =
            shape.iter().map(|&n| AxisRange { start: 0, step: 1, count: n }).collect();
        for i in 0..starts.len() {
            let at = axis(axes[i], shape.len())?;
            ranges[at] = range(starts[i], ends[i], steps[i], shape[at]);
        }
        Ok(ranges)
    }
}

/// Resolves the range along one axis of length `size`, by the rules of ONNX and NumPy.
fn range(start: i64, end: i64, step: i64, size: usize) -> AxisRange {
    let n = size as i64;
    let wrap = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    let (start, end) = if step > 0 {
        (wrap(start).clamp(0, n), wrap(end).clamp(0, n))
    } else {
        (wrap(start).clamp(-1, n - 1), wrap(end).clamp(-1, n - 1))
    };
    let span = if step > 0 { end - start } else { start - end };
    let count = if span <= 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) as usize };
    AxisRange { start: start.max(0) as usize, step: step as isize, count }
}

impl Operator for Slice {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let shape: Vec<usize> = self.ranges(inputs)?.iter().map(|r| r.count).collect();
        Ok(vec![inputs.get(0)?.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let ranges = self.ranges(&l.inputs)?;
        if ranges.iter().any(|r| r.count == 0) {
            return Ok(());
        }
        let (src, dst) = (&l.inputs.get(0)?.shape, l.shape(0));
        let copy = RegionCopy {
            src,
            src_start: ranges.iter().map(|r| r.start).collect(),
            src_step: ranges.iter().map(|r| r.step).collect(),
            dst,
            dst_start: vec![0; dst.len()],
            count: dst.to_vec(),
        }
        .kernel()?;
        l.call(copy, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn constancy(&self, _: &Inputs, _: &[usize]) -> Constancy {
        Constancy::Passed
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let ranges = self.ranges(&flow.inputs)?;
        let x = flow.input_labels(0);
        for (at, r) in ranges.iter().enumerate() {
            if r.step.abs() > 1 && r.count > 1 && x.varies(at) {
                // Every second of the kept channels differs from the kept ones of every second channel.
                let labels = x.labels().to_vec();
                flow.freeze(&labels, "takes channels in steps");
            }
        }
        propagate_moved(self, flow)
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let rank = r.inputs.get(0)?.shape.len();
        let ranges = self.ranges(&r.inputs)?;
        let [mut starts, mut ends, axes, steps] = self.bounds(&r.inputs)?;
        let mut changed = false;
        for i in 0..starts.len() {
            let at = axis(axes[i], rank)?;
            let kept = r.kept_inputs(0, at);
            let range = ranges[at];
            if kept.iter().all(|&k| k) || range.count == 0 {
                continue;
            }
            let left = |upto: usize| kept[..upto].iter().filter(|&&k| k).count() as i64;
            let (low, high) = if steps[i] > 0 {
                (range.start, range.start + range.count)
            } else {
                (range.start + 1 - range.count, range.start + 1)
            };
            let (low, high) = (left(low), left(high));
            // With negative steps, an end of −1 would be the last index; the minimum is before the first one.
            (starts[i], ends[i]) = if steps[i] > 0 {
                (low, high)
            } else {
                (high - 1, if low == 0 { i64::MIN } else { low - 1 })
            };
            changed = true;
        }
        if changed {
            let by_attribute = self.attributes.is_some();
            r.set_list("starts", 1, by_attribute, starts);
            r.set_list("ends", 2, by_attribute, ends);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

#[derive(Debug)]
struct Pad {
    mode: PadMode,
    /// The attributes pads and value, which are inputs since opset 11.
    attributes: Option<(Vec<i64>, f32)>,
}

/// A run of indices along one axis, copied from `src` to `dst`.
#[derive(Clone, Copy, Debug)]
struct PadRun {
    src: usize,
    step: isize,
    dst: usize,
    count: usize,
}

/// Builds Pad: adds a border of constants, reflections, edges or wrapped values.
pub(super) fn pad(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let mode = match attrs.string("mode")?.as_deref() {
        None | Some("constant") => PadMode::Constant,
        Some("reflect") => PadMode::Reflect,
        Some("edge") => PadMode::Edge,
        Some("wrap") => PadMode::Wrap,
        Some(other) => {
            return Err(Error::new("an unknown mode of Pad")
                .expected("constant, reflect, edge or wrap")
                .got(other)
                .invalid_model());
        }
    };
    let attributes = if build.opset < 11 {
        let pads =
            attrs.ints("pads")?.ok_or_else(|| Error::new("the attribute pads is missing").invalid_model())?;
        Some((pads, attrs.float_or("value", 0.0)?))
    } else {
        None
    };
    Ok(Box::new(Pad { mode, attributes }))
}

impl Pad {
    /// Returns the pads (begin, end) of each axis; negative ones crop.
    fn pads(&self, inputs: &Inputs) -> Result<Vec<(i64, i64)>> {
        let rank = inputs.get(0)?.shape.len();
        let pads = match &self.attributes {
            Some((pads, _)) => pads.clone(),
            None => inputs
                .ints(1, "the pads")?
                .ok_or_else(|| Error::new("the pads are missing").with_kind(ErrorKind::InvalidModel))?,
        };
        let axes = match &self.attributes {
            Some(_) => None,
            None => inputs.ints(3, "the axes of Pad")?,
        };
        let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
        if pads.len() != 2 * axes.len() {
            return Err(Error::new("the pads do not fit the tensor")
                .expected(format!("{} numbers", 2 * axes.len()))
                .got(format!("{pads:?}"))
                .with_kind(ErrorKind::InvalidModel));
        }
        let mut all = vec![(0, 0); rank];
        for (i, &a) in axes.iter().enumerate() {
            all[axis(a, rank)?] = (pads[i], pads[i + axes.len()]);
        }
        Ok(all)
    }

    /// Returns the number of added elements, in constant mode.
    fn value(&self, inputs: &Inputs) -> Result<f32> {
        match &self.attributes {
            Some((_, value)) => Ok(*value),
            None => Ok(inputs.float(2, "the value of Pad")?.unwrap_or(0.0) as f32),
        }
    }

    /// Returns the runs of one axis that together fill the output, except for constant padding.
    fn runs(&self, size: usize, (begin, end): (i64, i64)) -> Result<Vec<PadRun>> {
        let crop = |pad: i64| pad.min(0).unsigned_abs() as usize;
        let (first, last) = (crop(begin), size.saturating_sub(crop(end)));
        let (before, after) = (begin.max(0) as usize, end.max(0) as usize);
        let core = last.saturating_sub(first);
        let least = match self.mode {
            PadMode::Constant => 0,
            PadMode::Edge => usize::from(before + after > 0),
            PadMode::Reflect => {
                if before + after > 0 {
                    before.max(after) + 1
                } else {
                    0
                }
            }
            PadMode::Wrap => before.max(after),
        };
        if core < least {
            return Err(Error::new("the padding is larger than what it repeats")
                .expected(format!("an axis of at least {least}"))
                .got(core.to_string())
                .with_kind(ErrorKind::InvalidModel));
        }
        let run = |src: usize, step, dst, count| PadRun { src, step, dst, count };
        let mut runs = vec![run(first, 1, before, core)];
        match self.mode {
            PadMode::Constant => {}
            PadMode::Reflect => {
                runs.push(run(first + before, -1, 0, before));
                runs.push(run((first + core).saturating_sub(2), -1, before + core, after));
            }
            PadMode::Edge => {
                runs.push(run(first, 0, 0, before));
                runs.push(run((first + core).saturating_sub(1), 0, before + core, after));
            }
            PadMode::Wrap => {
                runs.push(run(first + core - before.min(core), 1, 0, before));
                runs.push(run(first, 1, before + core, after));
            }
        }
        runs.retain(|r| r.count > 0);
        Ok(runs)
    }
}

impl Operator for Pad {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let pads = self.pads(inputs)?;
        let mut shape = Vec::new();
        for (&size, &(begin, end)) in x.shape.iter().zip(&pads) {
            self.runs(size, (begin, end))?;
            let padded = (size as i64).saturating_add(begin).saturating_add(end);
            shape.push(usize::try_from(padded).map_err(|_| {
                Error::new("Pad removes more than the axis has")
                    .expected(format!("at most {size}"))
                    .got(format!("{begin} and {end} on {}", show(&x.shape)))
                    .with_kind(ErrorKind::InvalidModel)
            })?);
        }
        Ok(vec![x.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (src, dst) = (l.inputs.get(0)?.shape.clone(), l.shape(0));
        let pads = self.pads(&l.inputs)?;
        let runs = src.iter().zip(&pads).map(|(&size, &p)| self.runs(size, p)).collect::<Result<Vec<_>>>()?;
        if self.mode == PadMode::Constant && pads.iter().any(|&(b, e)| b > 0 || e > 0) {
            let value = self.value(&l.inputs)?;
            l.call(Fill { len: dst.iter().product(), value }, vec![], Slot::Output(0));
        }
        let mut regions: Vec<Vec<PadRun>> = vec![vec![]];
        for axis_runs in &runs {
            regions = regions
                .iter()
                .flat_map(|done| axis_runs.iter().map(move |&run| [done.as_slice(), &[run]].concat()))
                .collect();
        }
        for runs in regions {
            let copy = RegionCopy {
                src: &src,
                src_start: runs.iter().map(|r| r.src).collect(),
                src_step: runs.iter().map(|r| r.step).collect(),
                dst,
                dst_start: runs.iter().map(|r| r.dst).collect(),
                count: runs.iter().map(|r| r.count).collect(),
            }
            .kernel()?;
            l.call(copy, vec![Slot::Input(0)], Slot::Output(0));
        }
        Ok(())
    }

    fn constancy(&self, inputs: &Inputs, channels: &[usize]) -> Constancy {
        let (Ok(pads), Ok(value)) = (self.pads(inputs), self.value(inputs)) else { return Constancy::Lost };
        if self.mode != PadMode::Constant {
            return Constancy::Passed;
        }
        let around = pads.iter().enumerate().any(|(a, p)| !channels.contains(&a) && (p.0 > 0 || p.1 > 0));
        Constancy::Padded { value: f64::from(value), around }
    }

    /// Labels padding: along space, with the label of its channel, along channels, with new labels.
    ///
    /// A padded channel may be removed together with a channel that it meets later.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let pads = self.pads(&flow.inputs)?;
        if self.mode != PadMode::Constant {
            // If a channel were removed, the padding would repeat others.
            for at in x.varying().into_iter().filter(|&at| pads[at] != (0, 0)) {
                let labels = flow.axis_labels(0, at);
                flow.freeze(&labels, "repeats channels beside others");
            }
            return propagate_moved(self, flow);
        }
        let shape = flow.outputs[0].shape.clone();
        let mut fill = Vec::new();
        for (at, &size) in shape.iter().enumerate() {
            fill.push(if x.varies(at) { flow.coupling.classes.new_labels(size) } else { vec![FROZEN; size] });
        }
        let stored: Vec<usize> = (0..shape.len()).map(|a| if x.varies(a) { shape[a] } else { 1 }).collect();
        let mut labels = Vec::new();
        for_each_index(&stored, |index| {
            let mut source = index.to_vec();
            let mut outside = None;
            for (at, i) in source.iter_mut().enumerate().filter(|&(at, _)| x.varies(at)) {
                let from = *i as i64 - pads[at].0;
                match usize::try_from(from).ok().filter(|&f| f < x.shape[at]) {
                    Some(from) => *i = from,
                    None => outside = Some(fill[at][index[at]]),
                }
            }
            labels.push(outside.unwrap_or_else(|| x.at(&source)));
        });
        flow.set_output(0, ChannelLabels::broadcast(&shape, &stored, labels));
        Ok(())
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let shape = &r.inputs.get(0)?.shape;
        let before = self.pads(&r.inputs)?;
        let mut pads = before.clone();
        for (at, pad) in pads.iter_mut().enumerate() {
            if r.shrunk(0, at).is_none() && r.kept_inputs(0, at).iter().all(|&k| k) {
                continue;
            }
            let (out, input) = (r.kept_outputs(0, at), r.kept_inputs(0, at));
            let count = |mask: &[bool]| mask.iter().filter(|&&k| k).count() as i64;
            let part = |p: i64, out: &[bool], input: &[bool]| if p >= 0 { count(out) } else { -count(input) };
            let (b, e) = (pad.0.unsigned_abs() as usize, pad.1.unsigned_abs() as usize);
            let last = |mask: &'_ [bool], n: usize| mask[mask.len() - n.min(mask.len())..].to_vec();
            *pad = (
                part(pad.0, &out[..b.min(out.len())], &input[..b.min(shape[at])]),
                part(pad.1, &last(&out, e), &last(&input, e)),
            );
        }
        if pads != before {
            let axes = match &self.attributes {
                Some(_) => None,
                None => r.inputs.ints(3, "the axes of Pad")?,
            };
            let axes = match axes {
                Some(axes) => axes.iter().map(|&a| axis(a, shape.len())).collect::<Result<Vec<_>>>()?,
                None => (0..shape.len()).collect(),
            };
            let list = axes.iter().map(|&a| pads[a].0).chain(axes.iter().map(|&a| pads[a].1)).collect();
            r.set_list("pads", 1, self.attributes.is_some(), list);
        }
        Ok(())
    }
}
