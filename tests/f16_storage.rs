//! Networks with f16 storage between layers: outputs are close to those with f32, bits do not depend on the batch, and
//! indices, sums, inputs and outputs stay f32.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::Path;

use secateur::compare::{Tolerance, compare};
use secateur::exec::check::{check, first_failing};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::onnx::Model;
use secateur::plan::Operand;
use secateur::tensor::Precision;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;

use builder::{Builder, int, random};

/// All adapters of this machine that support f16, set to it.
fn devices() -> Vec<Device> {
    let all = adapters::gpus("f16 storage");
    let supporting: Vec<Device> = all.iter().filter_map(|gpu| gpu.clone().at(Precision::F16).ok()).collect();
    if supporting.len() < all.len() {
        adapters::left_out(&format!(
            "f16 storage, on {} of {} adapters",
            all.len() - supporting.len(),
            all.len()
        ));
    }
    supporting
}

fn graph(bytes: Vec<u8>) -> Graph {
    Graph::from_model(&Model::from_bytes(bytes, Path::new("built.onnx")).unwrap()).unwrap()
}

fn noise(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()
}

fn outputs(graph: &Graph, device: &Device, x: &[f32], batch: usize) -> Vec<f32> {
    Session::plain(graph, device, Some(batch)).unwrap().predict(x).unwrap()
}

#[test]
fn the_cpu_refuses_f16_and_names_what_supports_it() {
    let error = Device::Cpu.at(Precision::F16).unwrap_err().to_string();
    assert!(error.contains("\"CPU\" computes with f32 only") && error.contains("shader_f16"), "{error}");
    assert_eq!(Device::Cpu.at(Precision::F32).unwrap().precision(), Precision::F32);
}

#[test]
fn a_network_with_f16_storage_has_nearly_the_same_outputs() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.onnx");
    let graph = Graph::from_model(&Model::load(&demo).unwrap()).unwrap();
    let x = noise(5 * 3 * 32 * 32);
    for device in devices() {
        let exact = device.clone().at(Precision::F32).unwrap();
        let session = Session::plain(&graph, &device, Some(5)).unwrap();
        let halves = session.plan.f16_storage.as_ref().unwrap();
        let ports = session.plan.inputs.iter().chain(&session.plan.outputs);
        assert!(
            ports.map(|port| port.place).all(|p| !matches!(p, Operand::Buffer(b) if halves.contains(&b)))
        );
        assert!(halves.len() >= 2, "{halves:?} of {:?}", session.plan.buffers);
        let whole = Session::plain(&graph, &exact, Some(5)).unwrap();
        assert!(whole.plan.f16_storage.is_none() && session.plan.bytes() < whole.plan.bytes());
        let (got, expected) = (outputs(&graph, &device, &x, 5), outputs(&graph, &exact, &x, 5));
        let verdict = compare(&got, &expected, Tolerance::F16_STORAGE);
        assert!(verdict.passed(), "{verdict}");
        assert!(verdict.max_rel_err > 1e-5, "too close for f16 storage: {verdict}");
        for batch in [1, 3] {
            assert_eq!(outputs(&graph, &device, &x, batch), got, "batch {batch} changes bits");
        }
    }
}

#[test]
fn every_step_of_random_networks_is_right_in_f16() {
    let mut steps = 0;
    for device in devices() {
        for seed in 0..12u8 {
            let moves: Vec<(u8, u8, u8)> = (0..6u8)
                .map(|i| (seed.wrapping_mul(31) ^ i.wrapping_mul(53), seed ^ i, seed.wrapping_mul(i)))
                .collect();
            let graph = graph(random(seed.into(), &moves, seed % 2 == 0).0);
            let session = Session::plain(&graph, &device, Some(2)).unwrap();
            let x = noise(2 * 3 * 8 * 8);
            let checks = check(&session.plan, &device, &[&x], &mut secateur::observer::Silent).unwrap().steps;
            assert_eq!(first_failing(&checks), None, "seed {seed}");
            steps += checks.len();
        }
    }
    assert!(steps > 100 || devices().is_empty(), "{steps}");
}

/// The largest element has the index 4799, which f16 rounds to 4800. Twice the index passes through steps that allow
/// f16 storage.
#[test]
fn an_index_is_never_f16() {
    let mut builder = Builder::new(1, 40);
    let x = builder.input();
    let flat = builder.node("Flatten", &[&x.name], vec![], &[4800]);
    let relu = builder.node("Relu", &[&flat.name], vec![], &[4800]);
    let at = builder.node("ArgMax", &[&relu.name], vec![int("axis", 1)], &[1]);
    let double = builder.node("Add", &[&at.name, &at.name], vec![], &[1]);
    let at = builder.node("Sub", &[&double.name, &at.name], vec![], &[1]);
    let found = builder.node("GatherElements", &[&relu.name, &at.name], vec![int("axis", 1)], &[1, 1, 1]);
    let graph = graph(builder.finish(&[found], true).0);
    let mut x = noise(4800);
    x[4799] = 3.0;
    let expected = outputs(&graph, &Device::Cpu, &x, 1);
    for device in devices() {
        assert_eq!(Session::plain(&graph, &device, Some(1)).unwrap().plan.f16_storage.unwrap().len(), 2);
        let verdict = compare(&outputs(&graph, &device, &x, 1), &expected, Tolerance::F16_STORAGE);
        assert!(verdict.passed(), "{verdict}");
    }
}
