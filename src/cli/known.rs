//! What is known of a network when it is decided what goes: gathered from images, read from a profile, or both.
//!
//! With a profile and images, what the profile does not hold yet is gathered and put there, also when Ctrl-C ends the
//! run: the same command goes on where it was.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::Origin;
use super::decide::{CRITERION, DecideArgs};
use super::output::{BarObserver, Output};
use super::pass::{Pass, header};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::onnx::Model;
use crate::prune::{Channels, Consumers, Criterion, Needs};
use crate::repair::{Images, probe};
use crate::stats::{Distances, Gatherer, Profile};

/// Where it comes from.
pub(super) struct Known<'a> {
    pub(super) profile: Option<&'a Path>,
    /// Images, and what a profile says of where they come from.
    pub(super) data: Option<(&'a Dataset, Origin)>,
    /// The same, as the network takes them, where a criterion runs them again and again.
    pub(super) images: &'a Images,
    pub(super) batch: Option<usize>,
    pub(super) device: &'a Device,
    /// The profile, where it was read already to see what it holds.
    pub(super) begun: Cell<Option<Profile>>,
}

/// A profile of weights alone.
pub(super) fn of_weights(model: &Model, graph: &Graph, facts: &Facts, needs: Needs) -> Result<Profile> {
    Profile::of_weights_with(graph, facts, header(model), Distances::asked(needs.distances))
}

/// A profile of this very model.
pub(super) fn loaded(path: &Path, model: &Model) -> Result<Profile> {
    let profile = Profile::load(path)?;
    if profile.header.model_sha256 != model.sha256 {
        return Err(Error::new("the profile is of another model")
            .file(path)
            .expected(format!("a profile of {}", model.path.display()))
            .got(format!("one of {}", profile.header.model))
            .remedy("run `secateur profile` on this model"));
    }
    Ok(profile)
}

/// Whether Ctrl-C was pressed: from here on it no longer ends the program by itself.
pub(super) fn interruption() -> Result<impl Fn() -> bool> {
    let asked = Arc::new(AtomicBool::new(false));
    let setter = Arc::clone(&asked);
    let handler = move || {
        // A second Ctrl-C does not wait for what is going on.
        if setter.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|e| Error::new("cannot listen to Ctrl-C").got(e.to_string()))?;
    Ok(move || asked.load(Ordering::Relaxed))
}

impl Known<'_> {
    /// How it is decided, where no criterion is named: as usual, if what that reads is there or can be gathered, else by the
    /// next best (docs/accuracy.md) that the profile serves.
    pub(super) fn deciding(
        &self,
        decide: &DecideArgs,
        (model, graph, channels): (&Model, &Graph, &Channels),
        output: &Output,
    ) -> Result<DecideArgs> {
        let alone = self.profile.filter(|_| self.data.is_none() && !decide.names_criterion());
        let Some(path) = alone else { return Ok(decide.clone()) };
        let profile = loaded(path, model)?;
        let serves = Consumers::of(graph, channels, &profile).is_some();
        let next = if profile.grams.iter().any(|gram| gram.taps == 1) { "obd" } else { "act-variance" };
        self.begun.set(Some(profile));
        if serves {
            return Ok(decide.clone());
        }
        output.note(format!(
            "by {next}: {CRITERION}, which decides best, reads moments of patches, and {} has none (--data gathers them, \
             and so does `secateur profile --gram both`)",
            path.display()
        ));
        Ok(decide.clone().or_by(next))
    }

    /// What a criterion needs to know; `None` where Ctrl-C ended it, and the profile keeps what there was.
    pub(super) fn of(
        &self,
        of: (&Model, &Graph, &Channels),
        criterion: &Criterion,
        protected: &BTreeSet<usize>,
        output: &Output,
    ) -> Result<Option<Profile>> {
        let keep = self.keep();
        let interrupted: Box<dyn Fn() -> bool> = match keep {
            Some(_) => Box::new(interruption()?),
            None => Box::new(|| false),
        };
        let mut profile = self.gathered(of, criterion, &*interrupted, output)?;
        if profile.header.complete {
            self.probe(of, criterion, protected, &mut profile, &*interrupted, output)?;
        }
        if let Some(path) = keep.filter(|_| interrupted()) {
            output.note(format!(
                "interrupted: {} keeps what was measured; the same command goes on from there",
                path.display()
            ));
            return Ok(None);
        }
        Ok(Some(profile))
    }

    /// The profile into which goes what is gathered.
    fn keep(&self) -> Option<&Path> {
        self.profile.filter(|_| self.data.is_some())
    }

    /// The statistics.
    fn gathered(
        &self,
        (model, graph, channels): (&Model, &Graph, &Channels),
        criterion: &Criterion,
        interrupted: &dyn Fn() -> bool,
        output: &Output,
    ) -> Result<Profile> {
        let (needs, keep) = (criterion.needs(), self.keep());
        let known = self.profile.filter(|path| keep.is_none() || path.exists());
        let begun = match self.begun.take() {
            Some(profile) => Some(profile),
            None => known.map(|path| loaded(path, model)).transpose()?,
        };
        let enough = |profile: &Profile| {
            let moments = !(needs.gram && profile.grams.is_empty()
                || needs.patches && Consumers::of(graph, channels, profile).is_none());
            keep.is_none() || !needs.data || profile.header.complete && moments
        };
        let begun = match begun {
            Some(profile) if enough(&profile) => return Ok(profile),
            begun => begun,
        };
        // What is there already is gathered along, where it has to be done anew.
        let labels = needs.labels || begun.as_ref().is_some_and(|profile| !profile.classes.is_empty());
        let needs = Needs { labels, ..needs };
        let Some((data, origin)) = self.data.as_ref().filter(|_| needs.data) else {
            if needs.data {
                return Err(Error::new(format!("the criterion {criterion} needs activations"))
                    .expected("--data or --profile")
                    .remedy("add --data FOLDER, or choose a criterion on weights such as l1"));
            }
            return of_weights(model, graph, &channels.facts, needs);
        };
        let mut pass = Pass::for_criterion((model, graph), self.device, (data, origin.clone()), needs);
        if let (Some(path), Some(profile)) = (keep, begun) {
            let complete = profile.header.complete;
            pass.resume(profile, path)?;
            // Of the same images, but it lacks something.
            pass.resumed = pass.resumed.filter(|_| !complete);
        }
        let go_on = &mut |_: &mut Gatherer<'_>| Ok(ControlFlow::Continue(()));
        let profile = pass.with_batch(self.batch).run_watched(output, go_on, interrupted)?.profile;
        if let Some(path) = keep {
            profile.save(path)?;
        }
        Ok(profile)
    }

    /// What the network's output loses when channels go, where the criterion asks for that, into the profile.
    fn probe(
        &self,
        (_, graph, channels): (&Model, &Graph, &Channels),
        criterion: &Criterion,
        protected: &BTreeSet<usize>,
        profile: &mut Profile,
        interrupted: &dyn Fn() -> bool,
        output: &Output,
    ) -> Result<()> {
        if !criterion.needs().patches || self.images.count == 0 {
            return Ok(());
        }
        let bar = output.progress("probing", channels.dependency_groups().len());
        let mut observer = BarObserver { bar: &bar, stop: interrupted };
        let found = probe(graph, channels, profile, protected, (self.device, self.images), &mut observer);
        bar.finish_and_clear();
        let found = found?.sensitivity;
        let more = found.len() > profile.header.sensitivity.len();
        profile.header.sensitivity = found;
        match self.keep().filter(|_| more) {
            Some(path) => profile.save(path),
            None => Ok(()),
        }
    }
}
