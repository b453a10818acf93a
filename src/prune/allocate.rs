//! Which knots go: the lowest scores first, until the budget holds, within what every layer must keep.

use std::collections::{BTreeMap, BTreeSet};

use super::channels::Channels;
use crate::error::{Error, Result};

/// What has to be reached.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// At most this share of the MACs.
    KeepMacs(f64),
    /// At most this share of the parameters.
    KeepParams(f64),
    /// No knot that scores lower.
    RemoveBelow(f64),
}

/// Where scores compete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All knots against each other.
    #[default]
    Global,
    /// Within their layers: every layer loses the same share.
    Layer,
}

/// What every layer must keep.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Channels that each layer keeps at least.
    pub min_channels: usize,
    /// The largest share of its channels that a layer may lose.
    pub max_cut: f64,
    /// Widths end on multiples of this.
    pub round_to: usize,
    /// Where scores compete.
    pub scope: Scope,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_channels: 1, max_cut: 0.9, round_to: 1, scope: Scope::Global }
    }
}

/// The knots that go, by number. `protected` ones stay, as blocked ones do.
///
/// # Errors
/// A budget that cannot be met: says the smallest that can.
pub fn allocate(
    channels: &Channels,
    scores: &[f64],
    budget: Budget,
    limits: &Limits,
    protected: &BTreeSet<usize>,
) -> Result<BTreeSet<usize>> {
    let atoms = atoms(channels, scores, limits, protected);
    let mut lengths = channels.lengths();
    let least: Vec<usize> = channels
        .axes
        .iter()
        .map(|axis| {
            if !axis.filters {
                return 1;
            }
            let share = ((1.0 - limits.max_cut) * axis.total as f64 - 1e-9).ceil().max(0.0) as usize;
            limits.min_channels.max(share).max(1).min(axis.total)
        })
        .collect();
    let before = channels.cost(&lengths);
    let met = |lengths: &[usize]| {
        let now = channels.cost(lengths);
        match budget {
            Budget::KeepMacs(share) => now.0 as f64 <= share * before.0 as f64,
            Budget::KeepParams(share) => now.1 as f64 <= share * before.1 as f64,
            Budget::RemoveBelow(_) => false,
        }
    };
    let mut removed = BTreeSet::new();
    for (score, atom) in atoms {
        if met(&lengths) || matches!(budget, Budget::RemoveBelow(least) if score >= least) {
            break;
        }
        let mut shorter: BTreeMap<usize, usize> = BTreeMap::new();
        for &knot in &atom {
            for &(axis, count) in &channels.shortens[knot] {
                *shorter.entry(axis).or_default() += count;
            }
        }
        if shorter.iter().all(|(&axis, &count)| lengths[axis] >= count + least[axis]) {
            shorter.iter().for_each(|(&axis, &count)| lengths[axis] -= count);
            removed.extend(atom);
        }
    }
    if !matches!(budget, Budget::RemoveBelow(_)) && !met(&lengths) {
        let now = channels.cost(&lengths);
        let (what, share) = match budget {
            Budget::KeepParams(_) => ("parameters", now.1 as f64 / before.1.max(1) as f64),
            _ => ("MACs", now.0 as f64 / before.0.max(1) as f64),
        };
        let wanted = match budget {
            Budget::KeepMacs(s) | Budget::KeepParams(s) | Budget::RemoveBelow(s) => s,
        };
        return Err(Error::new("the budget cannot be met")
            .expected(format!("{wanted} of the {what}"))
            .got(format!("at the least {:.4} with these limits", (share * 1e4).ceil() / 1e4))
            .remedy("ask for more, or loosen --max-cut, --min-channels, --round-to or --protect"));
    }
    Ok(removed)
}

/// What goes at once: single knots, or as many of a bundle as keep its width a multiple of `round_to`. Lowest first.
fn atoms(
    channels: &Channels,
    scores: &[f64],
    limits: &Limits,
    protected: &BTreeSet<usize>,
) -> Vec<(f64, Vec<usize>)> {
    let mut atoms = Vec::new();
    for bundle in channels.bundles() {
        let width = bundle.len();
        let mut free: Vec<usize> = bundle
            .into_iter()
            .filter(|k| channels.knots[*k].block.is_none() && !protected.contains(k))
            .collect();
        free.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
        let step = limits.round_to.max(1);
        let mut first = match width % step {
            0 => step,
            odd => odd,
        };
        let mut done = 0;
        while done + first <= free.len() {
            let part = free[done..done + first].to_vec();
            let score = match limits.scope {
                Scope::Global => part.iter().map(|&k| scores[k]).sum::<f64>() / part.len() as f64,
                Scope::Layer => (done + first) as f64 / width as f64,
            };
            atoms.push((score, part));
            done += first;
            first = step;
        }
    }
    atoms.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    atoms
}
