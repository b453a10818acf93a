//! Networks that fold other axes into the first one, or whose layers share weights: statistics, moments and repairs
//! belong to the right samples and layers.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::sync::Arc;

use secateur::compare::{Tolerance, compare};
use secateur::data::Batch;
use secateur::exec::devices::Device;
use secateur::exec::session::{Session, SessionOptions};
use secateur::graph::facts::Facts;
use secateur::graph::{Graph, ValueId};
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::prune::{Channels, rewrite};
use secateur::repair::{Images, Repair, repair};
use secateur::stats::{
    Distances, GatherOptions, Gatherer, GramKind, GramMatrix, Header, LayerTaps, Profile, layers,
};
use secateur::tensor::SampleShape;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;

use builder::{Builder, Value, int, ints};

/// Side of the images.
const SIDE: usize = 8;

/// Reshapes to a whole shape, in which -1 stands for what the batch decides.
fn reshape(b: &mut Builder, x: &Value, whole: &[i64]) -> Value {
    let target = b.whole(whole);
    let shape: Vec<usize> = whole[1..].iter().map(|&d| d.max(1) as usize).collect();
    b.node("Reshape", &[&x.name, &target], vec![], &shape)
}

/// Transposes to a shape that is given without its first axis.
fn transpose(b: &mut Builder, x: &Value, perm: &[i64], shape: &[usize]) -> Value {
    b.node("Transpose", &[&x.name], vec![ints("perm", perm)], shape)
}

/// Multiplies the last axis by a matrix.
fn linear(b: &mut Builder, x: &Value, out: usize) -> Value {
    let (&from, rest) = x.shape.split_last().unwrap();
    let w = b.floats(&[from, out], 0.0, (3.0 / from as f32).sqrt());
    b.node("MatMul", &[&x.name, &w], vec![], &[rest, &[out]].concat())
}

fn conv_relu(b: &mut Builder, x: &Value, out: usize, kernel: usize) -> Value {
    let y = b.conv(x, out, kernel, 1, 1);
    b.unary("Relu", &y)
}

/// The halves of the channels lie on the first axis for a moment (ShuffleNetV2).
fn halves(b: &mut Builder, x: &Value) -> Value {
    let x = conv_relu(b, x, 16, 1);
    let x = reshape(b, &x, &[-1, 2, 64]);
    let x = transpose(b, &x, &[1, 0, 2], &[1, 64]);
    let x = reshape(b, &x, &[2, -1, 8, 8, 8]);
    let mut half = |at: i64| {
        let at = b.whole(&[at]);
        let half = b.node("Gather", &[&x.name, &at], vec![int("axis", 0)], &[1, 8, 8, 8]);
        reshape(b, &half, &[-1, 8, 8, 8])
    };
    let (left, right) = (half(0), half(1));
    let right = conv_relu(b, &right, 8, 3);
    b.node("Concat", &[&left.name, &right.name], vec![int("axis", 1)], &[16, 8, 8])
}

/// Windows of attention, whose rows are multiplied (Swin).
fn windows(b: &mut Builder, x: &Value) -> Value {
    let x = conv_relu(b, x, 8, 1);
    let x = reshape(b, &x, &[-1, 8, 2, 4, 2, 4]);
    let x = transpose(b, &x, &[0, 2, 4, 3, 5, 1], &[2, 2, 4, 4, 8]);
    let x = reshape(b, &x, &[-1, 4, 4, 8]);
    let x = linear(b, &x, 16);
    let x = b.unary("Relu", &x);
    let x = linear(b, &x, 8);
    let x = reshape(b, &x, &[-1, 2, 2, 4, 4, 8]);
    let x = transpose(b, &x, &[0, 5, 1, 3, 2, 4], &[8, 2, 4, 2, 4]);
    reshape(b, &x, &[-1, 8, 8, 8])
}

/// Overlapping windows that are convolved as images, one after the other.
fn overlapping_windows(b: &mut Builder, x: &Value) -> Value {
    let x = conv_relu(b, x, 8, 1);
    let mut parts = vec![];
    for start in [0, 2, 4] {
        let [from, to, axis] = [start, start + 4, 2].map(|v| b.whole(&[v]));
        let part = b.node("Slice", &[&x.name, &from, &to, &axis], vec![], &[8, 4, 8]);
        parts.push(reshape(b, &part, &[-1, 1, 8, 4, 8]).name);
    }
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    let x = b.node("Concat", &names, vec![int("axis", 1)], &[3, 8, 4, 8]);
    let mut x = reshape(b, &x, &[-1, 8, 4, 8]);
    x.shape = vec![8, 4, 4];
    let y = conv_relu(b, &x, 12, 3);
    let y = b.conv(&y, 8, 3, 1, 1);
    let y = reshape(b, &y, &[-1, 3, 8, 4, 8]);
    let axes = b.whole(&[1]);
    b.node("ReduceMax", &[&y.name, &axes], vec![int("keepdims", 0)], &[8, 4, 8])
}

/// A dilated convolution as TensorFlow exports it: the phases are the slower part of the first axis.
fn phases(b: &mut Builder, x: &Value) -> Value {
    let x = conv_relu(b, x, 8, 1);
    let x = reshape(b, &x, &[-1, 8, 4, 2, 4, 2]);
    let x = transpose(b, &x, &[3, 5, 0, 1, 2, 4], &[2, 1, 8, 4, 4]);
    let x = reshape(b, &x, &[-1, 8, 4, 4]);
    let x = conv_relu(b, &x, 12, 3);
    let x = b.conv(&x, 8, 1, 1, 1);
    let x = reshape(b, &x, &[2, 2, -1, 8, 4, 4]);
    let x = transpose(b, &x, &[2, 3, 4, 0, 5, 1], &[8, 4, 2, 4, 2]);
    reshape(b, &x, &[-1, 8, 8, 8])
}

/// Frames of a clip, whose features are averaged.
fn frames(b: &mut Builder, x: &Value) -> Value {
    let x = reshape(b, x, &[-1, 1, 8, 8]);
    let x = conv_relu(b, &x, 8, 3);
    let x = conv_relu(b, &x, 12, 3);
    let x = b.node("GlobalAveragePool", &[&x.name], vec![], &[12, 1, 1]);
    let x = reshape(b, &x, &[-1, 12]);
    let x = linear(b, &x, 10);
    let x = b.unary("Relu", &x);
    let x = reshape(b, &x, &[-1, 3, 10]);
    let axes = b.whole(&[1]);
    let x = b.node("ReduceMean", &[&x.name, &axes], vec![int("keepdims", 0)], &[10]);
    reshape(b, &x, &[-1, 10, 1, 1])
}

/// The time comes first (sequences), as matrices or as one matrix of all steps.
fn sequence(b: &mut Builder, x: &Value, flat: bool) -> Value {
    let x = conv_relu(b, x, 8, 1);
    let x = reshape(b, &x, &[-1, 8, 64]);
    let mut x = transpose(b, &x, &[2, 0, 1], &[1, 8]);
    if flat {
        x = reshape(b, &x, &[-1, 8]);
    }
    let x = linear(b, &x, 16);
    let x = b.unary("Relu", &x);
    let mut x = linear(b, &x, 8);
    if flat {
        x = reshape(b, &x, &[64, -1, 8]);
    }
    let x = transpose(b, &x, &[1, 2, 0], &[8, 64]);
    reshape(b, &x, &[-1, 8, 8, 8])
}

/// All images are one, with a group for each channel: one image at a time.
fn images_as_channels(b: &mut Builder, x: &Value) -> Value {
    let x = conv_relu(b, x, 8, 1);
    let x = reshape(b, &x, &[1, -1, 8, 8]);
    let y = b.conv(&Value { shape: vec![8, 8, 8], ..x }, 8, 3, 1, 8);
    let y = reshape(b, &y, &[-1, 8, 8, 8]);
    conv_relu(b, &y, 8, 1)
}

/// A matrix that two layers share, one behind the other.
fn shared_matrix(b: &mut Builder, x: &Value) -> Value {
    let x = conv_relu(b, x, 8, 1);
    let x = reshape(b, &x, &[-1, 8, 64]);
    let mut x = transpose(b, &x, &[0, 2, 1], &[64, 8]);
    let w = b.floats(&[8, 8], 0.0, 0.6);
    for _ in 0..2 {
        let y = b.node("MatMul", &[&x.name, &w], vec![], &x.shape);
        x = b.unary("Relu", &y);
    }
    let x = transpose(b, &x, &[0, 2, 1], &[8, 64]);
    reshape(b, &x, &[-1, 8, 8, 8])
}

/// A convolution of maps of two sizes, as in a detector's head.
fn shared_convolution(b: &mut Builder, x: &Value) -> Value {
    let x = conv_relu(b, x, 8, 1);
    let small = b.conv(&x, 8, 3, 2, 1);
    let small = b.unary("Relu", &small);
    let w = b.floats(&[6, 8, 3, 3], 0.0, 0.2);
    let mut pooled = |x: &Value| {
        let y = b.node("Conv", &[&x.name, &w], vec![ints("pads", &[1; 4])], &[6, x.shape[1], x.shape[2]]);
        b.node("GlobalAveragePool", &[&y.name], vec![], &[6, 1, 1])
    };
    let (large, small) = (pooled(&x), pooled(&small));
    b.node("Concat", &[&large.name, &small.name], vec![int("axis", 1)], &[12, 1, 1])
}

/// A part of a network, from the input to an image.
type Part = fn(&mut Builder, &Value) -> Value;

fn built((name, part): (&'static str, Part)) -> (&'static str, Vec<u8>) {
    let mut b = Builder::new(7, SIDE);
    let x = b.input();
    let y = part(&mut b, &x);
    (name, b.finish(&[y], false).0)
}

/// Networks whose layers share weights.
fn shared() -> Vec<(&'static str, Vec<u8>)> {
    let parts: [(&str, Part); 2] =
        [("shared matrix", shared_matrix), ("shared convolution", shared_convolution)];
    parts.into_iter().map(built).collect()
}

fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let parts: [(&str, Part); 8] = [
        ("halves", halves),
        ("windows", windows),
        ("overlapping windows", overlapping_windows),
        ("phases", phases),
        ("frames", frames),
        ("sequence", |b, x| sequence(b, x, false)),
        ("flat sequence", |b, x| sequence(b, x, true)),
        ("images as channels", images_as_channels),
    ];
    parts.into_iter().map(built).collect()
}

/// Images whose mean depends on their number, so that a sample in the wrong place is noticed.
fn images(count: usize) -> Batch {
    let sample = SampleShape::of_one(&[3, SIDE, SIDE]);
    let len = sample.elements();
    let pixel = |i: usize| {
        let (image, at) = (i / len, i % len);
        (at * 7919 % 1009) as f32 / 1009.0 * (1.0 + 0.3 * image as f32) - 0.1 * image as f32
    };
    let data = (0..count * len).map(pixel).collect();
    Batch { next: count, count, sample, data, labels: None, places: (0..count).collect() }
}

fn gathered(graph: &Graph, device: &Device, batch: Option<usize>, images: &Batch) -> Profile {
    let sample = images.sample.clone();
    let wants = GatherOptions {
        batch,
        images: images.count,
        sample,
        classes: 0,
        gram: GramKind::Both,
        histograms: vec![],
    };
    let fresh = Profile::of_weights(graph, Header::default(), Distances::None).unwrap();
    let mut gatherer = Gatherer::new(graph, device, &wants, fresh).unwrap();
    gatherer.feed(images).unwrap();
    gatherer.finish().unwrap()
}

/// All numbers of a profile that depend on images.
fn numbers(profile: &Profile) -> Vec<f64> {
    let activities = profile.layers.iter().flat_map(|l| l.pre.iter().chain(&l.post));
    let activities = activities.flat_map(|a| {
        let (m, s) = (&a.moments, &a.spread);
        [m.count, m.mean, m.m2, m.min, m.max, m.sum_abs, s.images]
            .into_iter()
            .chain(s.mean)
            .chain(s.comoments)
    });
    activities.chain(profile.grams.iter().flat_map(|g| g.packed.iter().copied())).collect()
}

#[test]
fn profiles_do_not_depend_on_the_batch() {
    let images = images(7);
    for (name, bytes) in kinds().into_iter().chain(shared()) {
        let graph = Graph::from_model(&Model::from_bytes(bytes.clone(), "built".as_ref()).unwrap()).unwrap();
        let mut devices = adapters::gpus("folded axes");
        devices.push(Device::Cpu);
        let expected = gathered(&graph, &Device::Cpu, Some(1), &images);
        assert!(expected.layers.len() > 2 && expected.layers.iter().all(|l| l.pre[0].spread.images == 7.0));
        for device in &devices {
            let (one, all) =
                (gathered(&graph, device, Some(1), &images), gathered(&graph, device, None, &images));
            assert!(one == all, "{name}: the batch changes the profile");
            let verdict = compare(&numbers(&all), &numbers(&expected), Tolerance::NETWORK);
            assert!(verdict.passed(), "{name}: {verdict}");
        }
    }
}

/// The values of a tap, all samples one after the other, with their shape.
fn values(graph: &Graph, images: &Batch, tap: ValueId) -> (Vec<f32>, Vec<usize>) {
    let wanted =
        SessionOptions { batch: Some(1), taps: vec![tap], outputs: false, ..SessionOptions::default() };
    let mut session = Session::new(graph, &Device::Cpu, &wanted, &|_| vec![]).unwrap();
    let samples = images.data.chunks(3 * SIDE * SIDE);
    let all = samples.flat_map(|sample| session.run_steps(&[sample]).unwrap().remove(0)).collect();
    (all, Facts::at_own_size(graph).unwrap().shape(tap).to_vec())
}

/// Calls `each` with the channels at every position.
fn positions(values: &[f32], shape: &[usize], axis: usize, mut each: impl FnMut(&[f64])) {
    let (channels, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    for part in values.chunks(channels * inner) {
        for at in 0..inner {
            let column: Vec<f64> = (0..channels).map(|c| f64::from(part[c * inner + at])).collect();
            each(&column);
        }
    }
}

#[test]
fn statistics_are_those_of_all_slices() {
    let images = images(5);
    for (name, bytes) in kinds().into_iter().chain(shared()) {
        let graph = Graph::from_model(&Model::from_bytes(bytes.clone(), "built".as_ref()).unwrap()).unwrap();
        let profile = gathered(&graph, &Device::Cpu, None, &images);
        let taps = layers(&graph, &Facts::at_own_size(&graph).unwrap());
        for (layer, taps) in profile.layers.iter().zip(&taps) {
            let (values, shape) = values(&graph, &images, taps.pre);
            let axis = if taps.layer.channels < 0 { shape.len() - 1 } else { 1 };
            let (mut count, mut sums) = (0.0, vec![0.0; shape[axis]]);
            positions(&values, &shape, axis, |column| {
                count += 1.0;
                sums.iter_mut().zip(column).for_each(|(sum, x)| *sum += x);
            });
            let found: Vec<f64> = layer.pre.iter().map(|a| a.moments.mean).collect();
            let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
            assert_eq!(layer.pre[0].moments.count, count, "{name}, {}", layer.node);
            let verdict = compare(&found, &means, Tolerance::SUMS);
            assert!(verdict.passed(), "{name}, {}: {verdict}", layer.node);
        }
        let of_channels = |g: &&GramMatrix| g.taps == 1 && g.groups == 1;
        for gram in profile.grams.iter().filter(of_channels) {
            // Layers that share their weights have one matrix for all of their inputs.
            let consumes = |t: &&LayerTaps| gram.consumers.contains(&graph.nodes[t.node].name);
            let mut tensors: Vec<ValueId> = taps.iter().filter(consumes).filter_map(|t| t.input).collect();
            tensors.dedup();
            if tensors.len() < 2 {
                tensors = vec![graph.value(&gram.value).unwrap()];
            }
            let mut sums = vec![0.0; gram.packed.len()];
            for tensor in tensors {
                let (values, shape) = values(&graph, &images, tensor);
                let axis = if shape[1] == gram.rows && shape.len() > 3 { 1 } else { shape.len() - 1 };
                positions(&values, &shape, axis, |column| {
                    let column: Vec<f64> = column.iter().copied().chain([1.0]).collect();
                    let pairs = (0..column.len()).flat_map(|i| (0..=i).map(move |j| (i, j)));
                    sums.iter_mut().zip(pairs).for_each(|(sum, (i, j))| *sum += column[i] * column[j]);
                });
            }
            let verdict = compare(&gram.packed, &sums, Tolerance::SUMS);
            assert!(verdict.passed(), "{name}, {}: {verdict}", gram.value);
        }
    }
}

/// Σ (a − b)² over Σ b².
fn error(got: &[f32], wanted: &[f32]) -> f64 {
    let pairs = || got.iter().zip(wanted).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>() / pairs().map(|(_, b)| b * b).sum::<f64>()
}

#[test]
fn layers_that_share_weights_have_one_matrix() {
    for (name, bytes) in shared() {
        let graph = Graph::from_model(&Model::from_bytes(bytes, "built".as_ref()).unwrap()).unwrap();
        let profile = gathered(&graph, &Device::Cpu, None, &images(3));
        let of_two = profile.grams.iter().filter(|g| g.consumers.len() == 2).count();
        let layers: BTreeSet<_> = profile.grams.iter().flat_map(|g| &g.consumers).collect();
        assert_eq!((of_two > 0, layers.len()), (true, profile.layers.len()), "{name}");
        assert!(profile.layers[0].weight.l1.len() > 1 && profile.grams.len() < 2 * layers.len(), "{name}");
    }
}

#[test]
fn repairs_bring_outputs_nearer_to_the_original() {
    let batch = images(24);
    let calibration =
        Images { data: Arc::new(batch.data.clone()), sample: batch.sample.clone(), count: batch.count };
    for (name, bytes) in kinds() {
        let model = Model::from_bytes(bytes.clone(), "built".as_ref()).unwrap();
        let graph = Graph::from_model(&model).unwrap();
        let channels = Channels::of(&graph).unwrap();
        let free = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id);
        let removed: BTreeSet<usize> = free.step_by(4).collect();
        assert!(removed.len() > 1, "{name}");
        let outputs = |model: &Model, device: &Device| {
            let graph = Graph::from_model(model).unwrap();
            Session::plain(&graph, device, None).unwrap().predict(&batch.data).unwrap()
        };
        let mut devices = adapters::gpus("repairs of folded axes");
        devices.push(Device::Cpu);
        let mut full = vec![];
        for device in &devices {
            let wanted = outputs(&model, device);
            let mut after = |how| {
                let with = (device, &calibration);
                let repaired = repair(&graph, &channels, &removed, how, with, &mut Silent).unwrap();
                let repaired = repaired.apply(&model).unwrap();
                let again = Graph::from_model(&repaired).unwrap();
                let pruned = rewrite(&repaired, &again, &Channels::of(&again).unwrap(), &removed).unwrap();
                pruned.prove(device, None).unwrap();
                error(&outputs(&pruned.model, device), &wanted)
            };
            let [none, bias, bn, all] =
                [Repair::None, Repair::Bias, Repair::Bn, Repair::Full].map(&mut after);
            println!("{name}: {none:.4} {bias:.4} {bn:.4} {all:.4}");
            assert!(bias < none && bn < none && all < 0.5 * none, "{name}: {none} {bias} {bn} {all}");
            full.push(all);
        }
        assert!(full.iter().all(|a| (a - full[0]).abs() <= 0.02 * full[0] + 1e-3), "{name}: {full:?}");
    }
}
