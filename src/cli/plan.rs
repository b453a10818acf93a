//! `secateur plan`: scores and decides.

use std::cell::Cell;
use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{DataArgs, Global, positive};
use super::decide::{DecideArgs, tell_inexact};
use super::known::Known;
use super::mend::calibration;
use super::output::Output;
use super::rounds::Deciding;
use super::targets::Targets;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Budget, CRITERIA, Channels};
use crate::repair::{Images, Repair};

#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// The ONNX file.
    #[arg(required_unless_present = "help_criteria")]
    model: Option<PathBuf>,
    /// The statistics of it. With --data, what they lack is gathered and put there, so that the same command goes on
    /// after Ctrl-C.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    /// The cut to write.
    #[arg(short, long, value_name = "CUT.json", required_unless_present = "help_criteria")]
    output: Option<PathBuf>,
    #[command(flatten)]
    decide: DecideArgs,
    /// Prints every criterion with its formula and source.
    #[arg(long)]
    help_criteria: bool,
}

/// Every criterion with its formula and source.
fn help_criteria(output: &Output) {
    for row in CRITERIA {
        output.line(format!("{:<16} {}\n{:16} {}", row.name, row.formula, "", row.source));
    }
    output.line(
        "A sum of several is a criterion too: 0.5*l1+0.5*apoz. A set scores the mean of its channels, each divided by \
         its layer's mean (--normalize layer), or by the share of the MACs that goes with it (--normalize macs).",
    );
    let rows =
        CRITERIA.iter().map(|row| json!({ "name": row.name, "formula": row.formula, "source": row.source }));
    output.result(&json!({ "criteria": rows.collect::<Vec<_>>() }));
}

pub(super) fn plan(args: &PlanArgs, global: &Global, output: &Output) -> Result<Answer> {
    if args.help_criteria {
        help_criteria(output);
        return Ok(Answer::Yes);
    }
    let (Some(path), Some(out)) = (&args.model, &args.output) else {
        return Err(Error::new("a model and an output are needed"));
    };
    let model = Model::load(path)?;
    let targets = Targets::default().model(&model).read(&args.profile).data(&args.data);
    targets.read(args.decide.criterion()?.file()).write([out], "write the cut")?;
    let graph = Graph::from_model(&model)?;
    let channels = Channels::analyze(&graph, args.decide.inexact)?;
    let data = args.data.data.as_ref().map(|_| args.data.open_real(&graph)).transpose()?;
    let timed = matches!(args.decide.budget(), Ok(Budget::KeepLatency(_)));
    let device = if data.is_some() || timed { global.open(output)? } else { Device::Cpu };
    let images = match &data {
        Some(data) if args.decide.criterion()?.needs().patches => calibration(data, output)?,
        _ => Images::default(),
    };
    let known = Known {
        profile: args.profile.as_deref(),
        data: data.as_ref().map(|data| (data, args.data.origin())),
        images: &images,
        batch: args.batch,
        device: &device,
        begun: Cell::default(),
    };
    let decide = known.deciding(&args.decide, (&model, &graph, &channels), output)?;
    let deciding = Deciding { decide: &decide, known, how: Repair::None, rounds: 1 };
    let Some(decision) = deciding.decision((&model, &graph, &channels), output)? else {
        output.result(&json!({ "out": null }));
        return Ok(Answer::No);
    };
    let supported = decide.supported(&decision, output);
    let cut = &decision.cut;
    let gone = cut.coupled.iter().filter(|k| !k.keep).count();
    if supported {
        cut.save(out)?;
        output.line(format!("{gone} of {} coupled go → {}", cut.coupled.len(), out.display()));
        if let Some(latency) = &decision.latency {
            latency.tell(output);
        }
    }
    let inexact = cut.inexact.clone().unwrap_or_default();
    tell_inexact(&inexact, output);
    output.result(&json!({
        "coupled": cut.coupled.len(), "removed": gone, "criterion": cut.criterion, "budget": cut.budget,
        "latency": decision.latency, "inexact": inexact, "confidence": decision.support, "out": supported.then_some(out),
    }));
    Ok(if supported { Answer::Yes } else { Answer::No })
}
