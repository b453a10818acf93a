//! Histograms of values on the built-in network: equal to those of the values themselves on every device, for every
//! batch and shard.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::collections::BTreeMap;
use std::path::PathBuf;

use secateur::data::{DataOptions, Dataset, Shard, synthetic};
use secateur::exec::devices::Device;
use secateur::exec::session::{Session, SessionOptions};
use secateur::graph::{Graph, ValueId};
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::stats::{ValueHistogram, value_histograms};

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
