//! A cut network gets its answers back: on real devices, held against what the original gives.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use secateur::data::{Batch, synthetic};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::onnx::Model;
use secateur::prune::{Channels, rewrite};
use secateur::repair::{Images, Repair, repair};

#[path = "common/adapters.rs"]
mod adapters;

/// The demo's network.
fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.onnx");
    Model::load(&path).unwrap()
}

/// Images of the demo's generator, as its network takes them.
fn images(seed: u64, count: usize) -> Images {
    let (bytes, _) = synthetic::images(seed, count);
    let data = bytes.iter().map(|&b| (f32::from(b) / 255.0 - 0.5) / 0.25).collect();
    Images { data: Arc::new(data), shape: vec![3, 32, 32], count }
}

fn answers(model: &Model, device: &Device, images: &Images) -> Vec<f32> {
    let graph = Graph::of(model).unwrap();
    Session::plain(&graph, device, None).unwrap().predict(&images.data).unwrap()
}

/// Σ (a − b)² over Σ b².
fn error(got: &[f32], wanted: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let off: f64 = got.iter().zip(wanted).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    off / wanted.iter().map(|&b| square(f64::from(b))).sum::<f64>()
}

/// Every third knot that may go.
fn some(channels: &Channels) -> BTreeSet<usize> {
    channels.knots.iter().filter(|k| k.block.is_none()).map(|k| k.id).step_by(3).collect()
}

/// The error of the smaller network after each repair, on images that did not calibrate. The smaller network is proved
/// to be the repaired one.
fn errors(device: &Device) -> Vec<f64> {
    let model = model();
    let graph = Graph::of(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let removed = some(&channels);
    let (calibration, test) = (images(5, 200), images(6, 100));
    let wanted = answers(&model, device, &test);
    [Repair::None, Repair::Bias, Repair::Bn, Repair::Full]
        .into_iter()
        .map(|how| {
            let repaired =
                repair(&graph, &channels, &removed, how, (device, &calibration), &mut |_, _| ()).unwrap();
            assert!(repaired.skipped.is_empty(), "{:?}", repaired.skipped);
            let mended = repaired.apply(&model).unwrap();
            let again = Graph::of(&mended).unwrap();
            let pruned = rewrite(&mended, &again, &Channels::of(&again).unwrap(), &removed).unwrap();
            let data = test.data[..4 * 3 * 32 * 32].to_vec();
            let some = Batch { next: 4, count: 4, shape: vec![4, 3, 32, 32], data, labels: None };
            pruned.prove(device, Some(&some)).unwrap();
            error(&answers(&pruned.model, device, &test), &wanted)
        })
        .collect()
}

#[test]
fn every_repair_brings_answers_nearer_to_the_original() {
    let on_cpu = errors(&Device::Cpu);
    println!("none, bias, bn, full: {on_cpu:?}");
    assert!(on_cpu[1] < on_cpu[0] && on_cpu[2] < on_cpu[0], "{on_cpu:?}");
    assert!(on_cpu[3] < 0.5 * on_cpu[1].min(on_cpu[2]), "{on_cpu:?}");
    for device in adapters::gpus("repairs") {
        for (gpu, cpu) in errors(&device).iter().zip(&on_cpu) {
            assert!((gpu - cpu).abs() < 0.02 * cpu + 1e-3, "{gpu} on the device, {cpu} on the CPU");
        }
    }
}

#[test]
fn what_is_not_cut_is_not_touched() {
    let model = model();
    let graph = Graph::of(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let none = repair(
        &graph,
        &channels,
        &BTreeSet::new(),
        Repair::Full,
        (&Device::Cpu, &images(5, 8)),
        &mut |_, _| (),
    );
    assert!(none.unwrap().is_empty());
}

#[test]
fn a_channel_that_is_twice_there_is_made_up_for_wholly() {
    // Two filters alike: without one, the layers behind it give what they gave.
    let mut model = model();
    let graph = Graph::of(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let layer = channels.dyer.producers.iter().find(|p| {
        let labels: Vec<_> = p.labels.iter().map(|&l| channels.dyer.ties.find(l)).collect();
        channels.knots.iter().any(|k| k.members == [(p.node, 0)] && k.block.is_none() && labels[0] == k.root)
    });
    let (node, weight) = layer.map(|l| (l.node, l.weight.0)).unwrap();
    let name = graph.name(weight).to_owned();
    for tensor in &mut model.proto.graph.as_mut().unwrap().initializer {
        // The layer's own constants, and those of the normalization behind it.
        let behind = graph.readers(graph.nodes[node].outputs[0].unwrap());
        let mut nodes = behind.into_iter().chain([node]).map(|n| &graph.nodes[n]);
        let own = nodes.any(|n| n.inputs.iter().flatten().any(|&v| graph.name(v) == tensor.name()));
        let n = tensor.dims.first().copied().unwrap_or(1) as usize;
        if own && (tensor.name() == name || tensor.dims.len() == 1) && n > 1 {
            let raw = tensor.raw_data.as_ref().unwrap().to_vec();
            let one = raw.len() / n;
            let mut twice = raw.clone();
            twice.copy_within(one..2 * one, 0);
            tensor.raw_data = Some(twice.into());
        }
    }
    let graph = Graph::of(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let knot = channels.knots.iter().find(|k| k.members == [(node, 0)]).unwrap().id;
    let removed = BTreeSet::from([knot]);
    let (calibration, test) = (images(7, 100), images(8, 20));
    let repaired =
        repair(&graph, &channels, &removed, Repair::Full, (&Device::Cpu, &calibration), &mut |_, _| ())
            .unwrap();
    let mended = repaired.apply(&model).unwrap();
    let again = Graph::of(&mended).unwrap();
    let small = rewrite(&mended, &again, &Channels::of(&again).unwrap(), &removed).unwrap().model;
    let off = error(&answers(&small, &Device::Cpu, &test), &answers(&model, &Device::Cpu, &test));
    assert!(off < 1e-4, "{off}");
}
