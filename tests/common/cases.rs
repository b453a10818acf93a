//! Operator test cases in a safetensors file (models, inputs, expected outputs), and their runner.
//!
//! A case consists of `CASE/model`, `CASE/in/NAME`, `CASE/out/NAME`, and `CASE/tolerance` if a narrow type rounds.
//! The scripts that the tests name create the files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::exec::host_subgraph::finish;
use secateur::exec::reference::run_reference;
use secateur::graph::Graph;
use secateur::graph::facts::Facts;
use secateur::onnx::Model;
use secateur::plan::{self, BuildOptions};

#[path = "adapters.rs"]
pub(crate) mod adapters;

/// An array of a case: shape and elements.
pub(crate) type Array = (Vec<usize>, Vec<f64>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) model: Vec<u8>,
    pub(crate) inputs: HashMap<String, Array>,
    pub(crate) outputs: BTreeMap<String, Array>,
    pub(crate) tolerance: f64,
}

/// The cases of a file, by name.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Case> {
    let file = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for (key, view) in tensors.tensors() {
        let mut parts = key.splitn(3, '/');
        let (name, kind) = (parts.next().unwrap(), parts.next().unwrap());
        let case = cases.entry(name.to_owned()).or_default();
        let bytes = view.data();
        let numbers = || -> Vec<f64> {
            match view.dtype() {
                Dtype::F32 => {
                    bytes.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
                }
                Dtype::I64 => {
                    bytes.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
                }
                other => panic!("{key} has type {other:?}"),
            }
        };
        let array = || (view.shape().to_vec(), numbers());
        match kind {
            "model" => case.model = bytes.to_vec(),
            "tolerance" => case.tolerance = numbers()[0],
            "in" => {
                case.inputs.insert(parts.next().unwrap().to_owned(), array());
            }
            _ => {
                case.outputs.insert(parts.next().unwrap().to_owned(), array());
            }
        }
    }
    cases
}

/// The CPU and all adapters of this machine; prints a note if there are none.
pub(crate) fn devices() -> Vec<(String, Device)> {
    let gpus = adapters::gpus("every operator's shaders").into_iter().map(|d| (d.describe().name, d));
    std::iter::once(("cpu".to_owned(), Device::Cpu)).chain(gpus).collect()
}

/// The reason that a case failed.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The engine reports that the case is unsupported.
    Refused(String),
    /// The engine computed a wrong result.
    Wrong(String),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(words) => write!(f, "refused: {words}"),
            Self::Wrong(words) => f.write_str(words),
        }
    }
}

/// Runs a case by the reference, and with and without fusion on every device.
pub(crate) fn run(case: &Case, devices: &[(String, Device)]) -> Result<(), Problem> {
    let refuse = |e: secateur::Error| Problem::Refused(format!("{e}"));
    let model = Model::from_bytes(case.model.clone(), Path::new("case.onnx")).map_err(refuse)?;
    let graph = Graph::from_model(&model).map_err(refuse)?;
    let fed = |name: &str| {
        case.inputs.get(name).ok_or_else(|| Problem::Wrong(format!("the input \"{name}\" is not given")))
    };
    let (mut arrays, mut shapes) = (Vec::new(), Vec::new());
    for input in &graph.inputs {
        let array = fed(graph.name(input.value))?.clone();
        shapes.push(array.0.clone());
        // Nobody has to give an input that no node takes.
        if graph.is_used(input.value) {
            arrays.push(array);
        }
    }
    let facts = Facts::infer(&graph, &shapes).map_err(refuse)?;
    let wide: Vec<&[f64]> = arrays.iter().map(|a| a.1.as_slice()).collect();
    let narrow: Vec<Vec<f32>> = arrays.iter().map(|a| a.1.iter().map(|&x| x as f32).collect()).collect();
    let narrow: Vec<&[f32]> = narrow.iter().map(Vec::as_slice).collect();

    let options = BuildOptions { fuse: false, integers: false, ..BuildOptions::default() };
    let unfused = plan::build(&graph, &facts, &options).map_err(refuse)?;
    let got = run_reference(&unfused, &wide, None).map_err(refuse)?;
    judge("reference", &unfused, &got, case)?;
    let fused = plan::build(&graph, &facts, &BuildOptions::default()).map_err(refuse)?;
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
) -> Result<(), Problem> {
    let tolerance = Tolerance { relative: Tolerance::SUMS.relative + case.tolerance, ..Tolerance::SUMS };
    for (port, values) in plan.outputs.iter().zip(got) {
        let Some((shape, expected)) = case.outputs.get(&port.name) else { continue };
        // A scalar may be stored as one element.
        let scalar = port.shape.is_empty() && shape == &[1];
        if *shape != port.shape && !scalar {
            let (name, got) = (&port.name, &port.shape);
            return Err(Problem::Wrong(format!("{who}: {name} has shape {got:?}, expected {shape:?}")));
        }
        let verdict = compare(values, expected, tolerance);
        if !verdict.passed() {
            return Err(Problem::Wrong(format!("{who}: {}: {verdict}", port.name)));
        }
    }
    let narrow = |values: &Vec<T>| values.iter().map(|&v| v.into() as f32).collect();
    let results =
        finish(plan, got.iter().map(narrow).collect()).map_err(|e| Problem::Refused(e.to_string()))?;
    // The outputs of steps were compared above, before rounding to f32.
    for late in results.iter().filter(|r| plan.outputs.iter().all(|port| port.name != r.name)) {
        let Some((shape, expected)) = case.outputs.get(&late.name) else { continue };
        let (name, got) = (&late.name, &late.tensor);
        let scalar = got.shape.is_empty() && shape == &[1];
        if *shape != got.shape && !scalar {
            let got = &got.shape;
            return Err(Problem::Wrong(format!("{who}: {name} has shape {got:?}, expected {shape:?}")));
        }
        let verdict = compare(&got.to_f64(), expected, tolerance);
        if !verdict.passed() {
            return Err(Problem::Wrong(format!("{who}: {name}: {verdict}")));
        }
    }
    if results.len() < case.outputs.len() {
        let (got, wanted) = (results.len(), case.outputs.len());
        return Err(Problem::Wrong(format!("{who}: {got} outputs where {wanted} were expected")));
    }
    Ok(())
}
