//! Refit of the weights of one target, from sums over the calibration images.

use faer::Mat;

use super::Repair;
use super::activation_cache::{MomentSums, WantedMoments};
use super::paired_graph::{PairedGraph, RefitTarget};
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernels::moments::CrossMoment;
use crate::kernels::moments::GramKernel as Gram;
use crate::lsq::{SecondMoments, System};
use crate::stats::{Filters, InputView, LayerInput, place, visible_share};
use crate::tensor::Tensor;

/// The ridge towards the old weights, as a share of the mean diagonal; larger with few positions.
const LAMBDA: f64 = 1e-2;
/// The ridge is at least this factor × elements / positions; small because inputs explain most of the target.
const FEW: f64 = 0.1;
/// The number of further fits before a clamp.
const STEPS: usize = 3;
/// The largest correction of a standard deviation: the scale of a nearly constant channel is not determined.
const MOST_STRETCH: f64 = 10.0;

/// The result of refitting a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Refit {
    /// The name of the layer.
    pub node: String,
    /// The ridge of the least-squares systems, as a share of the mean diagonal.
    pub ridge: f64,
    /// A lower bound of the condition number of the worst system.
    pub condition: f64,
}

/// Returns the Gram kernel of a target's input.
fn patches(paired: &PairedGraph, target: &RefitTarget) -> Gram {
    let channels = paired.facts.shape(target.input.value)[target.input.axis];
    // Removed channels leave the input: a depthwise layer has fewer groups.
    let seen = match target.input.kind {
        LayerInput::Patches(windows, _) => LayerInput::Patches(windows, target.groups(channels)),
        other => other,
    };
    InputView { kind: seen, ..target.input }.kernel(paired.facts.shape(target.x), paired.samples)
}

/// Returns the cross-moments of a target's input and its regression target `y`.
fn cross(paired: &PairedGraph, target: &RefitTarget, y: ValueId) -> WantedMoments {
    let shape = paired.facts.shape(y);
    let points = target.input.kind == LayerInput::Positions;
    let axis = if points { target.input.axis } else { place(target.taps.layer.channels, shape.len()) };
    WantedMoments::cross(target.x, y, CrossMoment { patches: patches(paired, target), filters: shape[axis] })
}

/// Returns the moments that the refit of a target needs.
pub(super) fn wanted(paired: &PairedGraph, target: &RefitTarget, how: Repair) -> Vec<WantedMoments> {
    let shape = |v| paired.facts.shape(v);
    if how == Repair::Full {
        return vec![WantedMoments::gram(target.x, patches(paired, target)), cross(paired, target, target.y)];
    }
    // Each channel separately: Σ y², Σ y and the count.
    let alone = |value| {
        let input = InputView {
            value,
            axis: place(target.taps.layer.channels, shape(value).len()),
            kind: LayerInput::Positions,
        };
        let all = input.kernel(shape(value), paired.samples);
        WantedMoments::gram(value, Gram { groups: all.channels, ..all })
    };
    vec![
        alone(if target.input.kind == LayerInput::Positions { target.taps.pre } else { target.y }),
        alone(target.own),
    ]
}

/// Returns the lower triangles of the groups' matrices with `side` rows.
fn triangles(sums: &MomentSums, side: usize) -> Vec<Vec<f64>> {
    let of_group =
        |matrix: &[f64]| matrix.chunks(side).enumerate().flat_map(|(i, row)| row[..=i].to_vec()).collect();
    sums.0.chunks(side * side).map(of_group).collect()
}

/// Refits a target's weights and stores them in the paired graph.
///
/// `again` computes further moments, of the paired graph with the weights stored so far.
pub(super) fn refit(
    original: &Graph,
    paired: &mut PairedGraph,
    at: usize,
    (sums, how): (&[MomentSums], Repair),
    again: &dyn Fn(&PairedGraph, WantedMoments) -> Result<MomentSums>,
    constrain: Option<&mut Constrain<'_>>,
) -> Result<Refit> {
    let target = &paired.targets[at];
    let node = original.nodes[target.taps.node].name.clone();
    let constant = |v: ValueId| paired.graph.values[v].constant.as_ref();
    let lost = || Error::new("the weights of a layer were lost").node(&node).internal();
    let weight = constant(target.weight).ok_or_else(lost)?;
    let mut filters = Filters::of(&target.taps.layer, weight, target.bias.and_then(constant))?;
    let (ridge, condition) = match (how, target.input.kind) {
        (Repair::Full, LayerInput::Positions) => {
            reconstruct_input(original, paired, target, sums, &mut filters)?
        }
        (Repair::Full, _) => {
            let blocks = blocks(paired, target, &sums[0], &filters);
            blocks.iter().for_each(|b| b.solve(&sums[1], &mut filters));
            let clamps = target.clamped.filter(|_| constrain.is_none());
            for clamped in clamps.into_iter().flat_map(|v| [v; STEPS]) {
                store(paired, at, &filters, &node)?;
                let cross = again(paired, cross(paired, &paired.targets[at], clamped))?;
                blocks.iter().for_each(|b| b.solve(&cross, &mut filters));
            }
            if let Some(constrain) = constrain {
                let free = filters.clone();
                let of: Vec<FilterSystem> = blocks.iter().map(FilterBlock::system).collect();
                constrain(&of, &mut filters);
                blocks.iter().for_each(|block| block.restore_means(&free, &mut filters));
            }
            let worst = |of: fn(&System) -> f64| blocks.iter().map(|b| of(&b.system)).fold(0.0, f64::max);
            (worst(System::ridge), worst(System::condition))
        }
        _ => restore_statistics(target, sums, &mut filters, how),
    };
    store(paired, at, &filters, &node)?;
    Ok(Refit { node, ridge, condition })
}

/// Stores a target's filters in the paired graph.
fn store(paired: &mut PairedGraph, at: usize, filters: &Filters, node: &str) -> Result<()> {
    let wrong = filters.rows.iter().flatten().chain(&filters.bias).any(|v| !v.is_finite());
    if wrong {
        return Err(Error::new("the calibration images lead to weights that are not finite")
            .node(node)
            .remedy(
                "see with `check()` whether the network's own outputs are finite; or set `repair` to none",
            ));
    }
    let target = &paired.targets[at];
    if let Some(weight) = &mut paired.graph.values[target.weight].constant {
        *weight = filters.weights(&target.taps.layer, weight)?;
    }
    if let Some(bias) = target.bias.and_then(|v| paired.graph.values[v].constant.as_mut()) {
        *bias = Tensor::from_f64(bias.dtype, &bias.shape, &filters.bias);
    }
    Ok(())
}

/// Returns the scale and shift behind a filter; `None` if a scale near 0 forbids a fit.
fn affine(target: &RefitTarget, filter: usize) -> Option<(f64, f64)> {
    let (scale, shift) = target.affine.as_ref().map_or((1.0, 0.0), |(a, b)| (a[filter], b[filter]));
    (scale.abs() > 1e-12).then_some((scale, shift))
}

/// The least-squares problem of filters with a common input: a layer, or one of its groups.
struct FilterBlock {
    /// The index among the groups that stay.
    group: usize,
    system: System,
    /// The sum of all patches Σ p, then their count.
    sum: Vec<f64>,
    /// The indices of the block's filters that stay.
    own: Vec<usize>,
    /// The elements of a filter that stay.
    elements: Vec<usize>,
    /// The scale and shift behind each filter.
    affine: Vec<Option<(f64, f64)>>,
    /// The original weights: elements × filters.
    old: Mat<f64>,
    biased: bool,
}

/// The least-squares problem of some filters of a layer whose weights are constrained.
#[derive(Debug)]
pub struct FilterSystem<'a> {
    /// The second moments of the filters' input in the changed network.
    pub moments: &'a SecondMoments,
    /// The least ridge of the moments, as a share of the mean diagonal.
    pub ridge: f64,
    /// The filters that have this input.
    pub filters: &'a [usize],
    /// The elements of a filter that the moments describe.
    pub elements: &'a [usize],
    /// The factor behind each filter.
    pub scales: Vec<f64>,
}

/// A function that replaces the weights of the best unconstrained fit by those that are allowed.
pub type Constrain<'a> = dyn FnMut(&[FilterSystem], &mut Filters) + 'a;

/// Returns the blocks of a target with their moments.
fn blocks(
    paired: &PairedGraph,
    target: &RefitTarget,
    gram: &MomentSums,
    filters: &Filters,
) -> Vec<FilterBlock> {
    let taps = target.input.taps();
    let channels = paired.facts.shape(target.input.value)[target.input.axis];
    let of_group = channels / target.input.groups();
    let groups = target.groups(channels);
    let (ins, outs) = (target.kept_in.len() / groups, target.kept_out.len() / groups);
    let n = ins * taps;
    let block = |(group, triangle): (usize, Vec<f64>)| {
        let elements = target.kept_in[group * ins..][..ins].iter();
        let elements: Vec<usize> =
            elements.flat_map(|&c| (0..taps).map(move |t| c % of_group * taps + t)).collect();
        let own = target.kept_out[group * outs..][..outs].to_vec();
        let affine: Vec<Option<(f64, f64)>> = own.iter().map(|&o| affine(target, o)).collect();
        let scale = |o: usize| affine[o].map_or(1.0, |s| s.0);
        let old = Mat::from_fn(n, outs, |i, o| filters.rows[own[o]][elements[i]] * scale(o));
        let biased = target.bias.is_some();
        let moments =
            if biased { SecondMoments::of(&triangle, n) } else { SecondMoments::about_zero(&triangle, n) };
        let sum = triangle[n * (n + 1) / 2..].to_vec();
        let ridge = moments.ridge(LAMBDA, FEW);
        FilterBlock { group, system: System::of(moments, ridge), sum, own, elements, affine, old, biased }
    };
    triangles(gram, n + 1).into_iter().enumerate().map(block).collect()
}

impl FilterBlock {
    /// Returns the problem without its solution.
    fn system(&self) -> FilterSystem<'_> {
        FilterSystem {
            moments: self.system.moments(),
            ridge: self.system.ridge(),
            filters: &self.own,
            elements: &self.elements,
            scales: self.affine.iter().map(|affine| affine.map_or(0.0, |(scale, _)| scale)).collect(),
        }
    }

    /// Changes biases so that the means of outputs are those of the filters `of`.
    fn restore_means(&self, of: &Filters, filters: &mut Filters) {
        let means = &self.system.moments().mean;
        for &filter in self.own.iter().filter(|_| self.biased) {
            let lost = |(&element, mean): (&usize, &f64)| {
                (of.rows[filter][element] - filters.rows[filter][element]) * mean
            };
            filters.bias[filter] += self.elements.iter().zip(means).map(lost).sum::<f64>();
        }
    }

    /// Fits the filters to the regression target, from the cross-moments Σ y pᵀ of all blocks.
    fn solve(&self, cross: &MomentSums, filters: &mut Filters) {
        let (n, outs) = (self.old.nrows(), self.old.ncols());
        let cross = &cross.0[self.group * outs * (n + 1)..][..outs * (n + 1)];
        let cross = Mat::from_fn(outs, n + 1, |o, i| {
            // The node behind the layer adds the shift: the layer fits the rest.
            let shift = self.affine[o].map_or(0.0, |s| s.1);
            if !self.biased && i == n { 0.0 } else { cross[o * (n + 1) + i] - shift * self.sum[i] }
        });
        let found = self.system.fit(&cross, &self.old);
        for (o, &filter) in self.own.iter().enumerate() {
            let Some((scale, _)) = self.affine[o] else { continue };
            filters.rows[filter].fill(0.0);
            for (i, &element) in self.elements.iter().enumerate() {
                filters.rows[filter][element] = found.weights[(i, o)] / scale;
            }
            filters.bias[filter] = found.bias[o] / scale;
        }
    }
}

/// Fits each input channel of the original as a combination of the kept ones, and folds the fit into the weights.
fn reconstruct_input(
    original: &Graph,
    paired: &PairedGraph,
    target: &RefitTarget,
    sums: &[MomentSums],
    filters: &mut Filters,
) -> Result<(f64, f64)> {
    let facts = &paired.facts;
    let channels = facts.shape(target.input.value)[target.input.axis];
    let n = target.kept_in.len();
    let triangle = &triangles(&sums[0], n + 1)[0];
    let old = Mat::from_fn(n, channels, |i, c| if target.kept_in[i] == c { 1.0 } else { 0.0 });
    let fit = |biased: bool| {
        let moments =
            if biased { SecondMoments::of(triangle, n) } else { SecondMoments::about_zero(triangle, n) };
        let mean = |c: usize, i: usize| if !biased && i == n { 0.0 } else { sums[1].0[c * (n + 1) + i] };
        let ridge = moments.ridge(LAMBDA, FEW);
        let system = System::of(moments, ridge);
        let found = system.fit(&Mat::from_fn(channels, n + 1, mean), &old);
        (system, found)
    };
    // The original's weights, including those of removed channels.
    let whole = facts.get(target.taps.weight).and_then(|f| f.value.clone());
    let whole = whole.ok_or_else(|| Error::new("the weights are not constant").internal())?;
    let before = Filters::of(&target.taps.layer, &whole, None)?;
    let share = visible_share(original, facts, &target.taps, &target.input);
    // Means need a bias, which holds them only if all phases of a strided transposed convolution add the same.
    let (mut system, mut found) = fit(target.bias.is_some());
    if target.bias.is_some() && !phases_agree(paired, target, &whole.shape, &before, &found.bias) {
        (system, found) = fit(false);
    }
    let all: Vec<usize> = (0..channels).collect();
    filters.rows.iter_mut().for_each(|row| row.fill(0.0));
    for filter in 0..filters.rows.len() {
        let columns = before.columns(filter..filter + 1, channels, &all);
        let mean: f64 = (0..channels).map(|c| found.bias[c] * columns.row(c).iter().sum::<f64>()).sum();
        filters.bias[filter] += share * mean;
        filters.put(filter..filter + 1, channels, &target.kept_in, &(&found.weights * columns));
    }
    Ok((system.ridge(), system.condition()))
}

/// Returns whether constant input channels add the same to every position of a layer's output, apart from borders.
///
/// A transposed convolution of stride s applies every s-th tap to a position: the sums of these taps may differ.
fn phases_agree(
    paired: &PairedGraph,
    target: &RefitTarget,
    weights: &[usize],
    before: &Filters,
    constants: &[f64],
) -> bool {
    /// The largest difference that is still rounding, relative to the largest sum.
    const NEAR: f64 = 1e-3;
    if !target.taps.layer.transposed {
        return true;
    }
    let (input, output) = (paired.facts.shape(target.input.value), paired.facts.shape(target.taps.pre));
    let sizes = input.iter().zip(output).skip(2);
    let strides: Vec<usize> = sizes.map(|(i, o)| ((2 * o + i) / (2 * i).max(1)).max(1)).collect();
    let kernel = &weights[2..];
    let phase = |tap: usize| {
        let axes = kernel.iter().zip(&strides).rev();
        axes.fold((tap, 0), |(rest, phase), (&k, &s)| (rest / k, phase * s + rest % k % s)).1
    };
    let phases: usize = strides.iter().product();
    let all: Vec<usize> = (0..constants.len()).collect();
    (0..before.rows.len()).all(|filter| {
        let columns = before.columns(filter..filter + 1, constants.len(), &all);
        let mut sums = vec![0.0; phases];
        for (c, &constant) in constants.iter().enumerate() {
            columns.row(c).iter().enumerate().for_each(|(tap, w)| sums[phase(tap)] += constant * w);
        }
        let (low, high) = sums.iter().fold((f64::MAX, f64::MIN), |(l, h), &s| (l.min(s), h.max(s)));
        high - low <= NEAR * high.abs().max(low.abs())
    })
}

/// Restores the means of a layer's outputs, and their standard deviations for [`Repair::Bn`].
fn restore_statistics(
    target: &RefitTarget,
    sums: &[MomentSums],
    filters: &mut Filters,
    how: Repair,
) -> (f64, f64) {
    let of = |sums: &MomentSums| -> Vec<(f64, f64)> {
        let one = |t: &Vec<f64>| {
            let (square, sum, count) = (t[0], t[1], t[2].max(1.0));
            let mean = sum / count;
            (mean, (square / count - mean * mean).max(0.0).sqrt())
        };
        triangles(sums, 2).iter().map(one).collect()
    };
    let (wanted, own) = (of(&sums[0]), of(&sums[1]));
    for (&filter, (wanted, own)) in target.kept_out.iter().zip(wanted.into_iter().zip(own)) {
        let Some((scale, shift)) = affine(target, filter) else { continue };
        let stretch = if how == Repair::Bn && own.1 > 0.0 && target.bias.is_some() {
            (wanted.1 / own.1).clamp(1.0 / MOST_STRETCH, MOST_STRETCH)
        } else {
            1.0
        };
        let before = filters.bias[filter] * scale + shift;
        filters.rows[filter].iter_mut().for_each(|w| *w *= stretch);
        filters.bias[filter] = (stretch * (before - own.0) + wanted.0 - shift) / scale;
    }
    (0.0, 1.0)
}
