//! The search for a network with a given share of the original's latency on the device.
//!
//! Times of the layers at several widths ([`crate::bench::widths`]) give each channel's worth in time, and the extent of
//! the cut. The resulting network is timed beside the original, in several spells apart from each other: a machine has
//! states (clock rates, neighbours) that last for seconds and give the same two networks different ratios. If the
//! measured share misses the goal, the share asked of the table is corrected.

use std::thread::sleep;
use std::time::Duration;

use super::decision::{Decision, Latency, Outcome};
use super::plan_context::PlanContext;
use super::scored_channels::ScoredChannels;
use crate::bench::{BenchOptions, Quantiles, bench};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::{Notice, Observer, Silent, Stage, advance, staged};
use crate::prune::{Budget, smaller};

/// The relative difference to the goal that is near enough.
const NEAR: f64 = 0.02;
/// Networks that are timed at most.
const TRIES: usize = 6;
/// Seconds of timing both networks in a spell.
const SECONDS: f64 = 2.0;
/// Spells in which a network near the goal is timed.
const SPELLS: usize = 3;
/// The pause between spells.
const PAUSE: Duration = Duration::from_secs(2);

/// Decides for a share of the latency, by scores with measured times.
pub(super) fn for_latency(
    context: &PlanContext,
    scores: &ScoredChannels,
    share: f64,
    observer: &mut dyn Observer,
) -> Result<Outcome<Decision>> {
    let PlanContext { network, device, options } = context;
    let channels = scores.channels(network);
    let mut tried = 0;
    let mut measure = |table_share, observer: &mut dyn Observer| {
        let budget = Budget::KeepLatency(table_share);
        let removed = options.choose(budget, network, channels, &scores.scored)?.removed;
        let small = Graph::from_model_owned(smaller(&network.model, &network.graph, channels, &removed)?)?;
        let mut spell = || ratio(&network.graph, &small, device);
        let measured = in_spells(share, &mut spell, &mut || sleep(PAUSE))?;
        observer.notice(Notice::LatencyTried { table_share, measured: measured.median });
        tried += 1;
        advance(observer, tried)?;
        Ok(measured)
    };
    let found = staged(observer, Stage::Searching, TRIES, |observer| {
        closest(share, &mut |table_share| measure(table_share, observer))
    })?;
    let Some((table_share, measured)) = found else { return Ok(Outcome::Interrupted) };
    let decision = context.decide(Budget::KeepLatency(table_share), network, scores)?;
    Ok(Outcome::Done(Decision { latency: Some(Latency { asked: share, measured }), ..decision }))
}

/// Times both networks in turn: the latency of the second as a share of the first's.
fn ratio(whole: &Graph, small: &Graph, device: &Device) -> Result<Quantiles> {
    let timing = BenchOptions { batch: 1, seconds: SECONDS, transfers: false };
    let timings = bench(&[whole, small], device, timing, &mut Silent)?;
    let Quantiles { median, p10, p90 } = timings.speedups[1];
    Ok(Quantiles { median: median.recip(), p10: p90.recip(), p90: p10.recip() })
}

/// Looks for the share of the tabulated times with which the measured share is nearest to the goal.
fn closest(
    share: f64,
    measure: &mut dyn FnMut(f64) -> Result<Quantiles>,
) -> Result<Option<(f64, Quantiles)>> {
    let mut ask = share;
    let mut best: Option<(f64, Quantiles)> = None;
    let mut tried = Vec::new();
    for _ in 0..TRIES {
        let measured = measure(ask)?;
        if best.as_ref().is_none_or(|(_, before)| off(&measured, share) < off(before, share)) {
            best = Some((ask, measured));
        }
        if off(&measured, share) <= NEAR {
            break;
        }
        tried.push((ask, measured.median));
        ask = next(&tried, share);
    }
    Ok(best)
}

/// Measures in one spell, or in several with pauses as long as the result is near the goal.
fn in_spells(
    share: f64,
    spell: &mut dyn FnMut() -> Result<Quantiles>,
    pause: &mut dyn FnMut(),
) -> Result<Quantiles> {
    let mut spells = Vec::new();
    loop {
        spells.push(spell()?);
        let all = middle(&spells);
        if spells.len() == SPELLS || off(&all, share) > NEAR {
            return Ok(all);
        }
        pause();
    }
}

/// Returns the relative difference to the goal.
fn off(measured: &Quantiles, share: f64) -> f64 {
    (measured.median - share).abs() / share
}

/// Combines spells: half way between the extremes, which is far from no state of the machine, however long it lasted.
fn middle(spells: &[Quantiles]) -> Quantiles {
    let least = |f: fn(&Quantiles) -> f64| spells.iter().map(f).fold(f64::INFINITY, f64::min);
    let most = |f: fn(&Quantiles) -> f64| spells.iter().map(f).fold(f64::NEG_INFINITY, f64::max);
    Quantiles {
        median: (least(|s| s.median) + most(|s| s.median)) / 2.0,
        p10: least(|s| s.p10),
        p90: most(|s| s.p90),
    }
}

/// Returns the next share to ask of the table, from pairs of shares asked and measured: interpolated between the two
/// that enclose the goal, else in proportion to the last.
fn next(tried: &[(f64, f64)], share: f64) -> f64 {
    let below = tried.iter().filter(|t| t.1 <= share).max_by(|a, b| a.0.total_cmp(&b.0));
    let above = tried.iter().filter(|t| t.1 > share).min_by(|a, b| a.0.total_cmp(&b.0));
    match (below, above, tried.last()) {
        (Some(b), Some(a), _) if b.0 < a.0 => b.0 + (share - b.1) / (a.1 - b.1) * (a.0 - b.0),
        (.., Some(&(ask, measured))) => (ask * share / measured).clamp(0.5 * ask, 1.0),
        (.., None) => share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(median: f64) -> Quantiles {
        Quantiles { median, p10: median - 0.01, p90: median + 0.02 }
    }

    /// A network with a part of its time that no cut changes.
    fn model(ask: f64) -> f64 {
        0.3 + 0.7 * ask * ask
    }

    #[test]
    fn spells_are_combined_halfway() {
        let all = middle(&[exactly(0.6), exactly(0.6), exactly(0.56), exactly(0.6)]);
        assert!((all.median - 0.58).abs() < 1e-12, "{all:?}");
        assert!((all.p10 - 0.55).abs() < 1e-12 && (all.p90 - 0.62).abs() < 1e-12, "{all:?}");
        assert!((off(&all, 0.6) - 0.02 / 0.6).abs() < 1e-12, "{all:?}");
    }

    #[test]
    fn only_a_network_near_the_goal_is_timed_again() {
        // The clock is false: spells return what is listed, and pauses are counted.
        let run = |times: &[f64]| {
            let (mut times, mut pauses) = (times.iter(), 0);
            let mut spell = || Ok(exactly(*times.next().expect("a spell too many")));
            let found = in_spells(0.6, &mut spell, &mut || pauses += 1).expect("a ratio");
            (found.median, pauses)
        };
        assert_eq!(run(&[0.7]), (0.7, 0), "far off");
        assert_eq!(run(&[0.6, 0.6, 0.6]), (0.6, 2));
        assert_eq!(run(&[0.6, 0.5]).1, 1, "the second spell shows another state of the machine");
    }

    #[test]
    fn the_search_ends_near_the_goal() {
        let mut asked = Vec::new();
        let found = closest(0.6, &mut |ask| {
            asked.push(ask);
            Ok(exactly(model(ask)))
        });
        let (ask, measured) = found.expect("no error").expect("a network");
        assert!(off(&measured, 0.6) <= NEAR && asked.len() <= TRIES, "{ask} {measured:?} {asked:?}");
        assert_eq!(asked.last(), Some(&ask), "it stops when it is near");
        // A goal that no cut reaches: the nearest of all tries.
        let mut tries = 0;
        let found = closest(0.2, &mut |ask| {
            tries += 1;
            Ok(exactly(model(ask)))
        });
        let (ask, _) = found.expect("no error").expect("a network");
        assert!(tries == TRIES && ask < 0.05, "{tries} {ask}");
    }

    #[test]
    fn the_share_asked_is_corrected() {
        assert_eq!(next(&[], 0.6), 0.6);
        assert!((next(&[(0.6, 0.5)], 0.6) - 0.72).abs() < 1e-12, "in proportion");
        assert!((next(&[(0.6, 0.5), (0.8, 0.7)], 0.6) - 0.7).abs() < 1e-12, "half way");
        let mut tried = vec![(0.6, model(0.6))];
        for _ in 0..5 {
            let ask = next(&tried, 0.6);
            tried.push((ask, model(ask)));
        }
        assert!((tried[5].1 - 0.6).abs() < 0.003, "{tried:?}");
        // Contradicting times leave the proportion.
        assert!((next(&[(0.7, 0.65), (0.75, 0.55)], 0.6) - 0.75 * 0.6 / 0.55).abs() < 1e-12);
    }
}
