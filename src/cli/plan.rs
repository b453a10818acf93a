//! `secateur plan`: scores and decides.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::Global;
use super::decide::{DecideArgs, loaded, tell_inexact};
use super::output::Output;
use super::profile::of_weights;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{CRITERIA, Channels};

#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// The ONNX file.
    #[arg(required_unless_present = "help_criteria")]
    model: Option<PathBuf>,
    /// The statistics of it.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
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
        "A sum of several is a criterion too: 0.5*l1+0.5*apoz. A knot scores the mean of its channels, each divided by \
         its layer's mean (--normalize layer), or by the share of the MACs that goes with it (--normalize macs).",
    );
}

pub(super) fn plan(args: &PlanArgs, _global: &Global, output: &Output) -> Result<Answer> {
    if args.help_criteria {
        help_criteria(output);
        return Ok(Answer::Yes);
    }
    let (Some(path), Some(out)) = (&args.model, &args.output) else {
        return Err(Error::new("a model and an output are needed"));
    };
    let model = Model::load(path)?;
    let graph = Graph::of(&model)?;
    let channels = Channels::dyed(&graph, args.decide.inexact)?;
    let profile = match &args.profile {
        Some(profile) => loaded(profile, &model)?,
        None => of_weights(&model, &graph, &channels.facts, args.decide.criterion()?.needs())?,
    };
    let decision = args.decide.decide(&model, &graph, &channels, &profile)?;
    let supported = args.decide.supported(&decision, output);
    let cut = &decision.cut;
    let gone = cut.knots.iter().filter(|k| !k.keep).count();
    if supported {
        cut.save(out)?;
        output.line(format!("{gone} of {} knots go → {}", cut.knots.len(), out.display()));
    }
    let inexact = cut.inexact.clone().unwrap_or_default();
    tell_inexact(&inexact, output);
    output.result(&json!({
        "knots": cut.knots.len(), "removed": gone, "criterion": cut.criterion, "budget": cut.budget,
        "inexact": inexact, "confidence": decision.support, "out": supported.then_some(out),
    }));
    Ok(if supported { Answer::Yes } else { Answer::No })
}
