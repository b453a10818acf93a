//! Progress, notes and Ctrl-C for the pipeline's operations.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::activity::{Expected, TENTH};
use super::notices;
use super::output::Output;
use crate::error::{Error, Result};
use crate::pipeline::{ExpectedStage, Notice, Observer, Stage};

/// Titles of tasks of the command line.
pub(super) const LOADING: &str = "loading the model";
pub(super) const ANALYZING: &str = "analyzing channels";
pub(super) const OPENING_DATA: &str = "opening the data";

/// An observer that shows the running stages, and prints notices as notes.
pub(super) struct Progress<'a> {
    output: &'a Output,
    /// Set by Ctrl-C, if that does not end the program at once.
    interrupted: Option<Arc<AtomicBool>>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, interrupted: None }
    }

    /// Lets the first Ctrl-C end the operation in good order, so that measurements are kept; a second one ends the
    /// program at once.
    pub(super) fn interruptible(output: &'a Output) -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let setter = Arc::clone(&asked);
        let handler = move || {
            if setter.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(handler).map_err(|e| Error::new("cannot listen to Ctrl-C").got(e.to_string()))?;
        Ok(Self { interrupted: Some(asked), ..Self::new(output) })
    }
}

impl Observer for Progress<'_> {
    fn expect(&mut self, stages: &[ExpectedStage]) {
        let named = |expected: &ExpectedStage| Expected {
            title: title(expected.stage).0.to_owned(),
            weight: expected.weight,
        };
        self.output.monitor.expect(stages.iter().map(named).collect());
    }

    fn stage(&mut self, stage: Stage, total: u64) {
        let (title, unit) = title(stage);
        self.output.monitor.begin(title, (unit, total));
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        self.output.monitor.advance(done);
        match &self.interrupted {
            Some(asked) if asked.load(Ordering::Relaxed) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn finish(&mut self) {
        self.output.monitor.end();
    }

    fn notice(&mut self, notice: Notice) {
        self.output.note(notices::text(&notice));
    }
}

/// Returns the title of a stage, and the noun of its units.
fn title(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::ReadingImages => ("reading images", "image"),
        Stage::Profiling => ("profiling", "image"),
        Stage::Gradients => ("computing gradients", "image"),
        Stage::Probing => ("probing", "group"),
        Stage::ProbingIntegers => ("quantizing nodes singly", "node"),
        Stage::TimingLayers => ("timing layers", "layer"),
        Stage::Repairing => ("repairing", "layer"),
        Stage::FindingRate => ("finding the learning rate", "step"),
        Stage::Training => ("training", "step"),
        Stage::Proving => ("proving", "network"),
        Stage::Evaluating => ("evaluating", "image"),
        Stage::TryingRecipes => ("trying recipes", "image"),
        Stage::Timing => ("timing", TENTH),
        Stage::Autotuning => ("timing algorithms", "candidate"),
        Stage::ComparingCriteria => ("comparing criteria", "point"),
        Stage::Checking => ("checking", "step"),
        Stage::Scoring => ("scoring channels", ""),
        Stage::Searching => ("searching", "network"),
        Stage::Verifying => ("verifying outputs", "network"),
        Stage::Drawing => ("drawing the report", ""),
    }
}
