//! How cuts are decided: the options of `plan` and `prune`.

use std::collections::BTreeSet;

use regex::Regex;

use super::args::positive;
use super::output::{Output, many};
use crate::bench::Quantiles;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{
    Budget, Channels, Counted, Criterion, Cut, CutLimits, Judged, Scope, Score, ScoreNormalization, Scoring,
    allocate, confidence, cut_confidence, scores,
};
use crate::stats::Profile;

/// The criterion where none is named.
pub(super) const CRITERION: &str = "reconstruction";

/// How to decide.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DecideArgs {
    /// How channels are scored; see `plan --help-criteria`. By reconstruction where none is named, or, where all that is
    /// there is a profile without moments of patches, by obd or act-variance.
    #[arg(long, value_name = "NAME")]
    criterion: Option<String>,
    /// At most this share of the MACs.
    #[arg(long, value_name = "R")]
    keep_macs: Option<f64>,
    /// At most this share of the parameters.
    #[arg(long, value_name = "R")]
    keep_params: Option<f64>,
    /// At most this share of the latency of one image, measured on this device.
    #[arg(long, value_name = "R")]
    keep_latency: Option<f64>,
    /// Every channel that scores lower goes.
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    remove_below: Option<f64>,
    /// Where scores compete.
    #[arg(long, default_value = "global")]
    scope: Scope,
    /// How scores of different layers are made comparable: layer, but for reconstruction, whose scores are losses of
    /// the whole network, by what the budget counts.
    #[arg(long)]
    normalize: Option<ScoreNormalization>,
    /// Widths end on multiples of this; with --keep-latency, where it is not given, on those at which the device gets
    /// faster.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    round_to: usize,
    /// The largest share of its channels that a layer may lose.
    #[arg(long, value_name = "R", default_value_t = 0.9)]
    max_cut: f64,
    /// Layers whose names match keep all channels.
    #[arg(long, value_name = "REGEX")]
    protect: Vec<String>,
    /// Channels that a layer keeps at least.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    min_channels: usize,
    /// The seed of `random`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// Channels that a normalization, softmax or reduction mixes may go one by one: the rest is normalised
    /// without them, which the proof cannot call equal. The answer says where.
    #[arg(long)]
    pub(super) inexact: bool,
    /// Refuses a cut of which the data are less sure: the share of it that is expected to be truly the lowest.
    #[arg(long, value_name = "C")]
    require_confidence: Option<f64>,
}

/// The last line of a regular expression's error says what is wrong; those before draw it.
fn no_pattern(pattern: &str, error: &regex::Error) -> Error {
    let text = error.to_string();
    let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    Error::new("--protect is not a regular expression")
        .got(format!("{pattern}: {why}"))
        .remedy("put a \\ before each of . + * ? ( ) [ ] { } that stands for itself")
}

impl DecideArgs {
    pub(super) fn simple(criterion: &str, keep_macs: f64) -> Self {
        Self {
            criterion: Some(criterion.to_owned()),
            keep_macs: Some(keep_macs),
            keep_params: None,
            keep_latency: None,
            remove_below: None,
            scope: Scope::Global,
            normalize: None,
            round_to: 1,
            max_cut: 0.9,
            protect: vec![],
            min_channels: 1,
            seed: 0,
            inexact: false,
            require_confidence: None,
        }
    }

    /// With this seed for `random`.
    pub(super) fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With this criterion where none was named.
    pub(super) fn or_by(mut self, criterion: &str) -> Self {
        self.criterion.get_or_insert_with(|| criterion.to_owned());
        self
    }

    pub(super) fn names_criterion(&self) -> bool {
        self.criterion.is_some()
    }

    pub(super) fn criterion(&self) -> Result<Criterion> {
        self.criterion.as_deref().unwrap_or(CRITERION).parse()
    }

    pub(super) fn budget(&self) -> Result<Budget> {
        let share = |name: &str, value: f64| {
            if value > 0.0 && value <= 1.0 {
                Ok(value)
            } else {
                Err(Error::new(format!("--{name} does not fit"))
                    .expected("a share above 0, up to 1")
                    .got(value.to_string())
                    .remedy(format!("for example --{name} 0.5")))
            }
        };
        match (self.keep_macs, self.keep_params, self.keep_latency, self.remove_below) {
            (Some(r), None, None, None) => Ok(Budget::KeepMacs(share("keep-macs", r)?)),
            (None, Some(r), None, None) => Ok(Budget::KeepParams(share("keep-params", r)?)),
            (None, None, Some(r), None) => Ok(Budget::KeepLatency(share("keep-latency", r)?)),
            (None, None, None, Some(s)) if !s.is_nan() => Ok(Budget::RemoveBelow(s)),
            (None, None, None, Some(s)) => Err(Error::new("--remove-below does not fit")
                .expected("a score")
                .got(s.to_string())
                .remedy("for example --remove-below 0.5")),
            _ => Err(Error::new("one budget is needed")
                .expected("one of --keep-macs R, --keep-params R, --keep-latency R, --remove-below SCORE")
                .remedy("for example --keep-macs 0.5")),
        }
    }

    pub(super) fn budget_text(&self) -> String {
        let one = |name: &str, v: Option<f64>| v.map(|v| format!("{name} {v}"));
        one("keep-macs", self.keep_macs)
            .or_else(|| one("keep-params", self.keep_params))
            .or_else(|| one("keep-latency", self.keep_latency))
            .or_else(|| one("remove-below", self.remove_below))
            .unwrap_or_default()
    }

    /// With half of the MACs for a budget where none was named.
    pub(super) fn or_half(mut self) -> Self {
        if self.keep_macs.or(self.keep_params).or(self.keep_latency).or(self.remove_below).is_none() {
            self.keep_macs = Some(0.5);
        }
        self
    }

    fn normalize(&self) -> Result<ScoreNormalization> {
        let whole = self.criterion()?.needs().patches;
        Ok(match (self.normalize, whole) {
            (Some(normalize), _) => normalize,
            (None, false) => ScoreNormalization::Layer,
            (None, true) if self.keep_latency.is_some() => ScoreNormalization::Time,
            (None, true) if self.keep_params.is_some() => ScoreNormalization::Params,
            (None, true) => ScoreNormalization::Macs,
        })
    }

    /// What a search for the smallest network counts.
    pub(super) fn counted(&self) -> Result<Counted> {
        Ok(self.normalize()?.counted().unwrap_or(Counted::Macs))
    }

    pub(super) fn protected(&self, graph: &Graph, channels: &Channels) -> Result<BTreeSet<usize>> {
        let mut protected = BTreeSet::new();
        for pattern in &self.protect {
            let regex = Regex::new(pattern).map_err(|e| no_pattern(pattern, &e))?;
            let names = graph.nodes.iter().map(|n| n.name.as_str());
            if !names.clone().any(|name| regex.is_match(name)) {
                return Err(Error::new("--protect names no layer of the network")
                    .file(&graph.path)
                    .got(pattern.clone())
                    .meant(pattern, names, "see the layers with `secateur inspect`"));
            }
            for set in &channels.coupled {
                if set.members.iter().any(|&(n, _)| regex.is_match(&graph.nodes[n].name)) {
                    protected.insert(set.id);
                }
            }
        }
        Ok(protected)
    }

    /// Scores every set; no budget matters yet.
    pub(super) fn score(&self, graph: &Graph, channels: &Channels, profile: &Profile) -> Result<Scored> {
        let protected = self.protected(graph, channels)?;
        let criterion = self.criterion()?;
        let (normalize, seed) = (self.normalize()?, self.seed);
        let scoring = Scoring { criterion: &criterion, normalize, seed, curves: None };
        let scores = scores(graph, channels, profile, &scoring, &protected)?;
        Ok(Scored { scores, protected })
    }

    /// Chooses what goes, by scores that were made with the same options but for the budget.
    pub(super) fn choose(&self, model: &Model, channels: &Channels, scored: &Scored) -> Result<Choice> {
        self.choose_for(self.budget()?, model, channels, scored)
    }

    pub(super) fn choose_for(
        &self,
        budget: Budget,
        model: &Model,
        channels: &Channels,
        scored: &Scored,
    ) -> Result<Choice> {
        if !(0.0..=1.0).contains(&self.max_cut) {
            return Err(Error::new("--max-cut does not fit")
                .expected("0 to 1")
                .got(self.max_cut.to_string())
                .remedy("for example --max-cut 0.9"));
        }
        let Scored { scores, protected } = scored;
        let limits = CutLimits {
            min_channels: self.min_channels,
            max_cut: self.max_cut,
            round_to: self.round_to,
            prefer: channels.times.as_ref().map_or(1, |times| times.step),
            scope: self.scope,
            repriced: self.normalize()?.counted(),
        };
        let removed = allocate(channels, &Score::values(scores), budget, &limits, protected)
            .map_err(|e| e.file(&model.path))?;
        let confidence = confidence(channels, scores, &removed, self.scope, protected);
        let support = cut_confidence(&confidence, &removed);
        Ok(Choice { removed, confidence, support })
    }

    /// Decides for a budget, which is not the one asked for on the way to it; `text` is what the cut says of it.
    pub(super) fn decided(
        &self,
        budget: Budget,
        text: String,
        (model, graph, channels): (&Model, &Graph, &Channels),
        scored: Scored,
        profile: Profile,
    ) -> Result<Decision> {
        let Choice { removed, confidence, support } = self.choose_for(budget, model, channels, &scored)?;
        let pairs = scored.scores.into_iter().zip(confidence);
        let judged: Vec<Judged> = pairs.map(|(score, confidence)| Judged { score, confidence }).collect();
        let how = (self.criterion()?.to_string(), text);
        let cut = Cut::new((graph, &model.sha256), channels, &judged, &removed, how)?;
        Ok(Decision { cut, support, latency: None, seen: Profile { grams: vec![], ..profile } })
    }

    /// Whether the data support a decision as far as was asked; tells how far they do.
    pub(super) fn supported(&self, decision: &Decision, output: &Output) -> bool {
        const SURE: f64 = 0.95;
        let gone = || decision.cut.coupled.iter().filter(|k| !k.keep);
        let unsure = gone().filter(|k| k.confidence.is_some_and(|c| c < SURE)).count();
        if let (Some(support), true) = (decision.support, unsure > 0) {
            output.note(format!(
                "{unsure} of the {} coupled that go are less than {:.0} % sure to be among the lowest; {:.1} % of the cut is \
                 expected to be right. More images make it surer",
                gone().count(),
                100.0 * SURE,
                100.0 * support
            ));
        }
        match (self.require_confidence, decision.support) {
            (Some(least), Some(support)) if support >= least => true,
            (None, _) => true,
            (Some(least), support) => {
                let found = support.map_or("unknown for this criterion".to_owned(), |s| format!("{s:.4}"));
                output.note(format!("refused: the confidence is {found}, not {least}; nothing is written"));
                false
            }
        }
    }
}

/// What every set is worth, and which stay in any case.
#[derive(Debug)]
pub(super) struct Scored {
    scores: Vec<Score>,
    protected: BTreeSet<usize>,
}

/// What goes, and how sure the data are of it.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) removed: BTreeSet<usize>,
    confidence: Vec<Option<f64>>,
    pub(super) support: Option<f64>,
}

/// What was decided.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) cut: Cut,
    /// The share of the cut that is expected to be truly among the lowest; `None` where nobody knows.
    pub(super) support: Option<f64>,
    /// What it was decided by, of the network as it was in the beginning, without the Gram matrices.
    pub(super) seen: Profile,
    /// What of the latency is left, where that was asked for.
    pub(super) latency: Option<Latency>,
}

/// A network's latency as a share of the original's, measured side by side on a device.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Latency {
    pub(super) asked: f64,
    pub(super) measured: Quantiles,
}

impl Latency {
    /// Says what was measured.
    pub(super) fn tell(&self, output: &Output) {
        let Quantiles { median, p10, p90 } = self.measured;
        output.line(format!(
            "latency      {:.1} % of the original's ({:.1}–{:.1}; asked {:.1}), one image on this device",
            100.0 * median,
            100.0 * p10,
            100.0 * p90,
            100.0 * self.asked
        ));
    }
}

/// Says at which nodes a cut is inexact.
pub(super) fn tell_inexact(nodes: &[String], output: &Output) {
    const NAMED: usize = 5;
    if !nodes.is_empty() {
        let more = if nodes.len() > NAMED { ", …" } else { "" };
        let names = nodes.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        output.line(format!("inexact: removed channels mix at {}: {names}{more}", many(nodes.len(), "node")));
    }
}
