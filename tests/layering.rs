//! The pipeline runs one way: a module may use those before it in this order, never those behind.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::{Path, PathBuf};

/// From the ground up. `plan` does not know devices, `prune` no GPU buffers, `onnx` neither.
const ORDER: &[&str] = &[
    "error", "file", "observer", "compare", "tensor", "fact", "onnx", "kernels", "coupling", "ops", "graph",
    "plan", "exec", "data", "lsq", "stats", "prune", "repair", "bench", "report", "cli",
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Edges against the order: (file, used module).
fn against(module: &str, source: &str) -> Vec<String> {
    let rank = |name: &str| ORDER.iter().position(|m| *m == name);
    let own = rank(module);
    source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| line.match_indices("crate::").map(|(at, found)| line[at + found.len()..].to_owned()))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        .filter(|used| match (own, rank(used)) {
            (Some(own), Some(used)) => used > own,
            _ => false,
        })
        .collect()
}

#[test]
fn nothing_points_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&root, &mut all);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in all {
        let inside = path.strip_prefix(&root).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        if module == "lib" || module == "main" {
            continue;
        }
        assert!(ORDER.contains(&module.as_str()), "{module} has no place in the order");
        seen += 1;
        let source = std::fs::read_to_string(&path).unwrap();
        wrong.extend(
            against(&module, &source).into_iter().map(|used| format!("{} uses {used}", inside.display())),
        );
    }
    assert!(seen > 50, "the sources were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_edge_against_the_order_is_seen() {
    assert_eq!(against("plan", "use crate::exec::Device; // crate::cli"), ["exec"]);
    assert!(against("exec", "use crate::plan::Plan;").is_empty());
}
