//! Repair restores the outputs of a cut network: on real devices, compared with the original.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use secateur::ErrorKind;
use secateur::data::{Batch, DataOptions, Dataset, synthetic};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::observer::{Observer, Silent};
use secateur::onnx::Model;
use secateur::prune::{Channels, ScoreNormalization, Scoring, rewrite, scores};
use secateur::repair::{Images, Repair, probe, repair};
use secateur::stats::{GatherOptions, GramKind, Profile, gather};
use secateur::tensor::SampleShape;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;

/// The demo's network.
fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.onnx");
    Model::load(&path).unwrap()
}

/// Images of the demo's generator, as its network takes them.
fn images(seed: u64, count: usize) -> Images {
    let (bytes, _) = synthetic::images(seed, count);
    let data = bytes.iter().map(|&b| (f32::from(b) / 255.0 - 0.5) / 0.25).collect();
    Images { data: Arc::new(data), sample: SampleShape::of_one(&[3, 32, 32]), count }
}

fn outputs(model: &Model, device: &Device, images: &Images) -> Vec<f32> {
    let graph = Graph::from_model(model).unwrap();
    Session::plain(&graph, device, None).unwrap().predict(&images.data).unwrap()
}

/// Σ (a − b)² over Σ b².
fn error(got: &[f32], wanted: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let off: f64 = got.iter().zip(wanted).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    off / wanted.iter().map(|&b| square(f64::from(b))).sum::<f64>()
}

/// Every third set of coupled channels that is not blocked.
fn some(channels: &Channels) -> BTreeSet<usize> {
    channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id).step_by(3).collect()
}

/// Returns the error of the pruned network after each repair, on images that are not calibration images.
///
/// The pruned network is proved to equal the repaired one.
fn errors(device: &Device) -> Vec<f64> {
    let model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let removed = some(&channels);
    let (calibration, test) = (images(5, 200), images(6, 100));
    let wanted = outputs(&model, device, &test);
    [Repair::None, Repair::Bias, Repair::Bn, Repair::Full]
        .into_iter()
        .map(|how| {
            let repaired =
                repair(&graph, &channels, &removed, how, (device, &calibration), &mut Silent).unwrap();
            assert!(repaired.skipped.is_empty(), "{:?}", repaired.skipped);
            let repaired_model = repaired.apply(&model).unwrap();
            let again = Graph::from_model(&repaired_model).unwrap();
            let pruned = rewrite(&repaired_model, &again, &Channels::of(&again).unwrap(), &removed).unwrap();
            let data = test.data[..4 * 3 * 32 * 32].to_vec();
            let some = Batch {
                next: 4,
                count: 4,
                sample: SampleShape::of_one(&[3, 32, 32]),
                data,
                labels: None,
                places: vec![0, 1, 2, 3],
            };
            pruned.prove(device, Some(&some)).unwrap();
            error(&outputs(&pruned.model, device, &test), &wanted)
        })
        .collect()
}

#[test]
fn every_repair_brings_outputs_nearer_to_the_original() {
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
fn a_network_without_a_cut_is_not_repaired() {
    let model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let none =
        repair(&graph, &channels, &BTreeSet::new(), Repair::Full, (&Device::Cpu, &images(5, 8)), &mut Silent);
    assert!(none.unwrap().is_empty());
}

#[test]
fn a_duplicate_channel_is_compensated_exactly() {
    // With two equal filters, the layers behind them can compensate the removal of one.
    let mut model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let layer = channels.coupling.producers.iter().find(|p| {
        let labels: Vec<_> = p.labels.iter().map(|&l| channels.coupling.classes.find(l)).collect();
        channels
            .coupled
            .iter()
            .any(|k| k.members == [(p.node, 0)] && k.block.is_none() && labels[0] == k.root)
    });
    let (node, weight) = layer.map(|l| (l.node, l.weight.0)).unwrap();
    let name = graph.name(weight).to_owned();
    for tensor in &mut model.proto.graph.as_mut().unwrap().initializer {
        // The constants of the layer and of the normalization behind it.
        let behind = graph.consumers(graph.nodes[node].outputs[0].unwrap());
        let mut nodes = behind.into_iter().chain([node]).map(|n| &graph.nodes[n]);
        let own = nodes.any(|n| n.inputs.iter().flatten().any(|&v| graph.name(v) == tensor.name()));
        let n = tensor.dims.first().copied().unwrap_or(1) as usize;
        if own && (tensor.name() == name || tensor.dims.len() == 1) && n > 1 {
            let raw = tensor.raw_data.as_ref().unwrap().to_vec();
            let one = raw.len() / n;
            let mut duplicated = raw.clone();
            duplicated.copy_within(one..2 * one, 0);
            tensor.raw_data = Some(duplicated.into());
        }
    }
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let set = channels.coupled.iter().find(|k| k.members == [(node, 0)]).unwrap().id;
    let removed = BTreeSet::from([set]);
    let (calibration, test) = (images(7, 100), images(8, 20));
    let repaired =
        repair(&graph, &channels, &removed, Repair::Full, (&Device::Cpu, &calibration), &mut Silent).unwrap();
    let repaired_model = repaired.apply(&model).unwrap();
    let again = Graph::from_model(&repaired_model).unwrap();
    let small = rewrite(&repaired_model, &again, &Channels::of(&again).unwrap(), &removed).unwrap().model;
    let off = error(&outputs(&small, &Device::Cpu, &test), &outputs(&model, &Device::Cpu, &test));
    assert!(off < 1e-4, "{off}");
}

#[test]
fn a_removed_channel_leaves_its_weights_and_its_mean_to_an_equal_one() {
    // The input of a transposed convolution is reconstructed. The last channel is the first plus 1; its weights are
    // equal for all taps, so that a bias can compensate the 1.
    let mut net = builder::Builder::new(3, 8);
    let x = net.input();
    let few = net.conv(&x, 4, 3, 1, 1);
    let large = net.up(&few, 2, 1);
    let (bytes, _) = net.finish(&[large], false);
    let mut model = Model::from_bytes(bytes, Path::new("stand-in.onnx")).unwrap();
    let graph = Graph::from_model(&model).unwrap();
    let of = |op: &str| {
        let node = graph.nodes.iter().find(|n| n.op_type == op).unwrap();
        [1, 2].map(|i| graph.name(node.inputs[i].unwrap()).to_owned())
    };
    let ([weight, bias], [consumer, _]) = (of("Conv"), of("ConvTranspose"));
    for tensor in &mut model.proto.graph.as_mut().unwrap().initializer {
        let raw = tensor.raw_data.as_ref().unwrap();
        let mut values: Vec<f32> =
            raw.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let one = values.len() / 4;
        if tensor.name() == weight {
            values.copy_within(..one, 3 * one);
        } else if tensor.name() == bias {
            values[3] = values[0] + 1.0;
        } else if tensor.name() == consumer {
            // Two filters of two by two taps.
            for filter in 0..2 {
                let first = 3 * one + 4 * filter;
                values.copy_within(first..=first, first + 1);
                values.copy_within(first..first + 2, first + 2);
            }
        } else {
            continue;
        }
        tensor.raw_data = Some(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into());
    }
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let conv = graph.nodes.position(|n| n.op_type == "Conv").unwrap();
    let set = channels.coupled.iter().find(|k| k.members == [(conv, 3)]).unwrap().id;
    let hash = |i: usize| ((i * 2_654_435_761) >> 7) % 2048;
    let data = (0..64 * 3 * 64).map(|i| hash(i) as f32 / 1024.0 - 1.0).collect();
    let calibration = Images { data: Arc::new(data), sample: SampleShape::of_one(&[3, 8, 8]), count: 64 };
    let removed = BTreeSet::from([set]);
    let with = (&Device::Cpu, &calibration);
    let repaired = repair(&graph, &channels, &removed, Repair::Full, with, &mut Silent).unwrap();
    let again = Graph::from_model(&repaired.apply(&model).unwrap()).unwrap();
    let read = |graph: &Graph, input: usize| {
        let node = graph.nodes.iter().find(|n| n.op_type == "ConvTranspose").unwrap();
        graph.values[node.inputs[input].unwrap()].constant.as_ref().unwrap().to_f64()
    };
    let ([weights, bias], [new_weights, new_bias]) =
        ([1, 2].map(|i| read(&graph, i)), [1, 2].map(|i| read(&again, i)));
    for filter in 0..2 {
        // Channels × filters × four taps. The ridge shrinks the weights slightly.
        let last = weights[3 * 8 + filter * 4];
        let near = |got: f64, wanted: f64| (got - wanted).abs() < 0.05 * last.abs();
        assert!(near(new_bias[filter], bias[filter] + last), "{bias:?} {new_bias:?} {last}");
        let first = filter * 4;
        assert!(near(new_weights[first], weights[first] + last), "{weights:?} {new_weights:?} {last}");
    }
}

#[test]
fn scores_from_the_curves_of_a_probe_are_those_from_new_ones() {
    let graph = Graph::from_model(&model()).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let (bytes, _) = synthetic::images(9, 40);
    let options = DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), ..DataOptions::default() };
    let shape = [None, Some(3), Some(32), Some(32)];
    let data = Dataset::from_bytes(bytes, &[40, 3, 32, 32], None, &options, &shape).unwrap();
    let gathered = GatherOptions { gram: GramKind::Patch, ..GatherOptions::of(&data).unwrap() };
    let mut profile = gather(&graph, &Device::Cpu, &data, &gathered).unwrap();
    let few = images(5, 8);
    let with = |protected: &BTreeSet<usize>, profile: &Profile, observer: &mut dyn Observer| {
        probe(&graph, &channels, profile, protected, (&Device::Cpu, &few), observer).unwrap()
    };
    let first = with(&BTreeSet::new(), &profile, &mut Breaks);
    assert!(!first.complete && first.sensitivity.len() == 1, "{first:?}");
    profile.header.sensitivity = first.sensitivity;
    // Groups with a protected channel have another key: their curves are not used.
    let protected = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id).take(1).collect();
    for protected in [BTreeSet::new(), protected] {
        let probed = with(&protected, &profile, &mut Silent);
        assert!(probed.complete && !probed.curves.is_empty(), "{probed:?}");
        let profile = &mut profile.clone();
        profile.header.sensitivity = probed.sensitivity;
        let criterion = "reconstruction".parse().unwrap();
        let scored = |curves| {
            let normalize = ScoreNormalization::Macs;
            let scoring = Scoring { criterion: &criterion, normalize, seed: 0, curves };
            scores(&graph, &channels, profile, &scoring, &protected).unwrap()
        };
        assert_eq!(scored(Some(&probed.curves)), scored(None));
    }
}

/// An observer that ends every operation at once.
struct Breaks;

impl Observer for Breaks {
    fn advance(&mut self, _done: u64) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

#[test]
fn an_observer_that_breaks_interrupts_a_repair() {
    let graph = Graph::from_model(&model()).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let with = (&Device::Cpu, &images(5, 8));
    let error = repair(&graph, &channels, &some(&channels), Repair::Bias, with, &mut Breaks).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}
