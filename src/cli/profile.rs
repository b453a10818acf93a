//! `secateur profile`: the statistics pass.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{Global, positive};
use super::data_args::DataArgs;
use super::output::Output;
use super::output_guard::OutputGuard;
use super::plan_args::PlanArgs;
use super::progress::{ANALYZING, LOADING, OPENING_DATA, Progress};
use super::streams::OutputFile;
use crate::error::{Error, Result};
use crate::pipeline::{
    Distances, GramKind, Network, PlanOptions, Profile, ProfileOptions, Profiled, Resume, StopWhenConfident,
    add_training, profile, profile_checkpoints,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// ONNX file, or several checkpoints of one training run.
    ///
    /// Give the oldest checkpoint first. Statistics are those of the last one; the criteria that need changes of
    /// weights compare all.
    #[arg(required = true)]
    models: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    /// Path of the profile to write; - for standard output.
    #[arg(short, long, value_name = "FILE.profile")]
    pub(super) output: OutputFile,
    /// Second moments of layer inputs to sum: channel, patch, both or none.
    ///
    /// The criteria obd and obs need channel; reconstruction needs patch, which takes more time, memory and disk.
    #[arg(long, default_value = "channel")]
    gram: GramKind,
    /// Measure no statistics by class, even with labels.
    #[arg(long)]
    no_classes: bool,
    /// Also gather gradients of a loss with respect to factors of the channels.
    ///
    /// The criteria taylor and fisher need them. They take a second pass over the images.
    #[arg(long)]
    gradients: bool,
    /// Also count the values of each tensor, for the ranges of a quantization.
    ///
    /// Tensors that integers may represent are counted: inputs, and results of layers, sums and activations.
    #[arg(long)]
    histograms: bool,
    /// Continue an interrupted run, whose profile is the output file.
    #[arg(long)]
    resume: bool,
    /// Stop as soon as the cut has this confidence (see `plan`), from 0 to 1.
    ///
    /// Images are then visited in random order. The cut is the one by --criterion and the budget; default: act-variance
    /// and half of the MACs.
    #[arg(long, value_name = "C")]
    confidence: Option<f64>,
    /// Also measure how much time the statistics take.
    ///
    /// The network is run a second time without statistics.
    #[arg(long)]
    measure_overhead: bool,
    #[command(flatten)]
    plan: PlanArgs,
}

/// The criterion of --confidence, if none is named: of those with standard errors, the best with a repair
/// (docs/accuracy.md).
const CONFIDENCE_CRITERION: &str = "act-variance";

impl Args {
    /// Returns the cut whose confidence counts, apart from protected layers.
    fn cut(&self) -> Result<PlanOptions> {
        let target = self.plan.target()?.unwrap_or_default();
        let named = self.plan.criterion()?;
        let criterion = match (named, self.confidence) {
            (None, Some(_)) => Some(CONFIDENCE_CRITERION.parse()?),
            (named, _) => named,
        };
        Ok(PlanOptions { target, criterion, ..PlanOptions::default() })
    }

    /// Returns the early stop, if one is asked for.
    fn stop(&self, network: Option<&Network>) -> Result<Option<StopWhenConfident>> {
        let Some(confidence) = self.confidence else { return Ok(None) };
        let PlanOptions { target, criterion, .. } = self.cut()?;
        let cut = match network {
            Some(network) => PlanOptions { criterion, ..self.plan.options(target, network)? },
            None => self.cut()?,
        };
        Ok(Some(StopWhenConfident { confidence, cut }))
    }
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    if let Some(stop) = args.stop(None)? {
        stop.check()?;
    }
    if args.resume && args.output.is_stdout() {
        return Err(Error::new("standard output cannot be resumed")
            .expected("the file of the interrupted run")
            .got("`output` -")
            .remedy("set `output` to that file, or leave out `resume`"));
    }
    let load = || args.models.iter().map(|p| args.data.load(p)).collect::<Result<Vec<_>>>();
    let mut models = output.busy(LOADING, load)?;
    let guard = models.iter().fold(OutputGuard::default(), OutputGuard::model);
    guard.data(&args.data).write([args.output.path()], "write the profile")?;
    let checkpoints = models.len() > 1;
    if args.data.sources().is_none() && checkpoints {
        let profile = profile_checkpoints(&models)?;
        profile.save(args.output.path())?;
        return print(args, &profile, None, output);
    }
    let last = if checkpoints { models.last().cloned() } else { models.pop() };
    let last = last.ok_or_else(|| Error::new("no model was given"))?;
    let network = output.busy(ANALYZING, || Network::from_file(last, args.plan.inexact))?;
    let order = args.confidence.map(|_| args.plan.seed);
    let data = output.busy(OPENING_DATA, || args.data.open_real(&network.graph, order))?;
    let device = global.open(output)?;
    let needs = args.cut()?.criterion()?.needs();
    let options = ProfileOptions {
        batch: args.batch,
        gram: args.gram,
        classes: !args.no_classes,
        distances: if needs.distances { Distances::All } else { Distances::Cheap },
        measure_overhead: args.measure_overhead,
        order,
        gradients: args.gradients || needs.gradients,
        histograms: args.histograms,
        stop: args.stop(Some(&network))?,
    };
    let resume = args.resume.then(|| Resume::load(args.output.path())).transpose()?;
    let mut progress = Progress::interruptible(output)?;
    let source = (&data, &args.data.origin()?);
    let mut profiled = profile(&network, &device, source, &options, resume, &mut progress)?;
    if checkpoints {
        add_training(&mut profiled.profile, &models)?;
    }
    profiled.profile.save(args.output.path())?;
    if let (Some(wanted), false, true) = (args.confidence, profiled.settled, profiled.profile.header.complete)
    {
        output.note(format!("not settled: the images do not suffice for a confidence of {wanted}"));
    }
    print(args, &profiled.profile, Some((&profiled, data.describe()?)), output)
}

/// Prints a profile, with its pass over images and their preprocessing if there was one.
fn print(
    args: &Args,
    profile: &Profile,
    pass: Option<(&Profiled, String)>,
    output: &Output,
) -> Result<Answer> {
    let (profiled, preprocessing) = pass.unzip();
    let channels: usize = profile.layers.iter().map(|l| l.weight.l1.len()).sum();
    let (images, layers) = (profile.header.images, profile.layers.len());
    let out = &args.output;
    let seconds = profiled.map(|p| p.seconds);
    let rate = profiled.map(|p| p.images as f64 / p.seconds);
    let overhead = profiled.and_then(|p| Some((p.overhead?, p.images as f64)));
    match (seconds, rate) {
        (Some(seconds), Some(rate)) => output.line(format!(
            "{images} images, {layers} layers, {channels} channels in {seconds:.1} s ({rate:.0} images/s) → {out}"
        )),
        _ => output.line(format!(
            "{} checkpoints, {layers} layers, {channels} channels → {}",
            profile.header.checkpoints.len() + 1,
            out
        )),
    }
    if let Some(((with, without), images)) = overhead {
        output.line(format!(
            "with statistics {:.1} images/s, without {:.1}: {:+.1} % of time",
            images / with,
            images / without,
            100.0 * (with / without - 1.0)
        ));
    }
    let confidence = profiled.and_then(|p| p.confidence);
    if profiled.is_some_and(|p| p.settled) {
        output.line(format!(
            "settled after {images} images: {:.1} % of the cut by {} is expected to be right",
            100.0 * confidence.unwrap_or(f64::NAN),
            args.cut()?.criterion()?
        ));
    }
    let complete = profile.header.is_complete();
    if !complete {
        output.note(
            "interrupted: the profile is valid for the images seen; the same command with --resume continues",
        );
    }
    output.result(&json!({
        "images": images, "skipped": profiled.map_or(0, |p| p.skipped), "seconds": seconds,
        "images_per_s": rate, "forward_only_images_per_s": overhead.map(|((_, without), images)| images / without),
        "overhead": overhead.map(|((with, without), _)| with / without - 1.0),
        "layers": layers, "channels": channels, "confidence": confidence,
        "settled": profiled.map(|p| p.settled), "complete": complete, "out": out,
        "histograms": profile.values.len(), "preprocessing": preprocessing,
    }));
    Ok(if complete { Answer::Yes } else { Answer::No })
}
