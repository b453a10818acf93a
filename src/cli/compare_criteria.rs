//! `secateur compare-criteria`: what is left of a network after the same budgets by each criterion.
//!
//! Masked networks are measured, not rewritten files: the consumers of what goes are zeroed, which gives the same answers;
//! where a repair is asked for, it gives them new weights first.

use std::cell::Cell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::args::{DataArgs, Global, positive};
use super::decide::{DecideArgs, Scored};
use super::eval::evaluate;
use super::known::{Known, loaded};
use super::mend::{JudgeArgs, Parts, calibration, mended};
use super::output::{Output, write_csv};
use super::pass::Pass;
use super::plot::{Line, Panel, chart};
use super::targets::Targets;
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::file::write_whole;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{CRITERIA, Channels, Criterion, MaskedReference, Needs};
use crate::repair::{Images, Repair};
use crate::stats::{GramKind, Profile};

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
    /// What is repaired after each cut: none, bias, bn, full, or several.
    #[arg(long, value_name = "HOW", value_delimiter = ',', default_values_t = [Repair::None])]
    repair: Vec<Repair>,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    /// Draws the curves.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Writes every point as a row, as soon as its curve is measured: criterion, repair, share of the MACs, top-1,
    /// agreement, SNR to the original in dB.
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
}

/// What is left at one budget.
#[derive(Clone, Copy, Debug)]
struct Point {
    macs: f64,
    top1: Option<f64>,
    agreement: Option<f64>,
    snr_db: Option<f64>,
}

impl Point {
    /// Accuracy; agreement where there are no labels; the SNR to the original where there are no classes.
    fn quality(&self) -> Option<f64> {
        self.top1.or(self.agreement).or(self.snr_db)
    }
}

/// What the quality of all points is.
#[derive(Clone, Copy)]
struct Measure {
    name: &'static str,
    unit: &'static str,
    /// Of the unit in one.
    scale: f64,
}

impl Measure {
    fn of(curves: &[Curve]) -> Self {
        let any =
            |get: fn(&Point) -> Option<f64>| curves.iter().any(|c| c.points.iter().any(|p| get(p).is_some()));
        if any(|p| p.top1) {
            Self { name: "top-1", unit: "%", scale: 100.0 }
        } else if any(|p| p.agreement) {
            Self { name: "agreement", unit: "%", scale: 100.0 }
        } else {
            Self { name: "SNR to the original", unit: "dB", scale: 1.0 }
        }
    }
}

/// What is left by a criterion and a repair.
struct Curve {
    criterion: String,
    repair: Repair,
    points: Vec<Point>,
}

impl Curve {
    fn mean(&self) -> f64 {
        self.points.iter().filter_map(Point::quality).sum::<f64>() / self.points.len().max(1) as f64
    }
}

/// What all are compared on.
struct Comparing<'a> {
    args: &'a Args,
    model: &'a Model,
    graph: &'a Graph,
    channels: &'a Channels,
    device: &'a Device,
    parts: &'a Parts,
    images: &'a Images,
    /// Whether labels judge alone: without them the original does, which costs its own forward passes.
    labelled: bool,
    output: &'a Output,
}

impl Comparing<'_> {
    /// The statistics that a criterion reads: those of a file, or of the data, of whole patches for some criteria.
    fn profile(&self, criterion: &Criterion) -> Result<Profile> {
        let origin = || self.parts.origin(&self.args.data);
        let data = &self.parts.calibration;
        if let Some(path) = &self.args.profile {
            return loaded(path, self.model);
        }
        if criterion.needs().patches {
            let known = Known {
                profile: None,
                data: Some((data, origin())),
                images: self.images,
                batch: self.args.batch,
                device: self.device,
                begun: Cell::default(),
            };
            let of = (self.model, self.graph, self.channels);
            let profile = known.of(of, criterion, &BTreeSet::new(), self.output)?;
            return profile.ok_or_else(|| Error::new("interrupted").remedy("run the command again"));
        }
        let needs = Needs { labels: true, distances: true, ..Needs::DATA };
        let of = (self.model, self.graph);
        let pass = Pass::new(of, self.device, data, origin(), GramKind::Channel, needs);
        Ok(pass.with_batch(self.args.batch).run(self.output)?.profile)
    }

    /// The mean over the seeds of what is left at a budget.
    fn measure(&self, criterion: &str, macs: f64, scored: &[Scored], repair: Repair) -> Result<Point> {
        let quiet = self.output.silent();
        let mut points = Vec::new();
        for scored in scored {
            let decide = DecideArgs::simple(criterion, macs);
            let removed = decide.choose(self.model, self.channels, scored)?.removed;
            let with = (self.device, self.images);
            let repaired = mended((self.graph, self.channels), &removed, repair, with, &quiet)?;
            let masked = if repaired.is_empty() {
                MaskedReference::new(self.model, self.graph, self.channels, &removed)?.masked(self.model)?
            } else {
                let now = repaired.apply(self.model)?;
                let graph = Graph::from_model(&now)?;
                MaskedReference::new(&now, &graph, &Channels::of(&graph)?, &removed)?.masked(&now)?
            };
            let masked = Graph::from_model_owned(masked)?;
            let reference = (!self.labelled).then_some(self.graph);
            let held = &self.parts.held;
            let found = evaluate(&masked, reference, self.device, held, self.args.batch, &quiet)?;
            let against = found.agreement.as_ref();
            let (agreement, snr_db) =
                (against.and_then(Agreement::agreement), against.map(Agreement::snr_db));
            points.push(Point { macs, top1: found.accuracy.top1(), agreement, snr_db });
        }
        let mean = |get: fn(&Point) -> Option<f64>| -> Option<f64> {
            points.iter().map(get).sum::<Option<f64>>().map(|sum| sum / points.len() as f64)
        };
        let [top1, agreement, snr_db] = [mean(|p| p.top1), mean(|p| p.agreement), mean(|p| p.snr_db)];
        Ok(Point { macs, top1, agreement, snr_db })
    }
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    for &macs in &args.keep_macs {
        DecideArgs::simple("", macs).budget()?;
    }
    let model = Model::load(&args.model)?;
    let targets = Targets::default().model(&model).read(&args.profile).data(&args.data);
    targets.write(args.plot.iter().chain(&args.csv), "write the comparison")?;
    let graph = Graph::from_model(&model)?;
    let channels = Channels::of(&graph)?;
    let data = args.data.open_real(&graph)?;
    let repaired = args.repair.iter().any(|&how| how != Repair::None);
    let parts = args.judge.parts(data, (&args.data, &graph), repaired)?;
    let device = global.open(output)?;
    let all = || CRITERIA.iter().map(|row| row.name.to_owned()).filter(|name| !name.starts_with("file:"));
    let named = !args.criteria.is_empty();
    let names: Vec<String> = if named { args.criteria.clone() } else { all().collect() };
    let criteria = names.iter().map(|name| name.parse::<Criterion>()).collect::<Result<Vec<_>>>()?;
    let patches = criteria.iter().any(|c| c.needs().patches);
    let images =
        if repaired || patches { calibration(&parts.calibration, output)? } else { Images::default() };
    let whole = evaluate(&graph, None, &device, &parts.held, args.batch, output)?.accuracy.top1();
    let comparing = Comparing {
        args,
        model: &model,
        graph: &graph,
        channels: &channels,
        device: &device,
        parts: &parts,
        images: &images,
        labelled: whole.is_some(),
        output,
    };
    // Criteria that read the same share a profile.
    let mut profiles: BTreeMap<bool, Profile> = BTreeMap::new();
    let mut curves: Vec<Curve> = Vec::new();
    let mut left_out: Vec<(String, String)> = Vec::new();
    let bar = output.progress("comparing", names.len() * args.keep_macs.len() * args.repair.len());
    for (name, criterion) in names.iter().zip(&criteria) {
        let kind = criterion.needs().patches && args.profile.is_none();
        if let Entry::Vacant(entry) = profiles.entry(kind) {
            entry.insert(comparing.profile(criterion)?);
        }
        let profile = &profiles[&kind];
        let seeds = if name == "random" { args.seeds.max(1) } else { 1 };
        // Scores serve every budget.
        let scored = (0..seeds)
            .map(|seed| DecideArgs::simple(name, 1.0).with_seed(seed).score(&graph, &channels, profile))
            .collect::<Result<Vec<_>>>();
        let scored = match scored {
            Ok(scored) => scored,
            Err(error) if named => return Err(error),
            // Of those that nobody asked for by name, some need what is not there: checkpoints, labels, a BN.
            Err(error) => {
                left_out.push((name.clone(), error.message()));
                bar.inc((args.keep_macs.len() * args.repair.len()) as u64);
                continue;
            }
        };
        for &repair in &args.repair {
            let mut points = Vec::new();
            for &macs in &args.keep_macs {
                match comparing.measure(name, macs, &scored, repair) {
                    Ok(point) => points.push(point),
                    Err(error) if named => return Err(error),
                    // A budget that cannot be met leaves the others.
                    Err(error) => left_out.push((format!("{name} at {macs}"), error.message())),
                }
                bar.inc(1);
            }
            if !points.is_empty() {
                curves.push(Curve { criterion: name.clone(), repair, points });
                // It takes long: what is measured is not lost with what is to come.
                args.csv.iter().try_for_each(|path| table(path, &curves))?;
            }
        }
    }
    bar.finish_and_clear();
    if curves.is_empty() {
        return Err(Error::new("no criterion could be measured")
            .file(&args.model)
            .got(left_out.first().map_or_else(String::new, |(name, why)| format!("{name}: {why}")))
            .remedy("give other --keep-macs, or see with `secateur plan --help-criteria` what each criterion needs"));
    }
    curves.sort_by(|a, b| b.mean().total_cmp(&a.mean()));
    tell((args, &parts), &curves, &left_out, whole, output)?;
    Ok(Answer::Yes)
}

/// Every point as a row.
fn table(path: &Path, curves: &[Curve]) -> Result<()> {
    let cell = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    let points = curves.iter().flat_map(|c| c.points.iter().map(move |p| (c, p)));
    let rows = points.map(|(c, p)| {
        let of = [c.criterion.clone(), c.repair.to_string()];
        of.into_iter().chain([p.macs.to_string(), cell(p.top1), cell(p.agreement), cell(p.snr_db)]).collect()
    });
    write_csv(path, &["criterion", "repair", "keep_macs", "top1", "agreement", "snr_db"], rows)
}

fn tell(
    (args, parts): (&Args, &Parts),
    curves: &[Curve],
    left_out: &[(String, String)],
    whole: Option<f64>,
    output: &Output,
) -> Result<()> {
    let Measure { name: what, unit, scale } = Measure::of(curves);
    let scaled = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{:.1}", scale * v));
    let at = |points: &[Point], macs: f64| points.iter().find(|p| p.macs == macs).and_then(Point::quality);
    let original = if whole.is_some() { format!("; whole: {}", scaled(whole)) } else { String::new() };
    output.line(format!("{what} in {unit} at shares of the MACs {}{original}", parts.on()));
    let of = |repair: Repair| curves.iter().filter(move |c| c.repair == repair);
    for &repair in &args.repair {
        let head: String = args.keep_macs.iter().map(|m| format!("{m:>7.2}")).collect();
        output.line(format!("{:<16}{head}", format!("repair {repair}")));
        for curve in of(repair) {
            let cells: String =
                args.keep_macs.iter().map(|&m| format!("{:>7}", scaled(at(&curve.points, m)))).collect();
            output.line(format!("{:<16}{cells}", curve.criterion));
        }
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
        let line = |curve: &Curve| {
            let points = curve.points.iter().filter_map(|p| Some((p.macs, scale * p.quality()?)));
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
    let of_curve = |c: &Curve| {
        let point = |p: &Point| json!({ "keep_macs": p.macs, "top1": p.top1, "agreement": p.agreement, "snr_db": p.snr_db });
        let points: Vec<Value> = c.points.iter().map(point).collect();
        json!({ "criterion": c.criterion, "repair": c.repair, "points": points })
    };
    let left: Vec<Value> =
        left_out.iter().map(|(name, why)| json!({ "criterion": name, "why": why })).collect();
    output.result(&json!({
        "whole": { "top1": whole }, "curves": curves.iter().map(of_curve).collect::<Vec<_>>(),
        "left_out": left, "plot": args.plot,
    }));
    Ok(())
}
