//! `secateur prune`: cut, repair, prove, write.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{DataArgs, Global, positive, seconds};
use super::decide::{DecideArgs, Decision, Latency};
use super::eval::evaluate_both;
use super::known::Known;
use super::mend::{Parts, RepairArgs, calibration, mended};
use super::outcome::{Outcome, Tried};
use super::output::Output;
use super::page::{Draft, WRITE_PAGE, Whole, cost, statistics};
use super::rounds::Deciding;
use super::search;
use super::targets::Targets;
use crate::data::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Channels, Counted, Cut, MaskedReference, Proof, ReferenceOutputs, written};
use crate::repair::{Images, Repair, Repaired};
use crate::stats::Profile;

#[derive(Debug, clap::Args)]
pub(super) struct PruneArgs {
    /// The ONNX file.
    model: PathBuf,
    /// The smaller ONNX file to write.
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,
    /// A decision that `plan` wrote.
    #[arg(long, value_name = "CUT.json", conflicts_with_all = ["profile", "keep_macs", "keep_params", "keep_latency", "remove_below", "inexact", "criterion", "scope", "normalize", "round_to", "max_cut", "protect", "min_channels", "seed", "require_confidence", "rounds"])]
    cut: Option<PathBuf>,
    /// Statistics that `profile` wrote. With --data, what they lack is gathered and put there, so that the same command
    /// goes on after Ctrl-C.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    decide: DecideArgs,
    #[command(flatten)]
    repair: RepairArgs,
    /// Looks for the smallest network that loses at most so many percentage points of top-1, or of agreement with the
    /// original where there are no labels, on the images that are kept apart. It counts MACs, or parameters with
    /// --normalize params.
    #[arg(long, value_name = "PP", conflicts_with_all = ["cut", "keep_macs", "keep_params", "keep_latency", "remove_below", "rounds"])]
    max_drop: Option<f64>,
    /// Also writes the original with the consumers of the removed channels zeroed, repaired: what the proof compares with.
    #[arg(long, value_name = "FILE.onnx")]
    masked: Option<PathBuf>,
    /// Also writes a page to look at: what went, what it cost, how fast it is on this device.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// How long both networks are timed for the report, in all; 0 leaves it out.
    #[arg(long, value_name = "S", default_value_t = 3.0, requires = "report", value_parser = seconds)]
    report_seconds: f64,
    /// Images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

/// The first images of a data set, for the proof.
pub(super) fn some_images(data: &Dataset) -> Result<Option<Batch>> {
    const PROOF_IMAGES: usize = 4;
    data.batches(PROOF_IMAGES).next().transpose()
}

/// A cut, and what is known of it beyond its file.
struct Decided {
    cut: Cut,
    /// The statistics that it was decided by.
    seen: Option<Profile>,
    support: Option<f64>,
    latency: Option<Latency>,
    /// All that a search for it tried, what it counted, and the repaired weights that it found.
    tried: Vec<Tried>,
    counted: Counted,
    repaired: Option<Repaired>,
}

impl Decided {
    fn of(decision: Decision) -> Self {
        let Decision { cut, support, seen, latency } = decision;
        Self { seen: Some(seen), support, latency, ..Self::given(cut) }
    }

    fn given(cut: Cut) -> Self {
        Self {
            cut,
            seen: None,
            support: None,
            latency: None,
            tried: vec![],
            counted: Counted::Macs,
            repaired: None,
        }
    }
}

impl PruneArgs {
    /// Whether all that is asked for is a decision, before anything is computed.
    fn check(&self, model: &Model) -> Result<()> {
        let scores = self.decide.criterion()?;
        let targets = Targets::default().model(model).read(&self.cut).read(&self.profile).data(&self.data);
        let targets = targets.read(scores.file()).write_model(model, &self.output)?;
        let targets =
            self.masked.iter().try_fold(targets, |targets, path| targets.write_model(model, path))?;
        targets.write(&self.report, WRITE_PAGE)?;
        if self.cut.is_none() {
            match self.max_drop {
                Some(drop) => search::check(drop)?,
                None => self.decide.budget().map(drop)?,
            }
        }
        Ok(())
    }

    /// Decides; `None` where the data do not support it as was asked, or Ctrl-C ended the measuring.
    fn decide(
        &self,
        of: Whole,
        how: Repair,
        data: Option<&Parts>,
        (device, images): (&Device, &Images),
        output: &Output,
    ) -> Result<Option<Decided>> {
        let known = Known {
            profile: self.profile.as_deref(),
            data: data.map(|parts| (&parts.calibration, parts.origin(&self.data))),
            images,
            batch: self.batch,
            device,
            begun: Cell::default(),
        };
        let network = (of.model, of.graph, of.channels);
        let decide = known.deciding(&self.decide, network, output)?;
        let deciding = Deciding { decide: &decide, known, how, rounds: self.repair.rounds.max(1) };
        let supported = |decision: &Decision| decide.supported(decision, output);
        let Some(drop) = self.max_drop else {
            return Ok(deciding.decision(network, output)?.filter(supported).map(Decided::of));
        };
        let parts = data.ok_or_else(|| {
            Error::new("--max-drop needs images").expected("--data").remedy("add --data FOLDER")
        })?;
        let found = search::smallest(network, &deciding, drop, parts, output)?;
        Ok(found.filter(|found| supported(&found.decision)).map(|found| Decided {
            tried: found.tried,
            counted: found.counted,
            repaired: Some(found.repaired),
            ..Decided::of(found.decision)
        }))
    }

    /// Cuts the repaired network, proves it, writes it: the smaller network, its proof, and where it is no equal cut.
    fn write(
        &self,
        model: Model,
        (repaired, removed, inexact): (&Repaired, &BTreeSet<usize>, bool),
        (device, images): (&Device, Option<&Batch>),
        output: &Output,
    ) -> Result<(Model, Proof, Vec<String>)> {
        // Each step needs the weights of the network once or twice; nothing keeps them for the next.
        let model = repaired.apply(&model)?;
        let judge = MaskedReference::of(&model, inexact, removed)?;
        let whole = || repaired.apply(&Model::load(&self.model)?);
        let masked = || Graph::from_model_owned(judge.masked(&whole()?)?);
        let bar = output.progress("proving", 2);
        let answers =
            ReferenceOutputs::of(Graph::from_model_owned(judge.masked(&model)?)?, &judge, device, images)?;
        bar.inc(1);
        // What is proved is what a reader of the file will get: encoded, and read back.
        let small = written(model, inexact, removed, &self.output)?;
        let proof = answers.prove(&small, device, &masked);
        bar.finish_and_clear();
        let proof = proof?;
        small.save(&self.output)?;
        drop(small);
        if let Some(path) = &self.masked {
            Model { path: path.clone(), ..judge.masked(&whole()?)? }.save(path)?;
        }
        Ok((Model::load(&self.output)?, proof, judge.inexact))
    }
}

pub(super) fn run(args: &PruneArgs, global: &Global, output: &Output) -> Result<Answer> {
    let model = Model::load(&args.model)?;
    args.check(&model)?;
    let graph = Graph::from_model(&model)?;
    let decided = args.cut.as_deref().map(Cut::load).transpose()?;
    // A cut that was made with --inexact is one of other coupled.
    let inexact = decided.as_ref().map_or(args.decide.inexact, |cut| cut.inexact.is_some());
    let channels = Channels::analyze(&graph, inexact)?;
    let whole = Whole { model: &model, graph: &graph, channels: &channels };
    let data = args.data.data.as_ref().map(|_| args.data.open_real(&graph)).transpose()?;
    let how = args.repair.how(data.as_ref(), output)?;
    let parted = |data| args.repair.judge.parts(data, (&args.data, &graph), how != Repair::None);
    let data = data.map(parted).transpose()?;
    let device = global.open(output)?;
    // They stay in memory: every layer is repaired on all of them.
    let needed = how != Repair::None || (decided.is_none() && args.decide.criterion()?.needs().patches);
    let images = match &data {
        Some(parts) if needed => calibration(&parts.calibration, output)?,
        _ => Images::default(),
    };
    let decided = match decided {
        Some(cut) => Some(Decided::given(cut)),
        None => args.decide(whole, how, data.as_ref(), (&device, &images), output)?,
    };
    let Some(mut decided) = decided else {
        output.result(&json!({ "out": null }));
        return Ok(Answer::No);
    };
    let cut = &decided.cut;
    let removed = cut.removed(&graph, &model.sha256, &channels);
    let removed = removed.map_err(|e| e.file(args.cut.as_deref().unwrap_or(&args.model)))?;
    let before = cost(&channels, model.bytes);
    let total = channels.coupled.iter().map(|k| k.members.len()).sum();
    let gone = removed.iter().map(|&k| channels.coupled[k].members.len()).sum();
    let repaired = match decided.repaired.take() {
        Some(repaired) => repaired,
        None => mended((&graph, &channels), &removed, how, (&device, &images), output)?,
    };
    let images = data.as_ref().map(|parts| some_images(&parts.calibration)).transpose()?.flatten();
    let draft = |seen: Option<Profile>| -> Result<Draft> {
        let calibration = data.as_ref().map(|parts| (&parts.calibration, parts.origin(&args.data)));
        let seen = statistics(seen, whole, (&device, args.batch), calibration, output)?;
        let mut draft = Draft::new(whole, cut, &removed, &seen);
        draft.draw(whole, &device, images.as_ref(), seen.header.preprocessing.as_ref())?;
        draft.decided(how, args.cut.is_none().then_some(args.decide.seed), decided.support);
        Ok(draft)
    };
    let draft = args.report.as_ref().map(|_| draft(decided.seen.take())).transpose()?;
    drop((graph, channels));
    let (small, proof, inexact) =
        args.write(model, (&repaired, &removed, inexact), (&device, images.as_ref()), output)?;
    let both = || -> Result<[Graph; 2]> {
        Ok([Graph::from_model_owned(Model::load(&args.model)?)?, Graph::from_model(&small)?])
    };
    let judged = |parts: &Parts| -> Result<_> {
        let [whole, small] = both()?;
        evaluate_both([&whole, &small], &device, &parts.held, args.batch, output)
    };
    let accuracy = data.as_ref().map(judged).transpose()?;
    let outcome = Outcome {
        cut,
        before,
        after: cost(&Channels::of(&Graph::shapes_only(&small)?)?, small.bytes),
        gone,
        total,
        coupled: removed.len(),
        how,
        refits: repaired.refits.len(),
        proof: &proof,
        inexact: &inexact,
        data: data.as_ref(),
        accuracy: accuracy.as_ref(),
        latency: decided.latency.as_ref(),
        tried: &decided.tried,
        out: &args.output,
        report: args.report.as_deref(),
    };
    outcome.tell(output);
    if let (Some(mut draft), Some(path)) = (draft, &args.report) {
        draft.shrunk(&small)?;
        draft.page().summary.proof = Some(proof.clone());
        if let Some((before, found)) = &accuracy {
            draft.judged(&data.as_ref().map(Parts::on).unwrap_or_default(), before, found);
        }
        if let Some(drop) = args.max_drop {
            draft.tried(&decided.tried, decided.counted, drop);
        }
        draft.time(&both()?, &device, args.report_seconds, output);
        draft.write(path, &device, output)?;
    }
    output.result(&outcome.json());
    Ok(Answer::Yes)
}
