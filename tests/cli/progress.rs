//! Progress off a terminal, and tables and help within 80 columns.

use super::*;

/// Writes generated images of the demo network; returns the options for them.
fn images(folder: &Path) -> Vec<String> {
    let images = folder.join("images.npz");
    secateur().args(["demo", "--count", "40", "--write-images"]).arg(&images).assert().success();
    let options = ["--mean", "0.5", "--std", "0.25", "--data", images.to_str().unwrap()];
    options.map(str::to_owned).to_vec()
}

fn stderr(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[cfg(unix)]
#[test]
fn a_line_comes_also_while_nothing_advances() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("metric.sh");
    std::fs::write(&script, "sleep 2\necho 1\n").unwrap();
    let metric = format!("command sh {}", script.display());
    let mut eval = secateur();
    eval.args(["eval", &demo_network(), "--against", &demo_network(), "--metric", &metric]);
    eval.args(images(folder.path())).env("SECATEUR_PROGRESS_SECONDS", "0.2").env("CI", "true");
    let text = stderr(&mut eval);
    let waiting = text.lines().filter(|line| line.starts_with("evaluating: 40/40 images"));
    // The metric runs for two seconds after the last image.
    assert!(waiting.count() >= 5, "{text}");
}

#[test]
fn stages_are_numbered_and_timed_off_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path());
    let prune = |more: &[&str]| {
        let mut prune = secateur();
        prune.args(["prune", &demo_network()]).args(&data).args(more);
        prune.arg("-o").arg(folder.path().join("small.onnx"));
        stderr(&mut prune)
    };
    // The numbers go through all budgets.
    for (budgets, repairs) in [("0.7", 1), ("0.8,0.6", 2)] {
        let text = prune(&["--keep-macs", budgets]);
        let ends: Vec<&str> = text.lines().filter(|line| line.contains(": done in ")).collect();
        for (at, line) in ends.iter().enumerate() {
            assert!(line.starts_with(&format!("[{}/{}] ", at + 1, ends.len())), "{text}");
        }
        for stage in ["reading images", "profiling", "probing", "repairing", "proving", "evaluating"] {
            assert!(ends.iter().any(|line| line.contains(stage)), "{stage}: {text}");
        }
        assert_eq!(ends.iter().filter(|line| line.contains("repairing")).count(), repairs, "{text}");
    }
    assert_eq!(prune(&["--keep-macs", "0.7", "--quiet"]), "", "silence");
}

#[test]
fn tables_fit_eighty_columns() {
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path());
    let network =
        folder.path().join("a-network-whose-name-is-longer-than-its-column-in-any-table-of-all.onnx");
    std::fs::copy(demo_network(), &network).unwrap();
    let network = network.to_str().unwrap();
    let profile = folder.path().join("net.profile");
    let profile = profile.to_str().unwrap();
    secateur().args(["profile", network, "-o", profile]).args(&data).assert().success();
    for line in [
        &["bench", network, network, "--seconds", "0.1", "--layers"][..],
        &["inspect", network],
        &["show", profile],
        &["devices"],
        &["check", network],
        &["plan", "--help-criteria"],
    ] {
        let output = secateur().args(line).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // Titles of sections may be paths.
        for row in text.lines().filter(|row| !row.ends_with(".onnx") && !row.contains("opset")) {
            assert!(row.chars().count() <= 80 || row.contains(" through "), "{line:?}: {row}");
        }
        assert!(text.lines().count() > 3, "{line:?}: {text}");
    }
}
