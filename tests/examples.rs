//! The examples run as tests.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "../examples/custom_criterion.rs"]
mod custom_criterion;
#[path = "../examples/evaluate.rs"]
mod evaluate;
#[path = "../examples/profile.rs"]
mod profile;
#[path = "../examples/prune.rs"]
mod prune;

#[test]
fn prune_runs() {
    prune::main().unwrap();
}

#[test]
fn profile_runs() {
    profile::main().unwrap();
}

#[test]
fn evaluate_runs() {
    evaluate::main().unwrap();
}

#[test]
fn custom_criterion_runs() {
    custom_criterion::main().unwrap();
}

/// The example of docs/library.md prunes with the default criterion and repair in at most 15 lines.
#[test]
fn the_example_of_the_library_is_short() {
    let page = include_str!("../docs/library.md");
    let code = page.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let body = code.split("fn main").nth(1).unwrap();
    let lines = body.lines().skip(1).filter(|line| !line.trim().is_empty() && *line != "}");
    assert!(lines.count() <= 15, "{body}");
    assert!(!code.contains("criterion:") && !code.contains("repair:"), "both are defaults");
}
