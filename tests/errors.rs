//! Every error that a user can meet, as it is printed: tests/errors/catalogue.txt is the snapshot.
//!
//! A case is a command line that must fail, with the files that it names. An error in `src` whose sentence no case
//! prints fails the test, unless tests/errors/sentences.rs says why nobody can meet it.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "errors/case.rs"]
mod case;
#[path = "errors/configurations.rs"]
mod configurations;
#[path = "errors/inner_words.rs"]
mod inner_words;
#[path = "errors/inputs.rs"]
mod inputs;
#[path = "errors/models.rs"]
mod models;
#[path = "errors/nodes.rs"]
mod nodes;
#[path = "errors/notation.rs"]
mod notation;
#[path = "common/numpy.rs"]
mod numpy;
#[path = "errors/requests.rs"]
mod requests;
#[path = "errors/sentences.rs"]
mod sentences;
#[path = "errors/sets.rs"]
mod sets;
#[path = "errors/shards.rs"]
mod shards;
#[path = "errors/sources.rs"]
mod sources;
#[path = "errors/trainings.rs"]
mod trainings;

use std::path::Path;

use rayon::prelude::*;

const HEAD: &str = "Every error that a user can meet, as it is printed.
Made by: SECATEUR_BLESS=1 cargo test --release --test errors\n";

#[test]
fn every_error_is_in_the_catalogue_and_names_its_remedy() {
    let fixtures = case::fixtures();
    let cases = [
        inputs::cases(),
        models::cases(),
        nodes::cases(),
        requests::cases(),
        sets::cases(),
        sources::cases(),
        shards::cases(),
        configurations::cases(),
        trainings::cases(),
    ]
    .concat();
    let tried: Vec<_> = cases.par_iter().map(|case| case.run(&fixtures)).collect();
    let mut faults: Vec<String> = tried.iter().filter_map(|t| t.fault.clone()).collect();
    let entries: Vec<&str> = tried.iter().map(|t| t.entry.as_str()).collect();
    let new = format!("{HEAD}\n{}", entries.join("\n"));
    faults.extend(sentences::without_a_case(&new));
    faults.extend(inner_words::inner_words(&new));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors/catalogue.txt");
    if std::env::var_os("SECATEUR_BLESS").is_some() {
        std::fs::write(&path, &new).unwrap();
    }
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let known: Vec<&str> = old.split("\n## ").collect();
    let changed: Vec<&str> = new.split("\n## ").filter(|entry| !known.contains(entry)).collect();
    if old != new {
        faults.push(format!(
            "the catalogue says otherwise of {} errors; SECATEUR_BLESS=1 cargo test --release --test errors \
             rewrites it:\n{}",
            changed.len(),
            changed.join("\n")
        ));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn words_of_the_inside_are_found() {
    let catalogue = "## a case\n$ secateur plan x\nerror: a probe of 3 kernels\n  expected: `secateur plan` first\n       \
                     got: facts\n    remedy: create its kernel for the batch of the facts\n";
    assert_eq!(inner_words::inner_words(catalogue).len(), 2);
}

#[test]
fn sentences_are_found_with_what_callers_put_into_them() {
    let source = r#"
        fn failure(&self, at: usize, what: &str) -> Error {
            Error::new(format!("part {at} {what}"))
        }
        let bad = |why: &str| Error::new(format!("bad: {why}"));
        self.failure(3, "is \"short\"");
        bad("it is old");
        file.open().map_err(|e| Error::io("read it", path, &e))?;
        Err(Error::new(format!(
            "one of {} \
             lines",
            count
        )))
    "#;
    let found: Vec<String> = sentences::sentences(source).into_iter().collect();
    assert_eq!(found, ["bad: it is old", "cannot read it", "one of {} lines", "part {3} is \"short\""]);
}
