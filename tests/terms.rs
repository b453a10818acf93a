//! Names of options in the library's errors, which the command line translates into flags.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "common/sources.rs"]
mod sources;

use std::collections::BTreeSet;

use assert_cmd::Command;
use regex::Regex;

/// Returns the string literals of all lines outside `src/cli`, comments and tests, with their places.
fn literals() -> Vec<(String, String)> {
    let literal = Regex::new(r#""((?:[^"\\]|\\.)*)""#).unwrap();
    let continued = Regex::new(r"\\\n\s*").unwrap();
    let mut found = Vec::new();
    for (path, source) in sources::read(&sources::root(), "src", &["rs"]) {
        if path.starts_with("src/cli/") || path.ends_with("tests.rs") {
            continue;
        }
        // A literal that goes on in the next line is one.
        let code = continued.replace_all(source.split("#[cfg(test)]").next().unwrap(), "");
        for text in code.lines().filter(|text| !text.trim_start().starts_with("//")) {
            found.extend(literal.captures_iter(text).map(|one| (path.clone(), one[1].to_owned())));
        }
    }
    found
}

/// Returns all flags of all verbs, as their help lists them.
fn flags() -> BTreeSet<String> {
    let flag = Regex::new(r"--([a-z][a-z-]*)").unwrap();
    let help = |verb: &str| {
        let output = Command::cargo_bin("secateur").unwrap().args([verb, "--help"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let verbs = [
        "bench",
        "check",
        "compare-criteria",
        "demo",
        "eval",
        "finetune",
        "inspect",
        "merge",
        "plan",
        "profile",
        "prune",
        "report",
        "run",
        "show",
    ];
    let text: String = verbs.into_iter().map(help).collect();
    flag.captures_iter(&text).map(|found| found[1].replace('-', "_")).collect()
}

#[test]
fn the_library_names_no_flag() {
    let flag = Regex::new(r"(^|[\s(])--[a-z]|`secateur [a-z]").unwrap();
    let wrong: Vec<_> = literals().into_iter().filter(|(_, text)| flag.is_match(text)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_option_in_an_error_is_a_flag() {
    let name = Regex::new("`([a-z_]+)`").unwrap();
    let flags = flags();
    assert!(flags.contains("keep_macs") && flags.contains("allow_random"), "{flags:?}");
    let (mut seen, mut wrong) = (0, Vec::new());
    for (place, text) in literals() {
        for found in name.captures_iter(&text) {
            seen += 1;
            if !flags.contains(&found[1]) {
                wrong.push(format!("{place}: {}", &found[0]));
            }
        }
    }
    assert!(seen > 30, "the names were found: {seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
