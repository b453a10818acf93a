//! `--max-drop`: the smallest network that loses no more than so much.
//!
//! What the channels are worth is measured once; then budgets are bisected, each network cut, repaired, and judged by
//! the images that are kept apart. Accuracy is no monotone function of the budget, so what is found is the smallest that
//! was *tried* and kept what was asked.

use super::decide::{Decision, Scored};
use super::eval::evaluate;
use super::mend::{Parts, mended};
use super::outcome::Tried;
use super::output::Output;
use super::rounds::Deciding;
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Budget, Channels, Counted, written};
use crate::repair::Repaired;

/// Budgets nearer to each other than this are not told apart.
const NEAR: f64 = 0.01;

/// The smallest network found.
pub(super) struct Found {
    pub(super) decision: Decision,
    pub(super) repaired: Repaired,
    /// All that were tried, the smallest first.
    pub(super) tried: Vec<Tried>,
    /// What the shares are of.
    pub(super) counted: Counted,
}

/// Whether a drop is one.
pub(super) fn check(max_drop: f64) -> Result<()> {
    if (0.0..100.0).contains(&max_drop) {
        return Ok(());
    }
    Err(Error::new("--max-drop does not fit")
        .expected("percentage points of top-1 or agreement, from 0 on")
        .got(max_drop.to_string())
        .remedy("for example --max-drop 1.5"))
}

/// Looks for it; `None` where none is good enough, or Ctrl-C ended the measuring.
pub(super) fn smallest(
    of: (&Model, &Graph, &Channels),
    deciding: &Deciding,
    max_drop: f64,
    parts: &Parts,
    output: &Output,
) -> Result<Option<Found>> {
    let (model, graph, channels) = of;
    let decide = deciding.decide;
    let protected = decide.protected(graph, channels)?;
    let Some(profile) = deciding.known.of(of, &decide.criterion()?, &protected, output)? else {
        return Ok(None);
    };
    let scored = decide.score(graph, channels, &profile)?;
    let counted = decide.counted()?;
    let whole = evaluate(graph, None, deciding.known.device, &parts.held, deciding.known.batch, output)?;
    let search =
        Search { of, deciding, scored: &scored, counted, parts, whole: whole.accuracy.top1(), output };
    let least = search.least()?;
    let (mut low, mut high) = (least, 1.0);
    let mut best: Option<(f64, Repaired)> = None;
    let mut tried = Vec::new();
    let mut keeps = |keep: f64| -> Result<bool> {
        let (one, repaired) = search.attempt(keep)?;
        output.note(format!("{keep:.3} of the {counted} lose {:.2} points", one.drop));
        let enough = one.drop <= max_drop;
        if enough {
            best = Some((keep, repaired));
        }
        tried.push(one);
        Ok(enough)
    };
    while high - low > NEAR {
        let keep = 0.5 * (low + high);
        if keeps(keep)? { high = keep } else { low = keep }
    }
    // All that was tried was good enough.
    if low == least && high < 1.0 {
        keeps(least)?;
    }
    tried.sort_by(|a, b| a.keep.total_cmp(&b.keep));
    let Some((keep, repaired)) = best else {
        let best = tried.iter().min_by(|a, b| a.drop.total_cmp(&b.drop).then(a.keep.total_cmp(&b.keep)));
        output.note(match best {
            Some(Tried { keep, drop, .. }) => format!(
                "refused: no network of {} that were tried loses at most {max_drop} points; {keep:.3} of the {counted} \
                 lose {drop:.2}. Nothing is written: allow a larger --max-drop, or give more images",
                tried.len()
            ),
            None => format!(
                "refused: hardly anything may go ({least:.3} of the {counted} stay in any case). Nothing is written: \
                 loosen --max-cut, --min-channels, --round-to or --protect; `secateur inspect` tells what blocks channels"
            ),
        });
        return Ok(None);
    };
    let text = format!("max-drop {max_drop} ({keep:.3} of the {counted})");
    let budget = Budget::keep(counted, keep);
    let decision = decide.decided(budget, text, (model, graph, channels), scored, profile)?;
    Ok(Some(Found { decision, repaired, tried, counted }))
}

struct Search<'a> {
    of: (&'a Model, &'a Graph, &'a Channels),
    deciding: &'a Deciding<'a>,
    scored: &'a Scored,
    counted: Counted,
    parts: &'a Parts,
    /// The original's top-1, where there are labels.
    whole: Option<f64>,
    output: &'a Output,
}

impl Search<'_> {
    /// The least share that any cut leaves.
    fn least(&self) -> Result<f64> {
        let (model, _, channels) = self.of;
        let all = Budget::RemoveBelow(f64::INFINITY);
        let removed = self.deciding.decide.choose_for(all, model, channels, self.scored)?.removed;
        let whole = channels.count(&channels.lengths(), self.counted);
        let left = channels.count(&channels.lengths_without(&removed), self.counted);
        Ok(left as f64 / whole.max(1) as f64)
    }

    /// Cuts, repairs and judges.
    fn attempt(&self, keep: f64) -> Result<(Tried, Repaired)> {
        let (model, graph, channels) = self.of;
        let Deciding { decide, known, how, .. } = self.deciding;
        let removed =
            decide.choose_for(Budget::keep(self.counted, keep), model, channels, self.scored)?.removed;
        let repaired = mended((graph, channels), &removed, *how, (known.device, known.images), self.output)?;
        let small = written(repaired.apply(model)?, channels.coupling.inexact, &removed, &model.path)?;
        let small = Graph::from_model_owned(small)?;
        let found = evaluate(&small, Some(graph), known.device, &self.parts.held, known.batch, self.output)?;
        let top1 = found.accuracy.top1();
        let agreement = found.agreement.as_ref().and_then(Agreement::agreement);
        let share = self.whole.zip(top1).map(|(before, after)| before - after);
        let drop = share.or(agreement.map(|a| 1.0 - a)).ok_or_else(|| {
            Error::new("--max-drop needs a network whose first output is a score a class")
                .file(&model.path)
                .remedy("use a budget, for example --keep-macs 0.5: the SNR to the original is told")
        })?;
        Ok((Tried { keep, top1, agreement, drop: 100.0 * drop }, repaired))
    }
}
