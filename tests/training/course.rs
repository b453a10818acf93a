//! The course of trainings: interruption, checkpoints, divergence, and trainings after a cut.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use assert_cmd::Command;
use safetensors::SafeTensors;
use secateur::error::ErrorKind;
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::onnx::tensor::decode;
use secateur::pipeline::{
    Augment, Calibration, Evidence, MetricOptions, Notice, Observer, Optimizer, Outcome, PlanOptions,
    PruneOptions, Pruned, Schedule, Stage, TrainingLength, TrainingOptions, TrainingPoint, prune,
};
use serde_json::Value;

use super::setup::{Course, changed, classifier, graph, labelled, steps, unlabelled};

/// Ends a training after so many steps.
struct Stop {
    after: u64,
    training: bool,
}

impl Observer for Stop {
    fn stage(&mut self, stage: Stage, _total: u64) {
        self.training = stage == Stage::Training;
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        if self.training && done >= self.after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn a_resumed_training_has_the_bits_of_one_without_a_break() {
    let course = Course::of(unlabelled(classifier(20)));
    let teacher = graph(classifier(21));
    let folder = tempfile::tempdir().unwrap();
    let devices = std::iter::once(Device::Cpu).chain(super::adapters::gpus("resumed trainings"));
    for device in devices {
        let by = (Some(&teacher), &device);
        // Four steps are an epoch. A rate that is found must be found again.
        for (name, rate, optimizer) in
            [("given", Some(0.02), Optimizer::ADAMW), ("found", None, Optimizer::SGD)]
        {
            let options = TrainingOptions { rate, optimizer, augment: Some(Augment::USUAL), ..steps(11) };
            let whole = course.train(Some(&teacher), &device, &options);
            for after in [1, 4, 6, 11] {
                let path = folder.path().join(format!("{name}{after}.ckpt"));
                let begun = TrainingOptions { checkpoint: Some(path), ..options.clone() };
                let mut stop = Stop { after, training: false };
                let error = course.observed(by, &begun, &mut stop).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
                let again = TrainingOptions { resume: true, ..begun };
                let resumed = course.train(Some(&teacher), &device, &again);
                assert_eq!(resumed.training.rate, whole.training.rate);
                let equal = resumed.model.to_bytes() == whole.model.to_bytes();
                assert!(equal, "{name}, stopped after {after} steps on {device:?}");
            }
        }
    }
}

#[test]
fn a_checkpoint_continues_its_own_training_only() {
    let course = Course::of(unlabelled(classifier(20)));
    let other = Course::of(unlabelled(classifier(21)));
    let teacher = graph(classifier(21));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ckpt");
    let first = TrainingOptions { checkpoint: Some(path.clone()), ..steps(4) };
    course.train(Some(&teacher), &Device::Cpu, &first);
    let again = TrainingOptions { resume: true, ..first };
    let refused = |course: &Course, teacher: &Graph, options: &TrainingOptions| {
        let by = (Some(teacher), &Device::Cpu);
        course.observed(by, options, &mut Silent).unwrap_err().to_string()
    };
    for options in [
        TrainingOptions { length: TrainingLength::Steps(5), ..again.clone() },
        TrainingOptions { rate: Some(0.02), ..again.clone() },
        TrainingOptions { seed: 1, ..again.clone() },
        TrainingOptions { optimizer: Optimizer::SGD, ..again.clone() },
        TrainingOptions { decay: 0.5, ..again.clone() },
        TrainingOptions { batch: Some(4), ..again.clone() },
        TrainingOptions { augment: Some(Augment::SHIFT), ..again.clone() },
    ] {
        let error = refused(&course, &teacher, &options);
        assert!(error.contains("other options"), "{options:?}: {error}");
    }
    assert!(refused(&other, &teacher, &again).contains("other options"), "another network");
    let mut third = graph(classifier(22));
    third.path = "third.onnx".into();
    assert!(refused(&course, &third, &again).contains("other options"), "another teacher");
    let nowhere = TrainingOptions { checkpoint: None, ..again };
    assert!(refused(&course, &teacher, &nowhere).contains("needs its checkpoint"));
    std::fs::write(&path, b"none").unwrap();
}

/// The moving averages of parameters in a checkpoint of AdamW, by names.
fn averages(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let file = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let of = |(name, view): (String, safetensors::tensor::TensorView)| {
        let (words, _) = view.data().as_chunks::<4>();
        let all: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        (name, all[3 * all.len() / 4..].to_vec())
    };
    tensors.tensors().into_iter().map(of).collect()
}

/// The elements of the initializers of a model, by names.
fn weights(model: &Model) -> BTreeMap<String, Vec<f32>> {
    let all = model.graph().initializer.iter();
    let float = all.filter_map(|t| decode(t).ok().map(|tensor| (t.name().to_owned(), tensor.to_f64())));
    float.map(|(name, data)| (name, data.iter().map(|&x| x as f32).collect())).collect()
}

/// Keeps the steps at which trainings diverged.
#[derive(Default)]
struct Divergences(Vec<usize>);

impl Observer for Divergences {
    fn notice(&mut self, notice: Notice) {
        if let Notice::Diverged { step, .. } = notice {
            self.0.push(step);
        }
    }
}

#[test]
fn a_training_that_diverges_keeps_the_last_good_state() {
    let course = Course::of(labelled(classifier(23)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ckpt");
    // The rate rises from step to step until it is too large; the first epoch of four steps must pass.
    let rises_to = |rate: f64| {
        let rising = TrainingOptions {
            rate: Some(rate),
            schedule: Schedule::OneCycle,
            checkpoint: Some(path.clone()),
            ..steps(200)
        };
        let mut seen = Divergences::default();
        let trained = course.observed((None, &Device::Cpu), &rising, &mut seen).unwrap();
        assert_eq!(seen.0, Vec::from_iter(trained.training.diverged), "{rate}");
        trained
    };
    let mut trainings = [16.0, 8.0, 4.0, 2.0, 1.0].into_iter().map(rises_to);
    let trained = trainings.find(|t| t.training.diverged.is_some_and(|step| step > 4)).unwrap();
    let record = &trained.training;
    assert!(Some(record.made) == record.diverged && !record.curve.is_empty(), "{record:?}");
    assert_eq!(record.course.last().unwrap().step, record.made, "the losses up to the end");
    let kept = weights(&trained.model);
    for (name, average) in averages(&path) {
        assert!(average.iter().all(|x| x.is_finite()), "{name}");
        assert_eq!(kept[&name], average, "{name}");
    }
    assert!(!changed(&course.network.model, &trained.model).is_empty());

    // In the first epoch nothing is good but the beginning.
    let at_once = TrainingOptions { rate: Some(1e8), ..steps(20) };
    let trained = course.train(None, &Device::Cpu, &at_once);
    assert!(trained.training.diverged.is_some_and(|step| step < 4), "{:?}", trained.training);
    assert_eq!(changed(&course.network.model, &trained.model), Vec::<String>::new());
}

fn secateur(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("secateur").unwrap();
    command.env("SECATEUR_DEVICE", "cpu").current_dir(folder);
    command
}

/// Runs a command; returns its exit code and its answer.
fn answer(command: &mut Command) -> (i32, Value) {
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let notes = String::from_utf8_lossy(&output.stderr);
    (
        output.status.code().unwrap(),
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{notes}")),
    )
}

#[test]
fn the_command_writes_the_file_of_a_training_that_diverged() {
    let setup = labelled(classifier(24));
    let train = |rate: &str| {
        let mut command = secateur(setup.folder.path());
        command.args([
            "finetune",
            "built.onnx",
            "--data",
            &setup.data,
            "--steps",
            "12",
            "--train-batch",
            "8",
        ]);
        command.args(["-o", "out.onnx", "--learning-rate", rate]);
        answer(&mut command)
    };
    let (code, found) = train("0.01");
    assert_eq!(code, 0, "{found}");
    assert!(found["training"]["diverged"].is_null() && found["training"]["made"] == 12, "{found}");
    assert!(found["metric"]["after"].is_number() && found["before"]["after"].is_number(), "{found}");
    std::fs::remove_file(setup.path("out.onnx")).unwrap();
    let (code, found) = train("1e8");
    assert_eq!(code, 1, "{found}");
    assert!(found["training"]["diverged"].is_number(), "{found}");
    let (before, after) = (setup.model("built.onnx").unwrap(), setup.model("out.onnx").unwrap());
    assert_eq!(changed(&before, &after), Vec::<String>::new());
}

#[test]
fn a_pruned_network_trains_and_keeps_its_shapes() {
    let setup = labelled(classifier(25));
    let pruned = |finetune: Option<TrainingOptions>, name: &str| -> Pruned {
        let network = setup.network().unwrap();
        let data = setup.dataset(&network).unwrap();
        let calibration = Calibration::hold_out(data, setup.origin(), Some(0.25), None).unwrap();
        let plan = PlanOptions {
            metric: MetricOptions { force: true, ..MetricOptions::default() },
            ..PlanOptions::default()
        };
        let output = Some(setup.path(name));
        let options = PruneOptions { plan, output, finetune, ..PruneOptions::default() };
        let evidence = Evidence::images(&calibration);
        match prune(network, &Device::Cpu, evidence, &options, &mut Silent).unwrap() {
            Outcome::Done(pruned) => pruned,
            other => panic!("{other:?}"),
        }
    };
    let untrained = pruned(None, "untrained.onnx");
    let trained = pruned(Some(TrainingOptions { rate: Some(0.01), ..steps(30) }), "trained.onnx");
    assert!(untrained.training.is_none() && untrained.untrained.is_none());
    let record = trained.training.unwrap();
    assert_eq!(
        (record.made, record.batch, record.losses.as_slice()),
        (30, 8, ["outputs", "features"].as_slice())
    );
    let loss = |point: Option<&TrainingPoint>| point.unwrap().loss;
    assert!(loss(record.curve.last()) < loss(record.curve.first()), "{:?}", record.curve);
    let (before, after) = (trained.untrained.unwrap(), trained.evaluation.unwrap());
    assert_eq!((before.images, after.images), (8, 8));
    assert_eq!(before.metric.unwrap().after, untrained.evaluation.unwrap().metric.unwrap().after);
    assert!(after.metric.is_some());

    let file = setup.model("trained.onnx").unwrap();
    let shapes = |model: &Model| -> Vec<(String, Vec<i64>)> {
        model.graph().initializer.iter().map(|t| (t.name().to_owned(), t.dims.clone())).collect()
    };
    assert_eq!(shapes(&file), shapes(&untrained.model));
    assert_eq!((trained.after.macs, trained.after.params), (untrained.after.macs, untrained.after.params));
    let changes = changed(&untrained.model, &file);
    assert!(changes.len() > 4, "{changes:?}");
    let graph = Graph::from_model(&file).unwrap();
    let data = setup.dataset(&setup.network().unwrap()).unwrap();
    let mut session = Session::for_samples(&graph, &Device::Cpu, &data.sample().unwrap(), (None, 4)).unwrap();
    let batch = data.batches(4).next().unwrap().unwrap();
    let outputs = session.predict(&batch.data).unwrap();
    assert!(outputs.len() == 20 && outputs.iter().all(|x| x.is_finite()));
    let mut command = secateur(setup.folder.path());
    let (code, judged) = answer(command.args(["eval", "trained.onnx", "--data", &setup.data]));
    assert_eq!(code, 0, "{judged}");
}

#[test]
fn a_course_has_a_hundred_points_at_most() {
    let course = Course::of(labelled(classifier(3)));
    for (count, points, every) in [(7, 7, 1), (205, 69, 3)] {
        let record =
            course.train(None, &Device::Cpu, &TrainingOptions { rate: Some(1e-3), ..steps(count) }).training;
        let ends: Vec<usize> = record.course.iter().map(|point| point.step).collect();
        assert_eq!(ends.len(), points);
        let wanted: Vec<usize> = (1..=points).map(|point| (every * point).min(count)).collect();
        assert_eq!(ends, wanted);
        // Both curves are means of the same losses.
        let mean = |curve: &[TrainingPoint]| {
            let sum: f64 = (0..curve.len())
                .map(|i| curve[i].loss * (curve[i].step - if i > 0 { curve[i - 1].step } else { 0 }) as f64)
                .sum();
            sum / count as f64
        };
        let (epochs, course) = (mean(&record.curve), mean(&record.course));
        assert!((epochs - course).abs() < 1e-9 * epochs, "{epochs} {course}");
    }
}
