//! The options of decisions and repairs, for `plan`, `prune` and `profile`.

use std::collections::BTreeSet;

use regex::Regex;

use super::args::positive;
use super::data_args::JudgeArgs;
use crate::error::{Error, Result};
use crate::pipeline::{Budget, Criterion, Network, PlanOptions, Repair, Scope, ScoreNormalization, Target};

/// How channels are scored and chosen.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// Channel criterion; `plan --help-criteria` lists all.
    ///
    /// Default: reconstruction. If there are no images and the profile has no moments of patches: obd, or act-variance.
    #[arg(long, value_name = "NAME")]
    criterion: Option<String>,
    /// Keep at most this share of the MACs (multiply-adds).
    ///
    /// `prune` takes several shares, such as 0.8,0.6,0.4, and writes a network for each.
    #[arg(long, value_name = "R", value_delimiter = ',')]
    keep_macs: Vec<f64>,
    /// Keep at most this share of the parameters.
    ///
    /// `prune` takes several shares and writes a network for each.
    #[arg(long, value_name = "R", value_delimiter = ',')]
    keep_params: Vec<f64>,
    /// Keep at most this share of the latency.
    ///
    /// The latency for one image is measured on the chosen device. `prune` takes several shares and writes a network
    /// for each.
    #[arg(long, value_name = "R", value_delimiter = ',')]
    keep_latency: Vec<f64>,
    /// Remove every channel whose score is lower.
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    remove_below: Option<f64>,
    /// Compare scores in the whole network or within each layer.
    #[arg(long, default_value = "global")]
    scope: Scope,
    /// How scores of different layers are made comparable.
    ///
    /// Default: layer; for reconstruction, taylor and fisher, the cost that the budget limits.
    #[arg(long)]
    normalize: Option<ScoreNormalization>,
    /// Round the channels that a layer keeps to a multiple of N.
    ///
    /// With --keep-latency, the default is the widths at which the measured device gets faster.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    round_to: usize,
    /// Remove at most this share of the channels of any layer.
    #[arg(long, value_name = "R", default_value_t = 0.9)]
    max_cut: f64,
    /// Remove nothing from layers whose names match.
    ///
    /// May be given several times, or as a list separated by commas. A comma within (), [] or {}, or after \, belongs
    /// to the pattern.
    #[arg(long, value_name = "REGEX")]
    protect: Vec<String>,
    /// Keep at least N channels in every layer.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    min_channels: usize,
    /// Seed of the criterion `random`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// Also remove channels that a normalization or softmax computes with others.
    ///
    /// The remaining channels are then normalized without the removed ones, which changes the outputs: the proof is
    /// partial, and the result names the nodes.
    #[arg(long)]
    pub(super) inexact: bool,
    /// Refuse a cut whose confidence is below C, from 0 to 1.
    ///
    /// The confidence is the expected share of the removed channels that unlimited images would remove as well.
    #[arg(long, value_name = "C")]
    require_confidence: Option<f64>,
}

/// How networks are repaired after a cut, and which images judge them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RepairArgs {
    /// Repair after the cut.
    ///
    /// Default: full with images, none without.
    #[arg(long, value_name = "HOW")]
    pub(super) repair: Option<Repair>,
    #[command(flatten)]
    pub(super) judge: JudgeArgs,
    /// Prune in N rounds, with a repair and new statistics after each.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, conflicts_with = "profile")]
    pub(super) rounds: usize,
}

/// Explains why a pattern is no regular expression, by the last line of the parser's error; the others draw it.
fn no_pattern(pattern: &str, error: &regex::Error) -> Error {
    let text = error.to_string();
    let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    Error::new("--protect is not a regular expression")
        .got(format!("{pattern}: {why}"))
        .remedy("put a \\ before each of . + * ? ( ) [ ] { } that stands for itself")
}

/// Splits a list of patterns at its commas, except those within brackets or behind a backslash.
fn patterns(list: &str) -> Vec<&str> {
    let (mut depth, mut escaped, mut start) = (0_i32, false, 0);
    let mut found = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth <= 0 => {
                found.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&list[start..]);
    found.into_iter().map(str::trim).filter(|pattern| !pattern.is_empty()).collect()
}

impl PlanArgs {
    /// Parses the criterion, if one is named.
    pub(super) fn criterion(&self) -> Result<Option<Criterion>> {
        self.criterion.as_deref().map(str::parse).transpose()
    }

    /// Returns the targets, which are of one kind.
    pub(super) fn targets(&self) -> Result<Vec<Target>> {
        let of =
            |values: &[f64], kind: fn(f64) -> Target| values.iter().map(|&v| kind(v)).collect::<Vec<_>>();
        let below = self.remove_below.map(|score| Target::Keep(Budget::RemoveBelow(score)));
        let kinds = [
            of(&self.keep_macs, |share| Target::Keep(Budget::KeepMacs(share))),
            of(&self.keep_params, |share| Target::Keep(Budget::KeepParams(share))),
            of(&self.keep_latency, Target::Latency),
            below.into_iter().collect(),
        ];
        let mut named = kinds.into_iter().filter(|targets| !targets.is_empty());
        match (named.next(), named.next()) {
            (targets, None) => Ok(targets.unwrap_or_default()),
            (_, Some(_)) => Err(one_budget()),
        }
    }

    /// Returns the only target; `None` if none is named.
    pub(super) fn target(&self) -> Result<Option<Target>> {
        single(&self.targets()?)
    }

    /// Returns the target; an error if none is named.
    pub(super) fn required_target(&self) -> Result<Target> {
        let target = self.target()?.ok_or_else(one_budget)?;
        target.check()?;
        Ok(target)
    }

    /// Returns the targets; an error if none is named.
    pub(super) fn required_targets(&self) -> Result<Vec<Target>> {
        let targets = self.targets()?;
        if targets.is_empty() {
            return Err(one_budget());
        }
        targets.iter().try_for_each(|target| target.check())?;
        Ok(targets)
    }

    /// Returns the options for a target, with the protected layers of a network.
    pub(super) fn options(&self, target: Target, network: &Network) -> Result<PlanOptions> {
        Ok(PlanOptions {
            target,
            criterion: self.criterion()?,
            normalize: self.normalize,
            scope: self.scope,
            round_to: self.round_to,
            max_cut: self.max_cut,
            min_channels: self.min_channels,
            protected: self.protected(network)?,
            seed: self.seed,
            require_confidence: self.require_confidence,
            ..PlanOptions::default()
        })
    }

    fn protected(&self, network: &Network) -> Result<BTreeSet<usize>> {
        let mut protected = BTreeSet::new();
        for pattern in self.protect.iter().flat_map(|list| patterns(list)) {
            let regex = Regex::new(pattern).map_err(|e| no_pattern(pattern, &e))?;
            let names = network.graph.nodes.iter().map(|n| n.name.as_str());
            if !names.clone().any(|name| regex.is_match(name)) {
                return Err(Error::new("--protect matches no layer of the network")
                    .file(&network.graph.path)
                    .got(pattern)
                    .meant(pattern, names, "see the layers with `inspect()`"));
            }
            protected.extend(network.protect(|name| regex.is_match(name)));
        }
        Ok(protected)
    }
}

/// Returns the only target of a decision; `None` if none is named.
fn single(targets: &[Target]) -> Result<Option<Target>> {
    match targets {
        [] => Ok(None),
        [target] => Ok(Some(*target)),
        several => Err(Error::new("one decision has one budget")
            .expected("one value")
            .got(format!("{} budgets", several.len()))
            .remedy("give one, or give several to `prune()`, which writes a network for each")),
    }
}

fn one_budget() -> Error {
    Error::new("one budget is needed")
        .expected("one of `keep_macs`, `keep_params`, `keep_latency`, `remove_below`")
        .remedy("for example --keep-macs 0.5")
}

#[cfg(test)]
mod tests {
    use super::patterns;

    #[test]
    fn a_list_of_patterns_is_split_at_its_own_commas() {
        assert_eq!(patterns("conv1, fc"), ["conv1", "fc"]);
        assert_eq!(patterns("a{1,2},(b|c,d),[,],e\\,f,"), ["a{1,2}", "(b|c,d)", "[,]", "e\\,f"]);
    }
}
