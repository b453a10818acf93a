//! Tests of the interpreters on a small kernel, on the CPU and on all available GPUs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::check::{check, first_failing};
use super::devices::{Device, DeviceChoice, list, open};
use super::reference::run_reference;
use super::*;
use crate::compare::{Tolerance, compare};
use crate::kernels::activation::Activation;
use crate::kernels::algorithms::algorithms;
use crate::kernels::conv::ConvKernel;
use crate::kernels::window::Windows;
use crate::kernels::{Dispatch, Kernel, KernelRow};
use crate::observer::Silent;
use crate::tensor::DType;

/// A kernel for `output[at + i] = a[i] + factor·b[i]`, to whose CPU version a test may add an error `slip`.
#[derive(Debug, Clone, Copy)]
struct Mix {
    len: usize,
    at: usize,
    whole: usize,
    factor: f32,
    slip: f32,
}

static MIX: KernelRow = KernelRow {
    name: "mix",
    shader: "
        struct Params { len: u32, at: u32, factor: f32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read_write> output: array<f32>;
        @group(0) @binding(2) var<storage, read> a: array<f32>;
        @group(0) @binding(3) var<storage, read> b: array<f32>;
        override size: u32 = 64;
        @compute @workgroup_size(size)
        fn main(@builtin(global_invocation_id) id: vec3u) {
            if id.x < params.len { output[params.at + id.x] = a[id.x] + params.factor * b[id.x]; }
        }",
    doc: "for tests",
    params: &[],
    params_size: 12,
    file: "",
};

impl Kernel for Mix {
    fn row(&self) -> &'static KernelRow {
        &MIX
    }
    fn input_lens(&self) -> Vec<usize> {
        vec![self.len; 2]
    }
    fn output_len(&self) -> usize {
        self.whole
    }
    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for i in 0..self.len {
            output[self.at + i] = inputs[0][i] + f64::from(self.factor) * inputs[1][i];
        }
    }
    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        for i in 0..self.len {
            output[self.at + i] = inputs[0][i] + self.factor * inputs[1][i] + self.slip;
        }
    }
    fn dispatch(&self) -> Dispatch {
        Dispatch {
            overrides: vec![("size", 32.0)],
            params: [self.len as u32, self.at as u32, self.factor.to_bits()]
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect(),
            workgroups: [self.len.div_ceil(32) as u32, 1, 1],
        }
    }
    fn tolerance(&self) -> Tolerance {
        Tolerance::ELEMENTWISE
    }
}

const N: usize = 37;

fn mix(factor: f32) -> Mix {
    Mix { len: N, at: 0, whole: N, factor, slip: 0.0 }
}

fn step(node: &str, kernel: Mix, inputs: [Operand; 2], output: usize) -> Step {
    Step { kernel: Arc::new(kernel), inputs: inputs.to_vec(), output, node: node.into(), value: None }
}

/// Four steps: a constant operand, one buffer as both inputs, a buffer written again, and two halves of one
/// output; a constant among the outputs.
fn plan(slip: f32) -> Plan {
    use Operand::{Buffer, Constant};
    let port =
        |name: &str, place, len| Port { name: name.into(), place, shape: vec![1, len], dtype: DType::F32 };
    let half = |at| Mix { at, whole: 2 * N, ..mix(-1.5) };
    Plan {
        // Buffer 1 is longer than its contents, as buffers are that several tensors share.
        buffers: vec![N, N + 5, N, 2 * N],
        constants: vec![Arc::new((0..N).map(|i| i as f32 * 0.25 - 3.0).collect())],
        steps: vec![
            step("first", mix(2.0), [Buffer(0), Constant(0)], 1),
            step("twice", Mix { slip, ..mix(0.5) }, [Buffer(1), Buffer(1)], 2),
            step("reuse", mix(3.0), [Buffer(0), Buffer(2)], 1),
            step("left", half(0), [Buffer(1), Buffer(2)], 3),
            step("right", half(N), [Constant(0), Buffer(1)], 3),
        ],
        inputs: vec![port("x", Buffer(0), N)],
        outputs: vec![port("y", Buffer(3), 2 * N), port("c", Constant(0), N), port("z", Buffer(2), N)],
        batch: 1,
        ..Plan::default()
    }
}

fn input() -> Vec<f32> {
    (0..N).map(|i| (i as f32 * 0.7).sin()).collect()
}

fn devices() -> Vec<Device> {
    let gpus = list().into_iter().map(|info| open(&DeviceChoice::Index(info.index)).unwrap().0);
    std::iter::once(Device::Cpu).chain(gpus).collect()
}

#[test]
fn every_device_agrees_with_the_reference_run_after_run() {
    let x = input();
    let expected = run_reference(&plan(0.0), &[&reference::widen(&x)], None).unwrap();
    for device in devices() {
        let mut executor = device.load_poisoned(&plan(0.0)).unwrap();
        for _ in 0..2 {
            let got = executor.run(&[&x]).unwrap();
            assert_eq!(got.len(), 3);
            for (got, expected) in got.iter().zip(&expected) {
                let verdict = compare(got, expected, Tolerance::ELEMENTWISE);
                assert!(verdict.passed(), "{:?}: {verdict}", device.describe());
            }
        }
        assert!(executor.time(&[&x]).unwrap() > 0.0);
    }
}

#[test]
fn a_watched_run_reports_every_step_and_returns_equal_outputs() {
    let x = input();
    for device in devices() {
        let mut executor = device.load(&plan(0.0)).unwrap();
        let mut lens = Vec::new();
        let watched = executor
            .run_watched(&[&x], &mut |index, output| {
                assert_eq!(index, lens.len());
                lens.push(output.len());
                Ok(())
            })
            .unwrap();
        assert_eq!(lens, [N, N, N, 2 * N, 2 * N]);
        assert_eq!(watched, executor.run(&[&x]).unwrap(), "{:?}", device.describe());
        let stop = executor.run_watched(&[&x], &mut |_, _| Err(Error::new("enough")));
        assert_eq!(stop.unwrap_err().what(), "enough");
    }
}

#[test]
fn check_fails_the_faulty_step_and_no_other() {
    let x = input();
    for device in devices() {
        let right = check(&plan(0.0), &device, &[&x], &mut Silent).unwrap().steps;
        assert_eq!(right.len(), 5);
        assert_eq!(first_failing(&right), None);
    }
    let wrong = check(&plan(1e-3), &Device::Cpu, &[&x], &mut Silent).unwrap().steps;
    let failing: Vec<&str> = wrong.iter().filter(|c| !c.verdict.passed()).map(|c| c.node.as_str()).collect();
    assert_eq!(failing, ["twice"]);
    assert_eq!(first_failing(&wrong).map(|c| c.index), Some(1));
    assert!(wrong[0].drift < 1e-6 && wrong[4].drift > 1e-5, "later steps drift, and are right");
}

#[test]
fn an_inconsistent_plan_is_an_error_with_a_node() {
    let sum = |place| Port { name: "sum".into(), place, shape: vec![N], dtype: DType::F32 };
    let spoil: [(&str, &dyn Fn(&mut Plan)); 8] = [
        ("first", &|p| p.steps[0].inputs[1] = Operand::Constant(7)),
        ("first", &|p| p.steps[0].inputs.truncate(1)),
        ("reuse", &|p| p.steps[2].output = 0),
        ("left", &|p| p.steps[3].output = 2),
        ("x", &|p| p.inputs[0].place = Operand::Constant(0)),
        ("z", &|p| p.outputs[2].shape = vec![2, N]),
        ("twice", &|p| p.sums.push(sum(Operand::Buffer(2)))),
        ("sum", &|p| p.sums.push(sum(Operand::Constant(0)))),
    ];
    for (node, spoil) in spoil {
        let mut plan = plan(0.0);
        spoil(&mut plan);
        for device in devices() {
            let error = device.load(&plan).err().unwrap();
            assert_eq!(error.node_name(), Some(node), "{error}");
        }
        assert!(run_reference(&plan, &[&[0.0; N]], None).is_err());
    }
}

#[test]
fn wrong_inputs_are_an_error_and_the_next_run_succeeds() {
    for device in devices() {
        let mut executor = device.load(&plan(0.0)).unwrap();
        assert!(executor.run(&[]).is_err());
        assert!(executor.run(&[&[0.0; N + 1]]).is_err());
        assert!(executor.run(&[&input()]).is_ok());
    }
}

#[test]
fn a_plan_beyond_the_limits_of_a_gpu_is_an_error_with_node_and_remedy() {
    for device in devices().into_iter().filter(|d| matches!(d, Device::Gpu(..))) {
        let limits = device.limits();
        let huge = limits.max_binding as usize / 4 + 4;
        let whole = |len| Mix { whole: len, ..mix(1.0) };
        let mut large = plan(0.0);
        large.buffers[3] = huge;
        large.steps[3].kernel = Arc::new(whole(huge));
        let mut wide = plan(0.0);
        wide.steps[3].kernel = Arc::new(Wide);
        for plan in [large, wide] {
            let error = device.load(&plan).err().unwrap();
            assert_eq!(error.node_name(), Some("left"), "{error}");
            assert!(error.remedy_text().is_some_and(|r| r.contains("`batch`")), "{error}");
        }
        assert!(device.load(&plan(0.0)).unwrap().run(&[&input()]).is_ok());
    }
}

/// A kernel whose launch exceeds the limits of every device.
#[derive(Debug)]
struct Wide;

impl Kernel for Wide {
    fn row(&self) -> &'static KernelRow {
        &MIX
    }
    fn input_lens(&self) -> Vec<usize> {
        vec![N; 2]
    }
    fn output_len(&self) -> usize {
        2 * N
    }
    fn reference(&self, _: &[&[f64]], _: &mut [f64]) {}
    fn cpu(&self, _: &[&[f32]], _: &mut [f32]) {}
    fn dispatch(&self) -> Dispatch {
        Dispatch { workgroups: [1 << 30, 1, 1], ..mix(1.0).dispatch() }
    }
    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

static BROKEN: KernelRow = KernelRow { name: "broken", shader: "this is not WGSL", ..MIX_AS_CONST };
const MIX_AS_CONST: KernelRow =
    KernelRow { name: "", shader: "", doc: "", params: &[], params_size: 0, file: "" };

/// A kernel whose shader does not compile.
#[derive(Debug)]
struct Broken;

impl Kernel for Broken {
    fn row(&self) -> &'static KernelRow {
        &BROKEN
    }
    fn input_lens(&self) -> Vec<usize> {
        vec![N; 2]
    }
    fn output_len(&self) -> usize {
        N
    }
    fn reference(&self, _: &[&[f64]], _: &mut [f64]) {}
    fn cpu(&self, _: &[&[f32]], _: &mut [f32]) {}
    fn dispatch(&self) -> Dispatch {
        Dispatch { workgroups: [1, 1, 1], ..Dispatch::default() }
    }
    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

#[test]
fn a_shader_that_does_not_compile_is_an_error_and_the_device_remains_usable() {
    for device in devices().into_iter().filter(|d| matches!(d, Device::Gpu(..))) {
        let mut plan = plan(0.0);
        plan.steps[1].kernel = Arc::new(Broken);
        let error = device.load(&plan).err().unwrap();
        assert_eq!(error.node_name(), Some("twice"), "{error}");
        assert!(error.what().contains("broken"), "{error}");
        plan = self::plan(0.0);
        assert!(device.load(&plan).unwrap().run(&[&input()]).is_ok());
    }
}

/// The algorithm of a convolution on software adapters is `lanes`.
#[test]
fn an_algorithm_whose_shader_does_not_compile_is_replaced_with_a_note() {
    let conv = ConvKernel {
        batch: 2,
        groups: 1,
        in_channels: 32,
        out_channels: 32,
        windows: Windows { stride: [2, 2], out_hw: [8, 8], ..Windows::points([16, 16]) },
        out_offset: 0,
        out_total: 32,
        residual: false,
        activation: Activation::None,
    };
    let data: Vec<Vec<f32>> =
        conv.input_lens().into_iter().map(|len| (0..len).map(|i| (i % 23) as f32 - 11.0).collect()).collect();
    let port = |place, len| Port { name: String::new(), place, shape: vec![len], dtype: DType::F32 };
    let step = Step {
        inputs: vec![Operand::Buffer(0), Operand::Constant(0), Operand::Constant(1)],
        output: 1,
        node: "conv".into(),
        value: None,
        kernel: Arc::new(conv.clone()),
    };
    let plan = Plan {
        batch: 2,
        buffers: vec![data[0].len(), conv.output_len()],
        constants: data[1..].iter().cloned().map(Arc::new).collect(),
        inputs: vec![port(Operand::Buffer(0), data[0].len())],
        outputs: vec![port(Operand::Buffer(1), conv.output_len())],
        steps: vec![step],
        ..Plan::default()
    };
    for device in devices() {
        let Device::Gpu(gpu, _) = &device else { continue };
        let expected = device.load(&plan).unwrap().run(&[&data[0]]).unwrap();
        assert!(device.notes().is_empty());
        let rules = algorithms(&conv).into_iter().filter(|algorithm| algorithm.rule.is_some());
        let used = rules.flat_map(|algorithm| algorithm.calls).map(|call| call.kernel.row().name);
        for name in used.collect::<BTreeSet<_>>() {
            *gpu.broken.lock().unwrap() = Some(name);
            assert_eq!(device.load(&plan).unwrap().run(&[&data[0]]).unwrap(), expected, "without {name}");
        }
        let note = device.notes().join("\n");
        assert!(note.contains("the test broke the shader"), "{note}");
        *gpu.broken.lock().unwrap() = Some("conv");
        let error = device.load_by(&plan, "", false).err().unwrap();
        assert_eq!(error.node_name(), Some("conv"), "{error}");
    }
}

#[test]
fn threads_can_share_a_device() {
    let x = input();
    for device in devices() {
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut executor = device.load(&plan(0.0)).unwrap();
                    for _ in 0..5 {
                        let outputs = executor.run(&[&x]).unwrap();
                        results.lock().unwrap().push(outputs);
                    }
                });
            }
        });
        let results = results.into_inner().unwrap();
        assert_eq!(results.len(), 20);
        assert!(results.iter().all(|r| *r == results[0]));
    }
}
