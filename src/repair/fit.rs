//! New weights of one site, from sums over the calibration images.

use faer::Mat;

use super::Repair;
use super::twin::{Site, Twin};
use super::walk::{Sums, Wanted};
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernels::moments::CrossMoment as Cross;
use crate::kernels::moments::GramKernel as Gram;
use crate::lsq::{Moments, System};
use crate::stats::{Filters, Read, Seen, place, share_seen};
use crate::tensor::Tensor;

/// The pull towards the old weights, as a share of the mean diagonal; more where positions are few.
const LAMBDA: f64 = 1e-2;
/// The share of elements / positions that it is at least: most of what is wanted is explained.
const FEW: f64 = 0.1;
/// How often what passes a clamp is fitted once more.
const STEPS: usize = 3;
/// How far a spread may be corrected: what is nearly still says nothing of its scale.
const MOST_STRETCH: f64 = 10.0;

/// What was found for a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Refit {
    /// The layer.
    pub node: String,
    /// The ridge that its least squares needed, as a share of the mean diagonal.
    pub ridge: f64,
    /// Their condition is no better than this.
    pub condition: f64,
}

/// The moments of what a site reads.
fn patches(twin: &Twin, site: &Site) -> Gram {
    let channels = twin.facts.shape(site.read.value)[site.read.axis];
    let seen = match site.read.seen {
        Seen::Patches(windows, _) => Seen::Patches(windows, site.groups(channels)),
        other => other,
    };
    Read { seen, ..site.read }.kernel(twin.facts.shape(site.x), twin.batch())
}

/// The sums of what a site is to give with what it reads.
fn cross(twin: &Twin, site: &Site, y: ValueId) -> Wanted {
    let shape = twin.facts.shape(y);
    let points = site.read.seen == Seen::Points;
    let axis = if points { site.read.axis } else { place(site.taps.layer.channels, shape.len()) };
    Wanted::cross(site.x, y, Cross { patches: patches(twin, site), filters: shape[axis] })
}

/// The sums that a site needs.
pub(super) fn wanted(twin: &Twin, site: &Site, how: Repair) -> Vec<Wanted> {
    let shape = |v| twin.facts.shape(v);
    if how == Repair::Full {
        return vec![Wanted::gram(site.x, patches(twin, site)), cross(twin, site, site.y)];
    }
    // Of each channel by itself: Σ y², Σ y and how many.
    let alone = |value| {
        let read =
            Read { value, axis: place(site.taps.layer.channels, shape(value).len()), seen: Seen::Points };
        let all = read.kernel(shape(value), twin.batch());
        Wanted::gram(value, Gram { groups: all.channels, ..all })
    };
    vec![alone(if site.read.seen == Seen::Points { site.taps.pre } else { site.y }), alone(site.own)]
}

/// The lower triangles of `groups` matrices with `side` rows.
fn triangles(sums: &Sums, side: usize) -> Vec<Vec<f64>> {
    let of_group =
        |matrix: &[f64]| matrix.chunks(side).enumerate().flat_map(|(i, row)| row[..=i].to_vec()).collect();
    sums.0.chunks(side * side).map(of_group).collect()
}

/// Finds a site's weights anew and puts them into the cut network. `again` gives another sum of the site, of the network
/// as it is by then.
pub(super) fn refit(
    original: &Graph,
    twin: &mut Twin,
    at: usize,
    (sums, how): (&[Sums], Repair),
    again: &dyn Fn(&Twin, Wanted) -> Result<Sums>,
) -> Result<Refit> {
    let site = &twin.sites[at];
    let node = original.nodes[site.taps.node].name.clone();
    let constant = |v: usize| twin.graph.values[v].constant.as_ref();
    let lost = || Error::new("the weights of a layer were lost").node(&node);
    let weight = constant(site.weight).ok_or_else(lost)?;
    let mut filters = Filters::of(&site.taps.layer, weight, site.bias.and_then(constant))?;
    let (ridge, condition) = match (how, site.read.seen) {
        (Repair::Full, Seen::Points) => stand_in(original, twin, site, sums, &mut filters)?,
        (Repair::Full, _) => {
            let blocks = blocks(twin, site, &sums[0], &filters);
            blocks.iter().for_each(|b| b.solve(&sums[1], &mut filters));
            for clamped in site.clamped.into_iter().flat_map(|v| [v; STEPS]) {
                put(twin, at, &filters, &node)?;
                let cross = again(twin, cross(twin, &twin.sites[at], clamped))?;
                blocks.iter().for_each(|b| b.solve(&cross, &mut filters));
            }
            let worst = |of: fn(&System) -> f64| blocks.iter().map(|b| of(&b.system)).fold(0.0, f64::max);
            (worst(System::ridge), worst(System::condition))
        }
        _ => level(site, sums, &mut filters, how),
    };
    put(twin, at, &filters, &node)?;
    Ok(Refit { node, ridge, condition })
}

/// Puts a site's filters into the cut network.
fn put(twin: &mut Twin, at: usize, filters: &Filters, node: &str) -> Result<()> {
    let wrong = filters.rows.iter().flatten().chain(&filters.bias).any(|v| !v.is_finite());
    if wrong {
        return Err(Error::new("the calibration images lead to weights that are not numbers")
            .node(node)
            .remedy("see with `secateur check` whether the network's own answers are numbers; or use --repair none"));
    }
    let site = &twin.sites[at];
    if let Some(weight) = &mut twin.graph.values[site.weight].constant {
        *weight = filters.weights(&site.taps.layer, weight)?;
    }
    if let Some(bias) = site.bias.and_then(|v| twin.graph.values[v].constant.as_mut()) {
        *bias = Tensor::from_f64(bias.dtype, &bias.shape, &filters.bias);
    }
    Ok(())
}

/// Scale and shift behind a filter; none where it is not to be touched.
fn affine(site: &Site, filter: usize) -> Option<(f64, f64)> {
    let (scale, shift) = site.affine.as_ref().map_or((1.0, 0.0), |(a, b)| (a[filter], b[filter]));
    (scale.abs() > 1e-12).then_some((scale, shift))
}

/// Filters that read the same elements: a layer's, or those of one of its groups.
struct Block {
    /// Which group of those that stay.
    group: usize,
    system: System,
    /// Σ p, and how many.
    sum: Vec<f64>,
    /// Their numbers.
    own: Vec<usize>,
    /// Of what stays, the elements of a filter.
    elements: Vec<usize>,
    /// What follows them.
    affine: Vec<Option<(f64, f64)>>,
    /// Their weights before, as the original has them.
    old: Mat<f64>,
    biased: bool,
}

/// The blocks of a site, with their moments.
fn blocks(twin: &Twin, site: &Site, gram: &Sums, filters: &Filters) -> Vec<Block> {
    let taps = site.read.taps();
    let channels = twin.facts.shape(site.read.value)[site.read.axis];
    let of_group = channels / site.read.groups();
    let groups = site.groups(channels);
    let (ins, outs) = (site.kept_in.len() / groups, site.kept_out.len() / groups);
    let n = ins * taps;
    let block = |(group, triangle): (usize, Vec<f64>)| {
        let elements = site.kept_in[group * ins..][..ins].iter();
        let elements: Vec<usize> =
            elements.flat_map(|&c| (0..taps).map(move |t| c % of_group * taps + t)).collect();
        let own = site.kept_out[group * outs..][..outs].to_vec();
        let affine: Vec<Option<(f64, f64)>> = own.iter().map(|&o| affine(site, o)).collect();
        let scale = |o: usize| affine[o].map_or(1.0, |s| s.0);
        let old = Mat::from_fn(n, outs, |i, o| filters.rows[own[o]][elements[i]] * scale(o));
        let biased = site.bias.is_some();
        let moments = if biased { Moments::of(&triangle, n) } else { Moments::about_zero(&triangle, n) };
        let sum = triangle[n * (n + 1) / 2..].to_vec();
        let ridge = moments.ridge(LAMBDA, FEW);
        Block { group, system: System::of(moments, ridge), sum, own, elements, affine, old, biased }
    };
    triangles(gram, n + 1).into_iter().enumerate().map(block).collect()
}

impl Block {
    /// Least squares of the layer's own outputs, from the sums Σ y pᵀ of all blocks.
    fn solve(&self, cross: &Sums, filters: &mut Filters) {
        let (n, outs) = (self.old.nrows(), self.old.ncols());
        let cross = &cross.0[self.group * outs * (n + 1)..][..outs * (n + 1)];
        let cross = Mat::from_fn(outs, n + 1, |o, i| {
            // The layer gives what is left after what follows adds its own.
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

/// Least squares of what the layer reads: each channel of the original, from those that stay.
fn stand_in(
    original: &Graph,
    twin: &Twin,
    site: &Site,
    sums: &[Sums],
    filters: &mut Filters,
) -> Result<(f64, f64)> {
    let facts = &twin.facts;
    let channels = facts.shape(site.read.value)[site.read.axis];
    let n = site.kept_in.len();
    let moments = Moments::of(&triangles(&sums[0], n + 1)[0], n);
    let cross = Mat::from_fn(channels, n + 1, |c, i| sums[1].0[c * (n + 1) + i]);
    let old = Mat::from_fn(n, channels, |i, c| if site.kept_in[i] == c { 1.0 } else { 0.0 });
    let ridge = moments.ridge(LAMBDA, FEW);
    let system = System::of(moments, ridge);
    let found = system.fit(&cross, &old);
    // All of the original's weights, of channels that go too.
    let whole = facts.get(site.taps.weight).and_then(|f| f.value.clone());
    let whole = whole.ok_or_else(|| Error::new("the weights are not constant"))?;
    let before = Filters::of(&site.taps.layer, &whole, None)?;
    let seen = share_seen(original, facts, &site.taps, &site.read);
    let all: Vec<usize> = (0..channels).collect();
    filters.rows.iter_mut().for_each(|row| row.fill(0.0));
    for filter in 0..filters.rows.len() {
        let columns = before.columns(filter..filter + 1, channels, &all);
        let mean: f64 = (0..channels).map(|c| found.bias[c] * columns.row(c).iter().sum::<f64>()).sum();
        filters.bias[filter] += seen * mean;
        filters.put(filter..filter + 1, channels, &site.kept_in, &(&found.weights * columns));
    }
    Ok((system.ridge(), system.condition()))
}

/// Means, and spreads for BatchNormalization, brought back to what they were.
fn level(site: &Site, sums: &[Sums], filters: &mut Filters, how: Repair) -> (f64, f64) {
    let of = |sums: &Sums| -> Vec<(f64, f64)> {
        let one = |t: &Vec<f64>| {
            let (square, sum, count) = (t[0], t[1], t[2].max(1.0));
            let mean = sum / count;
            (mean, (square / count - mean * mean).max(0.0).sqrt())
        };
        triangles(sums, 2).iter().map(one).collect()
    };
    let (wanted, own) = (of(&sums[0]), of(&sums[1]));
    for (&filter, (wanted, own)) in site.kept_out.iter().zip(wanted.into_iter().zip(own)) {
        let Some((scale, shift)) = affine(site, filter) else { continue };
        let stretch = if how == Repair::Bn && own.1 > 0.0 && site.bias.is_some() {
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
