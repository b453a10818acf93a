//! Allocation: removes the lowest scores first until the budget is met, within the limits of every layer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::channels::Channels;
use crate::error::{Error, ErrorKind, Result};

/// The budget that a cut must meet.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// At most this share of the MACs.
    KeepMacs(f64),
    /// At most this share of the parameters.
    KeepParams(f64),
    /// At most this share of the measured time ([`Channels::times`]).
    KeepLatency(f64),
    /// No coupled channels with a lower score.
    RemoveBelow(f64),
}

/// The scope in which scores compete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All coupled channels of the network compete.
    #[default]
    Global,
    /// Coupled channels compete within their layers, and every layer loses the same share.
    Layer,
}

/// Limits on the channels that every layer loses.
#[derive(Clone, Debug)]
pub struct CutLimits {
    /// The number of channels that each layer keeps at least.
    pub min_channels: usize,
    /// The largest share of its channels that a layer may lose.
    pub max_cut: f64,
    /// Widths after the cut are multiples of this.
    pub round_to: usize,
    /// If `round_to` is 1, preferred multiples of widths, halved repeatedly for narrow layers.
    pub prefer: usize,
    /// The scope in which scores compete.
    pub scope: Scope,
    /// If scores are per cost, the cost: each group's saving is re-estimated at the current widths of its neighbours.
    pub repriced: Option<Counted>,
}

/// The cost that a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Multiply-accumulate operations of all layers.
    Macs,
    /// Parameters of all layers.
    Params,
    /// Measured time on a device.
    Time,
}

/// The name of the cost in messages.
impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Self::Macs => "MACs",
            Self::Params => "parameters",
            Self::Time => "time",
        })
    }
}

impl Budget {
    /// Creates the budget that keeps a share of a cost.
    pub fn keep(counted: Counted, share: f64) -> Self {
        match counted {
            Counted::Macs => Self::KeepMacs(share),
            Counted::Params => Self::KeepParams(share),
            Counted::Time => Self::KeepLatency(share),
        }
    }

    /// Returns the cost and the share of it that may stay, for a budget that keeps a share.
    pub fn share(self) -> Option<(Counted, f64)> {
        match self {
            Self::KeepMacs(share) => Some((Counted::Macs, share)),
            Self::KeepParams(share) => Some((Counted::Params, share)),
            Self::KeepLatency(share) => Some((Counted::Time, share)),
            Self::RemoveBelow(_) => None,
        }
    }
}

impl Channels {
    /// Returns the cost of the network at these axis lengths.
    pub fn count(&self, lengths: &[usize], counted: Counted) -> u64 {
        match counted {
            Counted::Macs => self.cost(lengths).0,
            Counted::Params => self.cost(lengths).1,
            Counted::Time => self.time(lengths),
        }
    }

    /// Returns the cost that the removal of a set saves at these axis lengths.
    pub(super) fn freed(&self, set: usize, lengths: &mut [usize], counted: Counted) -> u64 {
        let whole = self.count(lengths, counted);
        let shortens = &self.shortens[set];
        let before: Vec<usize> = shortens.iter().map(|&(axis, _)| lengths[axis]).collect();
        shortens.iter().for_each(|&(axis, by)| lengths[axis] = lengths[axis].saturating_sub(by));
        let left = self.count(lengths, counted);
        shortens.iter().zip(before).for_each(|(&(axis, _), length)| lengths[axis] = length);
        whole.saturating_sub(left)
    }
}

impl Default for CutLimits {
    fn default() -> Self {
        Self { min_channels: 1, max_cut: 0.9, round_to: 1, prefer: 1, scope: Scope::Global, repriced: None }
    }
}

/// Returns the indices of the coupled channels to remove; blocked and `protected` ones stay.
///
/// # Errors
/// A budget that cannot be met ([`crate::ErrorKind::BudgetInfeasible`]), with the smallest share that can.
pub fn allocate(
    channels: &Channels,
    scores: &[f64],
    budget: Budget,
    limits: &CutLimits,
    protected: &BTreeSet<usize>,
) -> Result<BTreeSet<usize>> {
    let mut queues = queues(channels, scores, limits, protected);
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
    let whole = budget.share().map_or(1, |(counted, _)| channels.count(&lengths, counted).max(1));
    let kept = |lengths: &[usize], counted| channels.count(lengths, counted) as f64 / whole as f64;
    let met =
        |lengths: &[usize]| budget.share().is_some_and(|(counted, share)| kept(lengths, counted) <= share);
    let mut removed = BTreeSet::new();
    let mut steps = Vec::new();
    let mut prices = Prices::new(channels, limits, &queues);
    while let Some((price, queue)) = prices.lowest(channels, &queues, &mut lengths) {
        let Some((_, atom)) = queues[queue].pop_front() else { break };
        if met(&lengths) || matches!(budget, Budget::RemoveBelow(least) if price >= least) {
            break;
        }
        let mut shorter: BTreeMap<usize, usize> = BTreeMap::new();
        for &set in &atom {
            for &(axis, count) in &channels.shortens[set] {
                *shorter.entry(axis).or_default() += count;
            }
        }
        if shorter.iter().all(|(&axis, &count)| lengths[axis] >= count + least[axis]) {
            shorter.iter().for_each(|(&axis, &count)| lengths[axis] -= count);
            removed.extend(atom.iter().copied());
            steps.push((queue, atom, shorter));
        }
    }
    // The last steps may overshoot the budget: the highest removed scores are restored if they fit.
    if met(&lengths) {
        let mut closed: BTreeSet<usize> = BTreeSet::new();
        for (queue, atom, shorter) in steps.into_iter().rev() {
            let mut longer = lengths.clone();
            shorter.iter().for_each(|(&axis, &count)| longer[axis] += count);
            // Within a group, the last removed channels are restored first.
            if closed.contains(&queue) || atom.iter().any(|k| channels.gone.contains(k)) || !met(&longer) {
                closed.insert(queue);
                continue;
            }
            lengths = longer;
            atom.iter().for_each(|k| {
                removed.remove(k);
            });
        }
    }
    if let Some((counted, wanted)) = budget.share().filter(|_| !met(&lengths)) {
        let share = kept(&lengths, counted);
        let blocked = channels.coupled.iter().all(|set| set.block.is_some());
        return Err(Error::new("the budget cannot be met")
            .with_kind(ErrorKind::BudgetInfeasible)
            .expected(format!("{wanted} of the {counted}"))
            .got(format!("at least {:.4} with these limits", (share * 1e4).ceil() / 1e4))
            .remedy(if blocked {
                "no channel of this network can be removed: see with `inspect()` what blocks them"
            } else {
                "keep more, or loosen `max_cut`, `min_channels`, `round_to` or `protect`"
            }));
    }
    Ok(removed)
}

/// Factors of each queue's scores: 1, or full-width saving ÷ current saving.
struct Prices {
    counted: Option<Counted>,
    /// For each queue, a representative set and its saving at full width.
    whole: Vec<(usize, u64)>,
    factors: Vec<f64>,
    /// Number of removals between two updates of the factors, and since the last update.
    stride: usize,
    since: usize,
}

impl Prices {
    fn new(channels: &Channels, limits: &CutLimits, queues: &[Queue]) -> Self {
        const UPDATES: usize = 400;
        let mut lengths = channels.lengths();
        let first = |queue: &Queue| queue.front().and_then(|(_, atom)| atom.first().copied()).unwrap_or(0);
        let freed = |set: usize, lengths: &mut [usize]| {
            limits.repriced.map_or(0, |counted| channels.freed(set, lengths, counted))
        };
        let whole = queues.iter().map(|q| (first(q), freed(first(q), &mut lengths))).collect();
        let atoms: usize = queues.iter().map(VecDeque::len).sum();
        let factors = vec![1.0; queues.len()];
        Self { counted: limits.repriced, whole, factors, stride: (atoms / UPDATES).max(1), since: 0 }
    }

    /// Returns the lowest price of all queues' first atoms, with the queue.
    fn lowest(
        &mut self,
        channels: &Channels,
        queues: &[Queue],
        lengths: &mut [usize],
    ) -> Option<(f64, usize)> {
        self.since += 1;
        if let (Some(counted), true) = (self.counted, self.since >= self.stride) {
            self.since = 0;
            for (factor, &(set, whole)) in self.factors.iter_mut().zip(&self.whole) {
                let now = channels.freed(set, lengths, counted);
                *factor = if now > 0 { whole as f64 / now as f64 } else { 1.0 };
            }
        }
        let price = |(i, queue): (usize, &Queue)| Some((queue.front()?.0 * self.factors[i], i));
        let atom = |i: usize| &queues[i][0].1;
        let all = queues.iter().enumerate().filter_map(price);
        all.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| atom(a.1).cmp(atom(b.1))))
    }
}

/// The minimum number of steps in which a layer shrinks.
const STEPS: usize = 4;

/// Returns `step`, halved until the width is at least [`STEPS`] steps.
fn preferred(step: usize, width: usize) -> usize {
    let mut steps = std::iter::successors(Some(step.max(1)), |step| (*step > 1).then_some(step / 2));
    steps.find(|step| step * STEPS <= width).unwrap_or(1)
}

/// The atoms of a group, lowest score first: coupled channels that are removed at once, with their score.
type Queue = VecDeque<(f64, Vec<usize>)>;

/// Returns the queue of each dependency group; an atom has as many sets as keep the width a multiple of `round_to`.
fn queues(
    channels: &Channels,
    scores: &[f64],
    limits: &CutLimits,
    protected: &BTreeSet<usize>,
) -> Vec<Queue> {
    let mut queues = Vec::new();
    for group in channels.dependency_groups() {
        let width = group.len();
        let mut free: Vec<usize> = group
            .into_iter()
            .filter(|k| channels.coupled[*k].block.is_none() && !protected.contains(k))
            .collect();
        free.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
        let step = match limits.round_to {
            0 | 1 => preferred(limits.prefer, width),
            step => step,
        };
        let mut first = match width % step {
            0 => step,
            odd => odd,
        };
        let mut done = 0;
        let mut atoms = Queue::new();
        while done + first <= free.len() {
            let part = free[done..done + first].to_vec();
            let score = match limits.scope {
                Scope::Global => part.iter().map(|&k| scores[k]).sum::<f64>() / part.len() as f64,
                Scope::Layer => (done + first) as f64 / width as f64,
            };
            atoms.push_back((score, part));
            done += first;
            first = step;
        }
        queues.push(atoms);
    }
    queues
}
