//! Standard input and output in place of files, notices about pictures, and ratios of unrelated networks.

use super::*;

/// Runs a command with the demo network on standard input.
fn fed(args: &[&str]) -> std::process::Output {
    secateur().args(args).pipe_stdin(demo_network()).unwrap().output().unwrap()
}

#[test]
fn results_go_to_standard_output_and_texts_to_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let cut = ["--criterion", "l1", "--keep-macs", "0.7"];
    for (verb, more, name) in [("prune", &["--seed", "1"][..], "small.onnx"), ("plan", &[], "cut.json")] {
        secateur()
            .args([verb, &demo_network()])
            .args(cut)
            .args(more)
            .arg("-o")
            .arg(at(name))
            .assert()
            .success();
        let streamed = fed(&[&[verb, "-"][..], &cut, more, &["-o", "-"]].concat());
        assert!(streamed.status.success(), "{}", String::from_utf8_lossy(&streamed.stderr));
        assert!(streamed.stdout == std::fs::read(at(name)).unwrap(), "{verb}: a file and nothing else");
        assert!(String::from_utf8_lossy(&streamed.stderr).contains("→ -"));
        let streamed = fed(&[&[verb, "-", "--json"][..], &cut, more, &["-o", "-"]].concat());
        assert!(streamed.stdout == std::fs::read(at(name)).unwrap());
        let text = String::from_utf8(streamed.stderr).unwrap();
        let answer: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(answer["out"], "-");
    }
    let random = ["--data", "random:4", "--allow-random", "-o"];
    for shard in ["1/2", "2/2"] {
        let profile = secateur()
            .args(["profile", &demo_network(), "--shard", shard])
            .args(random)
            .arg("-")
            .output()
            .unwrap();
        std::fs::write(at(&shard.replace('/', "-")), profile.stdout).unwrap();
    }
    let merged = secateur().arg("merge").args([at("1-2"), at("2-2")]).args(["-o", "-"]).output().unwrap();
    std::fs::write(at("whole"), merged.stdout).unwrap();
    assert_eq!(Profile::load(&at("whole")).unwrap().header.images, 4);
}

#[test]
fn a_failure_leaves_standard_output_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::load(Path::new(&demo_network())).unwrap();
    let weights = model.graph().initializer.iter().max_by_key(|t| t.dims.iter().product::<i64>()).unwrap();
    let weights = weights.name().to_owned();
    model.external.insert(weights);
    model.save(&folder.path().join("external.onnx")).unwrap();
    let failed = secateur()
        .args(["prune", "--criterion", "l1", "--keep-macs", "0.7", "--json", "-o", "-"])
        .arg(folder.path().join("external.onnx"))
        .output()
        .unwrap();
    assert_eq!((failed.status.code(), failed.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("external data"));
}

#[test]
fn only_related_networks_have_ratios() {
    let folder = tempfile::tempdir().unwrap();
    let bench = |second: &Path| {
        let run = |json: bool| {
            let mut command = secateur();
            command.args(["bench", "--seconds", "0", &demo_network()]).arg(second);
            command.args(json.then_some("--json")).output().unwrap().stdout
        };
        let answer: Value = serde_json::from_slice(&run(true)).unwrap();
        (String::from_utf8(run(false)).unwrap(), answer["ratios"].clone())
    };
    let (text, ratios) = bench(Path::new(&demo_network()));
    assert!(text.matches('×').count() >= 2 && !text.contains("no ratio"), "{text}");
    assert_eq!(ratios.as_array().unwrap().len(), 2);
    let other = folder.path().join("other.onnx");
    resized(Path::new(&demo_network()), Some([24, 40])).save(&other).unwrap();
    let (text, ratios) = bench(&other);
    assert!(text.contains("no ratio for") && text.contains("24×40"), "{text}");
    assert_eq!(ratios, serde_json::json!([]));
}

#[test]
fn turned_and_unread_pictures_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
    let pixels = vec![7; 3 * 32 * 32];
    image::ImageEncoder::write_image(encoder, &pixels, 32, 32, image::ExtendedColorType::Rgb8).unwrap();
    std::fs::write(folder.path().join("a.png"), bytes).unwrap();
    std::fs::write(folder.path().join("b.avif"), b"\0\0\0\x14ftypavif\0\0\0\0avif").unwrap();
    let eval = |more: &[&str]| {
        let mut command = secateur();
        command.args(["eval", &demo_network(), "--against", &demo_network(), "--data"]).arg(folder.path());
        command.args(more).output().unwrap()
    };
    let found = eval(&[]);
    let notes = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{notes}");
    assert!(notes.contains("1 image turned by the EXIF orientation"), "{notes}");
    assert!(notes.contains("b.avif: AVIF is not supported"), "{notes}");
    assert_eq!(eval(&["--strict"]).status.code(), Some(2));
}
