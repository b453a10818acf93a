//! Networks with inputs of any shape, through profile, prune with every repair, and evaluation.
//!
//! Statistics are compared with those of an ordinary network with the same weights.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use secateur::compare::{Tolerance, compare};
use secateur::data::{DataOptions, Preset, ResizeTo, Size, write_npy_f32};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::observer::Silent;
use secateur::onnx::{InputBindings, Model};
use secateur::pipeline::{
    BenchOptions, BenchmarkOptions, Calibration, ComparisonOptions, Evidence, InputValue, Network, Outcome,
    PlanOptions, PruneOptions, ReportOptions, Resume, Target, benchmark, check, compare_criteria,
    first_failing, load_profile, prune,
};
use secateur::repair::Repair;
use secateur::tensor::Tensor;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;
#[path = "common/dice.rs"]
mod dice;
#[path = "inputs/random.rs"]
mod random;
#[path = "inputs/setup.rs"]
mod setup;

use adapters::gpus;
use builder::{BOOL, Builder, FLOAT, First, INT64, Value, int, ints, text};
use setup::{SUMS, Setup, all, equal, moments, numbers, statistics};

/// Two convolutions, then a classifier.
fn chain(b: &mut Builder, x: &Value) -> Value {
    let first = b.conv_in_space(x, 8, 3, 1, 1);
    let first = b.unary("Relu", &first);
    let second = b.conv_in_space(&first, 6, 3, 1, 1);
    b.unary("Relu", &second)
}

/// A network over one input with this first axis.
fn ordinary(first: First, shape: &[usize]) -> Vec<u8> {
    let mut b = Builder::new(71, 8);
    b.first = first;
    let x = b.start("x", shape);
    let y = chain(&mut b, &x);
    b.finish(&[y], false).0
}

/// A network whose blocks state the batch.
fn with_reshapes(first: First, block: fn(&mut Builder, &Value) -> Value) -> Vec<u8> {
    let mut b = Builder::new(72, 8);
    b.first = first;
    let x = b.start("x", &[3, 8, 8]);
    let y = b.conv(&x, 8, 3, 1, 1);
    let y = b.unary("Relu", &y);
    let y = block(&mut b, &y);
    let y = b.conv(&y, 6, 3, 1, 1);
    b.finish(&[y], true).0
}

const IMAGE: [usize; 3] = [3, 8, 8];

#[test]
fn a_fixed_batch_is_filled_up() {
    type Block = fn(&mut Builder, &Value) -> Value;
    let blocks: [(&str, usize, Block); 4] = [
        ("a shuffle", 4, |b, x| b.shuffle(x, 2)),
        ("a pair of reshapes", 3, |b, x| {
            let flat = b.reshaped(x, &[512]);
            b.reshaped(&flat, &[8, 8, 8])
        }),
        ("windows", 4, |b, x| b.windows(x, 6)),
        ("attention", 2, |b, x| b.attention(x, (2, 2), 6, builder::Heads::Split)),
    ];
    for (what, n, block) in blocks {
        let fixed = Setup::new(with_reshapes(First::Fixed(n), block)).rows(&[10, 3, 8, 8]);
        let free = Setup::new(with_reshapes(First::Batch, block)).rows(&[10, 3, 8, 8]);
        let expected = free.profile(&Device::Cpu);
        equal(&fixed.works(10, what), &expected, all, what);
        let verdict = compare(&fixed.outputs(), &free.outputs(), SUMS);
        assert!(verdict.passed(), "{what}: {verdict}");
        for gpu in gpus("fixed batches") {
            let on_gpu = fixed.profile(&gpu);
            let verdict = compare(
                &statistics(&on_gpu, |a| vec![a.moments.count, a.moments.mean]),
                &statistics(&expected, |a| vec![a.moments.count, a.moments.mean]),
                Tolerance::NETWORK,
            );
            assert!(verdict.passed(), "{what} on a GPU: {verdict}");
            fixed.prunes(&gpu, Repair::Full, what);
        }
    }
    let fixed = Setup::new(ordinary(First::Fixed(4), &IMAGE)).rows(&[10, 3, 8, 8]);
    assert!(fixed.resumed(&Device::Cpu, Some(3), None).unwrap_err().message().contains("a batch of 4"));
}

#[test]
fn networks_without_a_batch_axis_take_one_sample_at_a_time() {
    let cases: [(&str, &[usize]); 3] =
        [("an image", &IMAGE), ("a signal", &[2, 16]), ("a volume", &[2, 4, 4, 4])];
    for (what, shape) in cases {
        let data = [&[10], shape].concat();
        let bare = Setup::new(ordinary(First::None, shape)).rows(&data);
        let batched = Setup::new(ordinary(First::Batch, shape)).rows(&data);
        equal(&bare.works(10, what), &batched.profile(&Device::Cpu), all, what);
        assert!(compare(&bare.outputs(), &batched.outputs(), SUMS).passed(), "{what}");
        // A single sample needs no axis that counts.
        if shape.len() != 3 {
            assert_eq!(
                Setup::new(ordinary(First::None, shape)).rows(shape).profile(&Device::Cpu).header.images,
                1
            );
        }
    }
    // A vector of features.
    let mut b = Builder::new(73, 8);
    b.declare("x", FLOAT, "24");
    let (w, v) = (b.floats(&[24, 12], 0.0, 0.3), b.floats(&[12, 5], 0.0, 0.3));
    let y = b.node("MatMul", &["x", &w], vec![], &[12]);
    let y = b.unary("Relu", &y);
    let y = b.node("MatMul", &[&y.name, &v], vec![], &[5]);
    Setup::new(b.with_outputs(&[(&y.name, "5")])).rows(&[10, 24]).works(10, "features");
}

#[test]
fn frames_of_a_clip_are_one_sample() {
    for (what, first, n) in [
        ("four frames, averaged at the end", First::Frames(4), 4),
        ("two frames of each clip, folded into the batch", First::Folded(2), 2),
        ("a single frame of each clip", First::Folded(1), 1),
        ("eight frames", First::Frames(8), 8),
    ] {
        let frames = 10 * n;
        let images =
            Setup::new(ordinary(First::Batch, &IMAGE)).rows(&[frames, 3, 8, 8]).profile(&Device::Cpu);
        let clips = Setup::new(ordinary(first, &IMAGE)).rows(&[10, n, 3, 8, 8]);
        equal(&clips.works(10, what), &images, moments, what);
        if matches!(first, First::Frames(_)) {
            let consecutive = Setup::new(ordinary(first, &IMAGE)).rows(&[frames, 3, 8, 8]);
            equal(&consecutive.works(10, what), &images, moments, what);
        }
        for gpu in gpus("frames") {
            clips.prunes(&gpu, Repair::Full, what);
        }
    }
    // The mean frame, before the first layer.
    let mut b = Builder::new(74, 8);
    b.declare("x", FLOAT, "4 3 8 8");
    let axis = b.whole(&[0]);
    let mean = b.node("ReduceMean", &["x", &axis], vec![], &IMAGE);
    let y = chain(&mut b, &mean);
    let y = b.conv(&y, 5, 1, 1, 1);
    Setup::new(b.with_outputs(&[(&y.name, "1 5 8 8")])).rows(&[10, 4, 3, 8, 8]).works(10, "the mean frame");
}

/// A network of linear layers over vectors.
fn linear(dims: &str) -> Vec<u8> {
    let mut b = Builder::new(75, 8);
    b.declare("x", FLOAT, dims);
    let (w, c) = (b.floats(&[12, 24], 0.0, 0.3), b.floats(&[12], 0.0, 0.3));
    let (v, d) = (b.floats(&[5, 12], 0.0, 0.3), b.floats(&[5], 0.0, 0.3));
    let y = b.node("Gemm", &["x", &w, &c], vec![int("transB", 1)], &[12]);
    let y = b.unary("Relu", &y);
    let y = b.node("Gemm", &[&y.name, &v, &d], vec![int("transB", 1)], &[5]);
    b.with_outputs(&[(&y.name, "N 5")])
}

/// A network over a signal of free length.
fn of_any_length() -> Vec<u8> {
    let mut b = Builder::new(76, 8);
    b.declare("x", FLOAT, "N 4 L");
    let y = chain(&mut b, &Value { name: "x".to_owned(), shape: vec![4, 64] });
    let (w, c) = (b.floats(&[5, 6], 0.0, 0.3), b.floats(&[5], 0.0, 0.3));
    let y = b.node("GlobalAveragePool", &[&y.name], vec![], &[6, 1]);
    let y = b.node("Flatten", &[&y.name], vec![], &[6]);
    let y = b.node("Gemm", &[&y.name, &w, &c], vec![int("transB", 1)], &[5]);
    b.with_outputs(&[(&y.name, "N 5")])
}

#[test]
fn vectors_sequences_and_volumes_are_data() {
    Setup::new(linear("N 24")).rows(&[10, 24]).works(10, "vectors");
    Setup::new(linear("N F")).rows(&[10, 24]).works(10, "vectors whose length follows from weights");
    Setup::new(ordinary(First::Batch, &[4, 64])).rows(&[10, 4, 64]).works(10, "signals");
    Setup::new(ordinary(First::Batch, &[2, 4, 6, 5])).rows(&[10, 2, 4, 6, 5]).works(10, "volumes");
    Setup::new(of_any_length()).rows(&[10, 4, 48]).works(10, "signals of the data's length");
    Setup::new(of_any_length())
        .size("x", &[1, 4, 40])
        .rows(&[10, 4, 40])
        .works(10, "signals of a given length");
    Setup::new(of_any_length()).size("x", &[1, 4, 40]).spec("random:10").profile(&Device::Cpu);
    // One channel may be left out.
    Setup::new(ordinary(First::Batch, &[1, 64])).rows(&[10, 64]).works(10, "signals of one channel");
}

#[test]
fn sizes_that_nothing_determines_are_asked_for() {
    for (what, error) in [
        (
            "without data",
            Network::from_model(Model::from_bytes(of_any_length(), "built.onnx".as_ref()).unwrap())
                .unwrap_err(),
        ),
        ("with random data", Setup::new(of_any_length()).spec("random:4").network().unwrap_err()),
    ] {
        assert!(error.remedy_text().unwrap().contains("`size` x=1x4x1"), "{what}: {error}");
    }
    let error = Setup::new(of_any_length()).size("x", &[1, 5, 40]).rows(&[10, 4, 40]).network().unwrap_err();
    assert!(error.to_string().contains("N×4×L"), "{error}");
    let error = Setup::new(of_any_length()).size("y", &[1, 4, 40]).rows(&[10, 4, 40]).network().unwrap_err();
    assert!(error.message().contains("no input \"y\""), "{error}");
}

#[test]
fn arrays_are_normalized_along_their_first_axis() {
    let (mean, std) = (vec![0.5, -0.25, 0.0, 1.0], vec![1.0, 2.0, 0.5, 4.0]);
    let cases: [(&[usize], Vec<u8>); 3] = [
        (&[4, 64], ordinary(First::Batch, &[4, 64])),
        (&[4, 4, 3, 5], ordinary(First::Batch, &[4, 4, 3, 5])),
        (&[4, 64], ordinary(First::None, &[4, 64])),
    ];
    for (shape, bytes) in cases {
        let options =
            DataOptions { mean: Some(mean.clone()), std: Some(std.clone()), ..DataOptions::default() };
        let data = [&[6], shape].concat();
        let normalized = Setup::new(bytes.clone()).rows(&data).options(options);
        let by_hand = Setup::new(bytes).rows(&data);
        let inner = shape[1..].iter().product::<usize>();
        let values = numbers(data.iter().product(), 0).into_iter().enumerate();
        let values: Vec<f32> = values.map(|(i, v)| (v - mean[i / inner % 4]) / std[i / inner % 4]).collect();
        write_npy_f32(by_hand.path("data.npy"), &data, &values).unwrap();
        equal(&normalized.works(6, "normalized"), &by_hand.profile(&Device::Cpu), all, "normalized");
    }
    for (what, setup) in [
        ("vectors", Setup::new(linear("N 24")).rows(&[10, 24])),
        ("signals", Setup::new(ordinary(First::Batch, &[4, 64])).rows(&[10, 4, 64])),
        ("volumes", Setup::new(ordinary(First::Batch, &[3, 4, 4, 4])).rows(&[10, 3, 4, 4, 4])),
    ] {
        let setup = setup.options(DataOptions { preset: Some(Preset::ImageNet), ..DataOptions::default() });
        let error = setup.network().and_then(|network| setup.dataset(&network)).unwrap_err();
        assert!(error.message().contains("`preset` is for images"), "{what}: {error}");
        assert!(error.remedy_text().unwrap().contains("leave out `preset`"), "{what}: {error}");
    }
}

/// An image network with a second input that `add` uses.
fn with_second(add: impl Fn(&mut Builder, &Value) -> Value) -> Vec<u8> {
    let mut b = Builder::new(77, 8);
    b.opset = 21;
    let x = b.start("x", &IMAGE);
    let y = b.conv(&x, 8, 3, 1, 1);
    let y = b.unary("Relu", &y);
    let y = add(&mut b, &y);
    let y = chain(&mut b, &y);
    b.finish(&[y], false).0
}

/// A product with a second image of one channel.
fn masked(b: &mut Builder, x: &Value) -> Value {
    b.declare("mask", FLOAT, "N 1 8 8");
    b.node("Mul", &[&x.name, "mask"], vec![], &x.shape)
}

/// Two images of the same kind, with branches of their own.
fn two_images(shape: &[usize]) -> Vec<u8> {
    let mut b = Builder::new(78, 8);
    let (x, y) = (b.start("x", shape), b.start("second", shape));
    let (x, y) = (chain(&mut b, &x), chain(&mut b, &y));
    b.finish(&[x, y], false).0
}

#[test]
fn further_inputs_are_given_values() {
    let images = [10, 3, 8, 8];
    let vector = || with_second(|b, x| b.by_vector(x, "vector", 3));
    let scalar = || with_second(|b, x| b.by_scalar(x, "factor"));
    let tokens = || with_second(|b, x| b.by_tokens(x, "tokens", 4));
    let whole: Vec<f64> = (0..64).map(|i| f64::from(i % 2)).collect();
    let bound = [
        ("a vector", Setup::new(vector()).value("vector", &[0.5, 1.0, -1.0])),
        ("one number for a vector", Setup::new(vector()).value("vector", &[0.5])),
        ("a number without axes", Setup::new(scalar()).value("factor", &[0.7])),
        ("tokens", Setup::new(tokens()).value("tokens", &[0.0, 4.0, 2.0, 1.0])),
        ("a mask for each sample", Setup::new(with_second(masked)).value("mask", &whole)),
    ];
    for (what, setup) in bound {
        let profile = setup.rows(&images).works(10, what);
        assert_eq!(profile.header.inputs.len(), 1, "{what}");
    }
    // A factor of 1 is none, and a file holds a value as well as a command.
    let plain = Setup::new(with_second(|_, x| x.clone())).rows(&images).outputs();
    let one = Setup::new(scalar()).value("factor", &[1.0]).rows(&images);
    assert!(compare(&one.outputs(), &plain, SUMS).passed());
    let mut file = Setup::new(with_second(masked)).rows(&images);
    let path = file.path("mask.npy");
    write_npy_f32(&path, &[1, 8, 8], &whole.iter().map(|&v| v as f32).collect::<Vec<_>>()).unwrap();
    file.inputs.values.push(("mask".to_owned(), InputValue::File(path)));
    let numbers = Setup::new(with_second(masked)).value("mask", &whole).rows(&images);
    assert_eq!(file.outputs(), numbers.outputs());
    let error = Setup::new(vector()).value("vector", &[1.0, 2.0]).rows(&images).network().unwrap_err();
    assert!(error.message().contains("2 elements"), "{error}");
    let error = Setup::new(vector()).value("vectr", &[1.0]).rows(&images).network().unwrap_err();
    assert!(error.message().contains("no input \"vectr\""), "{error}");
}

#[test]
fn several_inputs_come_from_arrays_of_one_file() {
    let image = ("x", &[10, 3, 8, 8][..]);
    let cases = [
        ("an image and a vector", with_second(|b, x| b.by_vector(x, "vector", 3)), ("vector", &[10, 3][..])),
        ("an image and tokens", with_second(|b, x| b.by_tokens(x, "tokens", 4)), ("tokens", &[10, 4][..])),
        ("an image and a mask", with_second(masked), ("mask", &[10, 1, 8, 8][..])),
        ("two images", two_images(&IMAGE), ("second", &[10, 3, 8, 8][..])),
    ];
    for (what, bytes, second) in cases {
        Setup::new(bytes.clone()).arrays(&[second, image]).works(10, what);
        assert_eq!(
            Setup::new(bytes.clone()).spec("random:6").profile(&Device::Cpu).header.images,
            6,
            "{what}"
        );
        // Arrays of one file belong together.
        let fewer = [&[9], &second.1[1..]].concat();
        let setup = Setup::new(bytes.clone()).arrays(&[(second.0, &fewer), image]);
        let error = setup.network().and_then(|network| setup.dataset(&network)).unwrap_err();
        assert!(error.message().contains("number of samples"), "{what}: {error}");
        let setup = Setup::new(bytes).rows(&[10, 3, 8, 8]);
        let error = setup.network().and_then(|network| setup.dataset(&network)).unwrap_err();
        assert!(error.remedy_text().unwrap().contains("numpy.savez"), "{what}: {error}");
    }
    let eeg = Setup::new(two_images(&[2, 32])).arrays(&[("x", &[10, 2, 32]), ("second", &[10, 2, 32])]);
    eeg.works(10, "two signals");
    for gpu in gpus("several inputs") {
        eeg.prunes(&gpu, Repair::Full, "two signals");
    }
    // Rows of both arrays stay together, whatever the batch.
    let by = |batch| eeg.resumed(&Device::Cpu, Some(batch), None).unwrap();
    equal(&by(1), &by(4), all, "two signals in batches");
}

/// Returns the index of the largest of each sample's five scores.
fn classes(outputs: &[f32]) -> Vec<i64> {
    let best = |scores: &[f32]| (0..5).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as i64;
    outputs.chunks(5).map(best).collect()
}

#[test]
fn labels_belong_to_samples() {
    let vector = || with_second(|b, x| b.by_vector(x, "vector", 3));
    let signal = ("x", vec![10, 4, 64]);
    let cases = [
        ("two inputs", vector(), vec![("x", vec![10, 3, 8, 8]), ("vector", vec![10, 3])]),
        ("signals", ordinary(First::Batch, &[4, 64]), vec![signal.clone()]),
        ("a fixed batch", ordinary(First::Fixed(4), &[4, 64]), vec![signal.clone()]),
        ("no batch", ordinary(First::None, &[4, 64]), vec![signal]),
        ("frames of signals", ordinary(First::Frames(2), &[2, 32]), vec![("x", vec![10, 2, 2, 32])]),
        ("frames", ordinary(First::Frames(4), &IMAGE), vec![("x", vec![10, 4, 3, 8, 8])]),
    ];
    for (what, bytes, arrays) in cases {
        let mut tensors: Vec<_> = arrays
            .iter()
            .enumerate()
            .map(|(seed, (name, shape))| (*name, Tensor::float(shape, numbers(shape.iter().product(), seed))))
            .collect();
        let mut labels = classes(&Setup::new(bytes.clone()).npz(&tensors).outputs());
        labels[3] = (labels[3] + 1) % 5;
        tensors.push(("labels", Tensor::int(&[10], labels.clone())));
        let setup = Setup::new(bytes).npz(&tensors);
        let profile = setup.works(10, what);
        assert_eq!(profile.classes.iter().sum::<u64>(), 10, "{what}");
        assert_eq!(
            profile.classes[labels[3] as usize],
            labels.iter().filter(|&&l| l == labels[3]).count() as u64
        );
        assert_eq!(setup.evaluate(&Device::Cpu).accuracy.top1(), Some(0.9), "{what}");
    }
}

/// Tests a search with rounds and a report page, the comparison of criteria, timing, and the check of every step.
#[test]
fn other_operations_take_them_too() {
    let vector = || with_second(|b, x| b.by_vector(x, "vector", 3));
    let tokens = || with_second(|b, x| b.by_tokens(x, "tokens", 4));
    let cases = [
        ("a fixed batch", Setup::new(ordinary(First::Fixed(4), &IMAGE)).rows(&[10, 3, 8, 8])),
        ("no batch", Setup::new(ordinary(First::None, &IMAGE)).rows(&[10, 3, 8, 8])),
        ("frames", Setup::new(ordinary(First::Frames(4), &IMAGE)).rows(&[10, 4, 3, 8, 8])),
        ("clips", Setup::new(ordinary(First::Folded(2), &IMAGE)).rows(&[10, 2, 3, 8, 8])),
        ("vectors", Setup::new(linear("N 24")).rows(&[10, 24])),
        ("signals", Setup::new(ordinary(First::Batch, &[4, 64])).rows(&[10, 4, 64])),
        ("two inputs", Setup::new(vector()).arrays(&[("x", &[10, 3, 8, 8]), ("vector", &[10, 3])])),
        ("tokens", Setup::new(tokens()).arrays(&[("x", &[10, 3, 8, 8]), ("tokens", &[10, 4])])),
        ("a bound vector", Setup::new(vector()).value("vector", &[0.5]).rows(&[10, 3, 8, 8])),
    ];
    let device = &Device::Cpu;
    for (what, setup) in cases {
        let network = setup.network().unwrap();
        let data = setup.dataset(&network).unwrap();
        for data in [Some(&data), None] {
            let checks = check(&network.model, device, data, &mut Silent).unwrap();
            assert!(first_failing(&checks.steps).is_none() && !checks.steps.is_empty(), "{what}");
        }
        let bench = BenchOptions { batch: 1, seconds: 0.01, transfers: false };
        let options = BenchmarkOptions { bench, layers: false };
        let models = [network.model.clone()];
        assert!(benchmark(&models, device, options, &mut Silent).unwrap().networks[0].images_per_s > 0.0);
        let calibration = Calibration::new(data, setup.origin());
        let options = ComparisonOptions { keep_macs: vec![0.6], seeds: 1, ..ComparisonOptions::default() };
        let found =
            compare_criteria(&network, device, (&calibration, None), &options, &mut |_| Ok(()), &mut Silent)
                .unwrap();
        assert!(found.curves.len() > 10, "{what}: {:?}", found.left_out);
        let plan = PlanOptions { target: Target::MaxDrop(60.0), rounds: 2, ..PlanOptions::default() };
        let report = Some(ReportOptions { seconds: 0.0, ..ReportOptions::default() });
        let options = PruneOptions { plan, report, ..PruneOptions::default() };
        match prune(network, device, Evidence::images(&calibration), &options, &mut Silent) {
            Ok(Outcome::Done(pruned)) => assert!(pruned.proof.passed && pruned.page.is_some(), "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn an_input_that_no_node_takes_needs_nothing() {
    let unused = |dims: &str, elem_type| {
        let mut b = Builder::new(71, 8);
        let x = b.start("x", &IMAGE);
        b.declare("unused", elem_type, dims);
        let y = chain(&mut b, &x);
        b.finish(&[y], false).0
    };
    let expected = Setup::new(ordinary(First::Batch, &IMAGE)).rows(&[10, 3, 8, 8]).profile(&Device::Cpu);
    for (dims, elem_type) in [("N 7", FLOAT), ("", BOOL), ("M L", INT64), ("3 5", FLOAT)] {
        let profile = Setup::new(unused(dims, elem_type)).rows(&[10, 3, 8, 8]).works(10, dims);
        equal(&profile, &expected, all, dims);
    }
}

#[test]
fn a_bound_input_decides_a_branch() {
    let network = |dims: &str| {
        let mut b = Builder::new(80, 8);
        let x = b.start("x", &IMAGE);
        b.declare("fast", BOOL, dims);
        let y = b.conv(&x, 8, 3, 1, 1);
        let y = b.unary("Relu", &y);
        let y = b.either("fast", &y, 6);
        let y = chain(&mut b, &y);
        b.finish(&[y], false).0
    };
    for dims in ["", "1"] {
        let branch = |value: f64| Setup::new(network(dims)).value("fast", &[value]).rows(&[10, 3, 8, 8]);
        let [off, on] = [branch(0.0), branch(1.0)];
        off.works(10, "the second branch");
        on.works(10, "the first branch");
        assert!(!compare(&on.outputs(), &off.outputs(), Tolerance::NETWORK).passed(), "two branches");
    }
    // A comparison with a sample rate.
    let mut b = Builder::new(81, 8);
    let x = b.start("x", &[2, 32]);
    b.declare("rate", INT64, "");
    let limit = b.scalar(8000);
    let slow = b.node("Greater", &["rate", &limit], vec![], &[]);
    let y = chain(&mut b, &x);
    let picture = b.reshaped(&y, &[6, 4, 8]);
    let y = b.either(&slow.name, &picture, 5);
    let bytes = b.finish(&[y], false).0;
    for rate in [8000.0, 16000.0] {
        Setup::new(bytes.clone()).value("rate", &[rate]).rows(&[10, 2, 32]).works(10, "a sample rate");
    }
    let error = Setup::new(bytes).rows(&[10, 2, 32]).network().unwrap_err();
    assert!(error.remedy_text().unwrap().contains("`input` rate=1"), "{error}");
}

#[test]
fn free_channels_follow_from_weights() {
    let network = |dims: &str, before: &dyn Fn(&mut Builder) -> Value| {
        let mut b = Builder::new(82, 8);
        b.declare("x", FLOAT, dims);
        let x = before(&mut b);
        let y = chain(&mut b, &x);
        let y = b.conv_in_space(&y, 5, 1, 1, 1);
        b.with_outputs(&[(&y.name, "N K A B")])
    };
    let x = |shape: &[usize]| Value { name: "x".to_owned(), shape: shape.to_vec() };
    let cases: [(&str, &str, &dyn Fn(&mut Builder) -> Value, &[usize]); 5] = [
        ("all axes", "N C H W", &|_| x(&IMAGE), &[10, 3, 8, 8]),
        (
            "channels last",
            "N H W C",
            &|b| b.node("Transpose", &["x"], vec![ints("perm", &[0, 3, 1, 2])], &IMAGE),
            &[10, 8, 8, 3],
        ),
        (
            "padded",
            "N C H W",
            &|b| {
                let pads = b.whole(&[0, 0, 1, 1, 0, 0, 1, 1]);
                b.node("Pad", &["x", &pads], vec![], &[3, 10, 10])
            },
            &[10, 3, 8, 8],
        ),
        (
            "a signal as an image",
            "N C L",
            &|b| {
                let axis = b.whole(&[2]);
                b.node("Unsqueeze", &["x", &axis], vec![], &[2, 1, 32])
            },
            &[10, 2, 32],
        ),
        (
            "scaled first",
            "N C H W",
            &|b| {
                let two = b.floats(&[1, 1, 1], 2.0, 0.1);
                b.node("Mul", &["x", &two], vec![], &IMAGE)
            },
            &[10, 3, 8, 8],
        ),
    ];
    for (what, dims, before, data) in cases {
        let setup = Setup::new(network(dims, before)).rows(data);
        let profile = setup.works(10, what);
        let size = DataOptions {
            resize: Some(ResizeTo::Exact(Size { height: 8, width: 8 })),
            ..DataOptions::default()
        };
        if data.len() == 4 {
            let random = Setup::new(network(dims, before)).spec("random:4").options(size);
            assert_eq!(random.profile(&Device::Cpu).layers.len(), profile.layers.len(), "{what}");
        }
    }
}

#[test]
fn a_size_that_fits_is_taken_from_the_user_or_the_data() {
    // 48 pixels become one row, which a Squeeze removes: no other height fits.
    let network = |mode: &str| {
        let mut b = Builder::new(83, 8);
        b.declare("x", FLOAT, "N 3 H W");
        let y = chain(&mut b, &Value { name: "x".to_owned(), shape: vec![3, 48, 16] });
        let window = vec![ints("kernel_shape", &[48, 1]), text("auto_pad", "VALID")];
        let y = b.node(mode, &[&y.name], window, &[6, 1, 16]);
        let axis = b.whole(&[2]);
        let y = b.node("Squeeze", &[&y.name, &axis], vec![], &[6, 16]);
        let y = b.conv_in_space(&y, 5, 1, 1, 1);
        b.with_outputs(&[(&y.name, "N 5 W")])
    };
    for mode in ["AveragePool", "MaxPool"] {
        let error = Network::from_model(Model::from_bytes(network(mode), "built.onnx".as_ref()).unwrap())
            .unwrap_err();
        assert!(error.remedy_text().unwrap().contains("`size` x=1x3x224x224"), "{error}");
        let resize = Some(ResizeTo::Exact(Size { height: 48, width: 16 }));
        let options = DataOptions { resize, ..DataOptions::default() };
        Setup::new(network(mode)).spec("random:10").options(options).profile(&Device::Cpu);
        Setup::new(network(mode)).size("x", &[1, 3, 48, 20]).rows(&[10, 3, 48, 20]).works(10, "a given size");
        Setup::new(network(mode)).rows(&[10, 3, 48, 16]).works(10, "the size of the data");
        let image = InputBindings { image: Some([48, 24]), ..InputBindings::default() };
        let model = Model::from_bytes(network(mode), "built.onnx".as_ref()).unwrap().with_bindings(image);
        let graph = Graph::from_model(&model).unwrap();
        let outputs = Session::plain(&graph, &Device::Cpu, Some(1)).unwrap().plan.outputs;
        assert_eq!(outputs[0].shape, [1, 5, 24]);
    }
}

#[test]
fn profiles_record_the_values_of_inputs() {
    let with = |value: f64| {
        Setup::new(with_second(|b, x| b.by_scalar(x, "factor")))
            .value("factor", &[value])
            .rows(&[10, 3, 8, 8])
    };
    let (half, whole) = (with(0.5), with(1.0));
    let [first, second] = [&half, &whole].map(|setup| setup.profile(&Device::Cpu));
    assert_eq!(first.header.inputs, [("factor".to_owned(), "0.5".to_owned())]);
    let path = half.path("half.profile");
    first.save(&path).unwrap();
    assert_eq!(load_profile(&path, &half.network().unwrap()).unwrap().header, first.header);
    let error = load_profile(&path, &whole.network().unwrap()).unwrap_err();
    assert!(error.message().contains("other input values"), "{error}");
    let error = first.clone().merge(&second).unwrap_err();
    assert!(error.message().contains("input values"), "{error}");
    let error = whole.resumed(&Device::Cpu, None, Some(Resume::new(first, None))).unwrap_err();
    assert!(error.message().contains("input values"), "{error}");
    // Bindings of a model are those of its profile.
    let values = [("factor".to_owned(), Tensor::float(&[], vec![0.5]))].into();
    let bound = InputBindings { values, ..InputBindings::default() };
    let model = Model::load(&half.path("built.onnx")).unwrap().with_bindings(bound);
    assert!(load_profile(&path, &Network::from_model(model).unwrap()).is_ok());
}
