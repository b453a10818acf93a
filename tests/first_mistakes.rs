//! First mistakes of new users, each with what the program says; docs/first-mistakes.md has the table.
//!
//! A mistake ends with an error, with a refusal, or with a note beside a network that still works. SECATEUR_WRITE_DOCS=1
//! writes the table.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value as Json;

#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;
#[path = "first_mistakes/data.rs"]
mod data;
#[path = "common/numpy.rs"]
#[allow(dead_code)] // not every test writes headers
mod numpy;
#[path = "first_mistakes/table.rs"]
mod table;

use table::{Ending, MISTAKES, Mistake};

/// The least top-1 in percent of a network that was not destroyed; the original has 99, and chance is 10.
const WORKS: f64 = 30.0;

/// The result of a command: exit code, and what it printed on stdout and stderr.
struct Ran {
    code: Option<i32>,
    text: String,
}

fn run(folder: &Path, line: &str) -> Ran {
    let mut command = Command::cargo_bin("secateur").unwrap();
    command.env("SECATEUR_DEVICE", "cpu").env("SECATEUR_CACHE", "").current_dir(folder);
    let output = command.args(line.split_whitespace()).args(["--color", "never"]).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    Ran { code: output.status.code(), text }
}

/// Returns top-1 in percent of a network on images that it never saw, with the right preprocessing.
fn top1(folder: &Path, network: &str) -> f64 {
    let line = format!("eval {network} --data truth.npz {} --json", data::RIGHT);
    let ran = run(folder, &line);
    let json: Json = serde_json::from_str(ran.text.lines().find(|l| l.starts_with('{')).unwrap()).unwrap();
    100.0 * json["top1"].as_f64().unwrap()
}

/// Joins the lines of a text, because the program wraps none but tables are written in lines.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Makes a mistake; returns its faults.
fn tried(folder: &Path, mistake: &Mistake) -> Vec<String> {
    let small = folder.join("small.onnx");
    if small.exists() {
        std::fs::remove_file(&small).unwrap();
    }
    let ran = run(folder, mistake.line);
    let mut faults = Vec::new();
    let code = match mistake.ending {
        Ending::Error => 2,
        Ending::Refusal => 1,
        Ending::Note | Ending::Nothing => 0,
    };
    if ran.code != Some(code) {
        faults.push(format!("ends with {:?}, not {code}", ran.code));
    }
    if !joined(&ran.text).contains(&joined(mistake.says)) {
        faults.push(format!("does not say \"{}\"", mistake.says));
    }
    if small.exists() && mistake.judged() {
        let top1 = top1(folder, "small.onnx");
        if top1 < WORKS {
            faults.push(format!("leaves a network with top-1 of {top1:.1} %"));
        }
    }
    if code != 0 && small.exists() {
        faults.push("writes a network all the same".to_owned());
    }
    faults
        .iter()
        .map(|fault| format!("{}: {fault}\n$ secateur {}\n{}", mistake.mistake, mistake.line, ran.text))
        .collect()
}

#[test]
fn no_first_mistake_ends_with_a_destroyed_network() {
    let folder = tempfile::tempdir().unwrap();
    data::lay_out(folder.path(), |line| {
        let ran = run(folder.path(), line);
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.text);
        ran.text
    });
    assert!(top1(folder.path(), "net.onnx") > 98.0, "the original works");
    let faults: Vec<String> = MISTAKES.iter().flat_map(|mistake| tried(folder.path(), mistake)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(MISTAKES.len() >= 20);
}

#[test]
fn the_table_is_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/first-mistakes.md");
    let rows: String = MISTAKES.iter().map(Mistake::row).collect();
    let text = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("|---|---|---|\n", "\n\nEach row");
    let (head, rest) = text.split_once(start).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let wanted = format!("{head}{start}{}{end}{tail}", rows.trim_end());
    if std::env::var_os("SECATEUR_WRITE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(text == wanted, "SECATEUR_WRITE_DOCS=1 writes the table");
    }
}
