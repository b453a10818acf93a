//! `secateur prune`: cut, repair, prove, write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::args::{DataArgs, Global};
use super::decide::{DecideArgs, tell_inexact};
use super::eval::evaluate_both;
use super::known::Known;
use super::mend::{Parts, RepairArgs, calibration, mended};
use super::output::{Output, grouped, short};
use super::page::{Draft, Whole, check_page, cost, statistics};
use super::rounds::Deciding;
use super::search;
use crate::data::Dataset;
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::file::check_writable;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Answers, Channels, Counted, Cut, Judge, smaller};
use crate::repair::{Images, Repair};
use crate::stats::Profile;

#[derive(Debug, clap::Args)]
pub(super) struct PruneArgs {
    /// The ONNX file.
    model: PathBuf,
    /// The smaller ONNX file to write.
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,
    /// A decision that `plan` wrote.
    #[arg(long, value_name = "CUT.json", conflicts_with_all = ["profile", "keep_macs", "keep_params", "keep_latency", "remove_below", "inexact"])]
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
    #[arg(long, value_name = "PP", allow_hyphen_values = true, conflicts_with_all = ["cut", "keep_macs", "keep_params", "keep_latency", "remove_below", "rounds"])]
    max_drop: Option<f64>,
    /// Also writes the original with the readers of the removed channels zeroed, repaired: what the proof compares with.
    #[arg(long, value_name = "FILE.onnx")]
    masked: Option<PathBuf>,
    /// Also writes a page to look at: what went, what it cost, how fast it is on this device.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// How long both networks are timed for the report, in all; 0 leaves it out.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    report_seconds: f64,
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
    if let Some(path) = &args.report {
        check_page(path, &[&args.model, &args.output])?;
    }
    let graph = Graph::of(&model)?;
    let decided = args.cut.as_deref().map(Cut::load).transpose()?;
    // A cut that was made with --inexact is one of other knots.
    let inexact = decided.as_ref().map_or(args.decide.inexact, |cut| cut.inexact.is_some());
    let channels = Channels::dyed(&graph, inexact)?;
    if args.cut.is_none() {
        args.decide.criterion()?;
        match args.max_drop {
            Some(drop) => search::check(drop)?,
            None => args.decide.budget().map(drop)?,
        }
    }
    let data = args.data.data.as_ref().map(|_| args.data.open_real(&graph)).transpose()?;
    let how = args.repair.how(data.as_ref(), output)?;
    let parted = |data| args.repair.judge.parts(data, (&args.data, &graph), how != Repair::None);
    let data = data.map(parted).transpose()?;
    let device = global.open(output)?;
    // They stay in memory: every layer is repaired on all of them.
    let images = match &data {
        Some(parts)
            if how != Repair::None || (decided.is_none() && args.decide.criterion()?.needs().patches) =>
        {
            calibration(&parts.calibration, output)?
        }
        _ => Images::default(),
    };
    let (mut tried, mut counted) = (vec![], Counted::Macs);
    let mut searched = None;
    let mut latency = None;
    let (cut, seen, support) = match decided {
        Some(cut) => (cut, None, None),
        None => {
            let known = Known {
                profile: args.profile.as_deref(),
                data: data.as_ref().map(|parts| (&parts.calibration, parts.origin(&args.data))),
                images: &images,
                batch: args.batch,
                device: &device,
            };
            let deciding = Deciding { decide: &args.decide, known, how, rounds: args.repair.rounds.max(1) };
            let decision = match args.max_drop {
                None => deciding.decision((&model, &graph, &channels), output)?,
                Some(drop) => {
                    let parts = data.as_ref().ok_or_else(|| {
                        Error::new("--max-drop needs images").expected("--data").remedy("add --data FOLDER")
                    })?;
                    let found =
                        search::smallest((&model, &graph, &channels), &deciding, drop, parts, output)?;
                    found.map(|found| {
                        tried = found.tried;
                        counted = found.counted;
                        searched = Some(found.repaired);
                        found.decision
                    })
                }
            };
            let Some(decision) = decision.filter(|d| args.decide.supported(d, output)) else {
                return Ok(Answer::No);
            };
            latency = decision.latency;
            (decision.cut, Some(decision.seen), decision.support)
        }
    };
    let removed = cut.removed(&graph, &model.sha256, &channels);
    let removed = removed.map_err(|e| e.file(args.cut.as_deref().unwrap_or(&args.model)))?;
    let before = cost(&channels, model.bytes);
    let total: usize = channels.knots.iter().map(|k| k.members.len()).sum();
    let gone: usize = removed.iter().map(|&k| channels.knots[k].members.len()).sum();
    let repaired = match searched {
        Some(repaired) => repaired,
        None => mended((&graph, &channels), &removed, how, (&device, &images), output)?,
    };
    let images = data.as_ref().map(|parts| some_images(&parts.calibration)).transpose()?.unwrap_or_default();
    let draft = |seen: Option<Profile>| -> Result<Draft> {
        let of = Whole { model: &model, graph: &graph, channels: &channels };
        let calibration = data.as_ref().map(|parts| (&parts.calibration, parts.origin(&args.data)));
        let seen = statistics(seen, of, (&device, args.batch), calibration, output)?;
        let mut draft = Draft::new(of, &cut, &removed, &seen);
        draft.draw(of, &device, &images, seen.header.preprocessing.as_ref())?;
        draft.decided(how, args.cut.is_none().then_some(args.decide.seed), support);
        Ok(draft)
    };
    let mut draft = args.report.as_ref().map(|_| draft(seen)).transpose()?;
    // Each of what follows needs the weights of the network once or twice; nothing keeps them for the next.
    drop((graph, channels));
    let model = repaired.apply(&model)?;
    let judge = judged(&model, inexact, &removed)?;
    let whole = || repaired.apply(&Model::load(&args.model)?);
    let masked = || Graph::consume(judge.masked(&whole()?)?);
    let bar = output.progress("proving", 2);
    let answers = Answers::of(Graph::consume(judge.masked(&model)?)?, &judge, &device, &images)?;
    bar.inc(1);
    // What is proved is what a reader of the file will get: encoded, and read back.
    let small = cut_again(model, inexact, &removed, &args.output)?;
    let proof = answers.judge(&small, &device, &masked);
    bar.finish_and_clear();
    let proof = proof?;
    small.save(&args.output)?;
    drop(small);
    if let Some(path) = &args.masked {
        let masked = Model { path: path.clone(), ..judge.masked(&whole()?)? };
        masked.save(path)?;
    }
    let small = Model::load(&args.output)?;
    let after = cost(&Channels::of(&Graph::skeleton(&small)?)?, small.bytes);
    let both = |small: &Model| -> Result<[Graph; 2]> {
        Ok([Graph::consume(Model::load(&args.model)?)?, Graph::of(small)?])
    };
    let accuracy = match &data {
        Some(Parts { held, .. }) => {
            let [whole, small] = both(&small)?;
            Some(evaluate_both([&whole, &small], &device, held, args.batch, output)?)
        }
        None => None,
    };
    let top1 = accuracy.as_ref().and_then(|(before, with)| Some((before.top1()?, with.accuracy.top1()?)));
    let agreement = accuracy.as_ref().and_then(|(_, with)| with.agreement.as_ref());
    output.line(format!("{:<12} {:>14} {:>14} {:>8}", "", "before", "after", "kept"));
    for (what, before, after) in [
        ("MACs", before.macs, after.macs),
        ("parameters", before.params, after.params),
        ("bytes", before.bytes, after.bytes),
    ] {
        let share = 100.0 * after as f64 / before.max(1) as f64;
        output.line(format!("{what:<12} {:>14} {:>14} {share:>6.1} %", grouped(before), grouped(after)));
    }
    let on = data.as_ref().map(Parts::on).unwrap_or_default();
    if let Some((before, after)) = top1 {
        output.line(format!("{:<12} {:>12.2} % {:>12.2} %   {on}", "top-1", before * 100.0, after * 100.0));
    }
    if let Some(found) = agreement {
        let share = found.agreement().map_or(String::new(), |a| format!("agreement {:.2} %, ", 100.0 * a));
        output.line(format!("{:<12} {share}SNR {:.1} dB {on}", "original", found.snr_db()));
    }
    if let Some(latency) = &latency {
        latency.tell(output);
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
            "behind them the answers differ by up to {difference:.1e} of their largest magnitude"
        ));
    }
    output.line(format!("→ {}", args.output.display()));
    if let (Some(draft), Some(path)) = (&mut draft, &args.report) {
        draft.shrunk(&small)?;
        draft.page().summary.proof = Some(proof.clone());
        if let Some((before, found)) = &accuracy {
            draft.judged(&on, before, found);
        }
        if let Some(drop) = args.max_drop {
            draft.tried(&tried, counted, drop);
        }
        draft.time(&both(&small)?, &device, args.report_seconds, output);
        draft.write(path, &device, output)?;
    }
    let top1: Value = top1.map_or(Value::Null, |(b, a)| json!({ "before": b, "after": a }));
    output.result(&json!({
        "before": before, "after": after,
        "removed_channels": gone, "total_channels": total, "knots_cut": removed.len(),
        "criterion": cut.criterion, "budget": cut.budget, "repair": how, "proof": proof,
        "inexact": judge.inexact, "top1": top1, "agreement": agreement.and_then(Agreement::agreement),
        "kl": agreement.and_then(Agreement::kl), "snr_db": agreement.map(Agreement::snr_db),
        "images": data.as_ref().map(|p| json!({ "calibration": p.calibration.len(), "evaluation": p.held.len() })),
        "latency": latency, "tried": tried, "refits": repaired.refits.len(), "out": args.output,
        "report": args.report,
    }));
    Ok(Answer::Yes)
}

/// The judge of a cut. The graph with its decoded weights is let go before anything runs.
fn judged(model: &Model, inexact: bool, removed: &BTreeSet<usize>) -> Result<Judge> {
    let graph = Graph::of(model)?;
    Judge::new(model, &graph, &Channels::dyed(&graph, inexact)?, removed)
}

/// The smaller model as a reader of its file at `path` will find it. The graph is made anew: it was let go while
/// the masked original ran.
pub(super) fn cut_again(
    model: Model,
    inexact: bool,
    removed: &BTreeSet<usize>,
    path: &Path,
) -> Result<Model> {
    let graph = Graph::of(&model)?;
    let channels = Channels::dyed(&graph, inexact)?;
    let small = smaller(&model, &graph, &channels, removed)?;
    drop((model, graph, channels));
    let (bytes, external) = (small.to_bytes(), small.external.clone());
    drop(small);
    Ok(Model { external, ..Model::from_bytes(bytes, path)? })
}

pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
