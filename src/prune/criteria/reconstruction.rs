//! Reconstruction error of the consumers after least-squares compensation, scaled by the output's sensitivity.
//!
//! The coupled channels of a dependency group are eliminated greedily: each step removes the set with the least loss
//! after compensation ([`crate::lsq::eliminate`]). The losses add up to a curve E(k), made convex so that scores never
//! fall along the order. If the change of the network's output without the first k sets was measured
//! (`Header::sensitivity`), the curve is scaled to pass through these points; without measurements, a lost share of
//! variance counts equally in every layer.

use std::borrow::Cow;

use super::consumer_losses::Losses;
use super::{Context, CriterionRow, Missing, Needs, losses};
use crate::lsq::Loss;
use crate::prune::consumers::Consumers;
use crate::stats::Sensitivity;

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "reconstruction",
    formula: "block elimination over the consumers: tr(W_cᵀ [(H⁻¹)_cc]⁻¹ W_c) as a share of the output's variance, H the moments of patches, W and H⁻¹ downdated; summed, made convex, scaled by the measured change of the network's output",
    source: "Hassibi & Stork 1993, Optimal Brain Surgeon, by blocks; Meng et al. 2024, OSSCAR",
    needs: Needs { patches: true, ..Needs::DATA },
    score: |layer| losses(layer, &layer.context.reconstruction, &of_all),
};

fn of_all(context: &Context) -> Result<Losses, Missing> {
    const NO_PATCHES: Missing = Missing(
        "no Gram matrices of patches were gathered",
        "add `data`, and they are gathered into the profile; or run `profile()` with `gram` patch; or choose another criterion, such as apoz",
    );
    let (graph, channels) = (context.graph, context.channels);
    let consumers = Consumers::of(graph, channels, context.profile).ok_or(NO_PATCHES)?;
    let mut losses = Losses::new();
    for group in channels.dependency_groups() {
        let free = |&k: &usize| channels.coupled[k].block.is_none() && !channels.gone.contains(&k);
        let free: Vec<usize> = group.into_iter().filter(free).collect();
        let Some(&first) = free.first() else { continue };
        let curve = match context.curves.and_then(|curves| curves.get(&free)) {
            Some(cached) => cached.map(Cow::Borrowed),
            None => {
                const NOT_FLOATS: Missing =
                    Missing("its weights are not floats", "choose another criterion, such as l1");
                consumers.curve(&free).map_err(|_| NOT_FLOATS)?.map(Cow::Owned)
            }
        };
        // Channels without consumers have no loss.
        let Some(curve) = curve else { continue };
        let (node, channel) = channels.coupled[first].members[0];
        let first = (graph.nodes[node].name.clone(), channel);
        let known = context.profile.header.sensitivity.iter().filter(|s| s.first == first);
        let damages = convex(&scaled(&curve, &known.collect::<Vec<_>>()));
        for (step, damage) in curve.iter().zip(damages) {
            losses.insert(channels.coupled[free[step.candidate]].root, damage);
        }
    }
    Ok(losses)
}

/// Returns the steps of the curve scaled through the measured points, with interpolated factors between them.
fn scaled(curve: &[Loss], measured: &[&Sensitivity]) -> Vec<f64> {
    let cumulative: Vec<f64> = curve
        .iter()
        .scan(0.0, |sum, step| {
            *sum += step.loss;
            Some(*sum)
        })
        .collect();
    let mut factors: Vec<(f64, f64)> = measured
        .iter()
        .filter(|s| s.removed > 0 && cumulative.get(s.removed - 1).is_some_and(|&e| e > 0.0))
        .map(|s| (s.removed as f64, s.damage / cumulative[s.removed - 1]))
        .collect();
    factors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let factor = |k: f64| -> f64 {
        let after = factors.iter().position(|&(at, _)| at >= k);
        match (after, factors.last()) {
            (Some(0), _) => factors[0].1,
            (Some(i), _) => {
                let ((a, low), (b, high)) = (factors[i - 1], factors[i]);
                low + (high - low) * (k - a) / (b - a)
            }
            (None, Some(&(_, last))) => last,
            (None, None) => 1.0,
        }
    };
    let mut before = 0.0;
    let steps = cumulative.iter().enumerate().map(|(i, sum)| {
        let now = sum * factor((i + 1) as f64);
        let step = now - before;
        before = now;
        step
    });
    steps.collect()
}

/// Returns the slopes of the lower convex hull: falling neighbours are pooled.
///
/// Within a pool, later steps grow by a factor of 1 + 10⁻⁹ per step, so that the order stays.
fn convex(steps: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for &step in steps {
        let mut pool = (step.max(0.0), 1);
        while let Some(&(sum, count)) = pools.last() {
            if sum / count as f64 <= pool.0 / pool.1 as f64 {
                break;
            }
            pool = (pool.0 + sum, pool.1 + count);
            pools.pop();
        }
        pools.push(pool);
    }
    let slopes = pools.into_iter().flat_map(|(sum, count)| std::iter::repeat_n(sum / count as f64, count));
    slopes.enumerate().map(|(i, slope)| slope * (1.0 + 1e-9 * i as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_convex_and_keep_their_order() {
        let steps = convex(&[1.0, 5.0, 3.0, 10.0]);
        let expected = [1.0, 4.0, 4.0, 10.0];
        assert!(steps.iter().zip(expected).all(|(s, e)| (s - e).abs() < 1e-6), "{steps:?}");
        assert!(steps.windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn the_curve_passes_through_the_measured_points() {
        let curve: Vec<Loss> = (0..4).map(|candidate| Loss { candidate, loss: 1.0 }).collect();
        let at = |removed, damage| Sensitivity { first: (String::new(), 0), removed, damage };
        let (half, all) = (at(2, 10.0), at(4, 60.0));
        let steps = scaled(&curve, &[&all, &half]);
        let sums: Vec<f64> = steps
            .iter()
            .scan(0.0, |s, x| {
                *s += x;
                Some(*s)
            })
            .collect();
        assert_eq!(sums, [5.0, 10.0, 30.0, 60.0]);
        assert_eq!(scaled(&curve, &[]), [1.0; 4]);
    }
}
