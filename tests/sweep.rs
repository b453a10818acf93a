//! Plans that write nothing, budgets side by side, cuts to write, and stamps, as a person or a script meets them.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn secateur() -> Command {
    let mut command = Command::cargo_bin("secateur").unwrap();
    command.env("SECATEUR_DEVICE", "cpu");
    command
}

fn network() -> String {
    format!("{}/assets/demo.onnx", env!("CARGO_MANIFEST_DIR"))
}

fn json(command: &mut Command) -> (i32, Value) {
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
}

/// Runs a command that must succeed.
fn done(command: &mut Command) -> Value {
    let (code, answer) = json(command);
    assert_eq!(code, 0, "{answer}");
    answer
}

fn sha256(path: &Path) -> String {
    Sha256::digest(std::fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_plan_without_an_output_shows_what_prune_makes() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small.onnx");
    let budget = ["--criterion", "l1", "--keep-macs", "0.6"];
    let plan = done(secateur().args(["plan", &network()]).args(budget).current_dir(&folder));
    assert!(
        plan["out"].is_null() && std::fs::read_dir(&folder).unwrap().next().is_none(),
        "nothing is written"
    );
    let pruned = done(secateur().args(["prune", &network()]).args(budget).arg("-o").arg(&small));
    for field in ["before", "after", "widths", "removed_channels", "total_channels", "coupled_cut"] {
        assert_eq!(plan[field], pruned[field], "{field}");
    }
    let inspected = done(secateur().arg("inspect").arg(&small));
    let widths = |layers: &Value, name: &str, width: &str| -> Vec<(String, u64)> {
        let layers = layers.as_array().unwrap().iter();
        layers.map(|l| (l[name].as_str().unwrap().to_owned(), l[width].as_u64().unwrap())).collect()
    };
    let after = widths(&plan["widths"], "layer", "after");
    assert_eq!(after, widths(&inspected["layers"], "name", "out_channels"));
    let before = done(secateur().args(["inspect", &network()]));
    assert_eq!(widths(&plan["widths"], "layer", "before"), widths(&before["layers"], "name", "out_channels"));
    let text = secateur().args(["plan", &network()]).args(budget).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let removed = format!(
        "{} of {} channels ({} of {} coupled sets) removed",
        plan["removed_channels"], plan["total_channels"], plan["coupled_cut"], plan["coupled"]
    );
    assert!(text.contains(&removed), "{removed}\n{text}");
}

/// Generated images in a folder, and the options for them.
fn data(folder: &Path, count: &str) -> Vec<String> {
    let images = folder.join("images.npz");
    secateur().args(["demo", "--count", count, "--write-images"]).arg(&images).assert().success();
    let options = ["--data", images.to_str().unwrap(), "--mean", "0.5", "--std", "0.25"];
    options.map(str::to_owned).to_vec()
}

#[test]
fn several_budgets_write_a_network_each_and_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = data(folder.path(), "64");
    let prune = || {
        let mut command = secateur();
        command.args(["prune", &network(), "--criterion", "l1", "--report-seconds", "0"]).args(&data);
        command.args(["--write-cut", "cut.json", "--report", "page.html"]).current_dir(&folder);
        command
    };
    let (code, answer) = json(prune().args(["--keep-macs", "0.8,0.0001,0.6", "-o", "small.onnx", "--stamp"]));
    assert_eq!(code, 1, "one budget is refused: {answer}");
    let sweep = answer["sweep"].as_array().unwrap();
    assert_eq!(sweep.len(), 3);
    for (row, share) in sweep.iter().zip(["0.8", "0.0001", "0.6"]) {
        assert_eq!(row["target"], format!("keep-macs {share}"));
        let out = path(&format!("small-{share}.onnx"));
        assert_eq!(row["refused"].is_null(), out.exists(), "{row}");
        if out.exists() {
            let kept = row["after"]["macs"].as_f64().unwrap() / answer["before"]["macs"].as_f64().unwrap();
            assert!(kept <= share.parse().unwrap() && kept > 0.5, "{kept}");
            assert_eq!(row["proof"]["passed"], true);
            assert!(row["top1"]["error"].as_f64().unwrap() > 0.0);
            assert_eq!(row["metrics"].as_array().unwrap().len(), 4);
            let page = std::fs::read_to_string(path(&format!("page-{share}.html"))).unwrap();
            assert!(page.contains("\"sweep\":true") && page.contains("keep-macs 0.6"));
            let stamp = &done(secateur().arg("inspect").arg(&out))["stamp"];
            assert_eq!(stamp["budget"], row["target"]);
        }
    }
    assert!(sweep.iter().any(|row| row["best"] == true));
    let text = prune().args(["--keep-macs", "0.9,0.5", "-o", "{}-other.onnx"]).output().unwrap();
    assert!(text.status.success());
    let text = String::from_utf8(text.stdout).unwrap();
    for wanted in ["budget", "original", "keep-macs 0.5", "0.9-other.onnx", "top-1", "agreement", " ± "] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(path("0.9-other.onnx").exists() && path("cut-0.5.json").exists());
}

#[test]
fn a_written_cut_and_a_stamp_serve_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let data = data(folder.path(), "64");
    let prune = |model: &Path, share: &str, name: &str, stamp: bool| {
        let mut command = secateur();
        command.arg("prune").arg(model).args(["--criterion", "apoz", "--keep-macs", share, "-o"]);
        command.arg(path(&format!("{name}.onnx"))).args(&data);
        command.arg("--write-cut").arg(path(&format!("{name}.json")));
        done(command.args(stamp.then_some("--stamp")))
    };
    let original = PathBuf::from(network());
    prune(&original, "0.7", "small", true);
    prune(&original, "0.5", "smaller", true);
    // The written cut makes the same network again, but for the stamp.
    let again = |stamp: Option<&str>, name: &str| {
        let mut command = secateur();
        command.arg("prune").arg(&original).arg("--cut").arg(path("small.json")).args(&data);
        done(command.args(stamp).arg("-o").arg(path(name)));
        std::fs::read(path(name)).unwrap()
    };
    assert_eq!(again(Some("--stamp"), "again.onnx"), std::fs::read(path("small.onnx")).unwrap());
    assert!(again(None, "plain.onnx").len() < std::fs::read(path("small.onnx")).unwrap().len());
    let stamp = |name: &str| done(secateur().arg("inspect").arg(path(name)))["stamp"].clone();
    assert!(stamp("plain.onnx").is_null());
    assert_eq!(stamp("small.onnx")["original"], sha256(&original));
    let cut: Value = serde_json::from_slice(&std::fs::read(path("small.json")).unwrap()).unwrap();
    // The digest as docs/cut.md describes it.
    let mut lines = format!("{}\n", cut["model_sha256"].as_str().unwrap());
    for set in cut["coupled"].as_array().unwrap().iter().filter(|set| set["keep"] == false) {
        for member in set["members"].as_array().unwrap() {
            lines += &format!("{}\t{}\n", member[0].as_str().unwrap(), member[1]);
        }
    }
    let digest: String = Sha256::digest(lines).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(stamp("small.onnx")["cut"], digest);
    let report = |model: &Path, name: &str, cut: &str| {
        let mut command = secateur();
        command.arg("report").arg(model).arg(path(name)).arg("--cut").arg(path(cut));
        command.args(["--seconds", "0", "-o"]).arg(path("page.html"));
        json(&mut command)
    };
    let (code, answer) = report(&original, "small.onnx", "small.json");
    assert_eq!(code, 0, "{answer}");
    let summary = &answer["summary"];
    // A repaired network cannot be compared without the masked reference: that is no failed proof.
    assert!(summary["proof"].is_null() && summary["unproved"].as_str().unwrap().contains("--masked"));
    assert_eq!(summary["stamp"], stamp("small.onnx"));
    let (code, answer) = report(&original, "small.onnx", "smaller.json");
    assert_eq!(code, 2, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("another cut"), "{answer}");
    // The stamp of an original does not pass to the networks made from it.
    prune(&path("small.onnx"), "0.8", "second", false);
    assert!(stamp("second.onnx").is_null());
    prune(&path("small.onnx"), "0.8", "third", true);
    assert_eq!(stamp("third.onnx")["original"], sha256(&path("small.onnx")));
    let (code, answer) = report(&original, "third.onnx", "small.json");
    assert_eq!(code, 2);
    assert!(answer["error"]["message"].as_str().unwrap().contains("another original"), "{answer}");
}

#[test]
fn eval_shows_both_networks_and_the_error_of_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small.onnx");
    let data = data(folder.path(), "64");
    done(secateur().args(["prune", &network(), "--criterion", "l1", "--keep-macs", "0.7", "-o"]).arg(&small));
    let eval = || {
        let mut command = secateur();
        command.arg("eval").arg(&small).args(["--against", &network()]).args(&data);
        command
    };
    let answer = done(&mut eval());
    let metrics = answer["metrics"].as_array().unwrap();
    let names: Vec<_> = metrics.iter().map(|metric| metric["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["top-1", "top-5", "agreement", "SNR"]);
    assert!(metrics.iter().all(|metric| metric["error"].as_f64().unwrap() > 0.0), "{answer}");
    assert_eq!(metrics[0], answer["metric"]);
    let number = |field: &str| metrics[0][field].as_f64().unwrap();
    assert!((number("difference") - (number("after") - number("before"))).abs() < 1e-9);
    assert_eq!(number("resolution"), 2.0 * number("error"));
    let text = String::from_utf8(eval().output().unwrap().stdout).unwrap();
    assert!(text.contains("reference") && text.contains(" points\n"), "{text}");
}
