//! `--keep-latency`: a network that takes so much of the original's time on this device.
//!
//! The layers' times at several widths say what a channel is worth in time ([`crate::bench::widths`]), and how far to cut.
//! What comes out is timed beside the original, in some spells apart from each other: a machine has states (clocks, what its
//! neighbours do) that last for seconds and give the same two networks different ratios. Where it misses, the share that
//! is asked of the table is corrected.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use super::decide::{Decision, Latency};
use super::output::Output;
use super::rounds::Deciding;
use crate::bench::{BenchOptions, Quantiles, bench, widths};
use crate::error::Result;
use crate::graph::Graph;
use crate::observer::Silent;
use crate::onnx::Model;
use crate::prune::{Budget, Channels, smaller};

/// Nearer than this to what was asked is near enough.
const NEAR: f64 = 0.02;
/// How often the share is corrected.
const TRIES: usize = 6;
/// Seconds of timing both networks, in a spell.
const SECONDS: f64 = 2.0;
/// Spells in which what came out must be near.
const SPELLS: usize = 3;
/// From one to the next.
const PAUSE: Duration = Duration::from_secs(2);

impl Deciding<'_> {
    /// Decides; `None` where Ctrl-C ended the measuring.
    pub(super) fn for_latency(
        &self,
        share: f64,
        (model, graph, channels): (&Model, &Graph, &Channels),
        output: &Output,
    ) -> Result<Option<Decision>> {
        let protected = self.decide.protected(graph, channels)?;
        let criterion = self.decide.criterion()?;
        let Some(profile) = self.known.of((model, graph, channels), &criterion, &protected, output)? else {
            return Ok(None);
        };
        let bar = output.progress("timing layers", 1);
        let times = widths::times(model, graph, channels, self.known.device, &mut Silent);
        bar.finish_and_clear();
        let channels = Channels { times: Some(times?), ..channels.clone() };
        let scored = self.decide.score(graph, &channels, &profile)?;
        let mut ask = share;
        let mut best: Option<(f64, Quantiles)> = None;
        let mut tried = Vec::new();
        for _ in 0..TRIES {
            let budget = Budget::KeepLatency(ask);
            let removed = self.decide.choose_for(budget, model, &channels, &scored)?.removed;
            let measured = self.measured((model, graph, &channels), &removed, share)?;
            output.note(format!(
                "{ask:.3} of the layers' times by the table are {:.3} of the latency",
                measured.median
            ));
            if best.as_ref().is_none_or(|(_, before)| off(&measured, share) < off(before, share)) {
                best = Some((ask, measured));
            }
            if off(&measured, share) <= NEAR {
                break;
            }
            tried.push((ask, measured.median));
            ask = next(&tried, share);
        }
        let Some((ask, measured)) = best else { return Ok(None) };
        let text = self.decide.budget_text();
        let of = (model, graph, &channels);
        let decision = self.decide.decided(Budget::KeepLatency(ask), text, of, scored, profile)?;
        Ok(Some(Decision { latency: Some(Latency { asked: share, measured }), ..decision }))
    }

    /// What of the original's latency is left without some coupled, from runs side by side; in one spell, where that is not
    /// near `share` already.
    fn measured(
        &self,
        (model, graph, channels): (&Model, &Graph, &Channels),
        removed: &BTreeSet<usize>,
        share: f64,
    ) -> Result<Quantiles> {
        let small = Graph::from_model_owned(smaller(model, graph, channels, removed)?)?;
        let timing = BenchOptions { batch: 1, seconds: SECONDS, transfers: false };
        let mut spells = Vec::new();
        loop {
            let timings = bench(&[graph, &small], self.known.device, timing, &mut Silent)?;
            let Quantiles { median, p10, p90 } = timings.speedups[1];
            spells.push(Quantiles { median: median.recip(), p10: p90.recip(), p90: p10.recip() });
            let all = middle(&spells);
            if spells.len() == SPELLS || off(&all, share) > NEAR {
                return Ok(all);
            }
            sleep(PAUSE);
        }
    }
}

/// How far from what is wanted, as a share of it.
fn off(measured: &Quantiles, share: f64) -> f64 {
    (measured.median - share).abs() / share
}

/// Several spells in one: half way between the extremes, which no state of the machine is far from, however long it lasted.
fn middle(spells: &[Quantiles]) -> Quantiles {
    let least = |f: fn(&Quantiles) -> f64| spells.iter().map(f).fold(f64::INFINITY, f64::min);
    let most = |f: fn(&Quantiles) -> f64| spells.iter().map(f).fold(f64::NEG_INFINITY, f64::max);
    Quantiles {
        median: (least(|s| s.median) + most(|s| s.median)) / 2.0,
        p10: least(|s| s.p10),
        p90: most(|s| s.p90),
    }
}

/// What to ask of the table next, where these shares of it were measured to be those of the latency: between the two that
/// enclose what is wanted, else in proportion to the last.
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

    #[test]
    fn spells_meet_half_way() {
        let spell = |median| Quantiles { median, p10: median - 0.01, p90: median + 0.02 };
        let all = middle(&[spell(0.6), spell(0.6), spell(0.56), spell(0.6)]);
        assert!((all.median - 0.58).abs() < 1e-12, "{all:?}");
        assert!((all.p10 - 0.55).abs() < 1e-12 && (all.p90 - 0.62).abs() < 1e-12, "{all:?}");
        assert!((off(&all, 0.6) - 0.02 / 0.6).abs() < 1e-12, "{all:?}");
    }

    #[test]
    fn what_is_asked_closes_in_on_what_is_wanted() {
        assert_eq!(next(&[], 0.6), 0.6);
        assert!((next(&[(0.6, 0.5)], 0.6) - 0.72).abs() < 1e-12, "in proportion");
        assert!((next(&[(0.6, 0.5), (0.8, 0.7)], 0.6) - 0.7).abs() < 1e-12, "half way");
        // A network whose time has a part that no cut changes.
        let measured = |ask: f64| 0.3 + 0.7 * ask * ask;
        let mut tried = vec![(0.6, measured(0.6))];
        for _ in 0..5 {
            let ask = next(&tried, 0.6);
            tried.push((ask, measured(ask)));
        }
        assert!((tried[5].1 - 0.6).abs() < 0.003, "{tried:?}");
        // Times that contradict each other leave the proportion.
        assert!((next(&[(0.7, 0.65), (0.75, 0.55)], 0.6) - 0.75 * 0.6 / 0.55).abs() < 1e-12);
    }
}
