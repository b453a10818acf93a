//! BenchOptions networks side by side: interleaved, after warm-up, as ratios with their spread.

pub mod layers;
pub mod limits;
pub mod widths;

use std::time::Instant;

use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;

/// Median and deciles.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Quantiles {
    /// The middle.
    pub median: f64,
    /// A tenth is below.
    pub p10: f64,
    /// A tenth is above.
    pub p90: f64,
}

impl Quantiles {
    /// Of at least one number.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |q: f64| {
            let place = q * (sorted.len().max(1) - 1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            let get = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
            get(low) + (get(high) - get(low)) * (place - place.floor())
        };
        Self { median: at(0.5), p10: at(0.1), p90: at(0.9) }
    }

    /// Every number times `factor`.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, p10: self.p10 * factor, p90: self.p90 * factor }
    }
}

/// What a bench measured.
#[derive(Clone, Debug)]
pub struct BenchResult {
    /// Seconds of a batch, for each network.
    pub seconds: Vec<Quantiles>,
    /// How many times faster than the first each is, from runs side by side.
    pub speedups: Vec<Quantiles>,
    /// For each network, how many nodes follow on the host, which the times do not include.
    pub host_nodes: Vec<usize>,
    /// Rounds that were counted.
    pub rounds: usize,
}

/// Rounds that are not counted.
const WARM_UP: usize = 3;
/// Rounds that are counted at least.
const LEAST: usize = 5;

/// Inputs of a network of which only the sizes matter.
fn made_up(session: &Session) -> Vec<Vec<f32>> {
    session.plan.inputs.iter().map(|p| vec![0.5; p.shape.iter().product()]).collect()
}

/// How networks are timed.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Images at once.
    pub batch: usize,
    /// About how long in all.
    pub seconds: f64,
    /// Whether inputs on their way to the device and outputs on their way back are timed too.
    pub transfers: bool,
}

impl BenchOptions {
    fn run(&self, session: &mut Session, inputs: &[Vec<f32>]) -> Result<f64> {
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        if !self.transfers {
            return session.time(&inputs);
        }
        let begin = Instant::now();
        session.run_steps(&inputs)?;
        Ok(begin.elapsed().as_secs_f64())
    }
}

/// Times networks in turn, round by round. `progress` is told how many of the seconds are over.
///
/// # Errors
/// A network that does not run on the device.
pub fn bench(
    graphs: &[&Graph],
    device: &Device,
    timing: BenchOptions,
    progress: &mut dyn FnMut(f64),
) -> Result<BenchResult> {
    let BenchOptions { batch, seconds, .. } = timing;
    let mut sessions =
        graphs.iter().map(|g| Session::plain(g, device, Some(batch))).collect::<Result<Vec<_>>>()?;
    let inputs: Vec<Vec<Vec<f32>>> = sessions.iter().map(made_up).collect();
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    let mut spent = 0.0;
    let mut done = 0;
    while done < WARM_UP + LEAST || spent < seconds {
        let mut round = Vec::new();
        for (session, inputs) in sessions.iter_mut().zip(&inputs) {
            round.push(timing.run(session, inputs)?);
        }
        done += 1;
        if done > WARM_UP {
            spent += round.iter().sum::<f64>();
            progress(spent.min(seconds));
            rounds.push(round);
        }
    }
    let column = |f: &dyn Fn(&Vec<f64>) -> f64| Quantiles::of(&rounds.iter().map(f).collect::<Vec<_>>());
    Ok(BenchResult {
        seconds: (0..graphs.len()).map(|i| column(&|r| r[i])).collect(),
        speedups: (0..graphs.len()).map(|i| column(&|r| r[0] / r[i])).collect(),
        host_nodes: sessions.iter().map(Session::host_nodes).collect(),
        rounds: rounds.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::Quantiles;

    #[test]
    fn deciles_of_eleven_numbers() {
        let values: Vec<f64> = (0..11).rev().map(f64::from).collect();
        assert_eq!(Quantiles::of(&values), Quantiles { median: 5.0, p10: 1.0, p90: 9.0 });
    }
}
