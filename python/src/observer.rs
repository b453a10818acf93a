//! Progress, notices and Ctrl-C.

use std::ops::ControlFlow;

use pyo3::prelude::*;
use secateur::pipeline::{Notice, Observer, Stage};

use crate::error::exception;

/// An observer that calls the package's reporter, and ends the operation after Ctrl-C or an exception.
pub(crate) struct PyObserver {
    /// An object with `advance(stage, done, total)`, which returns whether to go on, and `notice(text, is_warning)`.
    reporter: Py<PyAny>,
    /// The stages that run, the innermost last, with their totals.
    stages: Vec<(&'static str, u64)>,
    raised: Option<PyErr>,
}

impl PyObserver {
    pub(crate) fn new(reporter: Py<PyAny>) -> Self {
        Self { reporter, stages: vec![], raised: None }
    }

    /// Runs an operation of the library without the GIL, and raises what ended it.
    pub(crate) fn run<T: Send>(
        mut self,
        py: Python<'_>,
        operation: impl Send + FnOnce(&mut Self) -> secateur::Result<T>,
    ) -> PyResult<T> {
        let (done, raised) = py.detach(|| {
            let done = operation(&mut self);
            (done, self.raised)
        });
        match (raised, done) {
            (Some(raised), _) => Err(raised),
            (None, done) => done.map_err(|error| exception(py, &error)),
        }
    }

    /// Returns whether an exception is going to be raised after the operation.
    pub(crate) fn has_raised(&self) -> bool {
        self.raised.is_some()
    }

    fn report(&mut self, done: u64) -> ControlFlow<()> {
        let (stage, total) = self.stages.last().copied().unwrap_or(("working", 0));
        let report = |py: Python<'_>| -> PyResult<bool> {
            py.check_signals()?;
            self.reporter.call_method1(py, "advance", (stage, done, total))?.extract(py)
        };
        match Python::attach(report) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                self.raised.get_or_insert(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl Observer for PyObserver {
    fn stage(&mut self, stage: Stage, total: u64) {
        self.stages.push((title(stage), total));
        // An end that is asked for here comes with the first unit.
        let _ = self.report(0);
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        if self.has_raised() {
            return ControlFlow::Break(());
        }
        self.report(done)
    }

    fn finish(&mut self) {
        self.stages.pop();
    }

    fn notice(&mut self, notice: Notice) {
        let is_warning = !matches!(
            notice,
            Notice::Preprocessing(_)
                | Notice::Budget { .. }
                | Notice::Round { .. }
                | Notice::Training { .. }
                | Notice::Epoch { .. }
                | Notice::LatencyTried { .. }
                | Notice::DropTried { .. }
        );
        let told = (notice.to_string(), is_warning);
        let told = Python::attach(|py| self.reporter.call_method1(py, "notice", told).map(drop));
        if let Err(error) = told {
            self.raised.get_or_insert(error);
        }
    }
}

/// Returns the name of a stage for progress callbacks.
fn title(stage: Stage) -> &'static str {
    match stage {
        Stage::ReadingImages => "reading images",
        Stage::Profiling => "profiling",
        Stage::Gradients => "computing gradients",
        Stage::Probing => "probing",
        Stage::TimingLayers => "timing layers",
        Stage::Repairing => "repairing",
        Stage::FindingRate => "finding the learning rate",
        Stage::Training => "training",
        Stage::Proving => "proving",
        Stage::Evaluating => "evaluating",
        Stage::Timing => "timing",
        Stage::Autotuning => "timing algorithms",
        Stage::ComparingCriteria => "comparing",
        Stage::Checking => "checking",
        Stage::TryingRecipes => "trying preprocessing",
        Stage::Scoring => "scoring",
        Stage::Searching => "searching",
        Stage::Verifying => "verifying",
        Stage::Drawing => "drawing",
        _ => "working",
    }
}
