//! Timing of networks whose outputs were checked first, because the time of a wrong result means nothing.

use super::{BenchOptions, BenchResult, bench};
use crate::compare::{Tolerance, compare};
use crate::data::metrics::Agreement;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::{Observer, Stage, advance, staged};
use crate::tensor::Precision;

/// The times of networks, and how close their outputs in `f16` are to `f32`.
#[derive(Clone, Debug)]
pub struct VerifiedResult {
    /// Measured times of the networks.
    pub times: BenchResult,
    /// Signal-to-noise ratio of each network's outputs in `f16`, in decibels; `None` in `f32`.
    pub snr_db: Vec<Option<f64>>,
}

/// Times networks in turn, after checking the outputs of each with [`verify_outputs`].
///
/// The stages are [`Stage::Verifying`] and [`Stage::Timing`].
///
/// # Errors
/// Wrong outputs, a network that does not run on the device, or an observer that ends the operation.
pub fn verified(
    graphs: &[&Graph],
    device: &Device,
    options: BenchOptions,
    observer: &mut dyn Observer,
) -> Result<VerifiedResult> {
    let snr_db = staged(observer, Stage::Verifying, graphs.len(), |observer| {
        let verify = |(at, graph): (usize, &&Graph)| {
            let snr_db = verify_outputs(graph, device)?;
            advance(observer, at + 1)?;
            Ok(snr_db)
        };
        graphs.iter().enumerate().map(verify).collect::<Result<_>>()
    })?;
    Ok(VerifiedResult { times: bench(graphs, device, options, observer)?, snr_db })
}

/// Compares a network's outputs for one test input in `f32` with those of the CPU interpreter.
///
/// For a device in `f16`, returns the signal-to-noise ratio of its outputs against `f32`, in decibels. For the CPU
/// interpreter there is nothing to check.
///
/// # Errors
/// Outputs beyond [`Tolerance::NETWORK`], outputs that overflow in `f16` only, or a network that does not run.
pub fn verify_outputs(graph: &Graph, device: &Device) -> Result<Option<f64>> {
    if matches!(device, Device::Cpu) {
        return Ok(None);
    }
    let single = outputs(graph, &device.clone().at(Precision::F32)?)?;
    for (got, expected) in single.iter().zip(&outputs(graph, &Device::Cpu)?) {
        let verdict = compare(got, expected, Tolerance::NETWORK);
        if !verdict.passed() {
            return Err(Error::new("the device computes wrong outputs: its times mean nothing")
                .with_kind(ErrorKind::Device)
                .file(&graph.path)
                .got(verdict.to_string())
                .remedy("find the wrong step with `check()`; update the driver, or set `device` to cpu"));
        }
    }
    if device.precision() == Precision::F32 {
        return Ok(None);
    }
    snr_db(&outputs(graph, device)?, &single).map(Some).map_err(|e| e.file(&graph.path))
}

/// Returns the signal-to-noise ratio of outputs in `f16` against `f32`, in decibels.
fn snr_db(half: &[Vec<f32>], single: &[Vec<f32>]) -> Result<f64> {
    let mut agreement = Agreement::default();
    for (got, expected) in half.iter().zip(single) {
        if got.iter().zip(expected).any(|(got, expected)| !got.is_finite() && expected.is_finite()) {
            return Err(Error::new("the network has numbers that f16 cannot hold: its times mean nothing")
                .expected("at most 65504")
                .remedy("leave out `precision`"));
        }
        agreement.add(expected, got, None);
    }
    Ok(agreement.snr_db())
}

/// Computes a network's outputs for one test input.
fn outputs(graph: &Graph, device: &Device) -> Result<Vec<Vec<f32>>> {
    let mut session = Session::plain(graph, device, Some(1))?;
    let inputs = session.synthetic_inputs(0);
    session.run_steps(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::observer::Silent;
    use crate::onnx::Model;

    #[test]
    fn outputs_in_half_precision_are_compared_with_single() {
        let single = [vec![1.0, -1.0], vec![2.0]];
        assert_eq!(snr_db(&single, &single).ok(), Some(f64::INFINITY));
        // Signal 6, noise 0.06.
        let near = [vec![1.1, -1.1], vec![2.2]];
        assert!((snr_db(&near, &single).expect("a ratio") - 20.0).abs() < 1e-5);
        let overflow = snr_db(&[vec![f32::INFINITY, -1.0], vec![2.0]], &single).expect_err("an overflow");
        assert!(overflow.message().contains("f16"), "{overflow}");
        let both = [vec![f32::INFINITY]];
        assert!(snr_db(&both, &both).is_ok(), "an overflow of the network itself is not one of f16");
    }

    #[test]
    fn the_interpreter_is_timed_without_a_check() {
        let model = Model::from_bytes(&include_bytes!("../../assets/demo.onnx")[..], Path::new("demo.onnx"));
        let graph = Graph::from_model(&model.expect("the demo network")).expect("a graph");
        let options = BenchOptions { batch: 1, seconds: 0.0, transfers: true };
        let result = verified(&[&graph, &graph], &Device::Cpu, options, &mut Silent).expect("times");
        assert_eq!((result.snr_db, result.times.rounds), (vec![None; 2], 5));
        assert!(result.times.seconds.iter().all(|s| s.median > 0.0));
    }
}
