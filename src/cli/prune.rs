//! `secateur plan` and `secateur prune`: decide, cut, prove, write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::{Value, json};

use super::Answer;
use super::args::{DataArgs, Global};
use super::eval::evaluate;
use super::output::{Output, grouped, short};
use super::profile::profiled;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::file::check_writable;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::score::CRITERIA;
use crate::prune::{
    Answers, Budget, Channels, Criterion, Cut, Judge, Limits, Normalize, Scope, allocate, scores, smaller,
};
use crate::stats::gather::weights_only;
use crate::stats::{LayerProfile, Profile};

/// How to decide.
#[derive(Debug, clap::Args)]
pub(super) struct DecideArgs {
    /// How channels are scored; see `plan --help-criteria`.
    #[arg(long, value_name = "NAME", default_value = "l1")]
    criterion: String,
    /// At most this share of the MACs.
    #[arg(long, value_name = "R")]
    keep_macs: Option<f64>,
    /// At most this share of the parameters.
    #[arg(long, value_name = "R")]
    keep_params: Option<f64>,
    /// Every channel that scores lower goes.
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    remove_below: Option<f64>,
    /// Where scores compete.
    #[arg(long, default_value = "global")]
    scope: Scope,
    /// How scores of different layers are made comparable.
    #[arg(long, default_value = "layer")]
    normalize: Normalize,
    /// Widths end on multiples of this.
    #[arg(long, value_name = "N", default_value_t = 1)]
    round_to: usize,
    /// The largest share of its channels that a layer may lose.
    #[arg(long, value_name = "R", default_value_t = 0.9)]
    max_cut: f64,
    /// Layers whose names match keep all channels.
    #[arg(long, value_name = "REGEX")]
    protect: Vec<String>,
    /// Channels that a layer keeps at least.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_channels: usize,
    /// The seed of `random`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Channels that a normalization, softmax or reduction mixes may go one by one: the rest is normalised
    /// without them, which the proof cannot call equal. The answer says where.
    #[arg(long)]
    pub(super) inexact: bool,
}

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

impl DecideArgs {
    pub(super) fn simple(criterion: &str, keep_macs: f64) -> Self {
        Self {
            criterion: criterion.to_owned(),
            keep_macs: Some(keep_macs),
            keep_params: None,
            remove_below: None,
            scope: Scope::Global,
            normalize: Normalize::Layer,
            round_to: 1,
            max_cut: 0.9,
            protect: vec![],
            min_channels: 1,
            seed: 0,
            inexact: false,
        }
    }

    fn criterion(&self) -> Result<Criterion> {
        self.criterion.parse()
    }

    fn budget(&self) -> Result<Budget> {
        let share = |name: &str, value: f64| {
            if value > 0.0 && value <= 1.0 {
                Ok(value)
            } else {
                Err(Error::new(format!("--{name} does not fit"))
                    .expected("a share above 0, up to 1")
                    .got(value.to_string()))
            }
        };
        match (self.keep_macs, self.keep_params, self.remove_below) {
            (Some(r), None, None) => Ok(Budget::KeepMacs(share("keep-macs", r)?)),
            (None, Some(r), None) => Ok(Budget::KeepParams(share("keep-params", r)?)),
            (None, None, Some(s)) => Ok(Budget::RemoveBelow(s)),
            _ => Err(Error::new("one budget is needed")
                .expected("one of --keep-macs R, --keep-params R, --remove-below SCORE")
                .remedy("for example --keep-macs 0.5")),
        }
    }

    fn budget_text(&self) -> String {
        let one = |name: &str, v: Option<f64>| v.map(|v| format!("{name} {v}"));
        one("keep-macs", self.keep_macs)
            .or_else(|| one("keep-params", self.keep_params))
            .or_else(|| one("remove-below", self.remove_below))
            .unwrap_or_default()
    }

    /// Decides.
    pub(super) fn cut(
        &self,
        model: &Model,
        graph: &Graph,
        channels: &Channels,
        layers: &[LayerProfile],
    ) -> Result<Cut> {
        let criterion = self.criterion()?;
        if !(0.0..=1.0).contains(&self.max_cut) {
            return Err(Error::new("--max-cut does not fit")
                .expected("0 to 1")
                .got(self.max_cut.to_string()));
        }
        let mut protected = BTreeSet::new();
        for pattern in &self.protect {
            let regex = Regex::new(pattern)
                .map_err(|e| Error::new("--protect is not a regular expression").got(e.to_string()))?;
            for knot in &channels.knots {
                if knot.members.iter().any(|&(n, _)| regex.is_match(&graph.nodes[n].name)) {
                    protected.insert(knot.id);
                }
            }
        }
        let scores = scores(graph, channels, layers, &criterion, self.normalize, self.seed)?;
        let limits = Limits {
            min_channels: self.min_channels,
            max_cut: self.max_cut,
            round_to: self.round_to,
            scope: self.scope,
        };
        let removed = allocate(channels, &scores, self.budget()?, &limits, &protected)
            .map_err(|e| e.file(&model.path))?;
        let how = (criterion.to_string(), self.budget_text());
        Cut::new((graph, &model.sha256), channels, Some(&scores), &removed, how)
    }
}

fn loaded(path: &Path, model: &Model) -> Result<Profile> {
    let profile = Profile::load(path)?;
    if profile.header.model_sha256 != model.sha256 {
        return Err(Error::new("the profile is of another model")
            .file(path)
            .expected(format!("a profile of {}", model.path.display()))
            .got(format!("one of {}", profile.header.model))
            .remedy("run `secateur profile` on this model"));
    }
    Ok(profile)
}

pub(super) fn plan(args: &PlanArgs, _global: &Global, output: &Output) -> Result<Answer> {
    if args.help_criteria {
        for row in CRITERIA {
            output.line(format!("{:<13} {}\n{:13} {}", row.name, row.formula, "", row.source));
        }
        output.line("random        uniform noise by --seed: a baseline");
        output.line("file:FILE     yours: CSV with the columns node,channel,score");
        output.line(
            "A knot scores the mean of its channels, each divided by its layer's mean (--normalize layer).",
        );
        return Ok(Answer::Yes);
    }
    let (Some(path), Some(out)) = (&args.model, &args.output) else {
        return Err(Error::new("a model and an output are needed"));
    };
    let model = Model::load(path)?;
    let graph = Graph::of(&model)?;
    let channels = Channels::dyed(&graph, args.decide.inexact)?;
    let layers = match &args.profile {
        Some(profile) => loaded(profile, &model)?.layers,
        None => weights_only(&graph, &channels.facts)?,
    };
    let cut = args.decide.cut(&model, &graph, &channels, &layers)?;
    cut.save(out)?;
    let gone = cut.knots.iter().filter(|k| !k.keep).count();
    output.line(format!("{gone} of {} knots go → {}", cut.knots.len(), out.display()));
    let inexact = cut.inexact.clone().unwrap_or_default();
    tell_inexact(&inexact, output);
    output.result(&json!({
        "knots": cut.knots.len(), "removed": gone, "criterion": cut.criterion, "budget": cut.budget,
        "inexact": inexact, "out": out,
    }));
    Ok(Answer::Yes)
}

/// Says at which nodes a cut is inexact.
fn tell_inexact(nodes: &[String], output: &Output) {
    const NAMED: usize = 5;
    if !nodes.is_empty() {
        let more = if nodes.len() > NAMED { ", …" } else { "" };
        let names = nodes.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        output.line(format!("inexact: removed channels mix at {} nodes: {names}{more}", nodes.len()));
    }
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
    if args.cut.is_none() {
        args.decide.budget()?;
    }
    let data = args.data.data.as_ref().map(|_| args.data.open_real(&graph)).transpose()?;
    let device = global.open(output)?;
    let cut = match (decided, &args.profile, &data) {
        (Some(cut), ..) => cut,
        (None, Some(path), _) => args.decide.cut(&model, &graph, &channels, &loaded(path, &model)?.layers)?,
        (None, None, Some(data)) if criterion.needs_data() => {
            let profile = profiled((&model, &graph), &device, (data, args.data.spec()), args.batch, output)?;
            args.decide.cut(&model, &graph, &channels, &profile.layers)?
        }
        (None, None, None) if criterion.needs_data() => {
            return Err(Error::new(format!("the criterion {criterion} needs activations"))
                .expected("--data or --profile")
                .remedy("add --data FOLDER, or choose a criterion on weights such as l1"));
        }
        (None, None, _) => {
            args.decide.cut(&model, &graph, &channels, &weights_only(&graph, &channels.facts)?)?
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
