//! Progress bars, notes and Ctrl-C for the pipeline's operations.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;

use super::notices;
use super::output::Output;
use crate::error::{Error, Result};
use crate::pipeline::{Notice, Observer, Stage};

/// An observer that draws a progress bar for the current stage, and prints notices as notes.
pub(super) struct Progress<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    /// Set by Ctrl-C, if that does not end the program at once.
    interrupted: Option<Arc<AtomicBool>>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, bar: None, interrupted: None }
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
    fn stage(&mut self, stage: Stage, total: u64) {
        self.finish();
        self.bar = Some(self.output.progress(title(stage), total as usize));
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        match &self.interrupted {
            Some(asked) if asked.load(Ordering::Relaxed) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.output.note(notices::text(&notice));
    }
}

/// Returns the text beside a stage's bar.
fn title(stage: Stage) -> &'static str {
    match stage {
        Stage::ReadingImages => "reading images",
        Stage::Profiling => "profiling",
        Stage::Probing => "probing",
        Stage::TimingLayers => "timing layers",
        Stage::Repairing => "repairing",
        Stage::Proving => "proving",
        Stage::Evaluating => "evaluating",
        Stage::TryingRecipes => "trying recipes",
        Stage::Timing => "timing",
        Stage::Autotuning => "timing algorithms",
        Stage::ComparingCriteria => "comparing",
        Stage::Checking => "checking",
    }
}
