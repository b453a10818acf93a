//! Gradients of gates: against differences of the definition, on all devices, and gathered in profiles.

use secateur::compare::{Tolerance, compare};
use secateur::data::{Batch, DataOptions, Shard};
use secateur::exec::devices::Device;
use secateur::exec::reference::run_reference;
use secateur::graph::Graph;
use secateur::graph::facts::Facts;
use secateur::observer::Silent;
use secateur::pipeline::{Profile, ProfileOptions, profile};
use secateur::plan::{BuildOptions, build};
use secateur::stats::{GateLoss, layers};
use secateur::tensor::{SampleShape, Tensor};
use secateur::train::{GateObjective, GateOptions, GatedImage, Gates};

use super::adapters::gpus;
use super::builder::Builder;
use super::files::{Setup, numbers};
use super::setup::graph;

const CLASSES: usize = 5;
const LEN: usize = 3 * 8 * 8;

fn devices() -> Vec<Device> {
    std::iter::once(Device::Cpu).chain(gpus("gradients of gates")).collect()
}

/// A classifier of images 3×8×8 whose convolutions are followed by Relu alone.
fn plain() -> Vec<u8> {
    let mut b = Builder::new(5, 8);
    let x = b.input();
    let y = b.conv(&x, 6, 3, 2, 1);
    let y = b.unary("Relu", &y);
    let y = b.conv(&y, 8, 3, 1, 1);
    let y = b.unary("Relu", &y);
    b.finish(&[y], true).0
}

/// Returns the classifier with weights that stay exact if they are scaled by the steps of differences.
fn rounded() -> Graph {
    let mut graph = graph(plain());
    for value in graph.values.ids().collect::<Vec<_>>() {
        if let Some(constant) = graph.values[value].constant.take_if(|tensor| tensor.dtype.is_float()) {
            let round = |x: f64| ((x.clamp(-1.9, 1.9) * 1024.0).round() / 1024.0) as f32;
            let elements = constant.to_f64().into_iter().map(round).collect();
            graph.values[value].constant = Some(Tensor::float(&constant.shape, elements));
        }
    }
    graph
}

/// Random images, of which each has the label of its place.
fn batch(count: usize, labels: Option<&dyn Fn(usize) -> u32>) -> Batch {
    Batch {
        next: count,
        count,
        sample: SampleShape::of_one(&[3, 8, 8]),
        data: numbers(count * LEN, 3),
        labels: labels.map(|label| (0..count).map(label).collect()),
        places: (0..count).collect(),
    }
}

fn by_labels() -> GateObjective {
    GateObjective::Classes { output: 0, classes: CLASSES, labels: true }
}

fn gradients(
    graph: &Graph,
    device: &Device,
    (objective, at_once): (GateObjective, usize),
    images: &Batch,
) -> Vec<GatedImage> {
    let options =
        GateOptions { objective, batch: Some(at_once), images: images.count, sample: images.sample.clone() };
    Gates::new(graph, device, options).unwrap().run(images).unwrap()
}

/// Returns the class scores of all images in `f64`.
fn scores(graph: &Graph, images: &Batch) -> Vec<f64> {
    let facts = Facts::infer(graph, &[vec![images.count, 3, 8, 8]]).unwrap();
    let plan = build(graph, &facts, &BuildOptions::default()).unwrap();
    let input: Vec<f64> = images.data.iter().map(|&x| x.into()).collect();
    run_reference(&plan, &[&input], None).unwrap().remove(0)
}

/// Returns the network in which the gate of a layer's channel is a factor: of its filter and bias.
fn gated(graph: &Graph, (layer, channel): (usize, usize), factor: f64) -> Graph {
    let facts = Facts::at_own_size(graph).unwrap();
    let node = layers(graph, &facts)[layer].node;
    let mut changed = graph.clone();
    for value in graph.nodes[node].inputs[1..].iter().flatten() {
        let constant = graph.values[*value].constant.as_ref().unwrap();
        let mut elements: Vec<f32> = constant.to_f64().iter().map(|&x| x as f32).collect();
        let len = elements.len() / constant.shape[0];
        let scaled = |x: &mut f32| *x = (f64::from(*x) * factor) as f32;
        elements[channel * len..][..len].iter_mut().for_each(scaled);
        changed.values[*value].constant = Some(Tensor::float(&constant.shape, elements));
    }
    changed
}

/// Returns the derivatives of all scores by the gate of a channel, by differences in `f64`.
fn derivatives(graph: &Graph, images: &Batch, at: (usize, usize)) -> Vec<f64> {
    let step = 1.0 / 4096.0;
    let moved = |factor: f64| scores(&gated(graph, at, 1.0 + factor * step), images);
    let (near, far) = ([moved(1.0), moved(-1.0)], [moved(2.0), moved(-2.0)]);
    let slope = |i: usize| (8.0 * (near[0][i] - near[1][i]) - (far[0][i] - far[1][i])) / (12.0 * step);
    (0..near[0].len()).map(slope).collect()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let exponentials: Vec<f64> = scores.iter().map(|z| z.exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

#[test]
fn gradients_of_gates_are_derivatives_by_scaled_filters() {
    const IMAGES: usize = 5;
    let graph = rounded();
    let images = batch(IMAGES, Some(&|place| place as u32 % 4));
    let scores = scores(&graph, &images);
    let mut expected: Vec<Vec<f64>> = vec![vec![]; IMAGES];
    for (layer, channels) in [6, 8, CLASSES].into_iter().enumerate() {
        for channel in 0..channels {
            let slopes = derivatives(&graph, &images, (layer, channel));
            for (image, (expected, slopes)) in expected.iter_mut().zip(slopes.chunks(CLASSES)).enumerate() {
                let shares = softmax(&scores[image * CLASSES..][..CLASSES]);
                let label = image % 4;
                let of = |(class, slope): (usize, &f64)| (shares[class] - f64::from(class == label)) * slope;
                expected.push(slopes.iter().enumerate().map(of).sum());
            }
        }
    }
    for device in devices() {
        // Runs of three images are filled up, and more at once than there are.
        for at_once in [1, 3, 64] {
            let found = gradients(&graph, &device, (by_labels(), at_once), &images);
            assert_eq!(found.iter().map(|image| image.next).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
            for (found, expected) in found.iter().zip(&expected) {
                let got: Vec<f64> = found.gradients.iter().flatten().flatten().map(|&g| g.into()).collect();
                let largest = expected.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
                let tolerance = Tolerance { name: "differences", absolute: 3e-4 * largest, relative: 1e-3 };
                let verdict = compare(&got, expected, tolerance);
                assert!(verdict.passed(), "{device:?}, {at_once} at once: {verdict}");
            }
        }
    }
}

#[test]
fn drawn_classes_have_the_probabilities_of_the_network() {
    const IMAGES: usize = 200;
    let graph = rounded();
    let images = batch(IMAGES, None);
    let scores = scores(&graph, &images);
    let drawn = GateObjective::Classes { output: 0, classes: CLASSES, labels: false };
    let by_class: Vec<Vec<GatedImage>> = (0..CLASSES)
        .map(|class| {
            let labelled = batch(IMAGES, Some(&|_| class as u32));
            gradients(&graph, &Device::Cpu, (by_labels(), 64), &labelled)
        })
        .collect();
    let found = gradients(&graph, &Device::Cpu, (drawn, 64), &images);
    assert_eq!(found, gradients(&graph, &Device::Cpu, (drawn, 7), &images), "the image alone decides");
    let (mut excess, mut variance) = ([0.0; CLASSES], [0.0; CLASSES]);
    for (image, found) in found.iter().enumerate() {
        let class = (0..CLASSES).find(|&class| by_class[class][image] == *found);
        let class = class.unwrap_or_else(|| panic!("the gradient of image {image} is of no class"));
        for (other, share) in softmax(&scores[image * CLASSES..][..CLASSES]).into_iter().enumerate() {
            excess[other] += f64::from(other == class) - share;
            variance[other] += share * (1.0 - share);
        }
    }
    for (excess, variance) in excess.iter().zip(variance) {
        assert!(excess.abs() < 3.5 * variance.sqrt(), "{excess} of a deviation {}", variance.sqrt());
    }
}

#[test]
fn without_classes_the_mean_square_is_the_diagonal_of_the_gauss_newton_matrix() {
    const IMAGES: usize = 300;
    let graph = rounded();
    let images = batch(IMAGES, None);
    let found = gradients(&graph, &Device::Cpu, (GateObjective::Outputs, 64), &images);
    for channel in 0..6 {
        let slopes = derivatives(&graph, &images, (0, channel));
        let expected = slopes.iter().map(|slope| slope * slope).sum::<f64>() / IMAGES as f64;
        let squares: Vec<f64> = found
            .iter()
            .map(|image| f64::from(image.gradients[0].as_ref().unwrap()[channel]).powi(2))
            .collect();
        let n = IMAGES as f64;
        let mean = squares.iter().sum::<f64>() / n;
        let variance = squares.iter().map(|square| (square - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let error = (variance / n).sqrt();
        assert!((mean - expected).abs() < 3.5 * error, "channel {channel}: {mean} ± {error}, not {expected}");
    }
}

/// A network with images that have labels or not.
fn files(bytes: Vec<u8>, count: usize, with_labels: bool) -> Setup {
    let images = Tensor::float(&[count, 3, 8, 8], numbers(count * LEN, 3));
    let labels = Tensor::int(&[count], (0..count as i64).map(|place| place % 5).collect());
    let arrays = [("images", images), ("labels", labels)];
    Setup::new(bytes).npz(&arrays[..1 + usize::from(with_labels)])
}

fn profiled(setup: &Setup, device: &Device, batch: usize) -> Profile {
    let network = setup.network().unwrap();
    let data = setup.dataset(&network).unwrap();
    let options = ProfileOptions { batch: Some(batch), gradients: true, ..ProfileOptions::default() };
    let source = (&data, &setup.origin());
    profile(&network, device, source, &options, None, &mut Silent).unwrap().profile
}

/// All sums of gradients of a profile.
fn sums(profile: &Profile) -> Vec<f64> {
    let of = |layer: &secateur::stats::LayerProfile| {
        let gates = &layer.gates;
        [&gates.squares, &gates.fourths, &gates.batch_squares, &gates.batch_fourths].map(Vec::clone).concat()
    };
    profile.layers.iter().flat_map(of).collect()
}

#[test]
fn gradients_of_a_profile_do_not_depend_on_batches_shards_or_devices() {
    const IMAGES: usize = 256;
    let mut by_device: Vec<Vec<f64>> = vec![];
    for (with_labels, loss) in [(true, GateLoss::Labels), (false, GateLoss::DrawnClasses)] {
        let whole = files(plain(), IMAGES, with_labels);
        for device in devices() {
            let all = profiled(&whole, &device, 64);
            let header = all.header.gradients.clone().unwrap();
            assert_eq!((header.loss, header.images, header.batches), (loss, 256, 8));
            assert!(header.complete && header.position == IMAGES && header.stops.is_empty());
            assert_eq!(sums(&all), sums(&profiled(&whole, &device, 7)), "{device:?}: batches of 7");
            let shard = |index| {
                let shard = Some(Shard { index, count: 4 });
                files(plain(), IMAGES, with_labels).options(DataOptions { shard, ..DataOptions::default() })
            };
            let mut merged = profiled(&shard(1), &device, 64);
            (2..=4).for_each(|index| {
                let mut other = profiled(&shard(index), &device, 64);
                // Each shard has a file of its own here.
                other.header.data.clone_from(&merged.header.data);
                merged.merge(&other).unwrap();
            });
            assert_eq!(merged.header.gradients, all.header.gradients);
            let exact = Tolerance { name: "another order of sums", absolute: 0.0, relative: 1e-12 };
            let verdict = compare(&sums(&merged), &sums(&all), exact);
            assert!(verdict.passed(), "{device:?}: {verdict}");
            by_device.push(sums(&all));
        }
        for other in &by_device[1..] {
            let verdict = compare(other, &by_device[0], Tolerance { relative: 1e-3, ..Tolerance::NETWORK });
            assert!(verdict.passed(), "{verdict}");
        }
        by_device.clear();
    }
}

#[test]
fn files_hold_gradients_and_those_without_load() {
    let setup = files(plain(), 40, true);
    let with = profiled(&setup, &Device::Cpu, 16);
    let header = with.header.gradients.as_ref().unwrap();
    assert_eq!((header.images, header.batches), (40, 1), "eight images are left");
    let path = setup.path("kept.profile");
    with.save(&path).unwrap();
    assert_eq!(Profile::load(&path).unwrap(), with);
    assert_eq!(with.columns().iter().filter(|name| name.contains("/gates/")).count(), 4 * with.layers.len());
    let without = setup.profile(&Device::Cpu);
    assert!(without.columns().iter().all(|name| !name.contains("/gates/")));
    without.save(&path).unwrap();
    assert_eq!(Profile::load(&path).unwrap(), without);
    let mut one = profiled(&setup, &Device::Cpu, 16);
    one.header.data.clear();
    let error = one.merge(&without).unwrap_err().to_string();
    assert!(error.contains("the loss of their gradients") && error.contains("no gradients"), "{error}");
}

/// A gradient that reaches a layer only in part is none.
#[test]
fn a_layer_behind_which_a_node_stops_the_gradient_has_none() {
    let mut b = Builder::new(7, 8);
    let x = b.input();
    let y = b.conv(&x, 6, 3, 1, 1);
    let y = b.unary("Relu", &y);
    let grid = b.floats(&[1, 8, 8, 2], 0.0, 1.0);
    let sampled = b.node("GridSample", &[&y.name, &grid], vec![], &y.shape);
    let z = b.node("Add", &[&y.name, &sampled.name], vec![], &y.shape);
    let z = b.conv(&z, 8, 3, 2, 1);
    let z = b.unary("Relu", &z);
    let mut network = graph(b.finish(&[z], true).0);
    network.inputs[0].dims[0] = secateur::graph::Dim::Fixed(1);
    let images = batch(2, Some(&|_| 1));
    let found = gradients(&network, &Device::Cpu, (by_labels(), 1), &images);
    let reached: Vec<bool> = found[0].gradients.iter().map(Option::is_some).collect();
    assert_eq!(reached, [false, true, true]);
}
