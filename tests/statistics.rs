//! Tests of the statistics pass on the built-in network: results, independence of batches and shards, and calibrated
//! standard errors.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::collections::BTreeSet;
use std::path::PathBuf;

use secateur::compare::{Tolerance, compare};
use secateur::data::{Batch, DataOptions, Dataset, Shard, synthetic};
use secateur::exec::devices::Device;
use secateur::exec::session::{Session, SessionOptions};
use secateur::graph::facts::Facts;
use secateur::graph::{Graph, ValueId};
use secateur::onnx::Model;
use secateur::stats::{
    Activity, DERIVED, Distances, GatherOptions, Gatherer, GramKind, Header, ImageVariation, Profile, gather,
    layers,
};
use secateur::tensor::SampleShape;

#[path = "common/adapters.rs"]
mod adapters;

#[path = "common/sizes.rs"]
mod sizes;

use adapters::gpus;
use sizes::resized;

fn demo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/demo.onnx")
}

fn graph() -> Graph {
    Graph::from_model(&Model::load(&demo()).unwrap()).unwrap()
}

fn images(count: usize, shard: Option<Shard>) -> Dataset {
    let (bytes, labels) = synthetic::images(9, count);
    let options =
        DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), shard, ..DataOptions::default() };
    let shape = [None, Some(3), Some(32), Some(32)];
    Dataset::from_bytes(bytes, &[count, 3, 32, 32], Some(&labels), &options, &shape).unwrap()
}

fn profile(device: &Device, data: &Dataset, batch: usize) -> Profile {
    gather(&graph(), device, data, &GatherOptions { batch: Some(batch), ..GatherOptions::of(data).unwrap() })
        .unwrap()
}

fn devices() -> Vec<Device> {
    gpus("the statistics").into_iter().chain([Device::Cpu]).collect()
}

/// All activities of a profile, before and after the activation.
fn activities(profile: &Profile) -> impl Iterator<Item = &Activity> {
    profile.layers.iter().flat_map(|l| l.pre.iter().chain(&l.post))
}

/// The number of images, for four shards of 64.
const COUNT: usize = 256;

#[test]
fn a_profile_does_not_depend_on_batches_or_shards() {
    let data = images(COUNT, None);
    for device in devices() {
        let one = profile(&device, &data, 1);
        assert_eq!(one.classes.iter().sum::<u64>(), COUNT as u64);
        for batch in [7, 64] {
            assert_eq!(one, profile(&device, &data, batch), "batch {batch}");
        }
        let shard = |index| images(COUNT, Some(Shard { index, count: 4 }));
        let mut merged = profile(&device, &shard(1), 7);
        (2..=4).for_each(|k| merged.merge(&profile(&device, &shard(k), 64)).unwrap());
        let exact = Tolerance { name: "another order of sums in f64", absolute: 1e-12, relative: 1e-12 };
        for (name, get) in DERIVED {
            let all =
                |p: &Profile| activities(p).map(get).map(|v| if v.is_nan() { -9.0 } else { v }).collect();
            let (got, expected): (Vec<f64>, Vec<f64>) = (all(&merged), all(&one));
            let verdict = compare(&got, &expected, exact);
            // The fourth moment of a nearly constant channel consists of rounding errors.
            assert!(verdict.passed() || name.starts_with("kurtosis"), "{name}: {verdict}");
        }
        for (a, b) in activities(&merged).zip(activities(&one)) {
            assert_eq!(a.means, b.means, "histograms merge exactly");
        }
        assert_eq!(merged.classes, one.classes);
        for (a, b) in merged.layers.iter().zip(&one.layers) {
            assert!(compare(&a.class_sums, &b.class_sums, exact).passed());
        }
        assert_eq!(merged.grams.len(), one.grams.len());
        for (a, b) in merged.grams.iter().zip(&one.grams) {
            let verdict = compare(&a.packed, &b.packed, exact);
            assert!(verdict.passed(), "{}: {verdict}", a.value);
        }
    }
}

#[test]
fn an_interrupted_pass_resumes_where_it_stopped() {
    let (graph, data) = (graph(), images(100, None));
    let wants = GatherOptions { batch: Some(8), gram: GramKind::None, ..GatherOptions::of(&data).unwrap() };
    let whole = gather(&graph, &Device::Cpu, &data, &wants).unwrap();
    let fresh = Profile::of_weights(&graph, Header::default(), Distances::Cheap).unwrap();
    let mut first = Gatherer::new(&graph, &Device::Cpu, &wants, fresh).unwrap();
    data.batches(8).take(5).for_each(|batch| first.feed(&batch.unwrap()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.profile");
    first.finish().unwrap().save(&path).unwrap();
    let half = Profile::load(&path).unwrap();
    assert_eq!((half.header.images, half.header.position), (40, 40));
    let mut second = Gatherer::new(&graph, &Device::Cpu, &wants, half).unwrap();
    data.batches_from(40, 8).for_each(|batch| second.feed(&batch.unwrap()).unwrap());
    assert_eq!(second.finish().unwrap(), whole, "bit for bit");
}

#[test]
fn a_file_holds_everything() {
    let data = images(20, None);
    let whole = profile(&Device::Cpu, &data, 8);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.profile");
    whole.save(&path).unwrap();
    assert_eq!(Profile::load(&path).unwrap(), whole);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 8]).unwrap();
    let error = Profile::load(&path).unwrap_err();
    assert!(error.to_string().contains("not a profile"), "{error}");
}

#[test]
fn gpu_and_cpu_gather_the_same_statistics() {
    let data = images(21, None);
    let cpu = profile(&Device::Cpu, &data, 8);
    for device in gpus("the statistics") {
        let gpu = profile(&device, &data, 8);
        for (name, get) in DERIVED {
            let all =
                |p: &Profile| activities(p).map(get).map(|v| if v.is_nan() { -9.0 } else { v }).collect();
            let (got, expected): (Vec<f64>, Vec<f64>) = (all(&gpu), all(&cpu));
            // A value near zero, or a mean near an edge of a bin, may fall on either side, which changes a few counts.
            let tolerance = match name {
                "frequency" | "apoz" | "frequency_se" => {
                    Tolerance { name: "counts at the edge of zero", absolute: 1e-3, relative: 0.0 }
                }
                "entropy" | "entropy_se" => {
                    Tolerance { name: "a mean at a bin's edge", absolute: 0.2, relative: 0.0 }
                }
                _ => Tolerance::NETWORK,
            };
            let verdict = compare(&got, &expected, tolerance);
            assert!(verdict.passed(), "{name}: {verdict}");
        }
        for (a, b) in gpu.grams.iter().zip(&cpu.grams) {
            let verdict = compare(&a.packed, &b.packed, Tolerance::NETWORK);
            assert!(verdict.passed(), "{}: {verdict}", a.value);
        }
    }
}

/// The values of a tap, one vector per image.
fn values(graph: &Graph, data: &Dataset, tap: ValueId) -> Vec<Vec<f32>> {
    let wanted =
        SessionOptions { batch: Some(1), taps: vec![tap], outputs: false, ..SessionOptions::default() };
    let mut session = Session::new(graph, &Device::Cpu, &wanted, &|_| vec![]).unwrap();
    data.batches(1).map(|batch| session.run_steps(&[&batch.unwrap().data]).unwrap().remove(0)).collect()
}

#[test]
fn statistics_are_those_of_the_values() {
    let (graph, data) = (graph(), images(5, None));
    let found = profile(&Device::Cpu, &data, 2);
    let facts = Facts::at_own_size(&graph).unwrap();
    for (layer, taps) in found.layers.iter().zip(layers(&graph, &facts)) {
        let (side, tap) = match taps.post {
            Some((_, post)) => (&layer.post, post),
            None => (&layer.pre, taps.pre),
        };
        let images = values(&graph, &data, tap);
        for (c, activity) in side.iter().enumerate() {
            let planes = images.iter().map(|image| {
                let plane = image.len() / side.len();
                &image[c * plane..(c + 1) * plane]
            });
            let all: Vec<f64> = planes.clone().flatten().map(|&v| f64::from(v)).collect();
            let n = all.len() as f64;
            let mean = all.iter().sum::<f64>() / n;
            let variance = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            let moments = &activity.moments;
            assert_eq!(moments.count, n);
            assert!((moments.mean - mean).abs() < 1e-6);
            assert!((moments.variance() - variance).abs() <= 1e-5 * variance.max(1e-6));
            assert_eq!(moments.frequency(), all.iter().filter(|v| **v > 0.0).count() as f64 / n);
            let means = planes.map(|p| p.iter().map(|&v| f64::from(v)).sum::<f64>() / p.len() as f64);
            let spread = means.clone().map(|m| (m - mean).powi(2)).sum::<f64>();
            let error = (spread / 4.0 / 5.0).sqrt();
            assert!((activity.spread.mean_error() - error).abs() < 1e-6, "{error}");
            let sums: f64 =
                (0..found.classes.len()).map(|k| layer.class_sums[k * layer.post.len() + c]).sum();
            assert!((sums - means.sum::<f64>()).abs() < 1e-5, "class sums add up");
        }
    }
}

/// A batch of noise images, row-major.
fn noise(size: [usize; 2], count: usize) -> Batch {
    let sample = SampleShape::of_one(&[3, size[0], size[1]]);
    let data =
        (0..count * sample.elements()).map(|i: usize| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect();
    Batch { next: count, count, sample, data, labels: None, places: (0..count).collect() }
}

/// The profile that a network gathers from batches, with two images per run.
fn gathered(sizes: Option<[usize; 2]>, device: &Device, gram: GramKind, batches: &[Batch]) -> Profile {
    let graph = Graph::from_model(&resized(&demo(), sizes)).unwrap();
    let sample = batches[0].sample.clone();
    let wants = GatherOptions { batch: Some(2), images: 9, sample, classes: 0, gram, histograms: vec![] };
    let fresh = Profile::of_weights(&graph, Header::default(), Distances::None).unwrap();
    let mut gatherer = Gatherer::new(&graph, device, &wants, fresh).unwrap();
    batches.iter().for_each(|batch| gatherer.feed(batch).unwrap());
    gatherer.finish().unwrap()
}

#[test]
fn images_of_several_sizes_are_gathered_at_their_own() {
    const WIDE: [usize; 2] = [16, 36];
    const HIGH: [usize; 2] = [40, 24];
    for (device, gram) in devices().iter().flat_map(|d| [(d, GramKind::Channel), (d, GramKind::Patch)]) {
        let (wide, high) = (noise(WIDE, 3), noise(HIGH, 2));
        let mixed = gathered(None, device, gram, &[wide.clone(), high.clone(), wide.clone()]);
        let mut apart = gathered(Some(WIDE), device, gram, &[wide.clone(), wide]);
        apart.merge(&gathered(Some(HIGH), device, gram, &[high])).unwrap();
        assert_eq!((mixed.header.images, mixed.grams.len()), (8, apart.grams.len()));
        assert!(!mixed.grams.is_empty());
        let moments = |p: &Profile| -> Vec<f64> {
            activities(p).flat_map(|a| [a.moments.count, a.moments.mean, a.moments.variance()]).collect()
        };
        let verdict = compare(&moments(&mixed), &moments(&apart), Tolerance::NETWORK);
        assert!(verdict.passed(), "{verdict}");
        for (a, b) in mixed.grams.iter().zip(&apart.grams) {
            let verdict = compare(&a.packed, &b.packed, Tolerance::NETWORK);
            assert!(verdict.passed(), "{}: {verdict}", a.value);
        }
    }
}

#[test]
fn images_of_another_size_are_refused() {
    let mut session = Session::plain(&graph(), &Device::Cpu, None).unwrap();
    let error = session.predict(&noise([40, 24], 3).data).unwrap_err();
    assert!(error.message().contains("another size"), "{}", error.message());
}

/// Draws numbers below `of` with replacement, determined by the seed.
fn draws(seed: u64, count: usize, of: usize) -> impl Iterator<Item = usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % of
    })
}

/// Intervals of ±1.96 standard errors, each from a sample of 400 images, contain the true value in 93 to 97 % of cases.
#[test]
fn the_error_bars_are_calibrated() {
    const IMAGES: usize = 400;
    const SAMPLE: usize = 256;
    const ROUNDS: u64 = 100;
    let (graph, data) = (graph(), images(IMAGES, None));
    let wants = GatherOptions {
        batch: Some(1),
        gram: GramKind::None,
        classes: 0,
        images: 1,
        sample: SampleShape::of_one(&[3, 32, 32]),
        histograms: vec![],
    };
    let fresh = Profile::of_weights(&graph, Header::default(), Distances::None).unwrap();
    let mut gatherer = Gatherer::new(&graph, &Device::Cpu, &wants, fresh).unwrap();
    // Samples consist of profiles of single images.
    let singles: Vec<Vec<Activity>> = data
        .batches(1)
        .map(|batch| {
            gatherer.feed(&batch.unwrap()).unwrap();
            gatherer.restart().unwrap().layers.into_iter().flat_map(|l| l.post).collect()
        })
        .collect();
    let merged = |chosen: &[usize]| -> Vec<Activity> {
        let mut all = vec![Activity::default(); singles[0].len()];
        for &image in chosen {
            all.iter_mut().zip(&singles[image]).for_each(|(all, one)| {
                all.moments.merge(&one.moments);
                all.spread.merge(&one.spread);
            });
        }
        all
    };
    let truth = merged(&(0..IMAGES).collect::<Vec<_>>());
    let samples: Vec<Vec<Activity>> =
        (0..ROUNDS).map(|r| merged(&draws(r, SAMPLE, IMAGES).collect::<Vec<_>>())).collect();
    type Statistic = (&'static str, fn(&Activity) -> f64, fn(&ImageVariation) -> f64);
    let statistics: [Statistic; 4] = [
        ("mean", |a| a.moments.mean, ImageVariation::mean_error),
        ("variance", |a| a.moments.variance(), ImageVariation::variance_error),
        ("mean |x|", |a| a.moments.mean_abs(), ImageVariation::mean_abs_error),
        ("frequency", |a| a.moments.frequency(), ImageVariation::frequency_error),
    ];
    for (name, value, error) in statistics {
        let (mut held, mut all) = (0, 0);
        for sample in &samples {
            // A constant channel has no interval.
            for (got, truth) in sample.iter().zip(&truth).filter(|(_, t)| t.moments.variance() > 0.0) {
                held += usize::from((value(got) - value(truth)).abs() <= 1.96 * error(&got.spread));
                all += 1;
            }
        }
        let share = held as f64 / all as f64;
        assert!((0.93..=0.97).contains(&share), "{name}: 95 % intervals hold {share:.4} of the time");
    }
    // The confidence that a channel is among the lowest third is calibrated as well.
    let frequency = |a: &Activity| a.moments.frequency();
    let third = truth.len() / 3;
    let line = |of: &[Activity]| {
        let mut sorted: Vec<f64> = of.iter().map(frequency).collect();
        sorted.sort_by(f64::total_cmp);
        f64::midpoint(sorted[third - 1], sorted[third])
    };
    let lowest: BTreeSet<usize> = {
        let line = line(&truth);
        truth.iter().enumerate().filter(|(_, a)| frequency(a) < line).map(|(i, _)| i).collect()
    };
    let (mut expected, mut right, mut all) = (0.0, 0.0, 0.0);
    for sample in &samples {
        let line = line(sample);
        for (i, activity) in sample.iter().enumerate().filter(|(_, a)| frequency(a) < line) {
            let error = activity.spread.frequency_error();
            expected += if error > 0.0 {
                secateur::prune::confidence::normal((line - frequency(activity)) / error)
            } else {
                1.0
            };
            right += f64::from(u8::from(lowest.contains(&i)));
            all += 1.0;
        }
    }
    let (expected, right) = (expected / all, right / all);
    assert!((expected - right).abs() < 0.02, "expected {expected:.4}, observed {right:.4}");
}
