//! How `prune` decides what goes: at once, or in rounds. After each round the network that is being cut is repaired and
//! looked at anew, so that what is left is judged by what it does now, not by what it did in the original.

use std::collections::BTreeSet;
use std::path::Path;

use super::args::DataArgs;
use super::decide::{DecideArgs, Decision, loaded};
use super::mend::{mended, probed};
use super::output::Output;
use super::pass::Pass;
use super::profile::of_weights;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Budget, Channels};
use crate::repair::{Images, Repair};
use crate::stats::Profile;

/// What decisions are made from.
pub(super) struct Deciding<'a> {
    pub(super) decide: &'a DecideArgs,
    pub(super) profile: Option<&'a Path>,
    pub(super) data: Option<(&'a Dataset, &'a DataArgs)>,
    pub(super) images: &'a Images,
    pub(super) batch: Option<usize>,
    pub(super) how: Repair,
    pub(super) rounds: usize,
    pub(super) device: &'a Device,
}

impl Deciding<'_> {
    /// What goes, of all rounds together.
    pub(super) fn decision(
        &self,
        (model, graph, channels): (&Model, &Graph, &Channels),
        output: &Output,
    ) -> Result<Decision> {
        let budget = self.decide.budget()?;
        let whole = self.steps(budget);
        let (last, steps) = whole.split_last().ok_or_else(|| Error::new("no round to decide in"))?;
        let mut gone = BTreeSet::new();
        for (i, &step) in steps.iter().enumerate() {
            output.note(format!("round {} of {}", i + 1, whole.len()));
            let decision = self.round(step, (model, graph, channels), &gone, output)?;
            gone = decision.cut.removed(graph, &model.sha256, channels)?;
        }
        self.round(*last, (model, graph, channels), &gone, output)
    }

    /// The budgets of the rounds: equal steps. Without images, or with scores that no round changes, there is one.
    fn steps(&self, budget: Budget) -> Vec<Budget> {
        let several =
            self.rounds > 1 && self.data.is_some() && self.how != Repair::None && self.profile.is_none();
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
    ) -> Result<Decision> {
        if gone.is_empty() {
            let profile = self.known(model, graph, channels, output)?;
            return self.decide.decide_for(budget, (model, graph), channels, &profile);
        }
        let repaired = mended((graph, channels), gone, self.how, (self.device, self.images), output)?;
        let now = repaired.apply(model)?;
        let now_graph = Graph::of(&now)?;
        let mut now_channels = Channels::dyed(&now_graph, channels.dyer.inexact)?;
        now_channels.gone.clone_from(gone);
        let profile = self.known(&now, &now_graph, &now_channels, output)?;
        self.decide.decide_for(budget, (&now, &now_graph), &now_channels, &profile)
    }

    /// What is known of a network: its profile, with what its output loses where the criterion asks for that.
    fn known(&self, model: &Model, graph: &Graph, channels: &Channels, output: &Output) -> Result<Profile> {
        let criterion = self.decide.criterion()?;
        let needs = criterion.needs();
        let mut profile = match (self.profile, self.data) {
            (Some(path), _) => loaded(path, model)?,
            (None, Some((data, args))) if needs.data => {
                let pass = Pass::for_criterion((model, graph), self.device, (data, args), needs);
                pass.with_batch(self.batch).run(output)?.profile
            }
            (None, None) if needs.data => {
                return Err(Error::new(format!("the criterion {criterion} needs activations"))
                    .expected("--data or --profile")
                    .remedy("add --data FOLDER, or choose a criterion on weights such as l1"));
            }
            (None, _) => of_weights(model, graph, &channels.facts, needs)?,
        };
        if needs.patches && self.images.count > 0 && profile.header.sensitivity.is_empty() {
            let protected = self.decide.protected(graph, channels)?;
            probed((graph, channels), &mut profile, &protected, (self.device, self.images), output)?;
        }
        Ok(profile)
    }
}
