//! Modules depend on each other in one direction.
//!
//! - A module of the crate may use those before it in [`ORDER`], never those behind.
//! - Modules of one folder have no circle of imports (`layering/circles.rs`).
//! - The command line uses the pipeline, errors, files, and what [`COMMAND_LINE`] lists.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "layering/circles.rs"]
mod circles;
#[path = "layering/paths.rs"]
mod paths;
#[path = "common/scan.rs"]
mod scan;
#[path = "common/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use circles::Modules;
use paths::paths;

/// Modules from the ground up. `plan` does not depend on devices, `prune` and `onnx` not on GPU buffers.
const ORDER: &[&str] = &[
    "error", "file", "observer", "compare", "tensor", "fact", "onnx", "ids", "kernels", "coupling", "ops",
    "graph", "plan", "exec", "data", "lsq", "stats", "prune", "repair", "quantize", "train", "bench",
    "report", "pipeline", "prelude", "cli",
];

/// Paths below the crate's root that `cli` may name, with all that lies below each, and why.
const COMMAND_LINE: &[(&str, &str)] = &[
    ("cli", "its own modules"),
    ("error", "errors, which it prints"),
    ("file", "files that are written whole or not at all"),
    ("pipeline", "the work itself, with its options and results"),
];

/// Returns the paths from the crate's root in `source`: line and segments below the root.
fn from_root(source: &str, tests: bool) -> impl Iterator<Item = (usize, Vec<String>)> {
    let all = paths(source, tests).into_iter().filter(|path| path.segments[0] == "crate");
    all.map(|path| (path.line, path.segments[1..].to_vec()))
}

/// Returns lines of `source` with the modules used there that stand behind `module` in the order.
fn against(module: &str, source: &str) -> Vec<(usize, String)> {
    let rank = |name: &str| ORDER.iter().position(|m| *m == name);
    let own = rank(module).unwrap();
    let used = from_root(source, true).filter_map(|(line, path)| Some((line, path.into_iter().next()?)));
    used.filter(|(_, used)| rank(used).is_some_and(|used| used > own)).collect()
}

/// Returns lines of a file of `cli` with the paths used there that [`COMMAND_LINE`] does not list.
fn beyond(source: &str) -> Vec<(usize, String)> {
    let used = from_root(source, false).map(|(line, path)| (line, path.join("::")));
    let listed =
        |path: &str| COMMAND_LINE.iter().any(|(l, _)| path == *l || path.starts_with(&format!("{l}::")));
    used.filter(|(_, path)| !listed(path)).collect()
}

/// Fails with one line for each violation.
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} violations\n{}\n", wrong.len(), wrong.join("\n"));
}

#[test]
fn nothing_points_back() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, source) in sources::read(&sources::root(), "src", &["rs"]) {
        let module = path.split('/').nth(1).unwrap().trim_end_matches(".rs");
        if module == "lib" || module == "main" {
            continue;
        }
        assert!(ORDER.contains(&module), "{module} has no place in the order");
        seen += 1;
        let used = against(module, &source).into_iter();
        wrong.extend(used.map(|(line, used)| format!("{path}:{line}: {module} comes before {used}")));
    }
    assert!(seen > 50, "the sources were found");
    report(&wrong);
}

#[test]
fn siblings_form_no_circle() {
    let files = sources::read(&sources::root(), "src", &["rs"]);
    let modules = Modules::read(files.iter().map(|(path, source)| (&path["src/".len()..], source.as_str())));
    let mut wrong = Vec::new();
    for (family, members, edges) in modules.circles() {
        let members = Vec::from_iter(members).join(", ");
        wrong.push(format!("src/{}:0: circle in {family}: {members}", family.replace("::", "/")));
        let mut lines: BTreeMap<(String, usize), BTreeSet<String>> = BTreeMap::new();
        for edge in edges {
            let used = format!("{}::{}", edge.to, edge.item);
            lines.entry((edge.file, edge.line)).or_default().insert(used.replace("::*", ""));
        }
        let shown = |used: BTreeSet<String>| Vec::from_iter(used).join(", ");
        let lines = lines.into_iter().map(|((file, line), used)| (file, line, shown(used)));
        wrong.extend(
            lines.map(|(file, line, used)| format!("src/{file}:{line}: circle in {family}: uses {used}")),
        );
    }
    report(&wrong);
}

#[test]
fn the_command_line_uses_the_pipeline() {
    let mut wrong = Vec::new();
    for (path, source) in sources::read(&sources::root(), "src/cli", &["rs"]) {
        wrong.extend(
            beyond(&source).into_iter().map(|(line, used)| format!("{path}:{line}: cli uses {used}")),
        );
    }
    report(&wrong);
}

#[cfg(test)]
mod planted {
    use super::*;

    fn used(found: Vec<(usize, String)>) -> Vec<String> {
        found.into_iter().map(|(_, used)| used).collect()
    }

    #[test]
    fn an_edge_against_the_order_is_seen() {
        assert_eq!(used(against("plan", "use crate::exec::Device; // crate::cli")), ["exec"]);
        assert_eq!(used(against("plan", "use crate::{error::Error, stats, cli::args};")), ["stats", "cli"]);
        assert_eq!(
            used(against("plan", "#[cfg(test)]\nmod tests {\n    use crate::exec::cpu;\n}")),
            ["exec"]
        );
        assert_eq!(used(against("report", "fn f() { crate::pipeline::run() }")), ["pipeline"]);
        assert!(against("exec", "use crate::plan::Plan;").is_empty());
    }

    #[test]
    fn an_import_beside_the_pipeline_is_seen() {
        assert_eq!(used(beyond("use crate::exec::session::Session;")), ["exec::session::Session"]);
        assert_eq!(used(beyond("fn f(_: crate::pipelines::X) {}")), ["pipelines::X"]);
        assert_eq!(used(beyond("use crate::{error::Error, onnx::Model};")), ["onnx::Model"]);
        assert!(
            beyond("use crate::error::{Error, Result};\nuse crate::pipeline;\nuse super::args;").is_empty()
        );
        assert!(beyond("#[cfg(test)]\nmod tests {\n    use crate::onnx::Model;\n}").is_empty());
    }
}
