//! `secateur profile`: the statistics pass.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Answer;
use super::args::{DataArgs, Global, positive};
use super::decide::DecideArgs;
use super::known::{interruption, of_weights};
use super::output::Output;
use super::pass::{Pass, Passed, header};
use super::targets::Targets;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::onnx::Model;
use crate::prune::{Channels, Needs};
use crate::stats::{Distances, Gatherer, GramKind, Profile, trajectories};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The ONNX file; or several checkpoints of one training, the oldest first: the profile is of the last.
    #[arg(required = true)]
    models: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    /// The profile to write.
    #[arg(short, long, value_name = "FILE.profile")]
    output: PathBuf,
    /// Second moments of what layers read: of channels (`obd` and `obs` decide by them), of whole patches
    /// (`reconstruction`; more time, memory and disk), both, or none.
    #[arg(long, default_value = "channel")]
    gram: GramKind,
    /// Gathers nothing by class, where labels are known.
    #[arg(long)]
    no_classes: bool,
    /// Goes on with the profile of an interrupted run.
    #[arg(long)]
    resume: bool,
    /// Visits the images in random order, and stops when the data are so sure of the cut that --criterion and the
    /// budget make (half of the MACs, if none is named).
    #[arg(long, value_name = "C")]
    confidence: Option<f64>,
    /// Runs the plain network too, and says what gathering costs.
    #[arg(long)]
    measure_overhead: bool,
    #[command(flatten)]
    decide: DecideArgs,
}

/// The trajectories of the last model's layers through all of them.
fn with_training(mut profile: Profile, models: &[Model], graphs: &[Graph]) -> Result<Profile> {
    for (layer, trajectory) in profile.layers.iter_mut().zip(trajectories(graphs)?) {
        layer.trajectory = trajectory;
    }
    let earlier = &models[..models.len() - 1];
    profile.header.checkpoints = earlier.iter().map(header).map(|h| (h.model, h.model_sha256)).collect();
    Ok(profile)
}

/// The criterion for which images are enough, where none is named: of those whose errors are known, the best with a
/// repair (docs/accuracy.md).
const SURE: &str = "act-variance";

impl Args {
    /// How it is decided whether the images are enough.
    fn deciding(&self) -> DecideArgs {
        let decide = self.decide.clone().or_half();
        if self.confidence.is_some() { decide.or_by(SURE) } else { decide }
    }

    fn check_confidence(&self) -> Result<()> {
        let Some(wanted) = self.confidence else { return Ok(()) };
        if !(wanted > 0.5 && wanted < 1.0) {
            return Err(Error::new("--confidence does not fit")
                .expected("above 0.5 and below 1")
                .got(wanted.to_string())
                .remedy("for example --confidence 0.95"));
        }
        let criterion = self.deciding().criterion()?;
        if criterion.needs().patches {
            return Err(Error::new(format!("nobody knows how sure the scores of {criterion} are"))
                .expected("a criterion on activations whose errors are known")
                .remedy("add for example --criterion apoz, or leave out --confidence"));
        }
        if !criterion.needs().data {
            return Err(Error::new(format!(
                "the criterion {criterion} reads weights alone: no image makes it surer"
            ))
            .expected("a criterion on activations")
            .remedy("add for example --criterion apoz, or leave out --confidence"));
        }
        Ok(())
    }
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    args.check_confidence()?;
    let models = args.models.iter().map(|p| Model::load(p)).collect::<Result<Vec<_>>>()?;
    let targets = models.iter().fold(Targets::default(), Targets::model);
    targets.data(&args.data).write([&args.output], "write the profile")?;
    let graphs = models.iter().map(Graph::from_model).collect::<Result<Vec<_>>>()?;
    let (Some(model), Some(graph)) = (models.last(), graphs.last()) else {
        return Err(Error::new("no model was given"));
    };
    if args.data.data.is_none() && models.len() > 1 {
        // Checkpoints alone: how the weights went.
        let facts = Facts::at_own_size(graph)?;
        let needs = Needs { distances: true, ..Needs::WEIGHTS };
        let mut profile = with_training(of_weights(model, graph, &facts, needs)?, &models, &graphs)?;
        profile.header.complete = true;
        profile.save(&args.output)?;
        return tell(args, &profile, None, None, output);
    }
    let decide = args.deciding();
    let seed = args.confidence.map(|_| decide.seed);
    let data = args.data.open_in_order(graph, seed)?;
    let device = global.open(output)?;
    let needs = Needs { data: true, labels: !args.no_classes, ..decide.criterion()?.needs() };
    let mut pass = Pass::new((model, graph), &device, &data, args.data.origin(), args.gram, needs);
    pass.header.order = seed;
    pass.batch = args.batch;
    if !needs.distances {
        pass.distances = Distances::Cheap;
    }
    pass.overhead = args.measure_overhead;
    if args.resume {
        pass.resume(Profile::load(&args.output)?, &args.output)?;
    }
    let interrupted = interruption()?;
    let channels = args.confidence.map(|_| Channels::analyze(graph, args.decide.inexact)).transpose()?;
    let mut sure = None;
    // Looked at after 32 images, and then after half as many again each time: looks cost time, too.
    let mut due = 32u64;
    let mut look = |gatherer: &mut Gatherer| -> Result<ControlFlow<()>> {
        let (Some(wanted), Some(channels)) = (args.confidence, &channels) else {
            return Ok(ControlFlow::Continue(()));
        };
        if gatherer.images() < due {
            return Ok(ControlFlow::Continue(()));
        }
        due = gatherer.images() + gatherer.images() / 2;
        let scored = decide.score(graph, channels, gatherer.profile()?)?;
        let support = decide.choose(model, channels, &scored)?.support;
        sure = support;
        Ok(match support {
            Some(support) if support >= wanted => ControlFlow::Break(()),
            Some(_) => ControlFlow::Continue(()),
            None => {
                let criterion = decide.criterion()?;
                return Err(Error::new(format!("the error of the criterion {criterion} is not known"))
                    .remedy(
                        "leave out --confidence, or choose apoz, act-mean, act-variance, act-l1 or entropy",
                    ));
            }
        })
    };
    let mut passed = pass.run_watched(output, &mut look, &interrupted)?;
    if models.len() > 1 {
        passed.profile = with_training(passed.profile, &models, &graphs)?;
    }
    passed.profile.save(&args.output)?;
    if let (Some(wanted), false, true) = (args.confidence, passed.settled, passed.profile.header.complete) {
        output.note(format!("not settled: the images are not enough for a confidence of {wanted}"));
    }
    tell(args, &passed.profile, Some(&passed), sure, output)
}

fn tell(
    args: &Args,
    profile: &Profile,
    passed: Option<&Passed>,
    confidence: Option<f64>,
    output: &Output,
) -> Result<Answer> {
    let channels: usize = profile.layers.iter().map(|l| l.weight.l1.len()).sum();
    let (images, layers) = (profile.header.images, profile.layers.len());
    let out: &Path = &args.output;
    let seconds = passed.map(|p| p.seconds);
    let rate = passed.map(|p| p.images as f64 / p.seconds);
    let overhead = passed.and_then(|p| Some((p.overhead?, p.images as f64)));
    let forward = overhead.map(|((_, without), images)| images / without);
    match (seconds, rate) {
        (Some(seconds), Some(rate)) => output.line(format!(
            "{images} images, {layers} layers, {channels} channels in {seconds:.1} s ({rate:.0} images/s) → {}",
            out.display()
        )),
        _ => output.line(format!(
            "{} checkpoints, {layers} layers, {channels} channels → {}",
            profile.header.checkpoints.len() + 1,
            out.display()
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
    if passed.is_some_and(|p| p.settled) {
        output.line(format!(
            "settled after {images} images: {:.1} % of the cut by {} is expected to be right",
            100.0 * confidence.unwrap_or(f64::NAN),
            args.deciding().criterion()?
        ));
    }
    let complete = profile.header.complete;
    if !complete {
        output.note(
            "interrupted: the profile is good for the images seen; the same command with --resume goes on",
        );
    }
    output.result(&json!({
        "images": images, "skipped": passed.map_or(0, |p| p.skipped), "seconds": seconds,
        "images_per_s": rate, "forward_only_images_per_s": forward,
        "overhead": overhead.map(|((with, without), _)| with / without - 1.0),
        "layers": layers, "channels": channels, "confidence": confidence,
        "settled": passed.map(|p| p.settled), "complete": complete, "out": out,
    }));
    Ok(if complete { Answer::Yes } else { Answer::No })
}
