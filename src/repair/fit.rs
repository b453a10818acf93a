//! New weights of one site, from sums over the calibration images.

use faer::Mat;

use super::Repair;
use super::twin::{Site, Twin};
use super::walk::{Sums, Wanted};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::kernels::cross::Cross;
use crate::kernels::gram::Gram;
use crate::lsq::{Moments, fit};
use crate::stats::{Filters, Read, Seen, place, share_seen};
use crate::tensor::Tensor;

/// The pull towards the old weights, as a share of the mean diagonal.
const LAMBDA: f64 = 1e-4;
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

/// The sums that a site needs.
pub(super) fn wanted(twin: &Twin, site: &Site, batch: usize, how: Repair) -> Vec<Wanted> {
    let shape = |v| twin.facts.shape(v);
    if how == Repair::Full {
        let axis = site.read.axis;
        let channels = shape(site.read.value)[axis];
        let seen = match site.read.seen {
            Seen::Patches(windows, _) => Seen::Patches(windows, site.groups(channels)),
            other => other,
        };
        let patches = Read { seen, ..site.read }.kernel(shape(site.x), batch);
        let y = shape(site.y);
        let y_axis = if seen == Seen::Points { axis } else { place(site.taps.layer.channels, y.len()) };
        let cross = Cross { patches: patches.clone(), filters: y[y_axis] };
        return vec![Wanted::gram(site.x, patches), Wanted::cross(site.x, site.y, cross)];
    }
    // Of each channel by itself: Σ y², Σ y and how many.
    let alone = |value| {
        let read =
            Read { value, axis: place(site.taps.layer.channels, shape(value).len()), seen: Seen::Points };
        let all = read.kernel(shape(value), batch);
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

/// Finds a site's weights anew and puts them into the cut network.
pub(super) fn refit(
    original: &Graph,
    twin: &mut Twin,
    at: usize,
    sums: &[Sums],
    how: Repair,
) -> Result<Refit> {
    let site = &twin.sites[at];
    let node = original.nodes[site.taps.node].name.clone();
    let constant = |v: usize| twin.graph.values[v].constant.clone();
    let lost = || Error::new("the weights of a layer were lost").node(&node);
    let weight = constant(site.weight).ok_or_else(lost)?;
    let bias = site.bias.and_then(constant);
    let mut filters = Filters::of(&site.taps.layer, &weight, bias.as_ref())?;
    let found = match (how, site.read.seen) {
        (Repair::Full, Seen::Points) => stand_in(original, twin, site, sums, &mut filters)?,
        (Repair::Full, _) => solve(twin, site, sums, &mut filters),
        _ => level(site, sums, &mut filters, how),
    };
    let wrong = filters.rows.iter().flatten().chain(&filters.bias).any(|v| !v.is_finite());
    if wrong {
        return Err(Error::new("the calibration images lead to weights that are not numbers")
            .node(&node)
            .remedy("see with `secateur check` whether the network's own answers are numbers; or use --repair none"));
    }
    let new = filters.weights(&site.taps.layer, &weight)?;
    let new_bias = bias.map(|old| Tensor::from_f64(old.dtype, &old.shape, &filters.bias));
    let (at_weight, at_bias) = (site.weight, site.bias);
    twin.graph.values[at_weight].constant = Some(new);
    if let (Some(at), Some(bias)) = (at_bias, new_bias) {
        twin.graph.values[at].constant = Some(bias);
    }
    let (ridge, condition) = found;
    Ok(Refit { node, ridge, condition })
}

/// Scale and shift behind a filter; none where it is not to be touched.
fn affine(site: &Site, filter: usize) -> Option<(f64, f64)> {
    let (scale, shift) = site.affine.as_ref().map_or((1.0, 0.0), |(a, b)| (a[filter], b[filter]));
    (scale.abs() > 1e-12).then_some((scale, shift))
}

/// Least squares of the layer's own outputs.
fn solve(twin: &Twin, site: &Site, sums: &[Sums], filters: &mut Filters) -> (f64, f64) {
    let taps = site.read.taps();
    let channels = twin.facts.shape(site.read.value)[site.read.axis];
    let of_group = channels / site.read.groups();
    let makes = filters.rows.len() / site.read.groups();
    let groups = site.groups(channels);
    let (ins, outs) = (site.kept_in.len() / groups, site.kept_out.len() / groups);
    let n = ins * taps;
    let cross = sums[1].0.chunks(outs * (n + 1));
    let (mut ridge, mut condition) = (0.0f64, 1.0f64);
    for (group, (triangle, cross)) in triangles(&sums[0], n + 1).iter().zip(cross).enumerate() {
        // The elements of a filter that stay, and the group's filters.
        let ins = &site.kept_in[group * ins..][..ins];
        let elements: Vec<usize> =
            ins.iter().flat_map(|&c| (0..taps).map(move |t| c % of_group * taps + t)).collect();
        let own: Vec<usize> = site.kept_out[group * outs..][..outs].to_vec();
        debug_assert!(own.iter().all(|o| o / makes == ins[0] / of_group));
        let scales: Vec<Option<(f64, f64)>> = own.iter().map(|&o| affine(site, o)).collect();
        let scale = |o: usize| scales[o].map_or(1.0, |s| s.0);
        let old = Mat::from_fn(n, outs, |i, o| filters.rows[own[o]][elements[i]] * scale(o));
        let moments = match site.bias {
            Some(_) => Moments::of(triangle, n),
            None => Moments::about_zero(triangle, n),
        };
        let cross = Mat::from_fn(outs, n + 1, |o, i| {
            let wanted = cross[o * (n + 1) + i];
            // Without a bias of its own, the layer gives what is left after what follows adds its own.
            let shift = scales[o].map_or(0.0, |s| s.1);
            let sum = triangle[n * (n + 1) / 2 + i];
            if site.bias.is_none() && i == n { 0.0 } else { wanted - shift * sum }
        });
        let found = fit(&moments, &cross, &old, LAMBDA);
        ridge = ridge.max(found.ridge);
        condition = condition.max(found.condition);
        for (o, &filter) in own.iter().enumerate() {
            let Some((scale, _)) = scales[o] else { continue };
            filters.rows[filter].fill(0.0);
            for (i, &element) in elements.iter().enumerate() {
                filters.rows[filter][element] = found.weights[(i, o)] / scale;
            }
            filters.bias[filter] = found.bias[o] / scale;
        }
    }
    (ridge, condition)
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
    let found = fit(&moments, &cross, &old, LAMBDA);
    // All of the original's weights, of channels that go too.
    let whole = facts.get(site.taps.weight).and_then(|f| f.value.clone());
    let whole = whole.ok_or_else(|| Error::new("the weights are not constant"))?;
    let before = Filters::of(&site.taps.layer, &whole, None)?;
    let seen = share_seen(original, facts, &site.taps, &site.read);
    for (o, row) in filters.rows.iter_mut().enumerate() {
        let each = row.len() / channels;
        row.fill(0.0);
        for c in 0..channels {
            let from = &before.rows[o][c * each..][..each];
            for (i, &kept) in site.kept_in.iter().enumerate() {
                let m = found.weights[(i, c)];
                row[kept * each..][..each].iter_mut().zip(from).for_each(|(w, f)| *w += m * f);
            }
            filters.bias[o] += found.bias[c] * seen * from.iter().sum::<f64>();
        }
    }
    Ok((found.ridge, found.condition))
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
