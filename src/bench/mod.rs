//! Times of networks side by side: interleaved, after warm-up, as ratios with their quantiles.

pub mod layers;
pub mod peak_rates;
pub mod verified;
pub mod widths;

use std::time::Instant;

use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::{Observer, Stage, advance, staged};
use crate::plan::Port;

/// The median with the first and last decile.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Quantiles {
    /// Median of the values.
    pub median: f64,
    /// First decile: a tenth of the values is below.
    pub p10: f64,
    /// Last decile: a tenth of the values is above.
    pub p90: f64,
}

impl Quantiles {
    /// Computes the quantiles of values, with linear interpolation; NaN without values.
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

    /// Multiplies each number by `factor`.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, p10: self.p10 * factor, p90: self.p90 * factor }
    }
}

/// The measured times of networks.
#[derive(Clone, Debug)]
pub struct BenchResult {
    /// Number of images per batch of each network, which a file may fix.
    pub batches: Vec<usize>,
    /// Seconds per batch of each network.
    pub seconds: Vec<Quantiles>,
    /// Speedup of each network over the first, from pairs of adjacent runs.
    pub speedups: Vec<Quantiles>,
    /// Number of nodes of each host subgraph, whose time is not included.
    pub host_nodes: Vec<usize>,
    /// Number of counted rounds.
    pub rounds: usize,
}

/// Uncounted rounds before the measurement.
const WARM_UP: usize = 3;
/// The least number of counted rounds.
const LEAST: usize = 5;

/// Returns constant inputs, because only their sizes affect the time; zero is a valid index.
fn constant_inputs(session: &Session) -> Vec<Vec<f32>> {
    let value = |port: &Port| if port.dtype.is_float() { 0.5 } else { 0.0 };
    session.plan.inputs.iter().map(|port| vec![value(port); port.shape.iter().product()]).collect()
}

/// Options of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Number of images per batch.
    pub batch: usize,
    /// Approximate duration of all counted runs, in seconds.
    pub seconds: f64,
    /// True to include the transfers of inputs and outputs.
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

/// Converts seconds to whole tenths, the unit of [`Stage::Timing`].
fn tenths(seconds: f64) -> usize {
    (10.0 * seconds) as usize
}

/// Times networks in turn, round by round, without a check of their outputs.
///
/// [`verified::verified`] checks the outputs first. The stage is [`Stage::Timing`].
///
/// # Errors
/// A network that does not run on the device, or an observer that ends the operation.
pub fn bench(
    graphs: &[&Graph],
    device: &Device,
    options: BenchOptions,
    observer: &mut dyn Observer,
) -> Result<BenchResult> {
    staged(observer, Stage::Timing, tenths(options.seconds), |observer| {
        timed(graphs, device, options, observer)
    })
}

fn timed(
    graphs: &[&Graph],
    device: &Device,
    options: BenchOptions,
    observer: &mut dyn Observer,
) -> Result<BenchResult> {
    let BenchOptions { batch, seconds, .. } = options;
    let mut sessions =
        graphs.iter().map(|g| Session::plain(g, device, Some(batch))).collect::<Result<Vec<_>>>()?;
    let inputs: Vec<Vec<Vec<f32>>> = sessions.iter().map(constant_inputs).collect();
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    let mut spent = 0.0;
    let mut done = 0;
    while done < WARM_UP + LEAST || spent < seconds {
        let mut round = Vec::new();
        for (session, inputs) in sessions.iter_mut().zip(&inputs) {
            round.push(options.run(session, inputs)?);
        }
        done += 1;
        if done > WARM_UP {
            spent += round.iter().sum::<f64>();
            advance(observer, tenths(spent.min(seconds)))?;
            rounds.push(round);
        }
    }
    let column = |f: &dyn Fn(&Vec<f64>) -> f64| Quantiles::of(&rounds.iter().map(f).collect::<Vec<_>>());
    Ok(BenchResult {
        batches: sessions.iter().map(|session| session.batch).collect(),
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
