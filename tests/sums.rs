//! Compares the second moments that accumulate on the CPU and on every adapter with the reference applied to the
//! network's values.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::PathBuf;
use std::sync::Arc;

use secateur::compare::{Tolerance, compare};
use secateur::exec::check::{check, first_failing};
use secateur::exec::devices::Device;
use secateur::exec::reference::run_reference;
use secateur::exec::session::{Probes, Session, SessionOptions};
use secateur::graph::facts::Facts;
use secateur::graph::{Graph, ValueId};
use secateur::kernels::Kernel;
use secateur::kernels::moments::GramKernel;
use secateur::kernels::window::Windows;
use secateur::onnx::Model;
use secateur::plan::{self, BuildOptions, Probe};

#[path = "common/adapters.rs"]
mod adapters;

use adapters::gpus;

const IMAGES: usize = 8;

fn graph() -> Graph {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/demo.onnx");
    Graph::from_model(&Model::load(&file).unwrap()).unwrap()
}

/// The input and the outputs of all convolutions: maps of several sizes and channel counts.
fn watched(graph: &Graph) -> Vec<ValueId> {
    let convs = graph.nodes.iter().filter(|n| n.op_type == "Conv");
    std::iter::once(graph.inputs[0].value).chain(convs.map(|n| n.outputs[0].unwrap())).collect()
}

/// Windows over a value: single pixels (`None`), or 3×3 windows with this stride.
const STEPS: [Option<usize>; 3] = [None, Some(1), Some(2)];

/// The second moments of a value.
fn gram(facts: &Facts, value: ValueId, step: Option<usize>) -> GramKernel {
    let [batch, channels, h, w] = *facts.shape(value) else { panic!("maps are watched") };
    let points = Windows::points([h, w]);
    let windows = step.map_or(points, |step| Windows {
        out_hw: [h.div_ceil(step), w.div_ceil(step)],
        kernel: [3, 3],
        stride: [step, step],
        pad: [1, 1],
        ..points
    });
    GramKernel { batch, samples: batch, slices: 1, groups: 1, channels, channels_last: false, windows }
}

fn probes(graph: &Graph, facts: &Facts) -> Vec<Probe> {
    let all = watched(graph).into_iter().flat_map(|value| STEPS.map(|step| (value, step)));
    all.map(|(value, step)| {
        let kernel = gram(facts, value, step);
        let shape = kernel.shape().to_vec();
        Probe {
            values: vec![value],
            name: format!("moments of {}", graph.name(value)),
            shape,
            kernel: Arc::new(kernel),
        }
    })
    .collect()
}

fn images() -> Vec<f32> {
    (0..IMAGES * 3 * 32 * 32).map(|i| ((i * 7919) % 10007) as f32 / 5003.0 - 1.0).collect()
}

fn session(graph: &Graph, device: &Device, batch: usize) -> Session {
    let wanted = SessionOptions { batch: Some(batch), ..SessionOptions::default() };
    let probes: Probes = &|facts| probes(graph, facts);
    Session::new(graph, device, &wanted, probes).unwrap()
}

fn bits(sums: &[Vec<f32>]) -> Vec<Vec<u32>> {
    sums.iter().map(|s| s.iter().map(|x| x.to_bits()).collect()).collect()
}

/// The sums by the reference, from the network's values in `f64`.
fn expected(graph: &Graph) -> Vec<Vec<f64>> {
    let shapes = graph.input_shapes(Some(IMAGES), &Default::default()).unwrap();
    let facts = Facts::infer(graph, &shapes).unwrap();
    let values = watched(graph);
    let options = BuildOptions { taps: values.clone(), outputs: false, ..BuildOptions::default() };
    let plan = plan::build(graph, &facts, &options).unwrap();
    let x: Vec<f64> = images().into_iter().map(f64::from).collect();
    let maps = run_reference(&plan, &[&x], None).unwrap();
    let mut all = Vec::new();
    for (value, map) in values.into_iter().zip(maps) {
        for step in STEPS {
            let kernel = gram(&facts, value, step);
            let mut sums = vec![0.0; kernel.output_len()];
            kernel.reference(&[&map, &[1.0; IMAGES]], &mut sums);
            all.push(sums);
        }
    }
    all
}

fn devices() -> Vec<Device> {
    let mut devices = gpus("accumulated sums");
    devices.push(Device::Cpu);
    devices
}

#[test]
fn sums_agree_with_the_values_for_every_batch_size() {
    let (graph, images) = (graph(), images());
    let expected = expected(&graph);
    for device in devices() {
        let name = device.describe().name;
        let mut first: Option<Vec<Vec<u32>>> = None;
        // The last batch of three is padded.
        for batch in [1, 3, 4] {
            let mut session = session(&graph, &device, batch);
            assert_eq!(session.sample().elements(), 3 * 32 * 32, "the weights are not the network's input");
            let mut seen = 0;
            let mut count = |outputs: &[Vec<f32>], images| {
                assert_eq!(outputs.len(), 1, "sums come back only when they are asked for");
                seen += images;
                Ok(())
            };
            session.run_samples(&images, &mut count).unwrap();
            assert_eq!(seen, IMAGES);
            let sums = session.take_sums().unwrap();
            assert_eq!(sums.len(), expected.len());
            for (got, expected) in sums.iter().zip(&expected) {
                let verdict = compare(got, expected, Tolerance::SUMS);
                assert!(verdict.passed(), "{name}, batch {batch}: {verdict}");
            }
            let bits = bits(&sums);
            assert!(*first.get_or_insert_with(|| bits.clone()) == bits, "{name}: batch {batch} differs");
        }
    }
}

#[test]
fn taken_sums_restart_at_zero() {
    let (graph, images) = (graph(), images());
    for device in devices() {
        let mut session = session(&graph, &device, 3);
        assert!(session.take_sums().unwrap().iter().flatten().all(|&x| x == 0.0), "they start as zeros");
        let run = |session: &mut Session| {
            session.run_samples(&images[..5 * 3 * 32 * 32], &mut |_, _| Ok(())).unwrap();
        };
        run(&mut session);
        let once = session.take_sums().unwrap();
        run(&mut session);
        assert_eq!(bits(&once), bits(&session.take_sums().unwrap()), "{:?}", device.describe());
        assert!(session.take_sums().unwrap().iter().flatten().all(|&x| x == 0.0));
        run(&mut session);
        run(&mut session);
        for (once, twice) in once.iter().zip(session.take_sums().unwrap()) {
            let expected: Vec<f64> = once.iter().map(|&x| 2.0 * f64::from(x)).collect();
            let verdict = compare(&twice, &expected, Tolerance::SUMS);
            assert!(verdict.passed(), "{verdict}");
        }
    }
}

#[test]
fn poison_skips_sums_and_timing_and_check_include_them() {
    let (graph, images) = (graph(), images());
    for device in devices() {
        let plan = session(&graph, &device, 2).plan;
        let image = 3 * 32 * 32;
        let inputs = [&images[..2 * image], &[1.0, 1.0]];
        let sums = |executor: &mut dyn secateur::exec::Executor| bits(&executor.take_sums().unwrap());
        let mut executor = device.load_poisoned(&plan).unwrap();
        let mut plain = device.load(&plan).unwrap();
        for _ in 0..2 {
            executor.run(&inputs).unwrap();
            plain.run_watched(&inputs, &mut |_, _| Ok(())).unwrap();
        }
        let twice = sums(&mut *executor);
        assert_eq!(twice, sums(&mut *plain));
        assert!(executor.time(&inputs).unwrap() > 0.0);
        executor.run(&inputs).unwrap();
        assert_eq!(twice, sums(&mut *executor), "a timed run adds as any run");
        let checks = check(&plan, &device, &inputs, &mut secateur::observer::Silent).unwrap().steps;
        assert_eq!(first_failing(&checks), None);
        // Elements that no step writes are not compared.
        let compared: Vec<usize> =
            checks.iter().filter(|c| c.kernel == "gram").map(|c| c.verdict.len).collect();
        assert_eq!(
            compared,
            plan.steps
                .iter()
                .filter(|s| s.kernel.accumulates())
                .map(|s| s.kernel.output_len())
                .collect::<Vec<_>>()
        );
        assert!(!compared.is_empty());
    }
}

#[test]
fn accumulating_outside_of_sums_is_refused() {
    let plan = session(&graph(), &Device::Cpu, 2).plan;
    let spoil: [fn(&mut plan::Plan); 3] = [
        |p| drop(p.sums.pop()),
        |p| p.outputs.push(p.sums[0].clone()),
        |p| p.sums[0].shape = vec![p.sums[0].shape.iter().product::<usize>() + 1],
    ];
    for device in devices() {
        for spoil in spoil {
            let mut plan = plan.clone();
            spoil(&mut plan);
            let error = device.load(&plan).err().unwrap();
            assert!(error.node_name().unwrap().starts_with("moments of"), "{error}");
        }
    }
}

#[test]
fn a_probe_for_another_batch_is_refused_by_name() {
    let graph = graph();
    let one = Facts::infer(&graph, &graph.input_shapes(Some(1), &Default::default()).unwrap()).unwrap();
    let wanted = SessionOptions { batch: Some(2), ..SessionOptions::default() };
    let probes: Probes = &|_| probes(&graph, &one);
    let error = Session::new(&graph, &Device::Cpu, &wanted, probes).unwrap_err();
    assert!(error.node_name().unwrap().starts_with("moments of"), "{error}");
    assert!(error.to_string().contains("weights"), "{error}");
}
