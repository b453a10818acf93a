//! The program as a person or a script meets it.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::Path;

use assert_cmd::Command;
use secateur::compare::{Tolerance, compare};
use secateur::onnx::Model;
use secateur::onnx::proto::ValueInfoProto;
use secateur::stats::{DERIVED, Profile};
use serde_json::Value;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/progress.rs"]
mod progress;
#[path = "common/sizes.rs"]
mod sizes;
#[path = "cli/sources.rs"]
mod sources;
#[path = "cli/streams.rs"]
mod streams;

use sizes::resized;

fn secateur() -> Command {
    let mut command = Command::cargo_bin("secateur").unwrap();
    command.env("SECATEUR_DEVICE", "cpu");
    command
}

fn demo_network() -> String {
    format!("{}/assets/demo.onnx", env!("CARGO_MANIFEST_DIR"))
}

fn json(command: &mut Command) -> (i32, Value) {
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
}

#[test]
fn devices_names_the_cpu() {
    let (code, answer) = json(secateur().arg("devices"));
    assert_eq!(code, 0);
    assert!(answer["devices"].is_array() && answer["auto"]["name"].is_string());
}

#[test]
fn inspect_counts_layers_and_coupled_channels() {
    let (code, answer) = json(secateur().args(["inspect", &demo_network()]));
    assert_eq!(code, 0);
    let layers = answer["layers"].as_array().unwrap();
    let sum: u64 = layers.iter().map(|l| l["macs"].as_u64().unwrap()).sum();
    assert_eq!(Some(sum), answer["macs"].as_u64());
    assert!(answer["coupled"].as_array().unwrap().iter().any(|k| k["blocked"].is_object()));
}

#[test]
fn quantize_writes_a_page_and_never_over_its_network() {
    let folder = tempfile::tempdir().unwrap();
    let (out, html) = (folder.path().join("shared.onnx"), folder.path().join("page.html"));
    let quantize = |report: &Path| {
        let mut command = secateur();
        command.args(["quantize", &demo_network(), "--palette", "4bit", "-o"]).arg(&out);
        json(command.arg("--report").arg(report))
    };
    let (code, answer) = quantize(&html);
    assert_eq!(code, 0, "{answer}");
    let shown = page(&html);
    assert_eq!(shown["quantization"]["sizes"][0]["bytes"][1], answer["after"]["bytes"]);
    let repeat = shown["repeat"].as_array().unwrap();
    let of = |name: &str| repeat.iter().find(|row| row["what"] == name).map(|row| row["value"].clone());
    assert!(of("Command").unwrap().as_str().unwrap().contains("--palette 4bit"));
    assert_eq!(of("Option palette").unwrap(), "4bit (command line)");
    assert_eq!((of("Numbers").unwrap(), of("Images")), ("palette of 4 bits".into(), None));
    let (code, answer) = quantize(&out);
    assert!(code == 2 && answer["error"]["message"].as_str().unwrap().contains("one file"), "{answer}");
}

#[test]
fn prune_writes_a_proved_network_and_eval_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (images, small) = (folder.path().join("images.npz"), folder.path().join("small.onnx"));
    secateur().args(["demo", "--count", "64", "--write-images"]).arg(&images).assert().success();
    let data = ["--mean", "0.5", "--std", "0.25", "--data", images.to_str().unwrap()];
    let (code, answer) = json(
        secateur()
            .args(["prune", &demo_network(), "--criterion", "apoz", "--keep-macs", "0.7", "-o"])
            .arg(&small)
            .args(data),
    );
    assert_eq!(code, 0, "{answer}");
    assert_eq!(answer["proof"]["passed"], true);
    let share = answer["after"]["macs"].as_f64().unwrap() / answer["before"]["macs"].as_f64().unwrap();
    assert!(share <= 0.7 && share > 0.6, "{share}");
    assert_eq!(answer["after"]["bytes"].as_u64(), Some(std::fs::metadata(&small).unwrap().len()));
    let (code, answer) =
        json(secateur().arg("eval").arg(&small).args(["--against", &demo_network()]).args(data));
    assert_eq!(code, 0, "{answer}");
    assert_eq!(answer["images"], 64);
    assert!(answer["agreement"].as_f64().unwrap() > 0.2);
}

#[test]
fn images_of_several_sizes_are_judged_at_their_own() {
    const SIZES: [[usize; 2]; 2] = [[40, 24], [16, 36]];
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    resized(Path::new(&demo_network()), None).save(&path("free.onnx")).unwrap();
    secateur()
        .args(["prune", "--criterion", "l1", "--keep-macs", "0.7"])
        .args([path("free.onnx"), "-o".into(), path("small.onnx")])
        .assert()
        .success();
    for name in ["both", "0", "1"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    for image in 0..6u32 {
        let which = usize::from(image % 3 == 0);
        let [height, width] = SIZES[which];
        let pixel = |x: u32, y: u32| image::Rgb([x, y, x + y].map(|v| (v * 37 + image * 11) as u8));
        let picture = image::RgbImage::from_fn(width as u32, height as u32, pixel);
        for name in ["both", &which.to_string()] {
            picture.save(path(name).join(format!("{image}.png"))).unwrap();
        }
    }
    let eval = |model: &str, against: &str, data: &str| {
        let (code, mut answer) = json(secateur().arg("eval").arg(path(model)).arg("--against").args([
            path(against),
            "--data".into(),
            path(data),
        ]));
        assert_eq!(code, 0, "{answer}");
        // A network with a fixed size has a step that resizes to it.
        answer.as_object_mut().unwrap().remove("preprocessing");
        answer
    };
    let mut worst = 0.0f64;
    for (which, size) in SIZES.iter().enumerate() {
        let (small, whole) = (format!("small{which}.onnx"), format!("whole{which}.onnx"));
        resized(&path("small.onnx"), Some(*size)).save(&path(&small)).unwrap();
        resized(&path("free.onnx"), Some(*size)).save(&path(&whole)).unwrap();
        let fixed = eval(&small, &whole, &which.to_string());
        assert_eq!(fixed, eval("small.onnx", "free.onnx", &which.to_string()));
        worst = worst.max(fixed["max_abs_err"].as_f64().unwrap());
    }
    let both = eval("small.onnx", "free.onnx", "both");
    assert_eq!((both["images"].as_u64(), both["max_abs_err"].as_f64()), (Some(6), Some(worst)));
    assert!(worst > 0.0);
}

#[test]
fn networks_without_classes_are_compared_by_their_noise() {
    let folder = tempfile::tempdir().unwrap();
    let (net, images) = (folder.path().join("maps.onnx"), folder.path().join("images.npz"));
    secateur().args(["demo", "--count", "8", "--write-images"]).arg(&images).assert().success();
    let mut model = Model::load(Path::new(&demo_network())).unwrap();
    let graph = model.graph_mut();
    graph.output[0] = ValueInfoProto { name: Some("res2.relu2".into()), ..Default::default() };
    let behind = graph.node.iter().position(|n| n.name() == "pool4").unwrap();
    graph.node.truncate(behind);
    Model::from_bytes(model.to_bytes(), Path::new("maps.onnx")).unwrap().save(&net).unwrap();
    let (code, answer) =
        json(secateur().arg("compare-criteria").args([&net, Path::new("--data"), &images]).args([
            "--criteria",
            "l1,mean",
            "--keep-macs",
            "0.8,0.4",
        ]));
    assert_eq!(code, 0, "{answer}");
    for curve in answer["curves"].as_array().unwrap() {
        let snr = |i: usize| curve["points"][i]["snr_db"].as_f64().unwrap();
        assert!(snr(0) > snr(1) + 3.0 && curve["points"][0]["agreement"].is_null(), "{curve}");
    }
}

#[test]
fn errors_have_a_voice_and_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let (code, answer) = json(
        secateur()
            .args(["prune", &demo_network(), "--criterion", "l3", "--keep-macs", "0.5", "-o"])
            .arg(&out),
    );
    assert_eq!(code, 2);
    assert!(answer["error"]["message"].as_str().unwrap().contains("unknown criterion"));
    assert!(answer["error"]["remedy"].as_str().unwrap().contains("l1"));
    assert!(!out.exists());
    let output = secateur().args(["inspect", "nothing.onnx"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("error: ") && text.contains("nothing.onnx") && text.contains("remedy"), "{text}");
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let said = |args: &[&str]| {
        let output = secateur().args(["inspect", "nothing.onnx"]).args(args).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&["--color", "always"]).contains("\u{1b}["));
    for args in [&["--color=never"][..], &["--color", "auto"], &[]] {
        assert!(!said(args).contains('\u{1b}'), "{args:?}");
    }
    let help = secateur().args(["inspect", "--help", "--color=always"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("\u{1b}["));
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("secateur"));
    let output = command.args(["inspect", &demo_network(), "--json"]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("cannot write the answer"), "{said}");
}

#[test]
fn a_network_that_loses_too_much_is_an_honest_no() {
    let folder = tempfile::tempdir().unwrap();
    let (images, small) = (folder.path().join("i.npz"), folder.path().join("small.onnx"));
    secateur().args(["demo", "--count", "200", "--write-images"]).arg(&images).assert().success();
    // Some channels of every layer, at random; none at all.
    for protected in ["^conv1$", "."] {
        let mut prune = secateur();
        prune.args([
            "prune",
            &demo_network(),
            "--criterion",
            "random",
            "--scope",
            "layer",
            "--round-to",
            "32",
        ]);
        prune.args(["--protect", protected, "--repair", "none", "--max-drop", "0", "-o"]).arg(&small);
        prune.args(["--mean", "0.5", "--std", "0.25", "--data"]).arg(&images);
        let (code, answer) = json(&mut prune);
        assert_eq!((code, &answer["out"]), (1, &Value::Null), "{answer}");
        assert!(!small.exists());
    }
}

#[test]
fn the_data_of_a_model_stay_when_its_outputs_would_take_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut model = Model::load(Path::new(&demo_network())).unwrap();
    model.external = model.graph().initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
    model.save(&at("net.onnx")).unwrap();
    // The file of its tensors has a name that some output's file would have.
    let data = std::fs::read(at("net.onnx.data")).unwrap();
    let prune = |out: &str, masked: Option<&str>| {
        let mut prune = secateur();
        prune.current_dir(folder.path()).args([
            "prune",
            "net.onnx",
            "--criterion",
            "l1",
            "--keep-macs",
            "0.7",
        ]);
        prune.args(["-o", out]).args(masked.iter().flat_map(|masked| ["--masked", masked]));
        let output = prune.output().unwrap();
        assert!(output.status.code() == Some(2), "{out} {masked:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (out, masked) in [("net.onnx.data", None), ("small.onnx", Some("net.onnx.data"))] {
        assert!(prune(out, masked).contains("the output is an input"), "{out} {masked:?}");
    }
    assert!(prune("small.onnx", Some("small.onnx.data")).contains("two outputs would be one file"));
    assert_eq!(std::fs::read(at("net.onnx.data")).unwrap(), data);
}

#[test]
fn profile_and_plan_are_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    secateur().args(["demo", "--count", "32", "--write-images"]).arg(at("i.npz")).assert().success();
    let profile = |batch: &str, out: &Path| {
        secateur()
            .args(["profile", &demo_network(), "--mean", "0.5", "--std", "0.25", "--batch", batch, "--data"])
            .arg(at("i.npz"))
            .arg("-o")
            .arg(out)
            .assert()
            .success();
    };
    profile("4", &at("a.profile"));
    profile("16", &at("b.profile"));
    let (a, b) = (std::fs::read(at("a.profile")).unwrap(), std::fs::read(at("b.profile")).unwrap());
    assert!(a == b, "a profile depends on the batch size");
    secateur()
        .args(["plan", &demo_network(), "--criterion", "variance", "--keep-params", "0.8", "--profile"])
        .arg(at("a.profile"))
        .arg("-o")
        .arg(at("cut.json"))
        .assert()
        .success();
    secateur()
        .args(["prune", &demo_network(), "--cut"])
        .arg(at("cut.json"))
        .arg("-o")
        .arg(at("small.onnx"))
        .assert()
        .success();
    secateur().arg("show").arg(at("a.profile")).arg("--csv").arg(at("p.csv")).assert().success();
    assert!(std::fs::read_to_string(at("p.csv")).unwrap().lines().count() > 100);
}

#[test]
fn shards_merge_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    secateur().args(["demo", "--count", "20", "--write-images"]).arg(at("i.npz")).assert().success();
    let profile = |more: &[&str], out: &Path| {
        let data = at("i.npz");
        let fixed =
            ["profile", &demo_network(), "--mean", "0.5", "--std", "0.25", "--data"].map(str::to_owned);
        secateur().args(fixed).arg(data).args(more).arg("-o").arg(out).assert().success();
    };
    profile(&[], &at("whole"));
    let parts: Vec<_> = (1..=3).map(|k| at(&format!("part{k}"))).collect();
    for (k, part) in parts.iter().enumerate() {
        profile(&["--shard", &format!("{}/3", k + 1), "--batch", "4"], part);
    }
    secateur().arg("merge").args(&parts).arg("-o").arg(at("merged")).assert().success();
    let [whole, merged] = ["whole", "merged"].map(|name| Profile::load(&at(name)).unwrap());
    assert_eq!((merged.header.images, &merged.header.data), (20, &whole.header.data));
    let exact = Tolerance { name: "another order of sums in f64", absolute: 0.0, relative: 1e-12 };
    for (_, get) in DERIVED {
        let all = |p: &Profile| -> Vec<f64> {
            let layers = p.layers.iter().flat_map(|l| l.pre.iter().chain(&l.post));
            layers.map(get).filter(|v| v.is_finite()).collect()
        };
        let verdict = compare(&all(&merged), &all(&whole), exact);
        assert!(verdict.passed(), "{verdict}");
    }
    // Tasks of a Slurm array, and the pods of a Kubernetes Indexed Job, find their shards themselves.
    let numbered = |shard: &str, variables: &[(&str, &str)], out: &Path| {
        let fixed =
            ["profile", &demo_network(), "--mean", "0.5", "--std", "0.25", "--shard", shard, "--data"];
        let mut command = secateur();
        command.envs(variables.iter().copied()).args(fixed).arg(at("i.npz")).arg("-o").arg(out);
        command.assert().success();
        Profile::load(out).unwrap()
    };
    let array = ["MIN", "MAX", "COUNT", "ID"].map(|name| format!("SLURM_ARRAY_TASK_{name}"));
    let array: Vec<_> = array.iter().map(String::as_str).zip(["5", "7", "3", "6"]).collect();
    let second = Profile::load(&parts[1]).unwrap();
    assert!(numbered("auto", &array, &at("slurm")) == second);
    assert!(numbered("auto/3", &[("JOB_COMPLETION_INDEX", "1")], &at("pod")) == second);
    // Other preprocessing is another thing.
    profile(&["--scale", "128"], &at("other"));
    let (code, answer) =
        json(secateur().arg("merge").arg(at("whole")).arg(at("other")).arg("-o").arg(at("no")));
    assert_eq!(code, 2);
    assert!(answer["error"]["message"].as_str().unwrap().contains("preprocessing"), "{answer}");
    assert!(!at("no").exists());
}

#[test]
fn a_plan_goes_on_where_its_profile_ends() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    secateur().args(["demo", "--count", "48", "--write-images"]).arg(at("i.npz")).assert().success();
    let plan = |profile: Option<&str>, data: bool, out: &str| {
        let mut command = secateur();
        command.args(["plan", &demo_network(), "--keep-macs", "0.6", "-o"]).arg(at(out));
        if let Some(name) = profile {
            command.arg("--profile").arg(at(name));
        }
        if data {
            command.args(["--mean", "0.5", "--std", "0.25", "--data"]).arg(at("i.npz"));
        }
        command.assert().success();
        std::fs::read_to_string(at(out)).unwrap()
    };
    let at_once = plan(None, true, "a.json");
    assert!(plan(Some("p.profile"), true, "b.json") == at_once, "a kept profile decides otherwise");
    // One that is all there is, and has no moments of patches: decided by the next best that it serves, aloud.
    let profiled = |gram: &str, out: &str| {
        let mut profile = secateur();
        profile.args([
            "profile",
            &demo_network(),
            "--gram",
            gram,
            "--mean",
            "0.5",
            "--std",
            "0.25",
            "--data",
        ]);
        profile.arg(at("i.npz")).arg("-o").arg(at(out)).assert().success();
        let mut command = secateur();
        command.args(["plan", &demo_network(), "--keep-macs", "0.6", "--profile"]).arg(at(out)).arg("-o");
        let told =
            String::from_utf8(command.arg(at("g.json")).assert().success().get_output().stderr.clone())
                .unwrap();
        let cut: Value = serde_json::from_str(&std::fs::read_to_string(at("g.json")).unwrap()).unwrap();
        (cut["criterion"].as_str().unwrap().to_owned(), told)
    };
    for (gram, by) in [
        ("none", "act-variance"),
        ("channel", "obd"),
        ("patch", "reconstruction"),
        ("both", "reconstruction"),
    ] {
        let (criterion, told) = profiled(gram, "g.profile");
        assert_eq!(criterion, by, "--gram {gram}");
        assert_eq!(
            told.contains(&format!("note: criterion {by}:")),
            by != "reconstruction",
            "--gram {gram}: {told}"
        );
    }
    let mut plain = secateur();
    plain.args(["plan", &demo_network(), "--keep-macs", "0.6", "--criterion", "reconstruction", "--profile"]);
    profiled("channel", "g.profile");
    plain.arg(at("g.profile")).arg("-o").arg(at("g.json")).assert().code(2);
    // One that is complete, but has no second moments.
    let mut profile = secateur();
    profile.args(["profile", &demo_network(), "--gram", "none", "--mean", "0.5", "--std", "0.25", "--data"]);
    profile.arg(at("i.npz")).arg("-o").arg(at("q.profile")).assert().success();
    let classes = Profile::load(&at("q.profile")).unwrap().classes;
    assert!(plan(Some("q.profile"), true, "q.json") == at_once, "what a profile lacks is not gathered");
    let more = Profile::load(&at("q.profile")).unwrap();
    assert!(!more.grams.is_empty() && !classes.is_empty() && more.classes == classes, "something was lost");
    // As Ctrl-C leaves it: some of the probes were made.
    let mut profile = Profile::load(&at("p.profile")).unwrap();
    let probes = profile.header.sensitivity.len();
    assert!(probes > 3);
    profile.header.sensitivity.truncate(probes / 2);
    profile.save(&at("q.profile")).unwrap();
    assert!(plan(Some("q.profile"), true, "c.json") == at_once, "a resumed plan decides otherwise");
    assert_eq!(Profile::load(&at("q.profile")).unwrap().header.sensitivity.len(), probes);
    assert!(plan(Some("q.profile"), false, "d.json") == at_once, "the profile does not hold all");
}

#[test]
fn the_smallest_network_is_found_that_loses_no_more_than_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    secateur().args(["demo", "--count", "200", "--write-images"]).arg(at("i.npz")).assert().success();
    let prune = |drop: &str| {
        let mut command = secateur();
        command.args(["prune", &demo_network(), "--criterion", "act-l1", "--max-drop", drop, "-o"]);
        command.arg(at("small.onnx")).args(["--mean", "0.5", "--std", "0.25", "--data"]).arg(at("i.npz"));
        json(&mut command)
    };
    let (code, answer) = prune("6");
    assert_eq!(code, 0, "{answer}");
    let tried = answer["tried"].as_array().unwrap();
    let number = |of: &Value, name: &str| of[name].as_f64().unwrap();
    assert!(tried.windows(2).all(|w| number(&w[0], "keep") < number(&w[1], "keep")), "{tried:?}");
    let chosen = tried.iter().find(|t| number(t, "drop") <= 6.0).unwrap();
    assert_eq!(chosen["top1"], answer["top1"]["after"]);
    let share = number(&answer["after"], "macs") / number(&answer["before"], "macs");
    assert!(share <= number(chosen, "keep") && share > number(chosen, "keep") - 0.05, "{share} {chosen}");
    assert!(tried.len() > 4 && number(&tried[0], "drop") > 6.0, "{tried:?}");
    assert!(answer["proof"]["passed"] == true && answer["images"]["evaluation"] == 40);
    let (code, answer) = prune("-1");
    assert!(code == 2 && answer["error"]["message"].as_str().unwrap().contains("--max-drop"), "{answer}");
}

/// The data of a page, as a browser finds it.
fn page(path: &Path) -> Value {
    let html = std::fs::read_to_string(path).unwrap();
    let (_, rest) = html.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn prune_and_report_make_the_same_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    secateur().args(["demo", "--count", "40", "--write-images"]).arg(at("i.npz")).assert().success();
    let images = at("i.npz");
    let data = ["--mean", "0.5", "--std", "0.25", "--data", images.to_str().unwrap()];
    let network = demo_network();
    let mut plan = secateur();
    plan.args(["plan", &network, "--criterion", "act-l1", "--keep-macs", "0.6", "-o"]).arg(at("cut.json"));
    plan.args(data).assert().success();
    let mut prune = secateur();
    prune
        .args(["prune", &network, "--report-seconds", "0.1", "--held-out", "0", "--cut"])
        .arg(at("cut.json"));
    prune.arg("-o").arg(at("small.onnx")).arg("--masked").arg(at("masked.onnx"));
    let (code, answer) = json(prune.arg("--report").arg(at("a.html")).args(data));
    assert_eq!((code, &answer["report"]), (0, &Value::from(at("a.html").to_str().unwrap())), "{answer}");
    let report = |more: &[&Path], out: &str| {
        let mut command = secateur();
        command.arg("report").arg(&network).arg(at("small.onnx")).arg("--cut").arg(at("cut.json"));
        json(command.args(data).args(["--seconds", "0"]).args(more).arg("-o").arg(at(out)))
    };
    let (code, answer) = report(&[Path::new("--masked"), &at("masked.onnx")], "b.html");
    assert_eq!(code, 0, "{answer}");
    let [mut a, mut b] = ["a.html", "b.html"].map(|name| page(&at(name)));
    let times = |page: &mut Value| -> Vec<Value> {
        page["layers"].as_array_mut().unwrap().iter_mut().map(|l| l["ms"][1].take()).collect()
    };
    assert!(times(&mut a).iter().all(Value::is_number) && times(&mut b).iter().all(Value::is_null));
    a["layers"].as_array_mut().unwrap().iter_mut().for_each(|l| l["ms"][0] = Value::Null);
    for part in ["model", "columns", "layers", "dependency_groups", "filters", "maps", "images"] {
        assert!(!a[part].is_null() && a[part] == b[part], "{part} differs");
    }
    let (first, second) = (&a["summary"], &b["summary"]);
    for part in ["before", "after", "quality", "channels", "coupled", "calibration", "proof"] {
        assert!(
            !first[part].is_null() && first[part] == second[part],
            "{part}: {} {}",
            first[part],
            second[part]
        );
    }
    assert!(first["speed"]["speedup"]["median"].as_f64().unwrap() > 0.2 && second["speed"].is_null());
    assert_eq!((&first["repair"], &answer["summary"]["proof"]["passed"]), (&"full".into(), &true.into()));
    let layers = a["layers"].as_array().unwrap();
    assert!(layers.iter().any(|l| l["values"]["a_frequency"].is_array() && l["errors"]["a_mean"].is_array()));
    // Without what the repaired network should equal, nothing is claimed of it.
    let (code, answer) = report(&[], "c.html");
    assert!(code == 0 && answer["summary"]["proof"].is_null(), "{answer}");
    assert!(answer["summary"]["unproved"].as_str().unwrap().contains("--masked"), "{answer}");
}

#[test]
fn what_does_not_belong_together_makes_no_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let network = demo_network();
    for (keep, cut, out) in [("0.6", "a.json", "a.onnx"), ("0.7", "b.json", "b.onnx")] {
        let plan = ["plan", &network, "--criterion", "l1", "--keep-macs", keep, "-o"];
        secateur().args(plan).arg(at(cut)).assert().success();
        secateur().args(["prune", &network, "--cut"]).arg(at(cut)).arg("-o").arg(at(out)).assert().success();
    }
    let report = |model: &Path, small: &str, cut: &str, out: &Path| {
        let mut command = secateur();
        command.arg("report").arg(model).arg(at(small)).arg("--cut").arg(at(cut)).args([
            "--seconds",
            "0",
            "-o",
        ]);
        json(command.arg(out))
    };
    let (original, out) = (Path::new(&network), at("page.html"));
    let fails = |(code, answer): (i32, Value), what: &str| {
        let said = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(code == 2 && said.contains(what), "{answer}");
        assert!(answer["error"]["remedy"].is_string() && !out.exists(), "{answer}");
    };
    fails(report(original, "b.onnx", "a.json", &out), "not that of the cut");
    fails(report(&at("a.onnx"), "a.onnx", "a.json", &out), "the cut belongs to another model");
    fails(report(original, "a.onnx", "a.json", &at("no/page.html")), "cannot write the report");
    fails(report(original, "a.onnx", "a.json", &at("a.onnx")), "the output is an input");
    let mut prune = secateur();
    prune.args(["prune", &network, "--cut"]).arg(at("a.json")).arg("-o").arg(at("c.onnx"));
    fails(json(prune.arg("--report").arg(at("no/page.html"))), "cannot write the report");
    assert!(!at("c.onnx").exists(), "the report's path is looked at before the work");
    // What is plain and right is proved, without images and without a word of accuracy.
    let (code, answer) = report(original, "a.onnx", "a.json", &out);
    assert_eq!((code, &answer["summary"]["proof"]["passed"]), (0, &true.into()), "{answer}");
    assert!(answer["summary"]["quality"].is_null() && page(&out)["maps"] == Value::Array(vec![]));
}

#[test]
fn a_share_of_the_latency_is_a_budget() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.json");
    let mut plan = secateur();
    plan.args([
        "plan",
        &demo_network(),
        "--criterion",
        "l1",
        "--keep-latency",
        "0.7",
        "--device",
        "cpu",
        "-o",
    ]);
    let (code, answer) = json(plan.arg(&cut));
    assert_eq!(code, 0, "{answer}");
    let measured = answer["latency"]["measured"]["median"].as_f64().unwrap();
    assert!(measured > 0.0 && measured < 1.5, "{answer}");
    assert_eq!(answer["latency"]["asked"], 0.7);
    assert!(answer["removed"].as_u64().unwrap() > 0, "{answer}");
    assert_eq!(answer["budget"], "keep-latency 0.7");

    let mut plan = secateur();
    plan.args(["plan", &demo_network(), "--criterion", "l1", "--keep-latency", "1.7", "-o"]);
    let (code, answer) = json(plan.arg(&cut));
    assert_eq!(code, 2);
    assert!(answer["error"]["message"].as_str().unwrap().contains("--keep-latency"), "{answer}");
}

#[test]
fn bench_times_every_layer() {
    let mut bench = secateur();
    bench.args(["bench", &demo_network(), "--device", "cpu", "--seconds", "0.1", "--layers"]);
    let (code, answer) = json(&mut bench);
    assert_eq!(code, 0, "{answer}");
    let layers = answer["models"][0]["layers"].as_array().unwrap();
    let sum: f64 = layers.iter().map(|l| l["share"].as_f64().unwrap()).sum();
    assert!(layers.len() > 5 && (sum - 1.0).abs() < 1e-6, "{answer}");
    assert!(layers.iter().any(|l| l["gflops"].as_f64().unwrap() > 0.0));
    for limit in ["gflops", "gbytes_per_s"] {
        assert!(answer["limits"][limit].as_f64().unwrap() > 0.1, "{answer}");
    }
    assert!(layers.iter().all(|l| l["of_limit"].as_f64().unwrap() > 0.0), "{answer}");
}

#[test]
fn eval_and_bench_tell_what_halves_cost() {
    if adapters::gpus("halves from the command line").is_empty() {
        return;
    }
    let (_, answer) = json(secateur().arg("devices"));
    let devices = answer["devices"].as_array().unwrap();
    let Some(device) = devices.iter().find(|device| device["shader_f16"] == true) else {
        return adapters::left_out("halves from the command line: no adapter here knows them");
    };
    let device = device["index"].to_string();
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images.npz");
    secateur().args(["demo", "--count", "64", "--write-images"]).arg(&images).assert().success();
    let network = demo_network();
    let eval = |precision: &str| {
        let mut eval = secateur();
        eval.args(["eval", &network, "--mean", "0.5", "--std", "0.25", "--device", &device]);
        json(eval.args(["--precision", precision, "--data", images.to_str().unwrap()])).1
    };
    let (whole, halves) = (eval("f32"), eval("f16"));
    assert_eq!((&whole["precision"], &halves["precision"]), (&"f32".into(), &"f16".into()));
    assert!(whole["snr_db"].is_null() && whole["agreement"].is_null(), "{whole}");
    let near = halves["snr_db"].as_f64().unwrap();
    assert!(near > 40.0 && near < 100.0 && halves["agreement"].as_f64().unwrap() > 0.95, "{halves}");
    let mut bench = secateur();
    bench.args(["bench", &network, "--device", &device, "--seconds", "0.1", "--precision", "f16"]);
    let (code, answer) = json(&mut bench);
    assert_eq!((code, &answer["device"]["precision"]), (0, &"f16".into()), "{answer}");
    assert!(answer["models"][0]["snr_db"].as_f64().unwrap() > 30.0, "{answer}");
    let (code, answer) =
        json(secateur().args(["check", &network, "--device", &device, "--precision", "f16"]));
    assert_eq!((code, &answer["passed"]), (0, &true.into()), "{answer}");
}

#[test]
fn eval_ranks_recipes_of_preprocessing() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images.npz");
    secateur().args(["demo", "--count", "64", "--write-images"]).arg(&images).assert().success();
    let eval = || {
        let mut command = secateur();
        command.args(["eval", &demo_network(), "--images", "32", "--data"]).arg(&images);
        command
    };
    let (code, answer) = json(eval().arg("--try-presets"));
    assert_eq!(code, 0, "{answer}");
    let recipes = answer["recipes"].as_array().unwrap();
    assert_eq!((answer["by"].as_str(), recipes.len()), (Some("top1"), 12));
    assert_eq!(answer["best"], recipes[0]["options"]);
    let raw = recipes.iter().find(|recipe| recipe["options"] == "--preset raw").unwrap();
    assert_eq!(raw["tied"], false);
    // The options of a row give its value.
    let options = recipes[0]["options"].as_str().unwrap().split(' ');
    let (_, again) = json(eval().args(["--sample", "0"]).args(options));
    assert_eq!(again["top1"].as_f64().unwrap() * 100.0, recipes[0]["value"].as_f64().unwrap());
    assert_eq!(again["preprocessing"], recipes[0]["preprocessing"]);
    let output = eval().args(["--scale", "1"]).output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("note: preprocessing: 32×32 u8 RGB → as they are → NCHW f32"), "{notes}");
    assert!(
        notes.contains("preprocessing may be wrong: values before the first BatchNormalization"),
        "{notes}"
    );
    assert!(notes.contains("--try-presets"), "{notes}");
}
