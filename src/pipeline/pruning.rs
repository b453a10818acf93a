//! Pruning: decide, repair, cut, prove, write, and judge.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::calibration::Calibration;
use super::collapse::Collapse;
use super::cut_sizes::{LayerWidth, layer_widths, widths};
use super::data_notices::check_calibration;
use super::decision::{Attempt, Decision, FormatTrial, Latency, Outcome, Refusal, RefusalReason};
use super::evaluation::{Evaluation, evaluate_against};
use super::evidence::Evidence;
use super::finetuning::{Trained, TrainingOptions, check_training, train};
use super::iterative::steps;
use super::kept_outputs::{KeptOutputs, Reference};
use super::label_fit::LabelFit;
use super::metric::MetricOptions;
use super::network::{Network, Original, cost};
use super::original_check::check_original;
use super::plan_options::{PlanOptions, Target};
use super::planning::decide;
use super::probe_images::no_images;
use super::reformat::reformatted;
use super::repairing::{chosen, repair_layers};
use super::report_builder::{ReportBuilder, statistics};
use super::report_options::ReportOptions;
use super::report_training::add_trainings;
use super::schedule::Schedule;
use super::training_record::{Round, TrainingRecord};
use super::whole_cut::Whole;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::{Observer, Stage, staged};
use crate::onnx::Model;
use crate::prune::{
    Channels, Counted, Cut, MaskedReference, Proof, ReferenceOutputs, Stamp, border_effect, reread, written,
};
use crate::quantize::NumberFormat;
use crate::quantize::integer::IntegerOptions;
use crate::repair::{Images, Repair, Repaired};
use crate::report::{Cost, Page};
use crate::stats::{Header, Profile};
use crate::train::KeptValues;

/// How a network is pruned.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// How channels are chosen. Its `repair` is replaced by the one below.
    pub plan: PlanOptions,
    /// The repair after the cut; `None` repairs everything if there are images.
    pub repair: Option<Repair>,
    /// The file of the pruned network, written when the proof has passed and the network has not collapsed.
    pub output: Option<PathBuf>,
    /// The file of the masked reference: the repaired original with zero weights for removed channels.
    pub masked: Option<PathBuf>,
    /// The report page, if one is wanted.
    pub report: Option<ReportOptions>,
    /// The training of the pruned network after the repair, with the original as teacher; `None` for no training.
    pub finetune: Option<TrainingOptions>,
    /// The quantization of the pruned network to 8-bit integers, after all else; `None` for none.
    pub quantize: Option<IntegerOptions>,
    /// True to record the original and the cut in the metadata of the pruned file ([`Stamp`]).
    pub stamp: bool,
}

/// A pruned network with its proof.
#[derive(Clone, Debug)]
pub struct Pruned {
    /// The pruned model, as read back from its bytes: these were proved.
    pub model: Model,
    /// The decision as a cut file.
    pub cut: Cut,
    /// Cost of the original.
    pub before: Cost,
    /// Cost of the pruned network.
    pub after: Cost,
    /// The width of every layer of the original, before and after the cut.
    pub widths: Vec<LayerWidth>,
    /// The number of removed channels.
    pub removed_channels: usize,
    /// Channels of the original.
    pub total_channels: usize,
    /// Removed sets of coupled channels.
    pub coupled_cut: usize,
    /// The repair that was applied.
    pub repair: Repair,
    /// Layers that were refitted.
    pub refits: usize,
    /// The proof that outputs equal those of the masked reference.
    pub proof: Proof,
    /// Nodes at which the cut is not exact, since removed channels mix with others there.
    pub inexact: Vec<String>,
    /// The confidence of the decision, if it was made here and errors are known.
    pub confidence: Option<f64>,
    /// The evaluation before the training, if the network was trained.
    pub untrained: Option<Evaluation>,
    /// The course of the training, if there was one.
    pub training: Option<TrainingRecord>,
    /// The rounds before the last one, if the network was trained after each.
    pub rounds: Vec<Round>,
    /// The evaluation before the quantization, if the network was quantized.
    pub unquantized: Option<Evaluation>,
    /// The number of layers with integer or shared weights.
    pub quantized_layers: usize,
    /// The number formats that were tried for a budget of bytes.
    pub formats: Vec<FormatTrial>,
    /// The outputs of both networks, compared on the images that judge.
    pub evaluation: Option<Evaluation>,
    /// The collapse that the evaluation shows, in a network without repair or if the options force to go on.
    pub collapse: Option<Collapse>,
    /// The latency, if it was the target.
    pub latency: Option<Latency>,
    /// The networks that were evaluated in a search.
    pub attempts: Vec<Attempt>,
    /// The report page, if one was wanted.
    pub page: Option<Page>,
}

impl Pruned {
    /// Returns whether fewer than half of the original's classes are left, beyond chance.
    pub fn loses_most(&self) -> bool {
        let fit = self.evaluation.as_ref().and_then(|found| found.class_fit.as_ref());
        fit.and_then(LabelFit::kappa).is_some_and(|kappa| kappa < 0.5)
    }

    /// Adds the trainings to a report page that lacks them: losses, quality, and the options that repeat them.
    pub fn add_trainings(&self, page: &mut Page) {
        let last = Round {
            budget: self.cut.budget.clone(),
            untrained: self.untrained.clone(),
            training: self.training.clone(),
            evaluation: self.evaluation.clone(),
        };
        add_trainings(page, &self.rounds.iter().chain([&last]).collect::<Vec<_>>());
    }
}

/// Decides which channels are removed, repairs the network, removes them, and proves the result.
///
/// The network is taken by value: its weights are released as soon as possible, and read again from their source.
///
/// A repaired network that has collapsed ([`Collapse`]) is refused, and nothing is written, unless
/// [`MetricOptions::force`](super::MetricOptions) is set.
///
/// # Errors
/// As [`super::plan`]; a proof that fails (then nothing is written), a file that cannot be written.
pub fn prune(
    network: Network,
    device: &Device,
    evidence: Evidence,
    options: &PruneOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Pruned>> {
    Outcome::of(decide_and_prune(network, device, evidence, options, observer))
}

fn decide_and_prune(
    network: Network,
    device: &Device,
    evidence: Evidence,
    options: &PruneOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Pruned>> {
    let (calibration, batch) = (evidence.calibration, evidence.batch);
    check_calibration(&network.graph, calibration, options.plan.metric.force, observer)?;
    check_later_steps(options, calibration)?;
    let is_search = options.plan.target.limit().is_some();
    let repair = chosen(options.repair, calibration, observer)?;
    let deciding = PlanOptions { repair, ..options.plan.clone() };
    let deciding = evidence.resolve(&network, &deciding, observer)?;
    deciding.target.check()?;
    let mut schedule = Schedule::of(&network);
    if let Some(calibration) = calibration.filter(|_| !is_search) {
        schedule.original_check(calibration, &options.plan.metric);
    }
    schedule.images(calibration.filter(|_| repair != Repair::None));
    let budget = match (deciding.target, &options.finetune) {
        (Target::Keep(budget), Some(_)) => Some(budget).filter(|&b| steps(b, deciding.rounds).len() > 1),
        _ => None,
    };
    let report = |is_last: bool| options.report.as_ref().filter(|_| is_last);
    let repairs = repair != Repair::None && !is_search;
    match budget {
        Some(_) => (0..deciding.rounds).try_for_each(|round| {
            schedule.decision(&evidence, &PlanOptions { rounds: 1, ..deciding.clone() })?;
            let report = report(round + 1 == deciding.rounds);
            schedule.removal(calibration, (repairs, report, options.finetune.as_ref()));
            Ok(())
        })?,
        None => {
            schedule.decision(&evidence, &deciding)?;
            schedule.removal(calibration, (repairs, report(true), options.finetune.as_ref()));
        }
    }
    schedule.announce(observer);
    let by = (options.plan.target, &options.plan.metric, repair);
    check_and_read(&network, device, &evidence, by, observer)?;
    let work = Work { device, calibration, batch, options, repair, kept: None };
    if let Some(budget) = budget {
        return work.in_trained_rounds(&network, evidence, (&deciding, budget), observer);
    }
    let decided = decide(&network, device, evidence, &deciding, observer)?;
    decided.and_then(|decision| work.carry_out(network, decision, (Some(deciding.seed), None), observer))
}

/// Checks that a training and a quantization have images, and that the training has sound options.
fn check_later_steps(options: &PruneOptions, calibration: Option<&Calibration>) -> Result<()> {
    if options.quantize.is_some() && calibration.is_none() {
        return Err(no_images());
    }
    if matches!(options.plan.target, Target::Bytes(_)) && calibration.is_none() {
        return Err(Error::new("`keep_bytes` needs images, on which number formats are compared")
            .expected("`data`")
            .remedy("set `data` to images like those that the network will see"));
    }
    let Some(training) = &options.finetune else { return Ok(()) };
    if calibration.is_none() {
        return Err(Error::new("a training needs images")
            .expected("`data`")
            .remedy("set `data` to the images to train on"));
    }
    if options.plan.rounds > 1 && training.checkpoint.is_some() {
        return Err(Error::new("a checkpoint continues one training, not one after each round")
            .expected("`rounds` 1, or no `checkpoint`")
            .got(format!("{} rounds", options.plan.rounds))
            .remedy("leave `checkpoint` out, or prune each round by a command of its own"));
    }
    check_training(training)
}

/// Checks the original, unless the search for a target does that itself, and reads the images that a repair uses.
pub(super) fn check_and_read(
    network: &Network,
    device: &Device,
    evidence: &Evidence,
    (target, metric, repair): (Target, &MetricOptions, Repair),
    observer: &mut dyn Observer,
) -> Result<()> {
    let Some(calibration) = evidence.calibration else { return Ok(()) };
    if target.limit().is_none() {
        check_original(&network.graph, device, calibration, (evidence.batch, metric), observer)?;
    }
    if repair != Repair::None {
        calibration.images(observer)?;
    }
    Ok(())
}

/// Removes the channels of a cut that was decided before, and proves the result. A collapse is refused.
///
/// # Errors
/// A cut of another model; otherwise as [`prune`].
pub fn apply(
    network: Network,
    device: &Device,
    cut: Cut,
    evidence: Evidence,
    options: &PruneOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Pruned>> {
    Outcome::of(apply_decided(network, device, cut, evidence, options, observer))
}

fn apply_decided(
    network: Network,
    device: &Device,
    cut: Cut,
    evidence: Evidence,
    options: &PruneOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Pruned>> {
    let calibration = evidence.calibration;
    check_calibration(&network.graph, calibration, options.plan.metric.force, observer)?;
    check_later_steps(options, calibration)?;
    let repair = chosen(options.repair, calibration, observer)?;
    let mut schedule = Schedule::of(&network);
    if let Some(calibration) = calibration {
        schedule.original_check(calibration, &options.plan.metric);
    }
    schedule.images(calibration.filter(|_| repair != Repair::None));
    let stages = (repair != Repair::None, options.report.as_ref(), options.finetune.as_ref());
    schedule.removal(calibration, stages);
    schedule.announce(observer);
    if let Some(calibration) = calibration {
        let by = (evidence.batch, &options.plan.metric);
        check_original(&network.graph, device, calibration, by, observer)?;
    }
    let removed = cut.removed(&network.graph, &network.model.sha256, &network.channels)?;
    let decision = Decision {
        cut,
        removed,
        confidence: None,
        profile: Profile::new(Header::default(), vec![]),
        latency: None,
        format: None,
        formats: vec![],
        attempts: vec![],
        counted: Counted::Macs,
        repaired: None,
    };
    let work = Work { device, calibration, batch: evidence.batch, options, repair, kept: None };
    work.carry_out(network, decision, (None, None), observer)
}

/// The parts of a pruning that do not change.
pub(super) struct Work<'a> {
    pub(super) device: &'a Device,
    pub(super) calibration: Option<&'a Calibration>,
    pub(super) batch: Option<usize>,
    pub(super) options: &'a PruneOptions,
    pub(super) repair: Repair,
    /// The outputs of the original for the images that judge, if other networks are compared with them, too.
    pub(super) kept: Option<&'a KeptOutputs>,
}

impl Work<'_> {
    /// Repairs, cuts, proves, judges and writes.
    ///
    /// `seed` is the decision's; `None` for a decision made before. In rounds with training, `whole` has the cuts of all
    /// rounds.
    pub(super) fn carry_out(
        &self,
        network: Network,
        decision: Decision,
        (seed, whole): (Option<u64>, Option<Whole>),
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Pruned>> {
        let Self { device, calibration, batch, options, repair, kept } = *self;
        let Decision {
            cut, removed, confidence, profile, latency, attempts, counted, repaired: found, ..
        } = decision;
        let (format, formats) = (decision.format, decision.formats);
        let format = format.or_else(|| options.quantize.clone().map(NumberFormat::Integers));
        let first = whole.as_ref().map_or(&network, |whole| whole.network);
        let all_removed = whole.as_ref().map_or(&removed, |whole| &whole.removed);
        let cut = whole.as_ref().map_or(cut, |whole| whole.cut.clone());
        let profile = whole.as_ref().map_or(profile, |whole| whole.profile.clone());
        let (removed_channels, total_channels) = (first.count_channels(all_removed), first.total_channels());
        let (before, coupled_cut, first_original) = (first.cost(), all_removed.len(), first.original.clone());
        let none = Images::default();
        let images = match calibration.filter(|_| repair != Repair::None) {
            Some(calibration) => calibration.images(observer)?,
            None => &none,
        };
        let of = (&network.graph, &network.channels);
        let repaired = match found {
            Some(repaired) => repaired,
            None => repair_layers(of, &removed, repair, (device, images), observer)?,
        };
        let proof_images = calibration.map(Calibration::proof_images).transpose()?.flatten();
        let mut page = match &options.report {
            Some(report) => {
                let seen = seed.is_some().then_some(profile);
                let seen = statistics(seen, first, (device, batch), calibration, observer)?;
                let mut page = ReportBuilder::new(first, &cut, all_removed, &seen, report);
                staged(observer, Stage::Drawing, 0, |_| {
                    let recipe = seen.header.preprocessing.as_ref();
                    page.preprocessed(calibration, recipe)?;
                    page.draw(first, device, proof_images.as_ref(), recipe)
                })?;
                page.decided(repair, seed, confidence);
                Some(page)
            }
            None => None,
        };
        let inexact = network.is_inexact();
        let stamp = options.stamp.then(|| Stamp {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            original: first.model.sha256.clone(),
            cut: cut.digest(),
            criterion: cut.criterion.clone(),
            budget: cut.budget.clone(),
            repair: repair.to_string(),
        });
        let widths_before = layer_widths(first);
        let Network { model, original, .. } = network;
        let cutting = Cutting { repaired: &repaired, removed: &removed, inexact, original: &original, stamp };
        let Proved { small, proof, inexact, kept: kept_values } =
            cutting.prove(model, (device, proof_images.as_ref()), options, observer)?;
        let (kept_values, rounds) = match whole {
            Some(whole) => (whole.kept, whole.rounds),
            None => (kept_values, vec![]),
        };
        let both = |small: &Model| -> Result<[Graph; 2]> {
            Ok([Graph::from_model_owned(first_original.model()?)?, Graph::from_model(small)?])
        };
        let judge = |small: &Model, calibration: &Calibration, observer: &mut dyn Observer| {
            let [whole, small] = both(small)?;
            let by = (batch, &options.plan.metric);
            let reference = Reference { graph: &whole, kept };
            evaluate_against(&small, Some(reference), device, &calibration.judge, by, observer)
        };
        let (mut small, mut untrained, mut training) = (small, None, None);
        if let (Some(finetune), Some(calibration)) = (&options.finetune, calibration) {
            let found = judge(&small, calibration, observer)?;
            let teacher = Graph::from_model_owned(first_original.model()?)?;
            let Trained { model, record, .. } = train(
                &small,
                (Some(&teacher), &kept_values),
                (device, batch),
                calibration,
                finetune,
                observer,
            )?;
            let path = small.path.clone();
            small = reread(model, &path)?;
            (untrained, training) = (Some(found), Some(record));
        }
        let (mut unquantized, mut quantized_layers) = (None, 0);
        if let (Some(format), Some(calibration)) = (&format, calibration) {
            let found = judge(&small, calibration, observer)?;
            let made = reformatted(format, &small, ((device, batch), calibration), observer)?;
            if let (Some(page), Some(form)) = (&mut page, made.form()) {
                page.quantized(form, &small)?;
            }
            (unquantized, quantized_layers) = (Some(found), made.layers());
            small = made.into_model();
        }
        let small_graph = Graph::shapes_only(&small)?;
        let small_channels = Channels::of(&small_graph)?;
        let after = cost(&small_channels, small.bytes);
        let widths = widths(widths_before, &small_graph, &small_channels.facts);
        let evaluation = calibration.map(|calibration| judge(&small, calibration, observer)).transpose()?;
        let collapse = self.collapse(evaluation.as_ref(), inexact.is_empty());
        if let Some(collapse) = collapse.filter(|_| self.refuses_collapse()) {
            let reason = RefusalReason::Collapsed(collapse);
            return Ok(Outcome::Refused(Box::new(Refusal { reason, attempts, decision: None })));
        }
        let small = cutting.write(small, options)?;
        if let Some(page) = &mut page {
            page.shrunk(&small)?;
            page.proved(&proof);
            if let Some(stamp) = Stamp::of(&small.proto) {
                page.stamped(stamp);
            }
            if let (Some(calibration), Some(found)) = (calibration, &evaluation) {
                page.judged(calibration, found)?;
            }
            if let Some(metric) = evaluation.as_ref().and_then(|found| found.metric.as_ref()) {
                page.tried(&attempts, counted, (metric, options.plan.target));
            }
            let graphs = both(&small)?;
            page.draw_pruned(&graphs[1], device)?;
            page.time(&graphs, device, observer);
        }
        let mut page = page.map(|page| page.finish(device));
        let mut pruned = Pruned {
            model: small,
            before,
            after,
            widths,
            removed_channels,
            total_channels,
            coupled_cut,
            repair,
            refits: repaired.refits.len(),
            proof,
            inexact,
            confidence,
            untrained,
            training,
            rounds,
            unquantized,
            quantized_layers,
            formats,
            evaluation,
            collapse,
            latency,
            attempts,
            page: None,
            cut,
        };
        if let Some(page) = &mut page {
            pruned.add_trainings(page);
        }
        pruned.page = page;
        Ok(Outcome::Done(pruned))
    }

    /// Returns the collapse that an evaluation on real data shows; an inexact cut changes outputs by design.
    fn collapse(&self, found: Option<&Evaluation>, is_exact: bool) -> Option<Collapse> {
        let judge = &self.calibration?.judge;
        found.filter(|_| is_exact && !judge.is_random()).and_then(Collapse::of)
    }

    /// Returns whether a collapse is a mistake: not if the repair was declined, since that is its known effect.
    fn refuses_collapse(&self) -> bool {
        self.options.repair != Some(Repair::None) && !self.options.plan.metric.force
    }
}

/// A pruned model that was proved.
struct Proved {
    small: Model,
    proof: Proof,
    /// The nodes at which the cut is inexact.
    inexact: Vec<String>,
    /// The indices of the original's values that stay.
    kept: KeptValues,
}

/// A cut to make, and the source of the original for what needs it again.
struct Cutting<'a> {
    repaired: &'a Repaired,
    removed: &'a BTreeSet<usize>,
    inexact: bool,
    original: &'a Original,
    stamp: Option<Stamp>,
}

impl Cutting<'_> {
    /// Returns the repaired original, whose own stamp does not describe the networks made from it.
    fn whole(&self) -> Result<Model> {
        let mut model = self.repaired.apply(&self.original.model()?)?;
        Stamp::remove(&mut model.proto);
        Ok(model)
    }

    /// Cuts the repaired model, and proves the encoded and re-read result.
    ///
    /// Each step needs the weights of the network once or twice, and releases them for the next.
    fn prove(
        &self,
        model: Model,
        (device, images): (&Device, Option<&Batch>),
        options: &PruneOptions,
        observer: &mut dyn Observer,
    ) -> Result<Proved> {
        staged(observer, Stage::Proving, 2, |observer| {
            self.proved(model, (device, images), options, observer)
        })
    }

    fn proved(
        &self,
        model: Model,
        (device, images): (&Device, Option<&Batch>),
        options: &PruneOptions,
        observer: &mut dyn Observer,
    ) -> Result<Proved> {
        let Self { repaired, removed, inexact, ref stamp, .. } = *self;
        let mut model = repaired.apply(&model)?;
        Stamp::remove(&mut model.proto);
        let reference = MaskedReference::of(&model, inexact, removed)?;
        let masked = || reference.masked(&self.whole()?);
        let graph = Graph::from_model_owned(reference.masked(&model)?)?;
        let outputs = ReferenceOutputs::of(graph, &reference, device, images)?;
        let constants = border_effect(&reference, (&model, inexact), device, images)?;
        crate::observer::advance(observer, 1)?;
        let path = options.output.clone().unwrap_or_else(|| model.path.clone());
        if let Some(stamp) = stamp {
            stamp.write(&mut model.proto);
        }
        let small = written(model, inexact, removed, &path)?;
        let proof = outputs.prove(&small, device, &|| Graph::from_model_owned(masked()?))?;
        let proof = Proof { constants, ..proof };
        let kept = reference.kept_values().clone();
        Ok(Proved { small, proof, inexact: reference.inexact, kept })
    }

    /// Writes the pruned model and the masked reference to the files that are asked for; returns the model that was
    /// written.
    fn write(&self, small: Model, options: &PruneOptions) -> Result<Model> {
        let small = match &options.output {
            Some(path) => {
                small.save(path)?;
                let bindings = small.bindings;
                drop(small.proto);
                Model::load(path)?.with_bindings(bindings)
            }
            None => small,
        };
        if let Some(path) = &options.masked {
            let model = self.whole()?;
            let masked = MaskedReference::of(&model, self.inexact, self.removed)?.masked(&model)?;
            Model { path: path.clone(), ..masked }.save(path)?;
        }
        Ok(small)
    }
}
