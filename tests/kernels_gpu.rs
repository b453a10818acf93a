//! Compares every kernel's shader with its `f64` reference on every adapter of this machine, including lavapipe, and
//! a small network on the CPU, on the adapters and in `f64`.
//!
//! Buffers are filled with NaN before each run, which exposes elements that a shader forgets or should not read.
//! Kernels that accumulate start from zeros and run twice. Without any adapter the tests print what they skip; with
//! SECATEUR_REQUIRE_GPU=1 they fail.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::sync::Arc;

use half::f16;
use secateur::compare::{Tolerance, compare};
use secateur::exec::check::{check, first_failing};
use secateur::exec::devices::Device;
use secateur::exec::reference::run_reference;
use secateur::kernels::activation::Activation;
use secateur::kernels::algorithms::algorithms;
use secateur::kernels::conv::ConvKernel;
use secateur::kernels::conv::PooledConv;
use secateur::kernels::elementwise::{BinaryKernel, BinaryOp};
use secateur::kernels::source::shader_reads_f16;
use secateur::kernels::window::Windows;
use secateur::kernels::{Case, KERNELS, Kernel, cases_of};
use secateur::plan::{Operand, Plan, Step};
use secateur::tensor::Precision;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/calls.rs"]
mod calls;

use adapters::gpus;
use calls::{expected, mismatch, mismatch_f16, noise, one_step, port};

#[test]
fn every_case_of_every_kernel_agrees_with_its_definition() {
    let gpus = gpus("every kernel's shader");
    let mut wrong = Vec::new();
    for row in KERNELS {
        let cases = cases_of(row);
        assert!(!cases.is_empty(), "{} has no cases", row.name);
        for case in &cases {
            let expected = expected(case);
            for device in &gpus {
                if let Some(why) = mismatch(case, device, &expected, "") {
                    wrong.push(format!("{} ({}) on {}: {why}", row.name, case.label, device.describe().name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Inputs are representable as f16, so only the rounding of weights and results differs from the reference.
#[test]
fn every_case_and_algorithm_agrees_with_its_definition_in_f16() {
    let gpus: Vec<Device> =
        gpus("f16 storage").into_iter().filter(|gpu| gpu.clone().at(Precision::F16).is_ok()).collect();
    if gpus.is_empty() {
        return adapters::left_out("f16 storage: no adapter here supports it");
    }
    let (mut wrong, mut passed) = (Vec::new(), BTreeSet::new());
    for case in KERNELS.iter().flat_map(|row| cases_of(row)) {
        let round = |x: &f32| f16::from_f32(*x).to_f32();
        let inputs = case.inputs.iter().enumerate().map(|(i, data)| {
            if shader_reads_f16(&*case.kernel, i) { data.iter().map(round).collect() } else { data.clone() }
        });
        let case = Case { inputs: inputs.collect(), ..case.clone() };
        // Values beyond the range of f16 become infinite.
        let large = |&y: &f64| if y.abs() < 65520.0 || y.is_nan() { y } else { y.signum() * f64::INFINITY };
        let f16 = case.kernel.row().writes_f16();
        let expected = expected(&case);
        let expected: Vec<f64> = if f16 { expected.iter().map(large).collect() } else { expected };
        let list = algorithms(&*case.kernel).into_iter().map(|algorithm| algorithm.name);
        for (device, algorithm) in
            gpus.iter().flat_map(|g| std::iter::once("").chain(list.clone()).map(move |w| (g, w)))
        {
            if !algorithm.is_empty()
                && device.load_by(&one_step(&case, algorithm).0, algorithm, true).is_err()
            {
                continue;
            }
            passed.insert((case.kernel.row().name, algorithm));
            if let Some(why) = mismatch_f16(&case, device, &expected, algorithm) {
                wrong.push(format!("{} ({}) by \"{algorithm}\": {why}", case.kernel.row().name, case.label));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed.len() > KERNELS.len(), "{passed:?}");
}

/// The names of all algorithms, and of those that a device here can run.
fn names(gpus: &[Device], cases: &[Case]) -> [BTreeSet<&'static str>; 2] {
    let all =
        cases.iter().flat_map(|case| algorithms(&*case.kernel)).map(|algorithm| algorithm.name).collect();
    let runs = |case: &Case, name: &str| {
        gpus.iter().any(|gpu| gpu.load_by(&one_step(case, name).0, name, true).is_ok())
    };
    let run = |case: &Case| -> Vec<&'static str> {
        algorithms(&*case.kernel)
            .iter()
            .map(|algorithm| algorithm.name)
            .filter(|name| runs(case, name))
            .collect()
    };
    [all, cases.iter().flat_map(run).collect()]
}

/// Every algorithm must agree with the reference of the call that it replaces.
#[test]
fn every_algorithm_of_every_case_agrees_with_the_definition() {
    let gpus = gpus("every algorithm");
    let mut wrong = Vec::new();
    let cases: Vec<Case> = KERNELS
        .iter()
        .flat_map(|row| cases_of(row))
        .filter(|case| !algorithms(&*case.kernel).is_empty())
        .collect();
    let [all, run] = names(&gpus, &cases);
    assert!(all.len() >= 6, "{all:?}");
    for name in all.difference(&run) {
        adapters::left_out(&format!("the algorithm \"{name}\": no adapter here can run it"));
    }
    let software = gpus.iter().any(|gpu| gpu.describe().name.contains("llvmpipe"));
    assert!(!software || all == run, "lavapipe can run every algorithm, and ran {run:?} of {all:?}");
    for case in &cases {
        let expected = expected(case);
        for algorithm in
            algorithms(&*case.kernel).into_iter().filter(|algorithm| run.contains(algorithm.name))
        {
            for device in &gpus {
                if let Some(why) = mismatch(case, device, &expected, algorithm.name) {
                    let (row, device) = (case.kernel.row().name, device.describe().name);
                    wrong.push(format!("{row} ({}) by {} on {device}: {why}", case.label, algorithm.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The bits of an image must not depend on its batch, whichever algorithm computes it.
#[test]
fn the_batch_changes_no_bit_of_any_algorithm() {
    let conv = ConvKernel {
        batch: 1,
        groups: 1,
        in_channels: 19,
        out_channels: 37,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([15, 13]) },
        out_offset: 0,
        out_total: 37,
        residual: false,
        activation: Activation::Relu,
    };
    let point = ConvKernel { windows: Windows::points([7, 7]), ..conv.clone() };
    let quads = ConvKernel { windows: Windows::points([4, 6]), ..point.clone() };
    let rows = ConvKernel { windows: Windows::points([1, 1]), ..point.clone() };
    let with = |conv: ConvKernel| [ConvKernel { residual: true, ..conv.clone() }, conv];
    let plain = |conv: ConvKernel| (conv, false);
    let calls =
        [conv.clone(), point, quads, rows].into_iter().flat_map(with).map(plain).chain([(conv, true)]);
    for (conv, pooled) in calls {
        let kernel = |batch| -> Arc<dyn Kernel> {
            let conv = ConvKernel { batch, ..conv.clone() };
            if pooled { Arc::new(PooledConv { conv }) } else { Arc::new(conv) }
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
            let run = |case: &Case, algorithm: &str| -> Vec<u32> {
                let (plan, inputs) = one_step(case, algorithm);
                let mut executor = device.load_by(&plan, algorithm, true).unwrap();
                executor.run(&inputs).unwrap().concat().into_iter().map(f32::to_bits).collect()
            };
            let list = algorithms(&*kernel(1)).into_iter().map(|algorithm| algorithm.name);
            for algorithm in std::iter::once("").chain(list) {
                let runs =
                    |algorithm| device.load_by(&one_step(&case(1, 0), algorithm).0, algorithm, true).is_ok();
                if !runs(algorithm) {
                    continue;
                }
                let together = run(&case(7, 0), algorithm);
                let len = together.len() / 7;
                for image in [0, 3, 6] {
                    let alone = run(&case(1, image), algorithm);
                    assert!(
                        alone == together[image * len..][..len],
                        "image {image} of {conv:?} by \"{algorithm}\""
                    );
                }
            }
        }
    }
}

/// Every shader must return NaN where the reference does.
///
/// Skips the parts of Winograd's method, whose references multiply by zeros that shaders leave out; the whole algorithm
/// is tested.
#[test]
fn nan_is_not_hidden() {
    let left_out = |case: &Case| case.kernel.accumulates() || case.kernel.row().name.starts_with("winograd_");
    let mut wrong = Vec::new();
    for mut case in KERNELS.iter().flat_map(|row| cases_of(row)).filter(|case| !left_out(case)) {
        let Some(first) = case.inputs.first_mut() else { continue };
        let middle = first.len() / 2;
        first[middle] = f32::NAN;
        let expected = expected(&case);
        let list = algorithms(&*case.kernel)
            .into_iter()
            .map(|algorithm| algorithm.name)
            .filter(|name| name.starts_with("winograd"));
        let list: Vec<&str> = std::iter::once("").chain(list).collect();
        for device in gpus("NaN") {
            for algorithm in &list {
                let (plan, inputs) = one_step(&case, algorithm);
                let Ok(mut executor) = device.load_by(&plan, algorithm, true) else { continue };
                let got = executor.run(&inputs).unwrap().concat();
                if let Some(at) = expected.iter().zip(&got).position(|(e, g)| e.is_nan() && !g.is_nan()) {
                    let row = case.kernel.row().name;
                    wrong.push(format!(
                        "{row} ({}) by \"{algorithm}\": element {at} is {}",
                        case.label, got[at]
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

const SIDE: usize = 9;
const CHANNELS: usize = 12;

/// A residual block with shared weights, a value that is added to itself, and reused buffers.
fn network() -> (Plan, Vec<f32>) {
    use Operand::{Buffer, Constant};
    let shape = [2, CHANNELS, SIDE, SIDE];
    let len = shape.iter().product();
    let conv = |activation| ConvKernel {
        batch: 2,
        groups: 1,
        in_channels: CHANNELS,
        out_channels: CHANNELS,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([SIDE; 2]) },
        out_offset: 0,
        out_total: CHANNELS,
        residual: false,
        activation,
    };
    let add = || {
        BinaryKernel::new(BinaryOp::Add, &shape, &shape, Activation::Relu).expect("equal shapes broadcast")
    };
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
