//! `secateur report`: the page of a cut that was made, from its files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{DataArgs, Global, positive, seconds};
use super::eval::evaluate_both;
use super::known::loaded;
use super::mend::JudgeArgs;
use super::output::Output;
use super::page::{Draft, WRITE_PAGE, Whole, statistics};
use super::prune::some_images;
use super::targets::Targets;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Channels, Cut, MaskedReference, Proof, ReferenceOutputs};

const EXAMPLES: &str = "Examples:
  secateur report net.onnx small.onnx --cut cut.json --profile net.profile -o report.html
  secateur report net.onnx small.onnx --cut cut.json --data images/ --preset imagenet --masked masked.onnx -o report.html

`prune --report FILE.html` makes the same page in one go.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The original ONNX file.
    model: PathBuf,
    /// The smaller one.
    pruned: PathBuf,
    /// The decision that made the one of the other.
    #[arg(long, value_name = "CUT.json")]
    cut: PathBuf,
    /// Statistics of the original; gathered from the data where none are given, else of its weights alone.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    /// What `prune --masked` wrote: what the proof compares a repaired network with.
    #[arg(long, value_name = "FILE.onnx")]
    masked: Option<PathBuf>,
    /// The page to write.
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
    /// How long both networks are timed, in all; 0 leaves it out.
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let (model, small) = (Model::load(&args.model)?, Model::load(&args.pruned)?);
    let targets = Targets::default().model(&model).model(&small).read([&args.cut]);
    let targets = targets.read(args.profile.iter().chain(&args.masked)).data(&args.data);
    targets.write([&args.output], WRITE_PAGE)?;
    let graph = Graph::from_model(&model)?;
    let cut = Cut::load(&args.cut)?;
    let channels = Channels::analyze(&graph, cut.inexact.is_some())?;
    let removed = cut.removed(&graph, &model.sha256, &channels).map_err(|e| e.file(&args.cut))?;
    let profile = args.profile.as_deref().map(|path| loaded(path, &model)).transpose()?;
    let data = args.data.data.as_ref().map(|_| args.data.open_real(&graph)).transpose()?;
    let parted = |data| args.judge.parts(data, (&args.data, &graph), false);
    let data = data.map(parted).transpose()?;
    let device = global.open(output)?;
    let of = Whole { model: &model, graph: &graph, channels: &channels };
    let calibration = data.as_ref().map(|parts| (&parts.calibration, parts.origin(&args.data)));
    let seen = statistics(profile, of, (&device, args.batch), calibration, output)?;
    let mut draft = Draft::new(of, &cut, &removed, &seen);
    if let Some(layer) = draft.shrunk(&small)? {
        return Err(Error::new("the smaller network is not that of the cut")
            .file(&args.pruned)
            .node(layer)
            .expected(format!("the widths that {} leaves", args.cut.display()))
            .remedy(
                "give the network that `prune --cut` wrote from this cut, or the cut that made this network",
            ));
    }
    let images = data.as_ref().map(|parts| some_images(&parts.calibration)).transpose()?.flatten();
    let recipe = seen.header.preprocessing.as_ref();
    draft.draw(of, &device, images.as_ref(), recipe)?;
    match proved(args, of, &small, &removed, &device, images.as_ref())? {
        Ok(proof) => draft.page().summary.proof = Some(proof),
        Err(why) => draft.page().summary.unproved = Some(why),
    }
    let small_graph = Graph::from_model_owned(small)?;
    if let Some(parts) = &data {
        let of = [&graph, &small_graph];
        let (before, found) = evaluate_both(of, &device, &parts.held, args.batch, output)?;
        draft.judged(&parts.on(), &before, &found);
    }
    drop(channels);
    draft.time(&[graph, small_graph], &device, args.seconds, output);
    draft.write(&args.output, &device, output)?;
    output.result(&json!({ "summary": draft.page().summary, "out": args.output }));
    Ok(Answer::Yes)
}

/// Whether the smaller network is what it should be: against the file that is named, which must agree, else against the
/// original without the channels, from which a repair takes it away. The text says why that is not known.
fn proved(
    args: &Args,
    of: Whole,
    small: &Model,
    removed: &BTreeSet<usize>,
    device: &Device,
    images: Option<&Batch>,
) -> Result<Result<Proof, String>> {
    let judge = MaskedReference::new(of.model, of.graph, of.channels, removed)?;
    let masked = || match &args.masked {
        Some(path) => alike(Graph::from_model_owned(Model::load(path)?)?, of.graph),
        None => Graph::from_model_owned(judge.masked(of.model)?),
    };
    let answers = match ReferenceOutputs::of(masked()?, &judge, device, images) {
        Ok(answers) => answers,
        Err(error) => return Ok(Err(error.message())),
    };
    match (answers.prove(small, device, &masked), &args.masked) {
        (Ok(proof), _) => Ok(Ok(proof)),
        (Err(error), Some(path)) => Err(error.file(path)),
        (Err(_), None) => Ok(Err(OTHER_WEIGHTS.to_owned())),
    }
}

/// A network, if it takes the same inputs as the original.
fn alike(masked: Graph, original: &Graph) -> Result<Graph> {
    let inputs = |graph: &Graph| -> String {
        let inputs = graph.inputs.iter().map(|i| format!("{} {}", graph.name(i.value), i.show()));
        inputs.collect::<Vec<_>>().join(", ")
    };
    let (got, expected) = (inputs(&masked), inputs(original));
    if got == expected {
        return Ok(masked);
    }
    Err(Error::new("the masked network takes other inputs than the original")
        .file(&masked.path)
        .expected(expected)
        .got(got)
        .remedy("give the file that `prune --masked` wrote when it made the smaller network"))
}

/// What is said of a network that is not the original without the channels.
const OTHER_WEIGHTS: &str = "Its answers are not those of the original without the channels: it has other weights, as \
    after a repair. `prune --masked` writes what to compare with (--masked).";
