//! The stages that an operation expects, with estimates of their durations.
//!
//! Estimates are seconds on a CPU of a few cores. Observers scale them by the stages that have ended, so only their
//! ratios matter. They were fitted to a pruning of ResNet-20 with 500 images.

use super::calibration::Calibration;
use super::evidence::Evidence;
use super::finetuning::TrainingOptions;
use super::metric::MetricOptions;
use super::network::Network;
use super::original_check::MOST_IMAGES;
use super::plan_options::{PlanOptions, Target};
use super::report_options::ReportOptions;
use crate::error::Result;
use crate::observer::{ExpectedStage, Observer, Stage};
use crate::repair::Repair;
use crate::train::RANGE_STEPS;

/// Seconds that decoding an image takes.
const DECODING: f64 = 1e-3;
/// Multiply-adds that a CPU computes in a second.
const MACS_A_SECOND: f64 = 2e10;
/// Images of each trial that measures a sensitivity, at most.
const PROBED_IMAGES: usize = 256;
/// Forward passes that take as long as a repair of all layers.
const REFIT: f64 = 12.0;
/// Forward passes that take as long as a training step with a teacher.
const TRAINING_STEP: f64 = 3.5;
/// Forward passes that take as long as gradients with respect to all channels.
const GRADIENTS: f64 = 4.0;
/// Networks that a search evaluates, about.
const SEARCHED: f64 = 6.0;

/// The expected stages of an operation on a network.
#[derive(Debug)]
pub(super) struct Schedule {
    stages: Vec<ExpectedStage>,
    /// Estimated seconds of the network for an image.
    forward: f64,
    /// The number of layers.
    layers: usize,
    decoded: bool,
}

impl Schedule {
    /// Returns the schedule of an operation without stages yet.
    pub(super) fn of(network: &Network) -> Self {
        let forward = network.cost().macs as f64 / MACS_A_SECOND + 2e-4;
        let layers = network.channels.coupling.producers.len();
        Self { stages: vec![], forward, layers, decoded: false }
    }

    /// Reports the stages to an observer.
    pub(super) fn announce(self, observer: &mut dyn Observer) {
        observer.expect(&self.stages);
    }

    fn add(&mut self, stage: Stage, seconds: f64) {
        self.stages.push(ExpectedStage { stage, weight: seconds.max(1e-3) });
    }

    /// Adds the check of the original on labelled images.
    pub(super) fn original_check(&mut self, calibration: &Calibration, options: &MetricOptions) {
        if calibration.judge.labels().is_some() && !options.force {
            let images = calibration.judge.len().min(MOST_IMAGES);
            self.add(Stage::Evaluating, images as f64 * (self.forward + DECODING));
        }
    }

    /// Adds the decoding of calibration images that stay in memory, unless it was added before.
    pub(super) fn images(&mut self, calibration: Option<&Calibration>) {
        if let (Some(calibration), false) = (calibration, self.decoded) {
            self.add(Stage::ReadingImages, calibration.fit.len() as f64 * DECODING);
            self.decoded = true;
        }
    }

    /// Adds the stages of a decision.
    pub(super) fn decision(&mut self, evidence: &Evidence, options: &PlanOptions) -> Result<()> {
        self.preparation(evidence, options)?;
        self.search(evidence, options);
        Ok(())
    }

    /// Adds the stages of a sweep: the preparation once, then a search and the removal for each budget.
    pub(super) fn sweep(
        &mut self,
        evidence: &Evidence,
        (options, budgets): (&PlanOptions, usize),
        (report, training): (Option<&ReportOptions>, Option<&TrainingOptions>),
    ) -> Result<()> {
        self.preparation(evidence, options)?;
        for _ in 0..budgets {
            self.search(evidence, options);
            let repairs = options.repair != Repair::None && !is_limit(options.target);
            self.removal(evidence.calibration, (repairs, report, training));
        }
        Ok(())
    }

    /// Adds what a decision does once for all budgets of a kind: the check before a search, statistics, and scores.
    fn preparation(&mut self, evidence: &Evidence, options: &PlanOptions) -> Result<()> {
        let needs = options.criterion()?.needs();
        let images = evidence.calibration.map_or(0, |calibration| calibration.fit.len()) as f64;
        if let Some(calibration) = evidence.calibration.filter(|_| is_limit(options.target)) {
            self.original_check(calibration, &options.metric);
        }
        for round in 0..options.rounds.max(1) {
            if round > 0 {
                self.add(Stage::Repairing, REFIT * images * self.forward);
            }
            self.statistics(evidence, needs.data, needs.patches);
            if needs.gradients {
                self.gradients(evidence);
            }
            if needs.patches && images > 0.0 {
                self.add(Stage::Scoring, 0.02 * self.layers as f64);
                let trial = images.min(PROBED_IMAGES as f64) * self.forward;
                self.add(Stage::Probing, 0.5 * trial * self.layers as f64);
            }
            if let Target::Latency(_) = options.target {
                self.add(Stage::TimingLayers, 10.0);
            }
            self.add(Stage::Scoring, 0.01 * self.layers as f64);
        }
        Ok(())
    }

    /// Adds the search for a latency or a limit of quality.
    fn search(&mut self, evidence: &Evidence, options: &PlanOptions) {
        let calibration = evidence.calibration;
        match options.target {
            Target::Latency(_) => self.add(Stage::Searching, 20.0),
            Target::MaxDrop(_) | Target::MinQuality(_) => {
                let images = calibration.map_or(0, |calibration| calibration.fit.len()) as f64;
                let refit = REFIT * images * self.forward;
                let repaired = if options.repair == Repair::None { 0.0 } else { refit };
                let judged = calibration.map_or(0, |calibration| calibration.judge.len()) as f64;
                self.add(Stage::Searching, SEARCHED * (repaired + 2.0 * judged * self.forward));
            }
            Target::Bytes(_) => {
                let images = calibration.map_or(0, |calibration| calibration.fit.len()) as f64;
                let each = 4.0 * REFIT * images * self.forward;
                self.add(Stage::Searching, options.formats.len() as f64 * each);
            }
            Target::Keep(_) => {}
        }
    }

    /// Adds the gathering of statistics, if a profile is not given.
    fn statistics(&mut self, evidence: &Evidence, needs_data: bool, needs_patches: bool) {
        let Some(calibration) = evidence.calibration.filter(|_| needs_data) else { return };
        if evidence.profile.as_ref().is_some_and(|profile| profile.header.complete) {
            return;
        }
        if needs_patches {
            self.images(Some(calibration));
        }
        let factor = if needs_patches { 4.0 } else { 1.5 };
        self.add(Stage::Profiling, factor * calibration.fit.len() as f64 * self.forward);
    }

    /// Adds the gathering of gradients, if a profile does not have them.
    fn gradients(&mut self, evidence: &Evidence) {
        let Some(calibration) = evidence.calibration else { return };
        let known = evidence.profile.as_ref().and_then(|profile| profile.header.gradients.as_ref());
        if known.is_none_or(|gradients| !gradients.complete) {
            self.add(Stage::Gradients, GRADIENTS * calibration.fit.len() as f64 * self.forward);
        }
    }

    /// Adds the removal of channels: a repair if it follows the decision, the proof, the training, the judgement, and the
    /// report.
    pub(super) fn removal(
        &mut self,
        calibration: Option<&Calibration>,
        (repairs, report, training): (bool, Option<&ReportOptions>, Option<&TrainingOptions>),
    ) {
        if let (Some(calibration), true) = (calibration, repairs) {
            self.add(Stage::Repairing, REFIT * calibration.fit.len() as f64 * self.forward);
        }
        if report.is_some() {
            self.add(Stage::Drawing, 5.0 * self.forward);
        }
        self.proof();
        if let (Some(training), Some(calibration)) = (training, calibration) {
            self.judgement(Some(calibration));
            self.training(training, calibration.fit.len());
        }
        self.judgement(calibration);
        self.timing(report);
    }

    /// Adds a training on `images` images, with the range test for its rate.
    fn training(&mut self, options: &TrainingOptions, images: usize) {
        let batch = options.batch.unwrap_or(TrainingOptions::BATCH).min(images.max(1));
        let step = TRAINING_STEP * batch as f64 * self.forward;
        if options.rate.is_none() {
            self.add(Stage::FindingRate, RANGE_STEPS as f64 * step);
        }
        self.add(Stage::Training, options.length.steps(images / batch.max(1)) as f64 * step);
    }

    /// Adds the stages of a report from files.
    pub(super) fn page(
        &mut self,
        (gathers, calibration): (bool, Option<&Calibration>),
        options: &ReportOptions,
    ) {
        if let Some(calibration) = calibration.filter(|_| gathers) {
            self.add(Stage::Profiling, 1.5 * calibration.fit.len() as f64 * (self.forward + DECODING));
        }
        self.add(Stage::Drawing, 5.0 * self.forward);
        self.proof();
        self.judgement(calibration);
        self.timing(Some(options));
    }

    /// Adds the proof, part of which runs in 64-bit floats.
    fn proof(&mut self) {
        self.add(Stage::Proving, 60.0 * self.forward);
    }

    fn judgement(&mut self, calibration: Option<&Calibration>) {
        if let Some(calibration) = calibration {
            self.add(Stage::Evaluating, calibration.judge.len() as f64 * (2.0 * self.forward + DECODING));
        }
    }

    fn timing(&mut self, report: Option<&ReportOptions>) {
        if let Some(options) = report.filter(|options| options.seconds > 0.0) {
            self.add(Stage::Verifying, 4.0 * self.forward);
            self.add(Stage::Timing, 0.7 * options.seconds);
            self.add(Stage::TimingLayers, 0.3 * options.seconds);
        }
    }
}

/// Returns whether a target is a limit of quality, whose search checks the original by itself.
fn is_limit(target: Target) -> bool {
    target.limit().is_some()
}
