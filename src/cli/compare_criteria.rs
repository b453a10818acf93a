//! `secateur compare-criteria`: accuracy against MACs by several criteria.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::args::{Global, positive};
use super::data_args::{DataArgs, JudgeArgs};
use super::metric_args::MetricArgs;
use super::output::{Output, write_csv};
use super::output_guard::OutputGuard;
use super::plot::{Line, Panel, chart};
use super::progress::{ANALYZING, LOADING, OPENING_DATA, Progress};
use super::results::{judged_on, metric_json};
use super::table::shortened;
use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::pipeline::{
    Calibration, Comparison, ComparisonOptions, CriterionCurve, CriterionPoint, Network, Repair,
    compare_criteria, load_profile,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Statistics of the network that `profile` wrote.
    ///
    /// Default: measured on --data.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Criteria to compare, separated by commas.
    ///
    /// Default: all criteria that the statistics allow.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    criteria: Vec<String>,
    /// Shares of the MACs at which criteria are compared, separated by commas.
    #[arg(long, value_name = "R", value_delimiter = ',', default_values_t = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])]
    keep_macs: Vec<f64>,
    /// For the criterion `random`, show the mean over N seeds.
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Repairs to compare, separated by commas.
    #[arg(long, value_name = "HOW", value_delimiter = ',', default_values_t = [Repair::None])]
    repair: Vec<Repair>,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Continue although a check fails.
    #[arg(long)]
    force: bool,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    /// Write the curves as a chart.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Write all points as a table.
    ///
    /// Each row has the criterion, the repair, the share of the MACs, top-1, agreement, the SNR to the original in dB,
    /// and the standard error of the compared quantity; with --metric also its value. The file is rewritten after each
    /// curve.
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
}

/// Columns of a table that fit a terminal.
const AT_ONCE: usize = 7;

/// The quantity that all points show.
#[derive(Clone, Copy)]
struct Measure<'a> {
    name: &'a str,
    unit: &'a str,
    /// The factor from the measured value to the unit.
    scale: f64,
}

impl<'a> Measure<'a> {
    fn of(comparison: &'a Comparison) -> Self {
        if let Some(metric) = &comparison.metric {
            return Self { name: &metric.name, unit: &metric.unit, scale: 1.0 };
        }
        let curves = &comparison.curves;
        let any = |get: fn(&CriterionPoint) -> Option<f64>| {
            curves.iter().any(|c| c.points.iter().any(|p| get(p).is_some()))
        };
        if any(|p| p.top1) {
            Self { name: "top-1", unit: "%", scale: 100.0 }
        } else if any(|p| p.agreement) {
            Self { name: "agreement", unit: "%", scale: 100.0 }
        } else {
            Self { name: "SNR to the original", unit: "dB", scale: 1.0 }
        }
    }
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let model = output.busy(LOADING, || args.data.load(&args.model))?;
    let guard = OutputGuard::default().model(&model).read(&args.profile).data(&args.data);
    guard.write(args.plot.iter().chain(&args.csv), "write the comparison")?;
    let options = ComparisonOptions {
        criteria: args.criteria.iter().map(|name| name.parse()).collect::<Result<_>>()?,
        keep_macs: args.keep_macs.clone(),
        seeds: args.seeds,
        repairs: args.repair.clone(),
        batch: args.batch,
        metric: args.metric.options(&args.data, args.judge.test(), args.force)?,
    };
    let network = output.busy(ANALYZING, || Network::from_file(model, false))?;
    let repaired = args.repair.iter().copied().find(|&how| how != Repair::None);
    let open = || args.judge.open(&args.data, &network.graph, Some(repaired.unwrap_or(Repair::None)));
    let calibration = output.busy(OPENING_DATA, open)?;
    let calibration = calibration.ok_or_else(|| {
        Error::new("no data were given")
            .expected("`data`: a folder, .npy, .npz, idx, .wav or random:N")
            .remedy("set `data`")
    })?;
    let profile = args.profile.as_deref().map(|file| load_profile(file, &network)).transpose()?;
    let device = global.open(output)?;
    // A comparison takes long: measured curves are saved before the next one.
    let mut save = |curves: &[CriterionCurve]| args.csv.iter().try_for_each(|path| table(path, curves));
    let from = (&calibration, profile);
    let comparison =
        compare_criteria(&network, &device, from, &options, &mut save, &mut Progress::new(output))?;
    print((args, &calibration), &comparison, output)?;
    Ok(Answer::Yes)
}

/// Writes every point as a row.
fn table(path: &Path, curves: &[CriterionCurve]) -> Result<()> {
    let cell = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    let points = curves.iter().flat_map(|c| c.points.iter().map(move |p| (c, p)));
    let has_value = curves.iter().any(|c| c.points.iter().any(|p| p.value.is_some()));
    let rows = points.map(|(c, p)| {
        let of = [c.criterion.clone(), c.repair.to_string()];
        of.into_iter()
            .chain([p.keep_macs.to_string(), cell(p.top1), cell(p.agreement), cell(p.snr_db), cell(p.error)])
            .chain(has_value.then(|| cell(p.value)))
            .collect()
    });
    let head = ["criterion", "repair", "keep_macs", "top1", "agreement", "snr_db", "error", "value"];
    write_csv(path, &head[..if has_value { 8 } else { 7 }], rows)
}

fn print((args, calibration): (&Args, &Calibration), comparison: &Comparison, output: &Output) -> Result<()> {
    let Comparison { curves, left_out, original_top1: whole, metric } = comparison;
    let Measure { name: what, unit, scale } = Measure::of(comparison);
    let scaled = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{:.1}", scale * v));
    let at = |points: &[CriterionPoint], macs: f64| -> String {
        let Some(point) = points.iter().find(|p| p.keep_macs == macs) else { return scaled(None) };
        let error = point.error.map_or_else(String::new, |error| format!("±{:.1}", scale * error));
        scaled(point.quality()) + &error
    };
    let original = whole.or_else(|| metric.as_ref()?.before);
    let original = original.map_or_else(String::new, |whole| format!("; whole: {}", scaled(Some(whole))));
    let named = if unit.is_empty() { what.to_owned() } else { format!("{what} in {unit}") };
    output.line(format!("{named} at shares of the MACs {}{original}", judged_on(calibration)));
    let of = |repair: Repair| curves.iter().filter(move |c| c.repair == repair);
    for &repair in &args.repair {
        for shares in args.keep_macs.chunks(AT_ONCE) {
            let head: String = shares.iter().map(|m| format!("{m:>9.2}")).collect();
            output.line(format!("{:<16}{head}", format!("repair {repair}")));
            for curve in of(repair) {
                let cells: String = shares.iter().map(|&m| format!("{:>9}", at(&curve.points, m))).collect();
                output.line(format!("{:<16}{cells}", shortened(&curve.criterion, 16)));
            }
        }
    }
    if curves.iter().any(|curve| curve.points.iter().any(|point| point.error.is_some())) {
        output.line("± is the standard error of the difference to the original, if that has a value");
    }
    for (name, why) in left_out {
        output.note(format!("left out: {name}: {why}"));
    }
    if let Some(path) = &args.csv {
        table(path, curves)?;
        output.line(format!("→ {}", path.display()));
    }
    if let Some(path) = &args.plot {
        let names: BTreeSet<&str> = curves.iter().map(|c| c.criterion.as_str()).collect();
        let line = |curve: &CriterionCurve| {
            let points = curve.points.iter().filter_map(|p| Some((p.keep_macs, scale * p.quality()?)));
            let mut points: Vec<(f64, f64)> = points.filter(|p| p.1.is_finite()).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            // A criterion looks the same in every panel.
            let look = names.iter().position(|n| *n == curve.criterion).unwrap_or(0);
            Line { name: curve.criterion.clone(), look, points }
        };
        let panel = |&repair: &Repair| Panel {
            title: format!("repair {repair}"),
            lines: of(repair).map(line).collect(),
        };
        let panels: Vec<Panel> = args.repair.iter().map(panel).collect();
        let svg = chart("share of the MACs kept", &format!("{what}, {unit}"), &panels);
        write_whole(path, "draw the curves", svg.as_bytes())?;
        output.line(format!("→ {}", path.display()));
    }
    let of_curve =
        |c: &CriterionCurve| json!({ "criterion": c.criterion, "repair": c.repair, "points": c.points });
    let left: Vec<Value> =
        left_out.iter().map(|(name, why)| json!({ "criterion": name, "why": why })).collect();
    output.result(&json!({
        "whole": { "top1": whole }, "curves": curves.iter().map(of_curve).collect::<Vec<_>>(),
        "metric": metric_json(metric.as_ref()), "left_out": left, "plot": args.plot,
    }));
    Ok(())
}
