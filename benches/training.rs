//! Times training steps of a network by kernel, on the CPU or an adapter.
//!
//! `cargo bench --bench training -- NET.onnx [--batch B] [--size 3x224x224] [--device N] [--steps S] [--kernels]
//! [--statistics]`. Losses are cross-entropies of labels on noise. Prints images per second of the forward pass and of the
//! step, by the median of the steps; `--kernels` lists seconds by kernel, and `--statistics` compares with steps that
//! gather statistics of every filter.

use std::collections::BTreeMap;
use std::time::Instant;

use secateur::exec::devices::{DeviceChoice, open};
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::onnx::Model;
use secateur::tensor::SampleShape;
use secateur::train::{FeatureLayers, KeptValues, Objective, Optimizer, Trainer, TrainerOptions};

fn argument(name: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1)
}

fn main() {
    // `cargo bench` passes --bench; without a network there is nothing to time.
    let Some(path) = std::env::args().skip(1).find(|word| word.ends_with(".onnx")) else {
        println!("no network was given: training steps are not timed");
        return;
    };
    let number = |name: &str, usual: usize| argument(name).and_then(|n| n.parse().ok()).unwrap_or(usual);
    let (batch, steps) = (number("--batch", 64), number("--steps", 10));
    let graph = Graph::from_model(&Model::load(path.as_ref()).expect("a model")).expect("a supported model");
    let shape: Vec<usize> = match argument("--size") {
        Some(size) => size.split('x').map(|n| n.parse().expect("a number")).collect(),
        None => graph.inputs[0].sample().into_iter().map(|n| n.expect("a size: give --size")).collect(),
    };
    let device = match argument("--device") {
        Some(device) => open(&device.parse().expect("a device")).expect("an adapter").0,
        None => open(&DeviceChoice::Cpu).expect("the CPU").0,
    };
    let sample = SampleShape::of_one(&shape);
    let len = batch * sample.elements();
    let images: Vec<f32> = (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();

    let mut session =
        Session::for_samples(&graph, &device, &sample, (Some(batch), batch)).expect("a session");
    let forward = median(steps, || {
        session.run(&[&images]).expect("a forward pass");
    });
    let options = TrainerOptions {
        objective: Objective::LABELS,
        optimizer: Optimizer::ADAMW,
        decay: 1e-4,
        max_norm: 5.0,
        features: FeatureLayers::Last,
        batch: Some(batch),
        runs: 1,
        batch_statistics: false,
        penalty: None,
        observes: false,
    };
    let load = |options: &TrainerOptions| {
        Trainer::new(&graph, (None, &KeptValues::new()), &sample, &device, options).expect("a trainer")
    };
    let mut trainer = load(&options);
    let classes: usize = trainer.classes().expect("labels").iter().product();
    let mut labels = vec![0.0f32; classes];
    labels.chunks_mut(classes / batch).enumerate().for_each(|(i, row)| {
        let class = i % row.len();
        row[class] = 1.0;
    });
    let step = median(steps, || {
        trainer.step(&[&images, &labels], 1e-5, 1.0).expect("a step");
    });
    let about = device.describe();
    println!("{path}, batch {batch}, {} ({}, {})", about.name, about.backend, about.driver);
    println!("forward {:8.1} images/s", batch as f64 / forward);
    println!("step    {:8.1} images/s, {:.2} forward passes", batch as f64 / step, step / forward);
    if std::env::args().any(|word| word == "--statistics") {
        let mut observed = load(&TrainerOptions { observes: true, ..options.clone() });
        let mut ratios: Vec<f64> = (0..steps)
            .map(|_| {
                let of = |trainer: &mut Trainer| {
                    let begin = Instant::now();
                    trainer.step(&[&images, &labels], 1e-5, 1.0).expect("a step");
                    begin.elapsed().as_secs_f64()
                };
                of(&mut observed) / of(&mut trainer)
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!("with statistics of filters: {:.3} times as long", ratios[ratios.len() / 2]);
    }
    if std::env::args().any(|word| word == "--kernels") {
        let mut by_kernel: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (kernel, seconds) in trainer.time_kernels(&[&images, &labels]).expect("times") {
            let entry = by_kernel.entry(kernel).or_default();
            *entry = (entry.0 + seconds, entry.1 + 1);
        }
        let mut rows: Vec<_> = by_kernel.into_iter().collect();
        rows.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
        for (kernel, (seconds, calls)) in rows {
            println!("{kernel:24} {:8.2} ms in {calls} calls", 1e3 * seconds);
        }
    }
}

/// Returns the median time of some runs, after one that does not count.
fn median(runs: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut seconds: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let begin = Instant::now();
            run();
            begin.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
