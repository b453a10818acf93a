//! The configuration file.

use super::*;

/// A folder with the demo network, images in `data`, and a configuration.
fn team(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::copy(demo_network(), at("net.onnx")).unwrap();
    std::fs::create_dir(at("data")).unwrap();
    secateur().args(["demo", "--count", "40", "--write-images"]).arg(at("data/i.npz")).assert().success();
    std::fs::write(at("secateur.toml"), config).unwrap();
    folder
}

const CONFIG: &str =
    "data = 'data/i.npz'\nmean = 0.5\nstd = [0.25]\n[prune]\ncriterion = 'apoz'\nkeep-macs = 0.7\n";

fn prune(folder: &Path, more: &[&str]) -> (i32, Value) {
    let mut prune = secateur();
    prune.arg("prune").arg(folder.join("net.onnx")).arg("-o").arg(folder.join("small.onnx"));
    json(prune.args(more))
}

#[test]
fn a_file_beside_the_model_has_default_values() {
    let folder = team(CONFIG);
    let (code, answer) = prune(folder.path(), &[]);
    assert_eq!((code, &answer["criterion"]), (0, &"apoz".into()), "{answer}");
    assert_eq!(answer["images"]["calibration"], 32);
    let (code, answer) = prune(folder.path(), &["--criterion", "l1", "--keep-params", "0.6"]);
    assert_eq!((code, &answer["criterion"]), (0, &"l1".into()), "{answer}");
    assert!(answer["budget"].as_str().unwrap().contains("params"), "{answer}");
    // It requires data, which are those of the file.
    let (code, answer) = prune(folder.path(), &["--held-out", "0.5"]);
    assert_eq!((code, &answer["images"]["calibration"]), (0, &20.into()), "{answer}");
    let (code, answer) = prune(folder.path(), &["--no-config"]);
    assert!(code == 2 && answer["error"]["message"].as_str().unwrap().contains("budget"), "{answer}");
    let mut eval = secateur();
    let noted = eval.arg("eval").arg(folder.path().join("net.onnx")).output().unwrap();
    let notes = String::from_utf8(noted.stderr).unwrap();
    assert!(notes.contains("secateur.toml: data ") && !notes.contains("criterion"), "{notes}");
}

#[test]
fn a_named_file_replaces_the_one_beside_the_model() {
    let folder = team("unknown = 1\n");
    let other = folder.path().join("other.toml");
    std::fs::write(&other, CONFIG).unwrap();
    let other = other.to_str().unwrap();
    let (code, answer) = prune(folder.path(), &["--config", other]);
    assert_eq!(code, 0, "{answer}");
    let (code, answer) = prune(folder.path(), &["--criterion", "l1", "--keep-macs", "0.7"]);
    assert!(code == 2 && answer["error"]["file"].as_str().unwrap().ends_with("secateur.toml"), "{answer}");
}

#[test]
fn the_report_names_the_origin_of_each_value() {
    let folder = team(CONFIG);
    let html = folder.path().join("page.html");
    let more = ["--report", html.to_str().unwrap(), "--report-seconds", "0", "--round-to", "2"];
    assert_eq!(prune(folder.path(), &more).0, 0);
    let repeat = page(&html)["repeat"].clone();
    let of = |name: &str| {
        let mut rows = repeat.as_array().unwrap().iter();
        let found = rows.rfind(|row| row["what"] == format!("Option {name}"));
        found
            .map(|row| row["value"].as_str().unwrap().to_owned())
            .unwrap_or_else(|| panic!("{name}: {repeat}"))
    };
    assert!(of("criterion").starts_with("apoz (") && of("criterion").ends_with("secateur.toml)"));
    assert_eq!(of("round-to"), "2 (command line)");
    assert_eq!(of("device"), "cpu (environment variable SECATEUR_DEVICE)");
    assert_eq!(of("max-cut"), "0.9 (default)");
}

#[test]
fn a_file_quantizes() {
    let folder = team(&format!("{CONFIG}quantize = true\n[quantize]\nfor = 'tensorrt'\nranges = 'minmax'\n"));
    let (code, answer) = prune(folder.path(), &[]);
    assert!(code == 0 && answer["layers_quantized"].as_u64() > Some(0), "{answer}");
    let mut quantize = secateur();
    quantize
        .arg("quantize")
        .arg(folder.path().join("net.onnx"))
        .arg("-o")
        .arg(folder.path().join("int8.onnx"));
    let (code, answer) = json(&mut quantize);
    assert_eq!(
        (code, &answer["for"], &answer["ranges"]),
        (0, &"tensorrt".into(), &"minmax".into()),
        "{answer}"
    );
}
