//! The pipeline on the demo network: profile, score, allocate, rewrite, prove, save, load.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secateur::compare::{Tolerance, compare};
use secateur::data::{Batch, DataOptions, Dataset, synthetic};
use secateur::exec::check::{check, first_failing};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::onnx::Model;
use secateur::prune::{
    Budget, CRITERIA, Channels, Criterion, Cut, CutLimits, Scope, Score, ScoreNormalization, Scoring,
    allocate, prove, rewrite, scores, written,
};
use secateur::stats::{
    GateLoss, GateSums, GatherOptions, GradientHeader, GradientTrajectory, GramKind, Trajectory, gather,
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

fn model() -> Model {
    Model::load(&demo()).unwrap()
}

fn images(count: usize) -> Dataset {
    let (bytes, labels) = synthetic::images(9, count);
    let options = DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), ..DataOptions::default() };
    let shape = [None, Some(3), Some(32), Some(32)];
    Dataset::from_bytes(bytes, &[count, 3, 32, 32], Some(&labels), &options, &shape).unwrap()
}

#[test]
fn images_of_another_size_prove_a_cut_too() {
    let model = resized(&demo(), None);
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let free = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id);
    let pruned = rewrite(&model, &graph, &channels, &free.step_by(3).collect()).unwrap();
    let sample = SampleShape::of_one(&[3, 40, 24]);
    let data = (0..3 * sample.elements()).map(|i: usize| (i % 31) as f32 / 15.0 - 1.0).collect();
    let images = Batch { next: 3, count: 3, sample, data, labels: None, places: vec![0, 1, 2] };
    assert_eq!(pruned.prove(&Device::Cpu, Some(&images)).unwrap().inputs, 4);
}

#[test]
fn every_criterion_hits_its_budget_and_proves_its_cut() {
    let model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let data = images(40);
    let mut profile = gather(&graph, &Device::Cpu, &data, &GatherOptions::of(&data).unwrap()).unwrap();
    for layer in &mut profile.layers {
        // The demo network has no checkpoints: any numbers will do.
        let numbers = layer.weight.l2.clone();
        let gradients = GradientTrajectory { movement: numbers.clone(), ..GradientTrajectory::default() };
        let squares = || numbers.clone();
        layer.gates = GateSums {
            squares: squares(),
            fourths: squares(),
            batch_squares: squares(),
            batch_fourths: squares(),
        };
        layer.trajectory =
            Trajectory { drift: numbers.clone(), wander: numbers, gradients, ..Trajectory::default() };
    }
    let header = GradientHeader::new(GateLoss::DrawnClasses, vec![]);
    profile.header.gradients = Some(GradientHeader { images: 40, batches: 1, complete: true, ..header });
    let mut patches = gather(
        &graph,
        &Device::Cpu,
        &data,
        &GatherOptions { gram: GramKind::Patch, ..GatherOptions::of(&data).unwrap() },
    )
    .unwrap();
    patches.layers.clone_from(&profile.layers);
    patches.header.gradients.clone_from(&profile.header.gradients);
    let (macs, params) = channels.cost(&channels.lengths());
    let folder = tempfile::tempdir().unwrap();
    let names = CRITERIA.iter().map(|row| row.name).filter(|n| !n.starts_with("file:"));
    for name in names.chain(["0.5*l1+0.5*apoz"]) {
        let criterion: Criterion = name.parse().unwrap();
        let scoring =
            Scoring { criterion: &criterion, normalize: ScoreNormalization::Layer, seed: 7, curves: None };
        let profile = if criterion.needs().patches { &patches } else { &profile };
        let scores = scores(&graph, &channels, profile, &scoring, &BTreeSet::new()).unwrap();
        let scores = Score::values(&scores);
        for (budget, scope) in
            [(Budget::KeepMacs(0.6), Scope::Global), (Budget::KeepParams(0.7), Scope::Layer)]
        {
            let limits = CutLimits { scope, ..CutLimits::default() };
            let removed = allocate(&channels, &scores, budget, &limits, &BTreeSet::new()).unwrap();
            let pruned = rewrite(&model, &graph, &channels, &removed).unwrap();
            prove(&pruned.masked, &pruned.model, &Device::Cpu, None).unwrap();
            let path = folder.path().join("small.onnx");
            pruned.model.save(&path).unwrap();
            let small = Channels::of(&Graph::from_model(&Model::load(&path).unwrap()).unwrap()).unwrap();
            let (m, p) = small.cost(&small.lengths());
            let (got, wanted) = match budget {
                Budget::KeepMacs(r) => (m as f64 / macs as f64, r),
                _ => (p as f64 / params as f64, 0.7),
            };
            assert!(got <= wanted && got > wanted - 0.08, "{name}: {got} of {wanted}");
        }
    }
}

#[test]
fn a_cut_of_nothing_is_the_model_itself() {
    let model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let pruned = rewrite(&model, &graph, &channels, &BTreeSet::new()).unwrap();
    assert_eq!(pruned.model.to_bytes(), model.to_bytes());
    assert_eq!(pruned.masked.to_bytes(), model.to_bytes());
}

#[test]
fn a_wrong_cut_does_not_pass_the_proof() {
    let model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let free: Vec<usize> = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id).collect();
    let cut =
        |coupled: &[usize]| rewrite(&model, &graph, &channels, &coupled.iter().copied().collect()).unwrap();
    let (right, wrong) = (cut(&free[..2]), cut(&free[1..3]));
    prove(&right.masked, &right.model, &Device::Cpu, None).unwrap();
    let error = prove(&wrong.masked, &right.model, &Device::Cpu, None).unwrap_err();
    assert!(error.message().contains("not equal"), "{error}");
}

#[test]
fn widths_are_rounded_and_layers_protected() {
    let model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let scores: Vec<f64> = (0..channels.coupled.len()).map(|k| ((k * 37) % 101) as f64).collect();
    let limits = CutLimits { round_to: 8, max_cut: 0.6, min_channels: 4, ..CutLimits::default() };
    let first = channels.coupling.producers[0].node;
    let protected: BTreeSet<usize> =
        channels.coupled.iter().filter(|k| k.members.iter().any(|m| m.0 == first)).map(|k| k.id).collect();
    let removed = allocate(&channels, &scores, Budget::KeepMacs(0.7), &limits, &protected).unwrap();
    assert!(removed.is_disjoint(&protected) && !removed.is_empty());
    for producer in &channels.coupling.producers {
        let total = producer.labels.len();
        let gone = channels
            .coupled
            .iter()
            .filter(|k| removed.contains(&k.id))
            .flat_map(|k| &k.members)
            .filter(|m| m.0 == producer.node)
            .count();
        assert!((total - gone) % 8 == 0 || gone == 0, "{total} − {gone}");
        assert!(gone as f64 <= 0.6 * total as f64);
    }
}

#[test]
fn an_impossible_budget_reports_the_smallest() {
    let graph = Graph::from_model(&model()).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let scores = vec![0.0; channels.coupled.len()];
    let error = allocate(&channels, &scores, Budget::KeepMacs(1e-6), &CutLimits::default(), &BTreeSet::new())
        .unwrap_err();
    assert!(error.message().contains("at least 0."), "{error}");
}

#[test]
fn a_cut_file_finds_its_coupled_channels_and_refuses_others() {
    let model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let removed: BTreeSet<usize> =
        channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id).take(3).collect();
    let how = ("l1".to_owned(), "keep-macs 0.9".to_owned());
    let cut = Cut::new((&graph, &model.sha256), &channels, &[], &removed, how).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.json");
    cut.save(&path).unwrap();
    let back = Cut::load(&path).unwrap();
    assert_eq!(back.removed(&graph, &model.sha256, &channels).unwrap(), removed);
    let small = rewrite(&model, &graph, &channels, &removed).unwrap().model;
    for tensor in &small.graph().initializer {
        let Some(kept) = back.weights.get(tensor.name()) else { continue };
        for (kept, &dim) in kept.iter().zip(&tensor.dims) {
            assert!(kept.as_ref().is_none_or(|k| k.len() as i64 == dim), "{}", tensor.name());
        }
    }
    assert!(back.weights.len() >= 3, "weights, and those of their consumers");
    assert!(back.removed(&graph, "another", &channels).is_err());
    let blocked = channels.coupled.iter().position(|k| k.block.is_some()).unwrap();
    let mut bad = back;
    bad.coupled[blocked].keep = false;
    assert!(bad.removed(&graph, &model.sha256, &channels).is_err());
}

#[test]
fn every_step_agrees_with_the_reference() {
    let graph = Graph::from_model(&model()).unwrap();
    let data = images(1);
    let image = data.batches(1).next().unwrap().unwrap().data;
    for device in gpus("the pipeline").iter().chain([&Device::Cpu]) {
        let session = Session::plain(&graph, device, Some(1)).unwrap();
        let checks = check(&session.plan, device, &[&image], &mut secateur::observer::Silent).unwrap().steps;
        assert!(checks.len() > 10);
        assert!(first_failing(&checks).is_none(), "{:?}", first_failing(&checks));
    }
}

#[test]
fn weights_larger_than_a_binding_are_split() {
    use secateur::graph::facts::Facts;
    use secateur::plan::{self, BuildOptions};
    let graph = Graph::from_model(&model()).unwrap();
    let facts = Facts::at_own_size(&graph).unwrap();
    let whole = plan::build(&graph, &facts, &BuildOptions::default()).unwrap();
    let parts =
        plan::build(&graph, &facts, &BuildOptions { max_binding: 300_000, ..BuildOptions::default() })
            .unwrap();
    assert!(parts.steps.len() > whole.steps.len());
    assert!(parts.constants.iter().all(|c| c.len() * 4 <= 300_000));
    let image: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 97) as f32 / 50.0 - 1.0).collect();
    let run = |plan| Device::Cpu.load(plan).unwrap().run(&[&image]).unwrap();
    assert!(compare(&run(&parts)[0], &run(&whole)[0], Tolerance::NETWORK).passed());
}

#[test]
fn the_demo_network_has_its_documented_accuracy() {
    let graph = Graph::from_model(&model()).unwrap();
    let mut session = Session::plain(&graph, &Device::Cpu, None).unwrap();
    let mut accuracy = secateur::data::metrics::Accuracy::default();
    for batch in images(500).batches(session.batch) {
        let batch = batch.unwrap();
        accuracy.add(&session.predict(&batch.data).unwrap(), 10, &batch.labels.unwrap());
    }
    assert!(accuracy.top1().unwrap() > 0.97, "{:?}", accuracy.top1());
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/train_demo.py").exists());
}

#[test]
fn what_is_proved_is_what_the_file_holds() {
    let model = model();
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let free = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id);
    let removed: BTreeSet<usize> = free.step_by(3).collect();
    let pruned = rewrite(&model, &graph, &channels, &removed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.onnx");
    pruned.model.save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap().sha256, pruned.model.sha256);
    let written = written(model, false, &removed, &path).unwrap();
    assert_eq!((&written.sha256, &written.path), (&pruned.model.sha256, &path));
}
