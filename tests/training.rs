//! Gradients of whole networks against central differences, and trainings of small networks.
//!
//! SECATEUR_GRADIENTS sets the number of random networks (200 by default).

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::exec::reference::run_reference;
use secateur::graph::Graph;
use secateur::graph::facts::takes_batches;
use secateur::onnx::Model;
use secateur::plan::Plan;
use secateur::train::GradientPlan;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;
#[path = "training/course.rs"]
mod course;
#[path = "inputs/setup.rs"]
#[allow(dead_code)] // trainings need no statistics
mod files;
#[path = "training/gates.rs"]
mod gates;
#[path = "training/kinds.rs"]
mod kinds;
#[path = "training/networks.rs"]
mod networks;
#[path = "training/rounds.rs"]
mod rounds;
#[path = "training/runs.rs"]
mod runs;
#[path = "training/setup.rs"]
mod setup;

#[path = "training/statistics.rs"]
mod statistics;

use builder::random;

/// Numbers for the inputs of a plan: between −1 and 1, or indices below 5.
fn inputs(plan: &Plan) -> Vec<Vec<f64>> {
    let number = |i: usize, float: bool| {
        if float { (i * 7919 % 1009) as f64 / 504.5 - 1.0 } else { (i % 5) as f64 }
    };
    let of = |port: &secateur::plan::Port| {
        (0..port.shape.iter().product()).map(|i| number(i, port.dtype.is_float())).collect()
    };
    plan.inputs.iter().map(of).collect()
}

fn run(plan: &Plan, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    run_reference(plan, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>(), None).unwrap()
}

/// Moves all parameters along a direction by a multiple of the step, exactly in `f32`.
fn moved(plan: &Plan, direction: &[Vec<f64>], factor: f64) -> Plan {
    let mut plan = plan.clone();
    for (state, direction) in plan.states.iter_mut().zip(direction) {
        let values = state.initial.iter().zip(direction).map(|(&x, d)| (f64::from(x) + factor * d) as f32);
        state.initial = Arc::new(values.collect());
    }
    plan
}

/// Compares the gradients of a network with central differences along random directions.
///
/// Parameters are rounded to multiples of 2⁻¹⁴, and steps are multiples of 2⁻²⁰, so that `f32` holds all of them.
fn check(bytes: &[u8]) -> Result<(usize, usize), String> {
    let model = Model::from_bytes(bytes.to_vec(), Path::new("built.onnx")).unwrap();
    let graph = Graph::from_model(&model).unwrap();
    let batch = takes_batches(&graph).then_some(2);
    let gradients = match GradientPlan::new(&graph, batch) {
        Ok(gradients) => gradients,
        Err(error) => return Err(error.to_string()),
    };
    if !gradients.stops.is_empty() {
        // Differences see the paths that gradients do not pass.
        return Ok((gradients.parameters.len(), gradients.stops.len()));
    }
    let mut plan = gradients.plan;
    for state in &mut plan.states {
        let round = |x: &f32| (x.clamp(-2.0, 2.0) * 16384.0).round() / 16384.0;
        state.initial = Arc::new(state.initial.iter().map(round).collect());
    }
    let inputs = inputs(&plan);
    let analytic = run(&plan, &inputs);
    let step = 2f64.powi(-20);
    for (index, parameter) in gradients.parameters.iter().enumerate() {
        let direction: Vec<Vec<f64>> = plan
            .states
            .iter()
            .enumerate()
            .map(|(state, s)| {
                let sign = |i: usize| if (i * 2_654_435_761) >> 7 & 1 == 0 { step } else { -step };
                (0..s.initial.len()).map(|i| if state == index { sign(i) } else { 0.0 }).collect()
            })
            .collect();
        let at = |factor: f64| run(&moved(&plan, &direction, factor), &inputs)[0][0];
        let expected = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / 12.0;
        let products = analytic[index + 1].iter().zip(&direction[index]).map(|(g, d)| g * d);
        let (got, scale) = (products.clone().sum::<f64>(), products.map(f64::abs).sum::<f64>());
        // A sum of many products cancels: rounding errors are relative to the products.
        let tolerance =
            Tolerance { absolute: 1e-13 * analytic[0][0].abs() + 1e-6 * scale, ..Tolerance::DIFFERENCES };
        let verdict = compare(&[got], &[expected], tolerance);
        if !verdict.passed() {
            let nodes: Vec<&str> = graph.nodes.iter().map(|node| node.op_type.as_str()).collect();
            return Err(format!("{} {:?} of {nodes:?}: {verdict}", parameter.name, parameter.initial.shape));
        }
    }
    Ok((gradients.parameters.len(), gradients.stops.len()))
}

#[test]
fn gradients_of_random_networks_are_derivatives() {
    let cases = std::env::var("SECATEUR_GRADIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let counts = RefCell::new([0; 3]);
    let moves = proptest::collection::vec(any::<(u8, u8, u8)>(), 1..6);
    let outcome = runner.run(&(any::<u64>(), moves, any::<bool>()), |(seed, moves, flatten)| {
        let (bytes, _) = random(seed, &moves, flatten);
        let (trained, stopped) = check(&bytes).map_err(TestCaseError::fail)?;
        let mut counts = counts.borrow_mut();
        counts.iter_mut().zip([1, trained, usize::from(stopped > 0)]).for_each(|(sum, n)| *sum += n);
        Ok(())
    });
    outcome.unwrap();
    let [networks, parameters, stops] = counts.into_inner();
    println!("{networks} networks, {parameters} parameters; {stops} networks with nodes that stop gradients");
    assert!(parameters > 4 * networks, "most layers are trained");
    assert!(stops * 4 < networks, "few operators stop gradients");
}

#[test]
fn devices_agree_on_gradients_with_the_reference() {
    let mut devices = vec![Device::Cpu];
    devices.extend(adapters::gpus("gradients of networks"));
    for seed in 0..12 {
        let moves: Vec<(u8, u8, u8)> =
            (0..4).map(|i| ((seed * 37 + i * 61) as u8, (seed * 11 + i) as u8, (i * 97) as u8)).collect();
        let (bytes, _) = random(seed * 0x9e37_79b9_7f4a_7c15, &moves, seed % 2 == 0);
        let model = Model::from_bytes(bytes, Path::new("built.onnx")).unwrap();
        let graph = Graph::from_model(&model).unwrap();
        let plan = GradientPlan::new(&graph, takes_batches(&graph).then_some(3)).unwrap().plan;
        let wide = inputs(&plan);
        let expected = run(&plan, &wide);
        let narrow: Vec<Vec<f32>> =
            wide.iter().map(|input| input.iter().map(|&x| x as f32).collect()).collect();
        for device in &devices {
            let mut executor = device.load_poisoned(&plan).unwrap();
            let got = executor.run(&narrow.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
            for ((port, got), expected) in plan.outputs.iter().zip(&got).zip(&expected) {
                let tolerance = Tolerance { relative: 1e-3, ..Tolerance::NETWORK };
                let verdict = compare(got, expected, tolerance);
                assert!(verdict.passed(), "seed {seed}, {}, {device:?}: {verdict}", port.name);
            }
        }
    }
}
