//! Recordings as data of the program: profile, prune and eval of a network of 1-D sound.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value as Json;

#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;

use builder::{Builder, FLOAT, Value, int};

/// A network over one channel of so many samples with two classes; the declared length may be a name.
fn network(declared: &str) -> Vec<u8> {
    let mut b = Builder::new(91, 8);
    b.declare("x", FLOAT, &format!("N 1 {declared}"));
    let x = Value { name: "x".to_owned(), shape: vec![1, 400] };
    let y = b.conv_in_space(&x, 8, 9, 1, 1);
    let y = b.unary("Relu", &y);
    let y = b.conv_in_space(&y, 6, 3, 1, 1);
    let y = b.unary("Relu", &y);
    let (w, c) = (b.floats(&[2, 6], 0.0, 0.3), b.floats(&[2], 0.0, 0.3));
    let y = b.node("GlobalAveragePool", &[&y.name], vec![], &[6, 1]);
    let y = b.node("Flatten", &[&y.name], vec![], &[6]);
    let y = b.node("Gemm", &[&y.name, &w, &c], vec![int("transB", 1)], &[2]);
    b.with_outputs(&[(&y.name, "N 2")])
}

/// Writes a tone of 16 bits with so many samples in each channel.
fn tone(path: &Path, (rate, channels): (u32, u16), hertz: f64, len: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for i in 0..len {
        let x = (std::f64::consts::TAU * hertz * i as f64 / f64::from(rate)).sin();
        (0..channels).for_each(|_| writer.write_sample((x * 20_000.0) as i16).unwrap());
    }
    writer.finalize().unwrap();
}

/// Runs the program in a folder, and returns its answer.
fn run(folder: &Path, line: &str) -> (bool, Json) {
    let mut command = Command::cargo_bin("secateur").unwrap();
    command.env("SECATEUR_DEVICE", "cpu").current_dir(folder).args(line.split(' ')).arg("--json");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}: {text}")))
}

/// Runs the program, which must succeed.
fn done(folder: &Path, line: &str) -> Json {
    let (success, answer) = run(folder, line);
    assert!(success, "{line}: {answer}");
    answer
}

#[test]
fn recordings_profile_prune_and_judge_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("net.onnx"), network("400")).unwrap();
    for k in 0..12 {
        let (class, form) = [("high", (8000, 1)), ("low", (16_000, 2))][k % 2];
        let hertz = (if class == "low" { 100.0 } else { 1500.0 }) + 10.0 * k as f64;
        tone(&path.join(format!("set/{class}/{k:02}.wav")), form, hertz, 300 + 100 * k);
    }
    std::fs::write(path.join("set/low/broken.wav"), b"no sound").unwrap();
    let (success, refused) = run(path, "profile net.onnx --data set -o net.profile");
    assert!(!success && refused.to_string().contains("--rate"), "{refused}");
    done(path, "profile net.onnx --data set --rate 8000 -o net.profile");
    let profile = secateur::stats::Profile::load(&path.join("net.profile")).unwrap();
    let recipe = profile.header.preprocessing.unwrap();
    assert_eq!((recipe.rate, recipe.length, recipe.channels), (Some(8000), Some(400), 1));
    assert_eq!(profile.header.images, 12, "the broken one is left out");
    let pruned = "prune net.onnx --data set --rate 8000 --keep-macs 0.6 --force -o small.onnx";
    for repair in ["none", "full"] {
        let answer = done(path, &format!("{pruned} --repair {repair}"));
        assert_eq!(answer["proof"]["passed"], true, "{answer}");
    }
    let judged = done(path, "eval small.onnx --against net.onnx --data set --rate 8000");
    assert_eq!((&judged["images"], &judged["skipped"]), (&12.into(), &1.into()));
}

#[test]
fn a_free_length_is_that_of_the_user_or_of_the_first_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("net.onnx"), network("L")).unwrap();
    (0..8).for_each(|k| tone(&path.join(format!("set/{k}.wav")), (8000, 1), 440.0, 300 + 50 * (k / 4)));
    for (size, length) in [("", 300), (" --size x=1x1x320", 320)] {
        done(path, &format!("profile net.onnx --data set{size} -o net.profile"));
        let profile = secateur::stats::Profile::load(&path.join("net.profile")).unwrap();
        assert_eq!(profile.header.images, 8);
        assert_eq!(profile.header.preprocessing.unwrap().length, Some(length));
        let pruned = format!("prune net.onnx --data set{size} --keep-macs 0.6 --repair full -o a.onnx");
        assert_eq!(done(path, &pruned)["proof"]["passed"], true);
    }
}
