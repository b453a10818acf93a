//! How `plan` and `prune` decide what goes: at once, or in rounds. After each round the network that is being cut is
//! repaired and looked at anew, so that what is left is judged by what it does now, not by what it did in the original.

use std::collections::BTreeSet;

use super::decide::{DecideArgs, Decision};
use super::known::Known;
use super::mend::mended;
use super::output::Output;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Budget, Channels};
use crate::repair::Repair;

/// What decisions are made from.
pub(super) struct Deciding<'a> {
    pub(super) decide: &'a DecideArgs,
    pub(super) known: Known<'a>,
    pub(super) how: Repair,
    pub(super) rounds: usize,
}

impl Deciding<'_> {
    /// What goes, of all rounds together; `None` where Ctrl-C ended the measuring.
    pub(super) fn decision(
        &self,
        (model, graph, channels): (&Model, &Graph, &Channels),
        output: &Output,
    ) -> Result<Option<Decision>> {
        if let Budget::KeepLatency(share) = self.decide.budget()? {
            return self.for_latency(share, (model, graph, channels), output);
        }
        let whole = self.steps(self.decide.budget()?);
        let (last, steps) = whole.split_last().ok_or_else(|| Error::new("no round to decide in"))?;
        let mut gone = BTreeSet::new();
        let mut first = None;
        for (i, &step) in steps.iter().enumerate() {
            output.note(format!("round {} of {}", i + 1, whole.len()));
            let Some(decision) = self.round(step, (model, graph, channels), &gone, output)? else {
                return Ok(None);
            };
            gone = decision.cut.removed(graph, &model.sha256, channels)?;
            first.get_or_insert(decision.seen);
        }
        let last = self.round(*last, (model, graph, channels), &gone, output)?;
        Ok(last.map(|last| Decision { seen: first.unwrap_or(last.seen), ..last }))
    }

    /// The budgets of the rounds: equal steps. Without a repair, or with scores that no round changes, there is one.
    fn steps(&self, budget: Budget) -> Vec<Budget> {
        let several = self.rounds > 1 && self.known.data.is_some() && self.how != Repair::None;
        let to = |keep: f64, make: fn(f64) -> Budget| -> Vec<Budget> {
            let n = self.rounds as f64;
            (1..=self.rounds).map(|i| make(1.0 - (1.0 - keep) * i as f64 / n)).collect()
        };
        match budget {
            Budget::KeepMacs(keep) if several => to(keep, Budget::KeepMacs),
            Budget::KeepParams(keep) if several => to(keep, Budget::KeepParams),
            _ => vec![budget],
        }
    }

    /// One round: the network without what is `gone`, repaired, decides.
    fn round(
        &self,
        budget: Budget,
        (model, graph, channels): (&Model, &Graph, &Channels),
        gone: &BTreeSet<usize>,
        output: &Output,
    ) -> Result<Option<Decision>> {
        if gone.is_empty() {
            return self.decide_by(budget, (model, graph, channels), output);
        }
        let with = (self.known.device, self.known.images);
        let repaired = mended((graph, channels), gone, self.how, with, output)?;
        let now = repaired.apply(model)?;
        let now_graph = Graph::from_model(&now)?;
        let mut now_channels = Channels::analyze(&now_graph, channels.coupling.inexact)?;
        now_channels.gone.clone_from(gone);
        self.decide_by(budget, (&now, &now_graph, &now_channels), output)
    }

    fn decide_by(
        &self,
        budget: Budget,
        of: (&Model, &Graph, &Channels),
        output: &Output,
    ) -> Result<Option<Decision>> {
        let (_, graph, channels) = of;
        let protected = self.decide.protected(graph, channels)?;
        let Some(profile) = self.known.of(of, &self.decide.criterion()?, &protected, output)? else {
            return Ok(None);
        };
        let scored = self.decide.score(graph, channels, &profile)?;
        self.decide.decided(budget, self.decide.budget_text(), of, scored, profile).map(Some)
    }
}
