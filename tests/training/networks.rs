//! Trainings of networks of all kinds: losses fall, and constants that are no parameters stay.

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::graph::Graph;
use secateur::pipeline::{Objective, Optimizer, TrainingOptions, TrainingRecord};
use secateur::tensor::SampleShape;
use secateur::train::{FeatureLayers, KeptValues, Trainer, TrainerOptions};

use super::adapters::gpus;
use super::builder::{Builder, First, Recurrence, Value};
use super::files::{Setup, numbers};
use super::setup::{Course, body, changed, classifier, graph, labelled, steps, unlabelled};

fn devices(what: &str) -> Vec<Device> {
    std::iter::once(Device::Cpu).chain(gpus(what)).collect()
}

/// Checks that a training lowered its loss to a share.
fn fell(record: &TrainingRecord, share: f64, what: &str) {
    let (first, last) = (&record.curve[0], record.curve.last().unwrap());
    assert!(last.loss < share * first.loss, "{what}: {} to {}", first.loss, last.loss);
    assert!(record.diverged.is_none() && record.made == record.steps, "{what}");
}

#[test]
fn trainings_lower_their_losses_on_every_device() {
    let (labels, images) = (Course::of(labelled(classifier(1))), Course::of(unlabelled(classifier(1))));
    let teacher = graph(classifier(2));
    let rules = [("AdamW", Optimizer::ADAMW, 0.02), ("SGD", Optimizer::SGD, 0.05)];
    for (name, optimizer, rate) in rules {
        let options = TrainingOptions { optimizer, rate: Some(rate), ..steps(40) };
        let mut curves: Vec<Vec<f64>> = vec![];
        for device in &devices("trainings") {
            let what = format!("{name} on {device:?}");
            let by_labels = labels.train(None, device, &options);
            fell(&by_labels.training, 0.6, &what);
            assert_eq!(by_labels.training.losses, ["labels"]);
            let right = |found: &secateur::pipeline::Evaluation| found.metric.as_ref().unwrap().after;
            assert!(right(&by_labels.after) > right(&by_labels.before) + 20.0, "{what}");
            let imitated = images.train(Some(&teacher), device, &options);
            fell(&imitated.training, 0.6, &what);
            assert_eq!(imitated.training.losses, ["outputs", "features"]);
            curves.push(
                [by_labels, imitated]
                    .iter()
                    .flat_map(|f| f.training.curve[..3].iter().map(|p| p.loss))
                    .collect(),
            );
        }
        for curve in &curves[1..] {
            let tolerance = Tolerance { relative: 1e-2, ..Tolerance::NETWORK };
            let verdict = compare(curve, &curves[0], tolerance);
            assert!(verdict.passed(), "{name}: {verdict}");
        }
    }
}

#[test]
fn the_seed_decides_all_bits() {
    let course = Course::of(labelled(classifier(3)));
    for device in &devices("bits of trainings") {
        let seeded = |seed| {
            let options = TrainingOptions { seed, augment: None, ..steps(8) };
            course.train(None, device, &options).model.to_bytes()
        };
        assert_eq!(seeded(0), seeded(0), "{device:?}");
        assert_ne!(seeded(0), seeded(1), "{device:?}");
    }
}

/// A network with parameters and constants of many kinds; returns the names of those that training may change.
fn mixed() -> (Vec<u8>, Vec<String>) {
    let mut b = Builder::new(4, 8);
    let x = b.input();
    let weight = b.floats(&[6, 3, 3, 3], 0.0, 0.3);
    let y = b.node("Conv", &[&x.name, &weight], vec![], &[6, 6, 6]);
    // The shift is the stored mean as well.
    let (scale, shared, variance) =
        (b.floats(&[6], 1.0, 0.2), b.floats(&[6], 0.3, 0.2), b.floats(&[6], 2.0, 0.5));
    let norm = [&y.name, &scale, &shared, &shared, &variance].map(String::as_str);
    let y = b.node("BatchNormalization", &norm, vec![], &y.shape);
    let y = b.unary("Relu", &y);
    let (scale, shift) = (b.floats(&[6], 1.2, 0.2), b.floats(&[6], 0.4, 0.2));
    let (mean, other) = (b.floats(&[6], 0.1, 0.05), b.floats(&[6], 1.5, 0.5));
    let norm = [&y.name, &scale, &shift, &mean, &other].map(String::as_str);
    let y = b.node("BatchNormalization", &norm, vec![], &y.shape);
    let y = b.quantized_conv(&y, 4);
    let steps = b.pixel_steps(&y);
    let outputs = b.recurrence(&steps, Recurrence::new("GRU", 4, 3, 1));
    let y = b.joined(&outputs[0], 3);
    let y = b.pixels_of_steps(&y, 6);
    let factor = b.floats(&[1, 3, 1, 1], 1.1, 0.2);
    let y = b.node("Mul", &[&y.name, &factor], vec![], &y.shape);
    let pooled = b.node("GlobalAveragePool", &[&y.name], vec![], &[3, 1, 1]);
    let flat = b.node("Flatten", &[&pooled.name], vec![], &[3]);
    let (last, bias) = (b.floats(&[3, 5], 0.0, 0.9), b.floats(&[5], 0.2, 0.1));
    let y = b.node("Gemm", &[&flat.name, &last, &bias], vec![], &[5]);
    (b.with_outputs(&[(&y.name, "N 5")]), vec![last, bias])
}

#[test]
fn statistics_integers_and_recurrent_weights_stay() {
    let (bytes, behind) = mixed();
    let course = Course::of(labelled(bytes));
    let trained = course.train(None, &Device::Cpu, &steps(4));
    let changes = changed(&course.network.model, &trained.model);
    assert_eq!(changes, behind);
}

/// Trains a network with a teacher and checks that the loss falls.
fn imitates(setup: Setup, teacher: Vec<u8>, options: &TrainingOptions, what: &str) -> TrainingRecord {
    let course = Course::of(setup);
    let trained = course.train(Some(&graph(teacher)), &Device::Cpu, options);
    fell(&trained.training, 0.7, what);
    assert!(!changed(&course.network.model, &trained.model).is_empty(), "{what}");
    trained.training
}

#[test]
fn networks_of_every_form_train() {
    let options = TrainingOptions { rate: Some(0.02), ..steps(40) };
    let formed = |first: First, seed| {
        let mut b = Builder::new(seed, 8);
        b.first = first;
        let x = b.start("x", &[3, 8, 8]);
        let y = body(&mut b, &x);
        b.finish(&[y], true).0
    };
    for (first, rows) in [
        // A step of a network with a batch size of its own takes several runs.
        (First::Fixed(4), [32, 3, 8, 8].as_slice()),
        (First::None, &[32, 3, 8, 8]),
        (First::Folded(2), &[32, 2, 3, 8, 8]),
    ] {
        let what = format!("{first:?}");
        let setup = Setup::new(formed(first, 5)).rows(rows);
        let record = imitates(setup, formed(first, 6), &options, &what);
        assert_eq!(
            (record.batch, record.losses.as_slice()),
            (8, ["outputs", "features"].as_slice()),
            "{what}"
        );
    }
    let two = |seed| {
        let mut b = Builder::new(seed, 8);
        b.declare("x", super::builder::FLOAT, "N 3 8 8");
        let x = b.input();
        let y = body(&mut b, &x);
        let y = b.by_vector(&y, "z", 4);
        b.finish(&[y], true).0
    };
    let setup = Setup::new(two(7)).arrays(&[("x", &[32, 3, 8, 8]), ("z", &[32, 4])]);
    imitates(setup, two(8), &options, "two inputs");
}

/// A network that computes a map of `out` channels.
fn map(seed: u64, out: usize) -> Vec<u8> {
    let mut b = Builder::new(seed, 8);
    let x = b.input();
    let y = b.conv(&x, 6, 3, 1, 1);
    let y = b.unary("Relu", &y);
    let y = b.conv(&y, out, 3, 1, 1);
    b.with_outputs(&[(&y.name, &format!("N {out} 8 8"))])
}

#[test]
fn maps_imitate_their_teachers() {
    let options = TrainingOptions { rate: Some(0.02), ..steps(40) };
    let classes = TrainingOptions { objective: Some(Objective::SOFT), ..options.clone() };
    let record = imitates(unlabelled(map(9, 5)), map(10, 5), &classes, "class scores of pixels");
    assert_eq!(record.losses, ["soft", "features"]);
    let record = imitates(unlabelled(map(11, 3)), map(12, 3), &options, "pictures");
    assert_eq!(record.losses, ["outputs", "features"]);
}

/// A classifier with the same weights for each ending.
fn ended(ends: &[&str]) -> Graph {
    let mut b = Builder::new(13, 8);
    let x = b.input();
    let y = b.conv(&x, 5, 3, 1, 1);
    let y = b.node("GlobalAveragePool", &[&y.name], vec![], &[5, 1, 1]);
    let mut y: Value = b.node("Flatten", &[&y.name], vec![], &[5]);
    for end in ends {
        y = b.node(end, &[&y.name], vec![], &[5]);
    }
    graph(b.with_outputs(&[(&y.name, "N 5")]))
}

#[test]
fn class_scores_are_compared_before_a_softmax() {
    let options = TrainerOptions {
        objective: Objective { labels: 1.0, ..Objective::SOFT },
        optimizer: Optimizer::ADAMW,
        decay: 0.0,
        max_norm: 5.0,
        features: FeatureLayers::Last,
        batch: Some(4),
        runs: 1,
        batch_statistics: false,
        penalty: None,
        observes: false,
    };
    let images = numbers(4 * 192, 1);
    let mut labels = vec![0.0; 20];
    (0..4).for_each(|row| labels[5 * row + row] = 1.0);
    let losses = |student: &[&str], teacher: &[&str]| {
        let (student, teacher) = (ended(student), ended(teacher));
        let sample = SampleShape::of_one(&[3, 8, 8]);
        let mut trainer =
            Trainer::new(&student, (Some(&teacher), &KeptValues::new()), &sample, &Device::Cpu, &options)
                .unwrap();
        let result = trainer.step(&[&images, &labels], 0.0, 1.0).unwrap();
        let names: Vec<&str> = trainer.losses().iter().map(|loss| loss.name).collect();
        assert_eq!(names, ["soft", "features", "labels"]);
        result.losses
    };
    let plain = losses(&[], &[]);
    for (student, teacher) in
        [(&["Softmax"], &[][..]), (&["Softmax"], &["Softmax"][..]), (&["LogSoftmax"], &[][..])]
    {
        let ended = losses(student, teacher);
        assert!(ended[0].abs() < 1e-6, "{student:?} and {teacher:?}: {}", ended[0]);
        assert_eq!(ended[2], plain[2], "{student:?}");
    }
}
