//! Every kernel's shader on every adapter here, lavapipe included, against the kernel's `f64` definition; then a
//! small network on the CPU, on the adapters and in `f64`.
//!
//! Buffers are full of NaN before each run, so an element that a shader forgets, or should not have read, shows.
//! What accumulates starts as zeros and runs twice.
//! Without any adapter the tests say aloud what they leave out; with SECATEUR_REQUIRE_GPU=1 they fail.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::sync::Arc;

use half::f16;
use secateur::compare::{Tolerance, compare};
use secateur::exec::check::{check, first_failing};
use secateur::exec::devices::Device;
use secateur::exec::reference::run_reference;
use secateur::kernels::activation::Activation;
use secateur::kernels::binary::{Binary, BinaryOp};
use secateur::kernels::conv::Conv;
use secateur::kernels::conv_pooled::Pooled;
use secateur::kernels::source::own_reads_halves;
use secateur::kernels::window::Windows;
use secateur::kernels::{Case, KERNELS, Kernel};
use secateur::plan::{Operand, Plan, Step};
use secateur::tensor::Precision;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/calls.rs"]
mod calls;

use adapters::gpus;
use calls::{expected, judge, judge_halves, noise, one_step, port};

#[test]
fn every_case_of_every_kernel_agrees_with_its_definition() {
    let gpus = gpus("every kernel's shader");
    let mut wrong = Vec::new();
    for row in KERNELS {
        let cases = (row.cases)();
        assert!(!cases.is_empty(), "{} has no cases", row.name);
        for case in &cases {
            let expected = expected(case);
            for device in &gpus {
                if let Some(why) = judge(case, device, &expected, "") {
                    wrong.push(format!("{} ({}) on {}: {why}", row.name, case.label, device.describe().name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Halves that are given are exact in the reference too, so what differs is the rounding of weights and results.
#[test]
fn every_case_and_way_agrees_with_its_definition_in_halves() {
    let gpus: Vec<Device> =
        gpus("halves").into_iter().filter(|gpu| gpu.clone().at(Precision::F16).is_ok()).collect();
    if gpus.is_empty() {
        return adapters::left_out("halves: no adapter here computes with f16");
    }
    let (mut wrong, mut passed) = (Vec::new(), BTreeSet::new());
    for case in KERNELS.iter().flat_map(|row| (row.cases)()) {
        let round = |x: &f32| f16::from_f32(*x).to_f32();
        let inputs = case.inputs.iter().enumerate().map(|(i, data)| {
            if own_reads_halves(&*case.kernel, i) { data.iter().map(round).collect() } else { data.clone() }
        });
        let case = Case { inputs: inputs.collect(), ..case.clone() };
        // What is too large for a half is infinite.
        let large = |&y: &f64| if y.abs() < 65520.0 || y.is_nan() { y } else { y.signum() * f64::INFINITY };
        let halves = case.kernel.row().writes_halves();
        let expected = expected(&case);
        let expected: Vec<f64> = if halves { expected.iter().map(large).collect() } else { expected };
        let ways = case.kernel.ways().into_iter().map(|way| way.name);
        for (device, way) in
            gpus.iter().flat_map(|g| std::iter::once("").chain(ways.clone()).map(move |w| (g, w)))
        {
            if !way.is_empty() && device.load_by(&one_step(&case, way).0, way, true).is_err() {
                continue;
            }
            passed.insert((case.kernel.row().name, way));
            if let Some(why) = judge_halves(&case, device, &expected, way) {
                wrong.push(format!("{} ({}) by \"{way}\": {why}", case.kernel.row().name, case.label));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed.len() > KERNELS.len(), "{passed:?}");
}

/// The names of all ways, and of those that the devices here can go.
fn names(gpus: &[Device], cases: &[Case]) -> [BTreeSet<&'static str>; 2] {
    let all = cases.iter().flat_map(|case| case.kernel.ways()).map(|way| way.name).collect();
    let goes = |case: &Case, name: &str| {
        gpus.iter().any(|gpu| gpu.load_by(&one_step(case, name).0, name, true).is_ok())
    };
    let gone = |case: &Case| -> Vec<&'static str> {
        case.kernel.ways().iter().map(|way| way.name).filter(|name| goes(case, name)).collect()
    };
    [all, cases.iter().flat_map(gone).collect()]
}

/// Every way of every call is the same call: the same cases, the same definition.
#[test]
fn every_way_of_every_case_agrees_with_the_definition() {
    let gpus = gpus("every way");
    let mut wrong = Vec::new();
    let cases: Vec<Case> =
        KERNELS.iter().flat_map(|row| (row.cases)()).filter(|case| !case.kernel.ways().is_empty()).collect();
    let [all, gone] = names(&gpus, &cases);
    assert!(all.len() >= 6, "{all:?}");
    for name in all.difference(&gone) {
        adapters::left_out(&format!("the way \"{name}\": no adapter here can go it"));
    }
    let software = gpus.iter().any(|gpu| gpu.describe().name.contains("llvmpipe"));
    assert!(!software || all == gone, "lavapipe can go every way, and went {gone:?} of {all:?}");
    for case in &cases {
        let expected = expected(case);
        for way in case.kernel.ways().into_iter().filter(|way| gone.contains(way.name)) {
            for device in &gpus {
                if let Some(why) = judge(case, device, &expected, way.name) {
                    let (row, device) = (case.kernel.row().name, device.describe().name);
                    wrong.push(format!("{row} ({}) by {} on {device}: {why}", case.label, way.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// An image's bits must not depend on its company, whatever way is taken.
#[test]
fn the_batch_changes_no_bit_of_any_way() {
    let conv = Conv {
        batch: 1,
        groups: 1,
        in_channels: 19,
        out_channels: 37,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([15, 13]) },
        out_offset: 0,
        out_total: 37,
        addend: false,
        activation: Activation::Relu,
    };
    let point = Conv { windows: Windows::points([7, 7]), ..conv.clone() };
    let quads = Conv { windows: Windows::points([4, 6]), ..point.clone() };
    let rows = Conv { windows: Windows::points([1, 1]), ..point.clone() };
    let with = |conv: Conv| [Conv { addend: true, ..conv.clone() }, conv];
    let plain = |conv: Conv| (conv, false);
    let calls =
        [conv.clone(), point, quads, rows].into_iter().flat_map(with).map(plain).chain([(conv, true)]);
    for (conv, pooled) in calls {
        let kernel = |batch| -> Arc<dyn Kernel> {
            let conv = Conv { batch, ..conv.clone() };
            if pooled { Arc::new(Pooled { conv }) } else { Arc::new(conv) }
        };
        let case = |batch: usize, first: usize| {
            let kernel = kernel(batch);
            let lens = kernel.input_lens();
            let image = lens[0] / batch;
            let x = noise(image * 7, 5)[image * first..][..lens[0]].to_vec();
            let mut inputs = vec![x, noise(lens[1], 6), noise(lens[2], 7)];
            if let Some(&len) = lens.get(3) {
                inputs.push(noise(len / batch * 7, 8)[len / batch * first..][..len].to_vec());
            }
            Case { label: String::new(), kernel, inputs }
        };
        for device in gpus("the batch's bits") {
            let run = |case: &Case, way: &str| -> Vec<u32> {
                let (plan, inputs) = one_step(case, way);
                let mut executor = device.load_by(&plan, way, true).unwrap();
                executor.run(&inputs).unwrap().concat().into_iter().map(f32::to_bits).collect()
            };
            let ways = kernel(1).ways().into_iter().map(|way| way.name);
            for way in std::iter::once("").chain(ways) {
                let goes = |way| device.load_by(&one_step(&case(1, 0), way).0, way, true).is_ok();
                if !goes(way) {
                    continue;
                }
                let together = run(&case(7, 0), way);
                let len = together.len() / 7;
                for image in [0, 3, 6] {
                    let alone = run(&case(1, image), way);
                    assert!(
                        alone == together[image * len..][..len],
                        "image {image} of {conv:?} by \"{way}\""
                    );
                }
            }
        }
    }
}

/// A broken network must not be made to look healthy: where the definition gives NaN, so does every shader. Left out are
/// the parts of Winograd's method, whose definitions multiply by zeros what shaders leave out: they are tried together.
#[test]
fn nan_is_not_hidden() {
    let left_out = |case: &Case| case.kernel.accumulates() || case.kernel.row().name.starts_with("winograd_");
    let mut wrong = Vec::new();
    for mut case in KERNELS.iter().flat_map(|row| (row.cases)()).filter(|case| !left_out(case)) {
        let Some(first) = case.inputs.first_mut() else { continue };
        let middle = first.len() / 2;
        first[middle] = f32::NAN;
        let expected = expected(&case);
        let ways =
            case.kernel.ways().into_iter().map(|way| way.name).filter(|name| name.starts_with("winograd"));
        let ways: Vec<&str> = std::iter::once("").chain(ways).collect();
        for device in gpus("NaN") {
            for way in &ways {
                let (plan, inputs) = one_step(&case, way);
                let Ok(mut executor) = device.load_by(&plan, way, true) else { continue };
                let got = executor.run(&inputs).unwrap().concat();
                if let Some(at) = expected.iter().zip(&got).position(|(e, g)| e.is_nan() && !g.is_nan()) {
                    let row = case.kernel.row().name;
                    wrong.push(format!("{row} ({}) by \"{way}\": element {at} is {}", case.label, got[at]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

const SIDE: usize = 9;
const CHANNELS: usize = 12;

/// A residual block: two convolutions that share their weights, the input added to itself, a sum, and buffers that
/// are used again.
fn network() -> (Plan, Vec<f32>) {
    use Operand::{Buffer, Constant};
    let shape = [2, CHANNELS, SIDE, SIDE];
    let len = shape.iter().product();
    let conv = |activation| Conv {
        batch: 2,
        groups: 1,
        in_channels: CHANNELS,
        out_channels: CHANNELS,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([SIDE; 2]) },
        out_offset: 0,
        out_total: CHANNELS,
        addend: false,
        activation,
    };
    let add =
        || Binary::new(BinaryOp::Add, &shape, &shape, Activation::Relu).expect("equal shapes broadcast");
    let step = |node: &str, kernel: Arc<dyn Kernel>, inputs: &[Operand], output| Step {
        kernel,
        inputs: inputs.to_vec(),
        output,
        node: node.into(),
        value: None,
    };
    let (weights, bias) = (Constant(0), Constant(1));
    let plan = Plan {
        buffers: vec![len, len, len + 100],
        constants: vec![Arc::new(noise(CHANNELS * CHANNELS * 9, 1)), Arc::new(noise(CHANNELS, 2))],
        steps: vec![
            step("conv1", Arc::new(conv(Activation::Relu)), &[Buffer(0), weights, bias], 1),
            step("double", Arc::new(add()), &[Buffer(1), Buffer(1)], 2),
            step("conv2", Arc::new(conv(Activation::None)), &[Buffer(2), weights, bias], 1),
            step("sum", Arc::new(add()), &[Buffer(0), Buffer(1)], 2),
        ],
        inputs: vec![port("x", Buffer(0), &shape)],
        outputs: vec![port("y", Buffer(2), &shape), port("bias", bias, &[CHANNELS])],
        batch: 2,
        ..Plan::default()
    };
    (plan, noise(len, 3))
}

#[test]
fn a_network_agrees_on_the_cpu_on_every_adapter_and_in_f64() {
    let (plan, x) = network();
    let wide: Vec<f64> = x.iter().map(|&x| x.into()).collect();
    let expected = run_reference(&plan, &[&wide], None).unwrap();
    let mut devices = gpus("a small network");
    devices.push(Device::Cpu);
    for device in &devices {
        let name = device.describe().name;
        let mut executor = device.load_poisoned(&plan).unwrap();
        let first = executor.run(&[&x]).unwrap();
        for (got, expected) in first.iter().zip(&expected) {
            let verdict = compare(got, expected, Tolerance::NETWORK);
            assert!(verdict.passed(), "{name}: {verdict}");
        }
        let mut seen = 0;
        let watched = executor.run_watched(&[&x], &mut |index, output| {
            assert_eq!((index, output.len()), (seen, x.len()));
            seen += 1;
            Ok(())
        });
        assert_eq!((watched.unwrap(), seen), (first, plan.steps.len()), "{name}: the watched run differs");
        let checks = check(&plan, device, &[&x], &mut secateur::observer::Silent).unwrap().steps;
        assert_eq!(first_failing(&checks), None, "{name}");
        assert!(checks.iter().all(|c| c.drift < 1e-5), "{name}: {checks:?}");
    }
}
