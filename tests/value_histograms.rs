//! Histograms of values on the built-in network: equal to those of the values themselves on every device, for every
//! batch and shard.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::collections::BTreeMap;
use std::path::PathBuf;

use secateur::data::{DataOptions, Dataset, Shard, synthetic};
use secateur::exec::devices::Device;
use secateur::exec::session::{Session, SessionOptions};
use secateur::graph::facts::Facts;
use secateur::graph::{Graph, ValueId};
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::stats::{
    Distances, GatherOptions, Gatherer, Header, Profile, ValueHistogram, gather, value_histograms,
    value_targets,
};

#[path = "common/adapters.rs"]
mod adapters;

use adapters::gpus;

const COUNT: usize = 150;

fn graph() -> Graph {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/demo.onnx");
    Graph::from_model(&Model::load(&file).unwrap()).unwrap()
}

fn images(shard: Option<Shard>) -> Dataset {
    let (bytes, labels) = synthetic::images(9, COUNT);
    let options =
        DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), shard, ..DataOptions::default() };
    let shape = [None, Some(3), Some(32), Some(32)];
    Dataset::from_bytes(bytes, &[COUNT, 3, 32, 32], Some(&labels), &options, &shape).unwrap()
}

/// The input of the network and the outputs of all nodes that compute.
fn watched(graph: &Graph) -> Vec<ValueId> {
    let computed = graph.nodes.iter().filter_map(|node| node.outputs[0]);
    std::iter::once(graph.inputs[0].value).chain(computed).collect()
}

fn counted(
    graph: &Graph,
    device: &Device,
    data: &Dataset,
    batch: usize,
) -> BTreeMap<ValueId, ValueHistogram> {
    value_histograms(graph, &watched(graph), device, data, Some(batch), &mut Silent).unwrap()
}

/// The histograms of the values that a device computes, counted one by one on the host.
fn expected(graph: &Graph, device: &Device, data: &Dataset) -> BTreeMap<ValueId, ValueHistogram> {
    let taps = watched(graph);
    let options =
        SessionOptions { batch: Some(5), taps: taps.clone(), outputs: false, ..SessionOptions::default() };
    let mut session = Session::new(graph, device, &options, &|_| vec![]).unwrap();
    let mut all: BTreeMap<ValueId, ValueHistogram> = BTreeMap::new();
    for batch in data.batches(5) {
        let mut add = |outputs: &[Vec<f32>], count: usize| {
            for (&value, output) in taps.iter().zip(outputs) {
                all.entry(value).or_default().add(&output[..output.len() / 5 * count]);
            }
            Ok(())
        };
        session.run_samples(&batch.unwrap().data, &mut add).unwrap();
    }
    all
}

fn devices() -> Vec<Device> {
    gpus("histograms of values").into_iter().chain([Device::Cpu]).collect()
}

#[test]
fn histograms_are_those_of_the_values_for_every_batch() {
    let (graph, data) = (graph(), images(None));
    for device in devices() {
        let expected = expected(&graph, &device, &data);
        let name = device.describe().name;
        for batch in [1, 7, 64] {
            let counted = counted(&graph, &device, &data, batch);
            assert_eq!(counted.len(), watched(&graph).len(), "{name}");
            for (value, histogram) in &counted {
                let tensor = graph.name(*value);
                assert_eq!(histogram.total() % COUNT as u64, 0, "{tensor} on {name}");
                assert!(histogram == &expected[value], "{tensor} on {name}, batch {batch}");
            }
        }
    }
}

#[test]
fn shards_merge_to_the_whole() {
    let graph = graph();
    let whole = counted(&graph, &Device::Cpu, &images(None), 16);
    let mut merged: BTreeMap<ValueId, ValueHistogram> = BTreeMap::new();
    for index in [3, 1, 2] {
        let shard = images(Some(Shard { index, count: 3 }));
        for (value, histogram) in counted(&graph, &Device::Cpu, &shard, 7) {
            merged.entry(value).or_default().merge(&histogram);
        }
    }
    assert!(merged == whole);
}

#[test]
fn constants_are_counted_once_and_no_tensor_needs_no_data() {
    let graph = graph();
    let weight = graph.nodes.iter().find(|node| node.op_type == "Conv").unwrap().inputs[1].unwrap();
    let counted =
        value_histograms(&graph, &[weight, weight], &Device::Cpu, &images(None), None, &mut Silent).unwrap();
    assert_eq!(counted.len(), 1);
    let histogram = &counted[&weight];
    assert!(histogram.total() > 0 && histogram.total() < 100_000, "{}", histogram.total());
    assert!(histogram.min() < Some(0.0) && histogram.max() > Some(0.0));
}

/// The profile with histograms of the tensors that integers may represent.
fn profile(graph: &Graph, device: &Device, data: &Dataset, batch: usize) -> Profile {
    gather(graph, device, data, &wants(graph, data, batch)).unwrap()
}

fn wants(graph: &Graph, data: &Dataset, batch: usize) -> GatherOptions {
    let histograms = value_targets(graph, &Facts::at_own_size(graph).unwrap());
    GatherOptions { batch: Some(batch), histograms, ..GatherOptions::of(data).unwrap() }
}

#[test]
fn the_statistics_pass_counts_equally() {
    let (graph, data) = (graph(), images(None));
    for device in devices() {
        let targets = value_targets(&graph, &Facts::at_own_size(&graph).unwrap());
        let plain = GatherOptions { histograms: vec![], ..wants(&graph, &data, 7) };
        let plain = gather(&graph, &device, &data, &plain).unwrap();
        for batch in [1, 7, 64] {
            let profile = profile(&graph, &device, &data, batch);
            let alone = value_histograms(&graph, &targets, &device, &data, Some(5), &mut Silent).unwrap();
            assert_eq!(profile.header.values.len(), targets.len());
            for ((name, histogram), value) in profile.header.values.iter().zip(&profile.values).zip(&targets)
            {
                assert_eq!(name, graph.name(*value));
                assert_eq!(histogram.total() % COUNT as u64, 0);
                assert!(histogram == &alone[value], "{name}, batch {batch}");
            }
            let without = Profile {
                header: Header { values: vec![], ..profile.header.clone() },
                values: vec![],
                ..profile
            };
            assert!(without == plain, "other statistics do not change, batch {batch}");
        }
    }
}

#[test]
fn histograms_survive_shards_files_and_interruptions() {
    let (graph, data) = (graph(), images(None));
    let whole = profile(&graph, &Device::Cpu, &data, 16);
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("a.profile");
    let shard = |index| profile(&graph, &Device::Cpu, &images(Some(Shard { index, count: 3 })), 7);
    let mut merged = shard(1);
    merged.merge(&shard(2)).unwrap();
    merged.merge(&shard(3)).unwrap();
    assert!(merged.values == whole.values);
    whole.save(&path).unwrap();
    assert!(Profile::load(&path).unwrap() == whole);
    let fresh = Profile::of_weights(&graph, Header::default(), Distances::Cheap).unwrap();
    let wants = wants(&graph, &data, 8);
    let mut first = Gatherer::new(&graph, &Device::Cpu, &wants, fresh).unwrap();
    data.batches(8).take(5).for_each(|batch| first.feed(&batch.unwrap()).unwrap());
    first.finish().unwrap().save(&path).unwrap();
    let half = Profile::load(&path).unwrap();
    assert!(half.values != whole.values);
    let mut second = Gatherer::new(&graph, &Device::Cpu, &wants, half.clone()).unwrap();
    data.batches_from(40, 8).for_each(|batch| second.feed(&batch.unwrap()).unwrap());
    assert!(second.finish().unwrap().values == whole.values);
    let without = GatherOptions { histograms: vec![], ..wants };
    let error = Gatherer::new(&graph, &Device::Cpu, &without, half.clone()).unwrap_err();
    assert!(error.to_string().contains("histograms of other tensors"), "{error}");
    let plain = gather(&graph, &Device::Cpu, &images(Some(Shard { index: 1, count: 3 })), &without).unwrap();
    assert!(shard(2).merge(&plain).unwrap_err().to_string().contains("their histograms"));
}

#[test]
fn activations_replace_the_values_before_them() {
    let graph = graph();
    let facts = Facts::at_own_size(&graph).unwrap();
    let targets = value_targets(&graph, &facts);
    assert!(targets.contains(&graph.inputs[0].value));
    for node in &graph.nodes {
        let only =
            graph.only_consumer(node.outputs[0].unwrap()).map(|next| graph.nodes[next].op_type.as_str());
        let fused = matches!(only, Some("Relu" | "BatchNormalization"));
        let moves = matches!(node.op_type.as_str(), "Flatten" | "MaxPool" | "Reshape");
        assert_eq!(targets.contains(&node.outputs[0].unwrap()), !fused && !moves, "{}", node.name);
    }
}
