//! Compares every operator with ONNX Runtime, on the f64 reference, the CPU and every GPU.
//!
//! The small models and their outputs are in `tests/golden/ops.safetensors`, written by `scripts/make_golden_ops.py`.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use secateur::graph::fused::FUSIONS;
use secateur::onnx::Model;
use secateur::ops::{OPS, OPS_OF_MICROSOFT};

#[path = "common/cases.rs"]
mod cases;

use cases::Case;

fn all() -> BTreeMap<String, Case> {
    let cases = cases::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ops.safetensors")));
    assert!(cases.len() > 500, "the golden file is incomplete");
    cases
}

#[test]
fn every_operator_matches_onnx_runtime() {
    let (cases, devices) = (all(), cases::devices());
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        if let Err(problem) = cases::run(case, &devices) {
            wrong.push(format!("{name}: {problem}"));
        }
    }
    println!("{} cases, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_operator_has_a_case() {
    let mut used = BTreeSet::new();
    for case in all().values() {
        let model = Model::from_bytes(case.model.clone(), Path::new("golden.onnx")).unwrap();
        used.extend(model.proto.graph.unwrap().node.iter().map(|n| n.op_type().to_owned()));
    }
    let fused = FUSIONS.iter().map(|(name, _)| *name);
    let rows = OPS.iter().chain(OPS_OF_MICROSOFT).map(|row| row.name);
    let without: Vec<&str> = rows.chain(fused).filter(|name| !used.contains(*name)).collect();
    assert!(without.is_empty(), "operators without a golden case: {without:?}");
}
