//! `secateur plan`: decides which channels are removed, shows the result, and writes the cut.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{Global, positive};
use super::data_args::{DataArgs, JudgeArgs};
use super::metric_args::MetricArgs;
use super::notices::{self, interrupted};
use super::output::Output;
use super::output_guard::OutputGuard;
use super::plan_args::PlanArgs;
use super::progress::{ANALYZING, LOADING, OPENING_DATA, Progress};
use super::results::{of_channels, print_costs, print_inexact, print_latency, print_widths};
use super::streams::OutputFile;
use super::table::wrapped;
use crate::error::{Error, Result};
use crate::pipeline::{
    CRITERIA, CutSizes, Decision, Device, Evidence, Network, Outcome, PlanOptions, Repair, Target, plan,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    #[arg(required_unless_present = "help_criteria")]
    model: Option<PathBuf>,
    /// Statistics of the network that `profile` wrote.
    ///
    /// With --data, missing statistics are measured and saved in this file, so that the same command continues after
    /// Ctrl-C.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    /// Cut file to write; - for standard output; without it, the decision is only shown.
    #[arg(short, long, value_name = "CUT.json")]
    pub(super) output: Option<OutputFile>,
    #[command(flatten)]
    plan: PlanArgs,
    /// Find the smallest network that loses at most PP points.
    ///
    /// PP is in the unit of the metric: by default percentage points of top-1, or without labels, of the agreement with
    /// the original.
    #[arg(long, value_name = "PP", requires = "data", conflicts_with_all = ["keep_macs", "keep_params", "keep_latency", "remove_below"])]
    max_drop: Option<f64>,
    /// Find the smallest network whose metric is at least V.
    ///
    /// If lower values are better, the metric is at most V.
    #[arg(long, value_name = "V", allow_hyphen_values = true, requires = "data", conflicts_with_all = ["max_drop", "keep_macs", "keep_params", "keep_latency", "remove_below"])]
    min_quality: Option<f64>,
    /// Repair of the networks that --max-drop or --min-quality tries.
    ///
    /// The default is full, as in `prune --repair`.
    #[arg(long, value_name = "HOW")]
    repair: Option<Repair>,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Continue although a check fails.
    ///
    /// The checks find an original that is no better than chance or gives one class for all images, a preprocessing
    /// that is certainly wrong, and a pruned network that has collapsed.
    #[arg(long)]
    force: bool,
    /// Print every criterion with its formula and source.
    #[arg(long)]
    help_criteria: bool,
}

/// Prints every criterion with its formula and source.
fn help_criteria(output: &Output) {
    for row in CRITERIA {
        let lines = [row.formula, row.source].into_iter().flat_map(|text| wrapped(text, 17));
        for (at, line) in lines.enumerate() {
            let name = if at == 0 { row.name } else { "" };
            output.line(format!("{name:<17}{}", line.trim_start()));
        }
    }
    let more = "A weighted sum is a criterion, too: 0.5*l1+0.5*apoz. Coupled channels score the mean of their \
                channels, each divided by its layer's mean (--normalize layer), or by the share of the MACs that they \
                cost (--normalize macs).";
    wrapped(more, 0).iter().for_each(|line| output.line(line));
    let rows =
        CRITERIA.iter().map(|row| json!({ "name": row.name, "formula": row.formula, "source": row.source }));
    output.result(&json!({ "criteria": rows.collect::<Vec<_>>() }));
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    if args.help_criteria {
        help_criteria(output);
        return Ok(Answer::Yes);
    }
    let path = args.model.as_ref().ok_or_else(|| Error::new("a model is needed"))?;
    let model = output.busy(LOADING, || args.data.load(path))?;
    let guard = OutputGuard::default().model(&model).read(&args.profile).data(&args.data);
    let criterion = args.plan.criterion()?;
    guard
        .read(criterion.as_ref().and_then(|c| c.file()))
        .write(args.output.iter().map(OutputFile::path), "write the cut")?;
    let network = output.busy(ANALYZING, || Network::from_file(model, args.plan.inexact))?;
    let search = args.max_drop.map(Target::MaxDrop).or(args.min_quality.map(Target::MinQuality));
    let target = match search {
        Some(target) => target,
        None => args.plan.required_target()?,
    };
    target.check()?;
    let judged = args.judge.is_given() || args.metric.is_given() || args.repair.is_some() || args.force;
    if search.is_none() && judged {
        return Err(Error::new("nothing is judged without a search")
            .expected("`max_drop` or `min_quality` beside `repair`, `held_out`, `test`, `metric`, `labels` or `force`")
            .remedy("set `max_drop`, or give these options to `prune()`"));
    }
    let repair = args.repair.unwrap_or(Repair::Full);
    let calibration = output.busy(OPENING_DATA, || match search {
        Some(_) => args.judge.open(&args.data, &network.graph, Some(repair)),
        None => args.data.calibration(&network.graph),
    })?;
    let on_device = calibration.is_some() || matches!(target, Target::Latency(_));
    let device = if on_device { global.open(output)? } else { Device::Cpu };
    let options = PlanOptions {
        repair: search.map_or(Repair::None, |_| repair),
        metric: args.metric.options(&args.data, args.judge.test(), args.force)?,
        ..args.plan.options(target, &network)?
    };
    let evidence = Evidence::open(&network, args.profile.as_deref(), calibration.as_ref(), args.batch)?;
    let mut progress = match (&args.profile, &calibration) {
        (Some(_), Some(_)) => Progress::interruptible(output)?,
        _ => Progress::new(output),
    };
    match plan(&network, &device, evidence, &options, &mut progress)? {
        Outcome::Done(decision) => {
            let sizes = network.sizes_without(&decision.removed)?;
            if let Some(out) = &args.output {
                decision.cut.save(out.path())?;
            }
            print(&decision, &sizes, args.output.as_ref(), output);
            if args.output.is_none() {
                output.note("nothing was written: -o CUT.json writes the cut");
            }
            Ok(Answer::Yes)
        }
        Outcome::Refused(refusal) => {
            output.note(notices::refusal(&refusal));
            match &refusal.decision {
                Some(decision) => {
                    print(decision, &network.sizes_without(&decision.removed)?, None, output);
                }
                None => output.result(&json!({ "out": null, "tried": refusal.attempts })),
            }
            Ok(Answer::No)
        }
        Outcome::Interrupted => {
            output.note(interrupted(args.profile.as_deref()));
            output.result(&json!({ "out": null }));
            Ok(Answer::No)
        }
    }
}

/// Prints a decision with the sizes that it leaves, and the file to which it was written.
fn print(decision: &Decision, sizes: &CutSizes, out: Option<&OutputFile>, output: &Output) {
    let Decision { cut, removed, confidence, latency, attempts, .. } = decision;
    print_costs(sizes.before, sizes.after, output);
    if let Some(latency) = latency {
        print_latency(latency, output);
    }
    print_widths(&sizes.widths, output);
    let inexact = cut.inexact.clone().unwrap_or_default();
    print_inexact(&inexact, output);
    output.line(format!(
        "{} removed ({}, {})",
        of_channels((sizes.removed_channels, removed.len()), (sizes.total_channels, cut.coupled.len())),
        cut.criterion,
        cut.budget
    ));
    if let Some(out) = out {
        output.line(format!("→ {out}"));
    }
    output.result(&json!({
        "before": sizes.before, "after": sizes.after, "removed_channels": sizes.removed_channels,
        "total_channels": sizes.total_channels, "coupled_cut": removed.len(), "widths": sizes.widths,
        "coupled": cut.coupled.len(), "removed": removed.len(), "criterion": cut.criterion, "budget": cut.budget,
        "latency": latency, "inexact": inexact, "confidence": confidence, "tried": attempts, "out": out,
    }));
}
