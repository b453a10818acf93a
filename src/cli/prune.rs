//! `secateur prune`: cut, prove, write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::args::{DataArgs, Global};
use super::decide::{DecideArgs, loaded, tell_inexact};
use super::eval::evaluate;
use super::output::{Output, grouped, short};
use super::pass::Pass;
use super::profile::of_weights;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::file::check_writable;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Answers, Channels, Cut, Judge, smaller};

#[derive(Debug, clap::Args)]
pub(super) struct PruneArgs {
    /// The ONNX file.
    model: PathBuf,
    /// The smaller ONNX file to write.
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,
    /// A decision that `plan` wrote.
    #[arg(long, value_name = "CUT.json", conflicts_with_all = ["profile", "keep_macs", "keep_params", "remove_below", "inexact"])]
    cut: Option<PathBuf>,
    /// Statistics that `profile` wrote.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    decide: DecideArgs,
    /// What is repaired after the cut: none.
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = ["none"])]
    repair: String,
    /// Also writes the original with the readers of the removed channels zeroed: what the proof compares with.
    #[arg(long, value_name = "FILE.onnx")]
    masked: Option<PathBuf>,
    /// Images at once.
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
}

/// The first images of a data set, for the proof.
pub(super) fn some_images(data: &Dataset) -> Result<Vec<f32>> {
    const PROOF_IMAGES: usize = 4;
    Ok(data.batches(PROOF_IMAGES).next().transpose()?.map(|b| b.data).unwrap_or_default())
}

pub(super) fn run(args: &PruneArgs, global: &Global, output: &Output) -> Result<Answer> {
    let model = Model::load(&args.model)?;
    if same_file(&args.model, &args.output) {
        return Err(Error::new("the output is the input: nothing is lost here")
            .file(&args.output)
            .remedy("write to another file"));
    }
    check_writable(&args.output, "write the model")?;
    let graph = Graph::of(&model)?;
    let decided = args.cut.as_deref().map(Cut::load).transpose()?;
    // A cut that was made with --inexact is one of other knots.
    let inexact = decided.as_ref().map_or(args.decide.inexact, |cut| cut.inexact.is_some());
    let channels = Channels::dyed(&graph, inexact)?;
    let criterion = args.decide.criterion()?;
    let needs = criterion.needs();
    if args.cut.is_none() {
        args.decide.budget()?;
    }
    let data = args.data.data.as_ref().map(|_| args.data.open_real(&graph)).transpose()?;
    let device = global.open(output)?;
    let cut = match (decided, &args.profile, &data) {
        (Some(cut), ..) => cut,
        (None, path, data) => {
            let profile = match (path, data) {
                (Some(path), _) => loaded(path, &model)?,
                (None, Some(data)) if needs.data => {
                    let pass = Pass::for_criterion((&model, &graph), &device, (data, &args.data), needs);
                    pass.with_batch(args.batch).run(output)?.profile
                }
                (None, None) if needs.data => {
                    return Err(Error::new(format!("the criterion {criterion} needs activations"))
                        .expected("--data or --profile")
                        .remedy("add --data FOLDER, or choose a criterion on weights such as l1"));
                }
                (None, _) => of_weights(&model, &graph, &channels.facts, needs)?,
            };
            let decision = args.decide.decide(&model, &graph, &channels, &profile)?;
            if !args.decide.supported(&decision, output) {
                return Ok(Answer::No);
            }
            decision.cut
        }
    };
    let removed = cut.removed(&graph, &model.sha256, &channels)?;
    let (macs, params) = channels.cost(&channels.lengths());
    let total: usize = channels.knots.iter().map(|k| k.members.len()).sum();
    let gone: usize = removed.iter().map(|&k| channels.knots[k].members.len()).sum();
    let images = data.as_ref().map(some_images).transpose()?.unwrap_or_default();
    let judge = Judge::new(&model, &graph, &channels, &removed)?;
    // Each of what follows needs the weights of the network once or twice; nothing keeps them for the next.
    drop((graph, channels));
    let masked = || Graph::consume(judge.masked(&Model::load(&args.model)?)?);
    let bar = output.progress("proving", 2);
    let answers = Answers::of(Graph::consume(judge.masked(&model)?)?, &judge, &device, &images)?;
    bar.inc(1);
    let before = model.bytes;
    // What is proved is what a reader of the file will get: encoded, and read back.
    let small = cut_again(model, inexact, &removed, &args.output)?;
    let proof = answers.judge(&small, &device, &masked);
    bar.finish_and_clear();
    let proof = proof?;
    let after = Channels::of(&Graph::skeleton(&small)?)?;
    let (small_macs, small_params) = after.cost(&after.lengths());
    drop(after);
    small.save(&args.output)?;
    drop(small);
    if let Some(path) = &args.masked {
        let masked = Model { path: path.clone(), ..judge.masked(&Model::load(&args.model)?)? };
        masked.save(path)?;
    }
    let small = Model::load(&args.output)?;
    let accuracy = match &data {
        Some(data) => {
            let (graph, small_graph) = (Graph::consume(Model::load(&args.model)?)?, Graph::of(&small)?);
            let with = evaluate(&small_graph, Some(&graph), &device, data, args.batch, output)?;
            let before = match data.labels() {
                Some(_) => evaluate(&graph, None, &device, data, args.batch, output)?.accuracy.top1(),
                None => None,
            };
            Some((before, with))
        }
        None => None,
    };
    let top1 = accuracy.as_ref().and_then(|(before, with)| Some((((*before)?), with.accuracy.top1()?)));
    let agreement = accuracy.as_ref().and_then(|(_, with)| with.agreement.as_ref()?.agreement());
    output.line(format!("{:<12} {:>14} {:>14} {:>8}", "", "before", "after", "kept"));
    for (what, before, after) in
        [("MACs", macs, small_macs), ("parameters", params, small_params), ("bytes", before, small.bytes)]
    {
        let share = 100.0 * after as f64 / before.max(1) as f64;
        output.line(format!("{what:<12} {:>14} {:>14} {share:>6.1} %", grouped(before), grouped(after)));
    }
    if let Some((before, after)) = top1 {
        output.line(format!(
            "{:<12} {:>12.2} % {:>12.2} %   (on the data given)",
            "top-1",
            before * 100.0,
            after * 100.0
        ));
    }
    tell_inexact(&judge.inexact, output);
    output.line(format!(
        "{} of {} channels went ({} knots, {}, {}); proved on {} inputs{}, largest error {:.1e}",
        short(gone as u64),
        short(total as u64),
        removed.len(),
        cut.criterion,
        cut.budget,
        proof.inputs,
        if proof.exact { "" } else { " up to these nodes" },
        proof.max_rel_err
    ));
    if let Some(difference) = proof.difference {
        output.line(format!(
            "behind them the answers differ by up to {difference:.1e} of their largest magnitude, without repair"
        ));
    }
    output.line(format!("→ {}", args.output.display()));
    let side = |p: u64, m: u64, b: u64| json!({ "params": p, "macs": m, "bytes": b });
    let top1: Value = top1.map_or(Value::Null, |(b, a)| json!({ "before": b, "after": a }));
    output.result(&json!({
        "before": side(params, macs, before), "after": side(small_params, small_macs, small.bytes),
        "removed_channels": gone, "total_channels": total, "knots_cut": removed.len(),
        "criterion": cut.criterion, "budget": cut.budget, "repair": args.repair, "proof": proof,
        "inexact": judge.inexact, "top1": top1, "agreement": agreement, "out": args.output,
    }));
    Ok(Answer::Yes)
}

/// The smaller model as a reader of its file at `path` will find it. The graph is made anew: it was let go while
/// the masked original ran.
fn cut_again(model: Model, inexact: bool, removed: &BTreeSet<usize>, path: &Path) -> Result<Model> {
    let graph = Graph::of(&model)?;
    let channels = Channels::dyed(&graph, inexact)?;
    let small = smaller(&model, &graph, &channels, removed)?;
    drop((model, graph, channels));
    let (bytes, external) = (small.to_bytes(), small.external.clone());
    drop(small);
    Ok(Model { external, ..Model::from_bytes(bytes, path)? })
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
