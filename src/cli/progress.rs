//! Progress bars for the stages of the library's operations.

use std::ops::ControlFlow;

use indicatif::ProgressBar;

use super::output::Output;
use crate::observer::{Observer, Stage};

/// An observer that draws a progress bar for the current stage.
pub(crate) struct Progress<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(output: &'a Output) -> Self {
        Self { output, bar: None }
    }
}

impl Observer for Progress<'_> {
    fn stage(&mut self, stage: Stage, total: u64) {
        self.finish();
        self.bar = Some(self.output.progress(text(stage), usize::try_from(total).unwrap_or(usize::MAX)));
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        if let Some(bar) = &self.bar {
            // A stage of unknown total grows with its progress.
            if bar.length().is_some_and(|length| length < done) {
                bar.set_length(done);
            }
            bar.set_position(done);
        }
        ControlFlow::Continue(())
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// The message of the bar of a stage.
fn text(stage: Stage) -> &'static str {
    match stage {
        Stage::ReadingImages => "reading images",
        Stage::Profiling => "profiling",
        Stage::Probing => "probing",
        Stage::TimingLayers => "timing layers",
        Stage::Repairing => "repairing",
        Stage::Proving => "proving",
        Stage::Evaluating => "evaluating",
        Stage::Timing => "timing",
        Stage::Autotuning => "timing algorithms",
        Stage::ComparingCriteria => "comparing",
        Stage::Checking => "checking",
    }
}
