//! Progress, notices and interruption of long operations.
//!
//! Every long operation takes an [`Observer`]. The command line draws progress bars with one, a notebook may do the
//! same, and either ends an operation early. The library prints nothing.

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// A stage of a long operation, with units that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Decoding calibration images; counts images.
    ReadingImages,
    /// Running the network for statistics; counts images.
    Profiling,
    /// Computing the gradients of a loss for every channel; counts images.
    Gradients,
    /// Measuring the output's loss without some channels; counts dependency groups.
    Probing,
    /// Measuring the outputs' loss if one node alone has integers; counts nodes.
    ProbingIntegers,
    /// Timing single layers at several widths; counts nothing.
    TimingLayers,
    /// Refitting the layers behind a cut; counts layers.
    Repairing,
    /// Finding a learning rate by a range test; counts steps.
    FindingRate,
    /// Training a network; counts steps.
    Training,
    /// Comparing the pruned network with the masked reference; counts the two networks.
    Proving,
    /// Measuring accuracy and agreement; counts images.
    Evaluating,
    /// Trying recipes of preprocessing; counts images of all recipes.
    TryingRecipes,
    /// Timing networks in turn; counts tenths of seconds.
    Timing,
    /// Timing the algorithms of each layer; counts candidates.
    Autotuning,
    /// Comparing pruning criteria; counts points of their curves.
    ComparingCriteria,
    /// Comparing a device with the `f64` reference; counts steps of the plan.
    Checking,
    /// Scoring channels, with the matrix factorizations that some criteria need; counts nothing.
    Scoring,
    /// Searching for the smallest network within a limit; counts networks. Other stages run within it.
    Searching,
    /// Comparing outputs on the device with those of the CPU before networks are timed; counts networks.
    Verifying,
    /// Drawing filters and activations for the report; counts nothing.
    Drawing,
}

/// A stage that an operation is going to run, with its expected duration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpectedStage {
    /// The stage that is going to run.
    pub stage: Stage,
    /// The expected duration in any unit. Only ratios to the weights of the other stages matter.
    pub weight: f64,
}

/// A fact for the user, reported once while an operation runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// An input file that could not be decoded and was skipped.
    SkippedInput {
        /// The path of the file.
        file: PathBuf,
        /// The reason that the decoder reports.
        reason: String,
    },
    /// The number of skipped input files, if not all were reported one by one.
    SkippedInputs(usize),
    /// The preprocessing in force, in one line.
    Preprocessing(String),
    /// A preprocessing that is probably wrong.
    Doubtful(Doubt),
    /// The number of images that were turned or mirrored by their EXIF orientation.
    TurnedImages(usize),
    /// No repair, because there are no calibration images.
    UnrepairedWithoutImages,
    /// No repair, because random inputs do not show what a layer should compute.
    UnrepairedRandomInputs,
    /// A layer that could not be repaired.
    UnrepairedLayer {
        /// The name of the node.
        node: String,
        /// The reason why it cannot be repaired.
        reason: &'static str,
    },
    /// Layers whose least-squares system is nearly singular: the images hardly determine them.
    IllConditioned {
        /// The number of such layers.
        layers: usize,
        /// Layers that were refitted in all.
        of: usize,
        /// The condition number above which a layer counts.
        above: f64,
    },
    /// A criterion chosen in place of the default one, which the profile lacks statistics for.
    CriterionFallback {
        /// The criterion that is used.
        used: &'static str,
        /// The criterion that is normally the default.
        default: &'static str,
        /// The profile's file, if it has one.
        profile: Option<PathBuf>,
    },
    /// A training that begins.
    Training {
        /// The highest learning rate.
        rate: f64,
        /// True if the rate was found by a range test.
        found: bool,
        /// The number of steps.
        steps: usize,
        /// The number of images of a step.
        batch: usize,
        /// The names of the losses.
        losses: Vec<&'static str>,
    },
    /// An epoch of a training that has ended.
    Epoch {
        /// The epoch, from 1.
        epoch: usize,
        /// The number of epochs.
        of: usize,
        /// The mean loss of the epoch.
        loss: f64,
    },
    /// Nodes through which no gradient passes, so that layers in front of them may not be trained.
    GradientStops {
        /// The names of the nodes.
        nodes: Vec<String>,
    },
    /// A training whose loss grew beyond all bounds; the parameters before it are kept.
    Diverged {
        /// The step at which the loss was too large.
        step: usize,
        /// The highest learning rate.
        rate: f64,
    },
    /// A round of iterative pruning that begins.
    Round {
        /// The round, from 1.
        round: usize,
        /// The number of rounds.
        of: usize,
    },
    /// A budget of a sweep that begins.
    Budget {
        /// The budget in words, such as `keep-macs 0.5`.
        budget: String,
        /// The place of the budget, from 1.
        place: usize,
        /// The number of budgets.
        of: usize,
    },
    /// A network that was timed in the search for a latency.
    LatencyTried {
        /// The share of the layers' tabulated times that was asked for.
        table_share: f64,
        /// The share of the original's latency that was measured.
        measured: f64,
    },
    /// A network in a number format that was tried for a budget of bytes.
    FormatTried {
        /// The name of the number format.
        format: String,
        /// The share of the parameters that was kept.
        keep_params: f64,
        /// The bytes of the file.
        bytes: u64,
        /// The signal-to-noise ratio of the outputs on a few calibration images, in dB.
        snr_db: f64,
    },
    /// A network that was evaluated in the search for the smallest within an accuracy drop.
    DropTried {
        /// The share of the cost that was kept.
        keep: f64,
        /// The name of the cost: MACs, parameters or time.
        counted: String,
        /// The loss, in the metric's unit.
        drop: f64,
        /// The standard error of the loss; `None` if it is unknown.
        error: Option<f64>,
        /// The unit of the loss: points, dB, or nothing.
        unit: &'static str,
    },
    /// An allowed loss that is smaller than the weight of one image.
    CoarseLimit {
        /// The number of images that judge.
        images: usize,
        /// The percentage points that one image weighs.
        weight: f64,
        /// The loss that is allowed, in percentage points.
        max_drop: f64,
    },
    /// An original that errs on no image, so that the images are probably those of its training.
    FlawlessOriginal {
        /// The number of images.
        images: usize,
    },
    /// Removed channels whose scores are uncertain.
    UncertainCut {
        /// Removed sets of coupled channels with a lower confidence than `threshold`.
        uncertain: usize,
        /// The number of all removed sets.
        removed: usize,
        /// The confidence below which a set counts as uncertain.
        threshold: f64,
        /// The expected share of the cut that is truly among the lowest scores.
        confidence: f64,
    },
}

/// A reason for which the preprocessing of a data set is probably wrong. Sizes are height and width.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Doubt {
    /// Images that already have the network's size are enlarged, then cropped.
    EnlargedAndCropped {
        /// The size of all images, and of the network's input.
        size: [usize; 2],
        /// The size before the crop.
        enlarged: [usize; 2],
    },
    /// Images that are much smaller than the network's input.
    Enlarged {
        /// The size of an image.
        size: [usize; 2],
        /// The size that it is enlarged to.
        enlarged: [usize; 2],
    },
    /// Images whose proportions change a lot.
    Distorted {
        /// The size of an image.
        size: [usize; 2],
        /// The size that it is resized to.
        to: [usize; 2],
    },
    /// Floats below 0, as after a normalization, that are normalized again.
    NormalizedAlready {
        /// The least stored value.
        low: f32,
        /// The largest stored value.
        high: f32,
    },
    /// Values from 0 to 1 that are divided as if they were bytes.
    UnitValues {
        /// The largest stored value.
        high: f32,
        /// The divisor of the recipe.
        scale: f32,
    },
    /// Values far above 1 that are normalized by the mean and deviation of values from 0 to 1.
    ByteValues {
        /// The largest stored value.
        high: f32,
    },
    /// Grey images for a network of three channels.
    GreyImages {
        /// The number of images that were looked at.
        images: usize,
    },
    /// Colour images for a recipe of grey ones.
    ColourImages {
        /// The number of images that were looked at.
        images: usize,
    },
    /// An input whose first and last axes could both be that of channels; the first was taken.
    GuessedLayout,
    /// Values before the first BatchNormalization that are far from its stored statistics.
    Statistics {
        /// The name of the node.
        node: String,
        /// The Kullback-Leibler divergence in nats, averaged over channels of at most 10 each.
        divergence: f64,
    },
}

/// A receiver of progress and notices that may end the operation.
pub trait Observer {
    /// Called when an operation of several stages begins, with all that it expects to run, in order.
    ///
    /// Expected stages may be left out. Stages that nobody expected may run, also within others.
    fn expect(&mut self, _stages: &[ExpectedStage]) {}

    /// Called when a stage begins, with the total of its units (0 if unknown). A stage within another one ends first.
    fn stage(&mut self, _stage: Stage, _total: u64) {}

    /// Called with the number of units done in the current stage; `Break` ends the operation.
    ///
    /// An operation that cannot keep partial results returns [`crate::ErrorKind::Interrupted`].
    fn advance(&mut self, _done: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Called when the current stage, the last to begin of those that run, has ended.
    fn finish(&mut self) {}

    /// Called for every notice.
    fn notice(&mut self, _notice: Notice) {}
}

/// An observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Runs `work` as a stage of `total` units, and ends the stage also if it fails.
pub(crate) fn staged<T>(
    observer: &mut dyn Observer,
    stage: Stage,
    total: usize,
    work: impl FnOnce(&mut dyn Observer) -> Result<T>,
) -> Result<T> {
    observer.stage(stage, total as u64);
    let result = work(observer);
    observer.finish();
    result
}

/// Reports progress; an observer that breaks is an error of the kind [`crate::ErrorKind::Interrupted`].
pub(crate) fn advance(observer: &mut dyn Observer, done: usize) -> Result<()> {
    match observer.advance(done as u64) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::interrupted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[derive(Default)]
    struct Recorder(Vec<String>);

    impl Observer for Recorder {
        fn stage(&mut self, stage: Stage, total: u64) {
            self.0.push(format!("{stage:?} {total}"));
        }

        fn advance(&mut self, done: u64) -> ControlFlow<()> {
            self.0.push(done.to_string());
            if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn finish(&mut self) {
            self.0.push("end".to_owned());
        }
    }

    #[test]
    fn a_stage_that_is_interrupted_ends() {
        let mut recorder = Recorder::default();
        let result = staged(&mut recorder, Stage::Repairing, 3, |observer| {
            (1..=3).try_for_each(|done| advance(observer, done))
        });
        assert_eq!(result.map_err(|e| e.kind()), Err(ErrorKind::Interrupted));
        assert_eq!(recorder.0, ["Repairing 3", "1", "2", "end"]);
    }
}
