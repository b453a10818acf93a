//! `secateur compare-criteria`: what is left of a network after the same budgets by each criterion.
//!
//! Masked networks are measured, not rewritten files: the readers of what goes are zeroed, which gives the same answers.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Answer;
use super::args::{DataArgs, Global};
use super::decide::{DecideArgs, Scored};
use super::eval::evaluate;
use super::known::loaded;
use super::output::{Output, write_csv};
use super::pass::Pass;
use super::plot::{Line, chart};
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::file::{check_writable, write_whole};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{CRITERIA, Channels, Judge, Needs};
use crate::stats::GramKind;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The ONNX file.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Statistics that `profile` wrote; gathered from the data where none are given.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// The criteria; all that the statistics allow, if none are named.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    criteria: Vec<String>,
    /// The budgets, each a share of the MACs.
    #[arg(long, value_name = "R", value_delimiter = ',', default_values_t = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])]
    keep_macs: Vec<f64>,
    /// Seeds of `random`, whose mean is shown.
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Images at once.
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// Draws the curves.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Writes every point as a row: criterion, share of the MACs, top-1, agreement.
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
}

/// What is left at one budget.
#[derive(Clone, Copy, Debug)]
struct Point {
    macs: f64,
    top1: Option<f64>,
    agreement: Option<f64>,
}

impl Point {
    /// Accuracy, or agreement where there are no labels.
    fn quality(&self) -> Option<f64> {
        self.top1.or(self.agreement)
    }
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    for path in args.plot.iter().chain(&args.csv) {
        check_writable(path, "write the comparison")?;
    }
    for &macs in &args.keep_macs {
        DecideArgs::simple("", macs).budget()?;
    }
    let model = Model::load(&args.model)?;
    let graph = Graph::of(&model)?;
    let channels = Channels::of(&graph)?;
    let data = args.data.open_real(&graph)?;
    let device = global.open(output)?;
    let profile = match &args.profile {
        Some(path) => loaded(path, &model)?,
        None => {
            let needs = Needs { labels: true, distances: true, ..Needs::DATA };
            let origin = args.data.origin();
            let pass = Pass::new((&model, &graph), &device, &data, origin, GramKind::Channel, needs);
            pass.with_batch(args.batch).run(output)?.profile
        }
    };
    let whole = evaluate(&graph, None, &device, &data, args.batch, output)?.accuracy.top1();
    // Labels judge alone; without them the original does, which costs its own forward passes.
    let reference = whole.is_none().then_some(&graph);
    let all = || CRITERIA.iter().map(|row| row.name.to_owned()).filter(|name| !name.starts_with("file:"));
    let named = !args.criteria.is_empty();
    let criteria: Vec<String> = if named { args.criteria.clone() } else { all().collect() };
    let mut lines: Vec<(String, Vec<Point>)> = Vec::new();
    let mut left_out: Vec<(String, String)> = Vec::new();
    let bar = output.progress("comparing", criteria.len() * args.keep_macs.len());
    for criterion in &criteria {
        let seeds = if criterion == "random" { args.seeds.max(1) } else { 1 };
        let scored = (0..seeds).map(|seed| {
            DecideArgs::simple(criterion, 1.0).with_seed(seed).score(&graph, &channels, &profile)
        });
        // Scores serve every budget.
        let scored = scored.collect::<Result<Vec<_>>>();
        let measure = |macs: f64, scored: &[Scored]| -> Result<Point> {
            let mut points = Vec::new();
            for scored in scored {
                let removed = DecideArgs::simple(criterion, macs).choose(&model, &channels, scored)?.removed;
                let masked = Graph::of(&Judge::new(&model, &graph, &channels, &removed)?.masked(&model)?)?;
                let found = evaluate(&masked, reference, &device, &data, args.batch, &output.silent())?;
                let agreement = found.agreement.as_ref().and_then(Agreement::agreement);
                points.push(Point { macs, top1: found.accuracy.top1(), agreement });
            }
            let mean = |get: fn(&Point) -> Option<f64>| -> Option<f64> {
                points.iter().map(get).sum::<Option<f64>>().map(|sum| sum / points.len() as f64)
            };
            Ok(Point { macs, top1: mean(|p| p.top1), agreement: mean(|p| p.agreement) })
        };
        let mut points = Vec::new();
        let mut failure = None;
        match scored {
            Ok(scored) => {
                for &macs in &args.keep_macs {
                    match measure(macs, &scored) {
                        Ok(point) => points.push(point),
                        Err(error) => failure = Some(error),
                    }
                    bar.inc(1);
                }
            }
            Err(error) => {
                failure = Some(error);
                bar.inc(args.keep_macs.len() as u64);
            }
        }
        match failure {
            Some(error) if named => return Err(error),
            // Of those that nobody asked for by name, some need what is not there: checkpoints, labels, a BN.
            Some(error) if points.is_empty() => left_out.push((criterion.clone(), error.message())),
            // A budget that cannot be met leaves the others.
            Some(error) => {
                left_out.push((format!("{criterion}, in part"), error.message()));
                lines.push((criterion.clone(), points));
            }
            None => lines.push((criterion.clone(), points)),
        }
    }
    bar.finish_and_clear();
    if lines.is_empty() {
        return Err(Error::new("no criterion could be measured")
            .file(&args.model)
            .got(left_out.first().map_or_else(String::new, |(name, why)| format!("{name}: {why}"))));
    }
    let what = if whole.is_some() { "top-1" } else { "agreement" };
    tell(args, &lines, &left_out, (what, whole), output)?;
    Ok(Answer::Yes)
}

fn tell(
    args: &Args,
    lines: &[(String, Vec<Point>)],
    left_out: &[(String, String)],
    (what, whole): (&str, Option<f64>),
    output: &Output,
) -> Result<()> {
    let percent = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{:.1}", 100.0 * v));
    let at = |points: &[Point], macs: f64| points.iter().find(|p| p.macs == macs).and_then(Point::quality);
    output.line(format!(
        "{what} in % at shares of the MACs, masked, without repair; whole: {}",
        percent(whole)
    ));
    let head: String = args.keep_macs.iter().map(|m| format!("{m:>7.2}")).collect();
    output.line(format!("{:<16}{head}", "criterion"));
    let mut sorted: Vec<_> = lines.iter().collect();
    let mean =
        |points: &[Point]| points.iter().filter_map(Point::quality).sum::<f64>() / points.len().max(1) as f64;
    sorted.sort_by(|a, b| mean(&b.1).total_cmp(&mean(&a.1)));
    for (name, points) in sorted {
        let cells: String =
            args.keep_macs.iter().map(|&m| format!("{:>7}", percent(at(points, m)))).collect();
        output.line(format!("{name:<16}{cells}"));
    }
    for (name, why) in left_out {
        output.note(format!("left out: {name}: {why}"));
    }
    if let Some(path) = &args.csv {
        let cell = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        let points = lines.iter().flat_map(|(name, points)| points.iter().map(move |p| (name, p)));
        let rows =
            points.map(|(name, p)| vec![name.clone(), p.macs.to_string(), cell(p.top1), cell(p.agreement)]);
        write_csv(path, &["criterion", "keep_macs", "top1", "agreement"], rows)?;
        output.line(format!("→ {}", path.display()));
    }
    if let Some(path) = &args.plot {
        let curves: Vec<Line> = lines
            .iter()
            .map(|(name, points)| {
                let mut points: Vec<(f64, f64)> =
                    points.iter().filter_map(|p| Some((p.macs, 100.0 * p.quality()?))).collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                Line { name: name.clone(), points }
            })
            .collect();
        let svg = chart("share of the MACs kept", &format!("{what}, %"), &curves);
        write_whole(path, "draw the curves", svg.as_bytes())?;
        output.line(format!("→ {}", path.display()));
    }
    let curves: Vec<Value> = lines
        .iter()
        .map(|(name, points)| {
            let point = |p: &Point| json!({ "keep_macs": p.macs, "top1": p.top1, "agreement": p.agreement });
            json!({ "criterion": name, "points": points.iter().map(point).collect::<Vec<_>>() })
        })
        .collect();
    let left: Vec<Value> =
        left_out.iter().map(|(name, why)| json!({ "criterion": name, "why": why })).collect();
    output.result(
        &json!({ "whole": { "top1": whole }, "curves": curves, "left_out": left, "plot": args.plot }),
    );
    Ok(())
}
