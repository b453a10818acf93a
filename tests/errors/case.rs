//! Command lines that must fail, and the checks on their errors.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use secateur::error::OUR_FAULT;
use serde_json::Value;
use tempfile::TempDir;

use super::notation::model;
use super::sets::{npy, npz};

/// Files by name; a name that ends with `/` is an empty folder.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A command line that must fail, and the files in its folder.
#[derive(Clone)]
pub(crate) struct Case {
    title: String,
    files: Files,
    line: String,
    /// Environment variables beside those of every case.
    variables: Vec<(&'static str, &'static str)>,
}

/// The result of a case: its entry in the catalogue, and its faults.
pub(crate) struct Tried {
    pub(crate) entry: String,
    pub(crate) fault: Option<String>,
}

/// Creates a case without files of its own; fixtures are available to every case.
pub(crate) fn case(title: &str, line: &str) -> Case {
    Case { title: title.to_owned(), files: Files::new(), line: line.to_owned(), variables: vec![] }
}

impl Case {
    pub(crate) fn with(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.to_owned(), bytes.into());
        self
    }

    /// Sets environment variables, such as those of a scheduler.
    pub(crate) fn under(mut self, variables: &[(&'static str, &'static str)]) -> Self {
        self.variables.extend(variables);
        self
    }

    /// Runs the command in a temporary folder.
    pub(crate) fn run(&self, fixtures: &Files) -> Tried {
        let folder = tempfile::tempdir().unwrap();
        let named = fixtures.iter().filter(|(name, _)| self.line.contains(name.as_str()));
        lay_out(folder.path(), named.chain(&self.files));
        let before = found(folder.path());
        let output = secateur(&folder, &self.line, &self.variables);
        let text = |bytes: &[u8]| {
            let place = folder.path().canonicalize().unwrap();
            let text = String::from_utf8_lossy(bytes).replace(&place.display().to_string(), "…");
            let lines = text.split_inclusive('\n').filter(|line| !is_progress(line));
            lines.map(of_any_system).collect::<String>()
        };
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let set: String = self.variables.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        let entry = format!("## {}\n$ {set}secateur {}\n{err}", self.title, self.line);
        let starts = |with: &str| err.lines().filter(|l| l.starts_with(with)).count();
        let wrong = [
            (output.status.code() != Some(2), format!("ends with {:?}", output.status.code())),
            (starts("error: ") != 1, format!("says \"error:\" {} times", starts("error: "))),
            (starts("    remedy: ") != 1 || err.contains(OUR_FAULT), "names no remedy".to_owned()),
            (!out.is_empty(), format!("prints on stdout: {out}")),
            (["panicked", "RUST_", "unwrap()"].iter().any(|w| err.contains(w)), "panics".to_owned()),
            (found(folder.path()) != before, "changes files".to_owned()),
        ];
        let faults: Vec<String> = wrong.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
        Tried { fault: (!faults.is_empty()).then(|| format!("{}\n{entry}", faults.join("; "))), entry }
    }
}

/// Returns whether a line is about a stage, so that it has a time.
fn is_progress(line: &str) -> bool {
    line.contains(": begins") || line.contains(": done in ")
}

/// Replaces the operating system's own message in a line.
fn of_any_system(line: &str) -> String {
    match (line.find("got: "), line.contains(" (os error ")) {
        (Some(at), true) => format!("{}got: (what the system says)\n", &line[..at]),
        _ => line.to_owned(),
    }
}

/// Returns the files that every case may use: a valid network, and the outputs of the program for it.
pub(crate) fn fixtures() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let network = |classes: usize| {
        model(&format!(
            "Conv [N,3,8,8] =[8,3,3,3] pads=[1,1,1,1]; Relu ^; Conv ^ =[12,8,3,3]; Relu ^; \
             GlobalAveragePool ^; Flatten ^; Gemm ^ =[{classes},12] transB=1"
        ))
    };
    let mut files = Files::new();
    files.insert("good.onnx".to_owned(), network(5));
    files.insert("other.onnx".to_owned(), network(4));
    let two = "Conv [N,3,8,8] =[4,3,3,3]; Relu ^; Conv ^ =[4,4,3,3]; Mul ^ [N,4,4,4]";
    files.insert("two.onnx".to_owned(), model(two));
    // Its only layer has another name than those of the others.
    let deep = [vec!["Relu [N,3,8,8]"], vec!["Relu ^"; 19], vec!["Conv ^ =[4,3,3,3]"]].concat().join("; ");
    files.insert("deep.onnx".to_owned(), model(&deep));
    let pixels = npy("|u1", "8, 3, 8, 8", &[7; 8 * 192]);
    files.insert("images.npz".to_owned(), npz(&[("images", &pixels)]));
    files.insert(
        "labelled.npz".to_owned(),
        npz(&[("images", &pixels), ("labels", &npy("|u1", "8,", &[0; 8]))]),
    );
    lay_out(folder.path(), files.iter());
    for line in [
        "plan good.onnx --criterion l1 --keep-macs 0.7 -o good.json",
        "prune good.onnx --cut good.json -o small.onnx",
        "prune good.onnx --criterion l1 --keep-macs 0.8 --stamp --write-cut stamped.json -o stamped.onnx",
        "plan other.onnx --criterion l1 --keep-macs 0.8 -o second.json",
        "profile good.onnx --data random:4 --allow-random -o good.profile",
        "profile other.onnx --data random:4 --allow-random -o other.profile",
        "profile good.onnx --data random:4 --allow-random --gram none -o bare.profile",
        "profile good.onnx --data random:4 --allow-random --histograms -o counted.profile",
        "profile good.onnx --data images.npz -o images.profile",
        "profile two.onnx --input x2=1 --data random:4 --allow-random -o scaled.profile",
        "profile two.onnx --input x2=2 --data random:4 --allow-random -o rescaled.profile",
        "profile good.onnx --data labelled.npz -o labelled.profile",
        "finetune good.onnx --teacher good.onnx --data images.npz --steps 1 --checkpoint good.ckpt -o trained.onnx",
    ] {
        let made = secateur(&folder, line, &[]);
        assert!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    }
    let mut files = found(folder.path());
    files.insert("short.ckpt".to_owned(), files["good.ckpt"][..900].to_vec());
    let cut = String::from_utf8(files["good.json"].clone()).unwrap();
    files.insert("renamed.json".to_owned(), cut.replace("\"n1\"", "\"m1\"").into());
    files.insert("all.json".to_owned(), cut.replace("\"keep\": true", "\"keep\": false").into());
    let edited = |edit: fn(&mut Vec<Value>)| {
        let mut cut: Value = serde_json::from_str(&cut).unwrap();
        edit(cut["coupled"].as_array_mut().unwrap());
        serde_json::to_vec(&cut).unwrap()
    };
    files.insert("twice.json".to_owned(), edited(|coupled| coupled.push(coupled[0].clone())));
    files.insert(
        "emptied.json".to_owned(),
        edited(|coupled| {
            let first = coupled.iter_mut().filter(|set| set["members"][0][0] == "n1");
            first.for_each(|set| set["keep"] = false.into());
        }),
    );
    files
}

/// Runs the program without any GPU, because errors must not depend on the machine.
fn secateur(folder: &TempDir, line: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::cargo_bin("secateur").unwrap();
    command.current_dir(folder.path()).args(line.split_whitespace()).args(["--color", "never"]);
    command.env("SECATEUR_DEVICE", "cpu").env("SECATEUR_CACHE", "").env("RAYON_NUM_THREADS", "1");
    command.envs(variables.iter().copied());
    for drivers in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        command.env(drivers, "/nonexistent.json");
    }
    command.output().unwrap()
}

fn lay_out<'a>(folder: &Path, files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) {
    for (name, bytes) in files {
        let path = folder.join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
        } else {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// Reads all files of a folder.
fn found(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(found(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
            files.insert(format!("{name}/"), vec![]);
        } else {
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
    files
}
