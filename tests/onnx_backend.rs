//! Runs the ONNX standard's own test cases of every supported operator on the f64 reference, the CPU and every GPU.
//!
//! The cases come with the `onnx` Python package: `scripts/make_backend_cases.py` writes them to the file that
//! SECATEUR_BACKEND_CASES names. Without this file the test is skipped with a note. SECATEUR_WRITE_DOCS=1 regenerates
//! docs/operators.md.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use prost::Message as _;
use secateur::graph::fused::FUSIONS;
use secateur::onnx::proto::{FunctionProto, ModelProto, TensorProto, TypeProtoTensor};
use secateur::onnx::tensor::encode;
use secateur::ops::{OPS, OPS_OF_MICROSOFT};
use secateur::tensor::{DType, Tensor};

#[path = "common/cases.rs"]
mod cases;

use cases::{Case, Problem};

/// The minimum number of passing cases; fewer is a regression.
const PASS_AT_LEAST: usize = 1212;

/// Cases with outputs that deliberately differ, with the reasons.
const KNOWN: &[(&str, &str)] = &[
    (
        "node.test_dynamicquantizelinear_expanded",
        "a quotient is a rounding tie in single precision, but not in the f64 reference",
    ),
    (
        "node.test_maxunpool_export_with_output_shape",
        "indices count elements of output_shape, as in PyTorch and ONNX Runtime, not of the inferred shape",
    ),
];

/// The results of an operator's cases.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    refused: BTreeMap<String, usize>,
}

/// Returns the operators of a model's main graph, and whether all of them are supported.
fn operators(case: &Case) -> (BTreeSet<String>, bool) {
    let proto = ModelProto::decode(case.model.as_slice()).unwrap();
    let functions: BTreeSet<&str> = proto.functions.iter().map(FunctionProto::name).collect();
    let mut all = BTreeSet::new();
    let mut known = true;
    for node in proto.graph.iter().flat_map(|g| &g.node) {
        all.insert(node.op_type().to_owned());
        let own = functions.contains(node.op_type());
        let standard = matches!(node.domain(), "" | "ai.onnx");
        known &= own || node.op_type() == "If" || (standard && OPS.iter().any(|r| r.name == node.op_type()));
    }
    (all, known)
}

/// Turns the inputs that `constant` selects into initializers, as weights are in networks.
fn with_constants(case: &Case, constant: &dyn Fn(usize) -> bool) -> Case {
    let mut proto = ModelProto::decode(case.model.as_slice()).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    let mut index = 0;
    graph.input.retain(|info| {
        let here = index;
        index += 1;
        let (Some((shape, values)), true) = (case.inputs.get(info.name()), constant(here)) else {
            return true;
        };
        let code =
            info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).map_or(1, TypeProtoTensor::elem_type);
        let Some(dtype) = DType::from_onnx(code) else { return true };
        let tensor = Tensor::from_f64(dtype, shape, values);
        graph.initializer.push(TensorProto { ..encode(info.name(), &tensor) });
        false
    });
    Case { model: proto.encode_to_vec(), ..case.clone() }
}

/// Normalizes a refusal's message, so that equal reasons of several cases are counted together.
fn reason(words: &str) -> String {
    let first = words.lines().next().unwrap_or_default();
    first.chars().filter(|c| !c.is_ascii_digit()).take(120).collect()
}

#[test]
fn the_standards_own_cases_pass() {
    let Some(path) = std::env::var_os("SECATEUR_BACKEND_CASES") else {
        cases::adapters::left_out("the ONNX standard's cases; see scripts/make_backend_cases.py");
        return;
    };
    let (cases, devices) = (cases::read(Path::new(&path)), cases::devices());
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut passed, mut unknown) = (0, BTreeMap::<String, usize>::new());
    for (name, case) in &cases {
        let (operators, known) = operators(case);
        // Expanded functions and taken branches count for the operator that the case is named for.
        let own = operators.first().filter(|o| operators.len() == 1 && OPS.iter().any(|r| r.name == **o));
        let own = own.filter(|_| name.starts_with("node."));
        let group = own.cloned().unwrap_or_else(|| "(several operators)".to_owned());
        if !known {
            for operator in operators.iter().filter(|o| !OPS.iter().any(|r| r.name == **o)) {
                *unknown.entry(operator.clone()).or_default() += 1;
            }
            continue;
        }
        let variants: [&dyn Fn(usize) -> bool; 3] = [&|_| false, &|i| i > 0, &|_| true];
        let tally = tallies.entry(group).or_default();
        let mut last = None;
        for constant in variants {
            match cases::run(&with_constants(case, constant), &devices) {
                Err(Problem::Refused(words)) => last = Some(words),
                Err(Problem::Wrong(words)) => {
                    if let Some((_, why)) = KNOWN.iter().find(|(known, _)| known == name) {
                        last = Some((*why).to_owned());
                        break;
                    }
                    tally.failed.push(format!("{name}: {words}"));
                    last = None;
                    break;
                }
                Ok(()) => {
                    tally.passed += 1;
                    passed += 1;
                    last = None;
                    break;
                }
            }
        }
        if let Some(words) = last {
            *tally.refused.entry(reason(&words)).or_default() += 1;
            println!("refused {name}: {}", words.replace('\n', " "));
        }
    }
    let failed: Vec<&String> = tallies.values().flat_map(|t| &t.failed).collect();
    let refused: usize = tallies.values().flat_map(|t| t.refused.values()).sum();
    let beyond: usize = cases.len() - passed - failed.len() - refused;
    println!("{passed} passed, {} failed, {refused} refused, {beyond} of other operators", failed.len());
    if std::env::var_os("SECATEUR_WRITE_DOCS").is_some() {
        write_table(&tallies, &unknown, (passed, failed.len(), refused, beyond));
    }
    let list: Vec<&str> = failed.iter().map(|f| f.as_str()).collect();
    assert!(failed.is_empty(), "{}", list.join("\n"));
    assert!(passed >= PASS_AT_LEAST, "{passed} passed, {PASS_AT_LEAST} did before");
}

fn write_table(
    tallies: &BTreeMap<String, Tally>,
    unknown: &BTreeMap<String, usize>,
    (passed, failed, refused, beyond): (usize, usize, usize, usize),
) {
    let mut text = String::from(
        "# Operators\n\nThe operators that this version runs and prunes. The cases are the ONNX standard's own tests \
         (onnx 1.23.2, opset 7 and\nlater). The f64 reference, the CPU and a Vulkan device run each of them. A \
         refused case gets an error that names the\nunsupported feature and a remedy; none is silently wrong.\n\n\
         Generated by\n\n```sh\npython3 scripts/make_backend_cases.py \
         target/backend_cases.safetensors\nSECATEUR_WRITE_DOCS=1 \
         SECATEUR_BACKEND_CASES=target/backend_cases.safetensors cargo test --release --test \
         onnx_backend\n```\n\n",
    );
    let _ = writeln!(
        text,
        "{passed} cases passed, {failed} failed, {refused} were refused, {beyond} use unsupported operators.\n\n\
         | operator | changed in opsets | what it does | passed | failed | refused |\n|---|---|---|---|---|---|"
    );
    for row in OPS {
        let history: Vec<String> = row.history.iter().map(ToString::to_string).collect();
        let none = Tally::default();
        let t = tallies.get(row.name).unwrap_or(&none);
        let refused: usize = t.refused.values().sum();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {refused} |",
            row.name,
            history.join(", "),
            row.doc.replace('|', "\\|"),
            t.passed,
            t.failed.len()
        );
    }
    let several = tallies.get("(several operators)");
    let _ = writeln!(
        text,
        "\nCases with several operators, expanded functions included: {} passed, {} failed, {} refused.",
        several.map_or(0, |t| t.passed),
        several.map_or(0, |t| t.failed.len()),
        several.map_or(0, |t| t.refused.values().sum::<usize>())
    );
    text.push_str(
        "\n## Operators of ONNX Runtime's optimizer\n\nNodes of the domain com.microsoft in files that ONNX Runtime \
         optimized at level \"basic\" or \"extended\". A fused node is read as the\nstandard operators that it fuses, and \
         the written file keeps it. Files of level \"all\" (com.microsoft.nchwc) are refused: they are\nfor one kind of \
         processor. tests/golden_ops.rs compares each with ONNX Runtime.\n\n| operator | read as |\n|---|---|\n",
    );
    let own = OPS_OF_MICROSOFT.iter().map(|row| (row.name, row.doc));
    for (name, standard) in FUSIONS.iter().copied().chain(own) {
        let _ = writeln!(text, "| {name} | {standard} |");
    }
    text.push_str("\n## Refused\n\n");
    for (operator, tally) in tallies {
        for (why, count) in &tally.refused {
            let _ = writeln!(text, "- {operator}, {count}: {why}");
        }
    }
    text.push_str("\n## Unsupported operators that have cases\n\n");
    let names: Vec<String> = unknown.iter().map(|(name, count)| format!("{name} ({count})")).collect();
    text.push_str(&names.join(", "));
    text.push('\n');
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operators.md"), text).unwrap();
}
