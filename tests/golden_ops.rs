//! Every operator against ONNX Runtime's answers: small models in `tests/golden/ops.safetensors`, made by
//! `scripts/make_golden_ops.py`, each run by the reference, the CPU and every GPU here.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::{self, Choice, Device};
use secateur::exec::reference::run_reference;
use secateur::graph::Graph;
use secateur::graph::facts::Facts;
use secateur::onnx::Model;
use secateur::ops::OPS;
use secateur::plan::{self, Options};

/// The cases that the engine refuses, by the words it refuses them with.
const REFUSED: &[(&str, &str)] = &[("conv_weight_is_data_op13", "computed while the network runs")];

#[derive(Default)]
struct Case {
    model: Vec<u8>,
    inputs: HashMap<String, (Vec<usize>, Vec<f64>)>,
    outputs: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

fn cases() -> BTreeMap<String, Case> {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ops.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for (key, view) in tensors.tensors() {
        let mut parts = key.splitn(3, '/');
        let (name, kind) = (parts.next().unwrap(), parts.next().unwrap());
        let case = cases.entry(name.to_owned()).or_default();
        let bytes = view.data();
        let numbers = || match view.dtype() {
            Dtype::F32 => {
                bytes.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            Dtype::I64 => bytes.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            other => panic!("{key} has type {other:?}"),
        };
        match kind {
            "model" => case.model = bytes.to_vec(),
            "in" => {
                case.inputs.insert(parts.next().unwrap().to_owned(), (view.shape().to_vec(), numbers()));
            }
            _ => {
                case.outputs.insert(parts.next().unwrap().to_owned(), (view.shape().to_vec(), numbers()));
            }
        }
    }
    cases
}

fn devices() -> Vec<(String, Device)> {
    let mut all = vec![("cpu".to_owned(), Device::Cpu)];
    for info in devices::list() {
        let (device, _) = devices::open(&Choice::Index(info.index)).unwrap();
        all.push((info.name, device));
    }
    if all.len() == 1 {
        assert!(std::env::var_os("SECATEUR_REQUIRE_GPU").is_none(), "a GPU is required and there is none");
        eprintln!("LEFT OUT: no GPU adapter, the shaders were not run");
    }
    all
}

/// What went wrong with a case, or nothing.
fn run(case: &Case, devices: &[(String, Device)]) -> Result<(), String> {
    let refuse = |e: secateur::Error| format!("{e}");
    let model = Model::from_bytes(case.model.clone(), Path::new("golden.onnx")).map_err(refuse)?;
    let graph = Graph::of(&model).map_err(refuse)?;
    let shapes: Vec<Vec<usize>> =
        graph.inputs.iter().map(|i| case.inputs[graph.name(i.value)].0.clone()).collect();
    let facts = Facts::infer(&graph, &shapes).map_err(refuse)?;
    let inputs: Vec<Vec<f64>> =
        graph.inputs.iter().map(|i| case.inputs[graph.name(i.value)].1.clone()).collect();
    let wide: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let narrow: Vec<Vec<f32>> = inputs.iter().map(|v| v.iter().map(|&x| x as f32).collect()).collect();
    let narrow: Vec<&[f32]> = narrow.iter().map(Vec::as_slice).collect();

    let unfused =
        plan::build(&graph, &facts, &Options { fuse: false, ..Options::default() }).map_err(refuse)?;
    let got = run_reference(&unfused, &wide, None).map_err(refuse)?;
    judge("reference", &unfused, &got, case)?;
    let fused = plan::build(&graph, &facts, &Options::default()).map_err(refuse)?;
    for (name, device) in devices {
        for plan in [&unfused, &fused] {
            let got = device.load_poisoned(plan).and_then(|mut p| p.run(&narrow)).map_err(refuse)?;
            judge(name, plan, &got, case)?;
        }
    }
    Ok(())
}

fn judge<T: Copy + Into<f64>>(
    who: &str,
    plan: &plan::Plan,
    got: &[Vec<T>],
    case: &Case,
) -> Result<(), String> {
    for (port, values) in plan.outputs.iter().zip(got) {
        let Some((shape, expected)) = case.outputs.get(&port.name) else { continue };
        // The golden file stores a scalar as one element.
        let scalar = port.shape.is_empty() && shape == &[1];
        if *shape != port.shape && !scalar {
            return Err(format!("{who}: {} has shape {:?}, expected {shape:?}", port.name, port.shape));
        }
        let verdict = compare(values, expected, Tolerance::SUMS);
        if !verdict.passed() {
            return Err(format!("{who}: {}: {verdict}", port.name));
        }
    }
    if plan.outputs.len() < case.outputs.len() {
        return Err(format!(
            "{who}: {} outputs where {} were expected",
            plan.outputs.len(),
            case.outputs.len()
        ));
    }
    Ok(())
}

#[test]
fn every_operator_gives_the_answers_of_onnx_runtime() {
    let (cases, devices) = (cases(), devices());
    assert!(cases.len() > 200, "the golden file is there");
    let mut wrong = Vec::new();
    let mut refused = BTreeSet::new();
    for (name, case) in &cases {
        if let Err(problem) = run(case, &devices) {
            match REFUSED.iter().find(|(case, words)| case == name && problem.contains(words)) {
                Some((case, _)) => {
                    refused.insert(*case);
                }
                None => wrong.push(format!("{name}: {problem}")),
            }
        }
    }
    println!("{} cases, {} refused as expected, {} wrong", cases.len(), refused.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(refused.len(), REFUSED.len(), "a case that is listed as refused is not refused any more");
}

#[test]
fn every_operator_has_a_case() {
    let mut used = BTreeSet::new();
    for case in cases().values() {
        let model = Model::from_bytes(case.model.clone(), Path::new("golden.onnx")).unwrap();
        used.extend(model.proto.graph.unwrap().node.iter().map(|n| n.op_type().to_owned()));
    }
    let without: Vec<&str> = OPS.iter().map(|row| row.name).filter(|name| !used.contains(*name)).collect();
    assert!(without.is_empty(), "operators without a golden case: {without:?}");
}
