//! Several data sets, patterns and class folders on the command line.

use std::path::Path;

use serde_json::Value;

use super::{demo_network, json, secateur};

fn write_images(path: &Path, count: usize) {
    secateur().args(["demo", "--count", &count.to_string(), "--write-images"]).arg(path).assert().success();
}

fn eval(data: &[String], more: &[&str]) -> (i32, Value) {
    let mut command = secateur();
    command.args(["eval", &demo_network(), "--against", &demo_network(), "--mean", "0.5", "--std", "0.25"]);
    data.iter().for_each(|data| {
        command.args(["--data", data]);
    });
    json(command.args(more))
}

#[test]
fn several_data_sets_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write_images(Path::new(&at("a.npz")), 12);
    write_images(Path::new(&at("b.npz")), 8);
    let count = |data: &[String], more: &[&str]| {
        let (code, answer) = eval(data, more);
        assert_eq!(code, 0, "{answer}");
        answer["images"].as_u64().unwrap()
    };
    let both = [at("a.npz"), at("b.npz")];
    assert_eq!(count(&both, &[]), 20);
    assert_eq!(count(&both, &["--shard", "2/2"]), 10);
    assert_eq!(count(&[at("?.npz")], &[]), 20, "a pattern");
    assert_eq!(count(&[at("a.npz:images")], &[]), 12, "an array of an archive");
    let profile = at("p.profile");
    let mut command = secateur();
    command.args(["profile", &demo_network(), "--mean", "0.5", "--std", "0.25", "-o", &profile]);
    let (code, answer) = json(command.args(["--data", &both[0], "--data", &both[1]]));
    assert_eq!(code, 0, "{answer}");
    let (_, shown) = json(secateur().args(["show", &profile]));
    assert!(shown.to_string().contains("a.npz, ") && shown.to_string().contains("b.npz"), "{shown}");
    // Several test sets judge together.
    let mut prune = secateur();
    prune.args([
        "prune",
        &demo_network(),
        "--mean",
        "0.5",
        "--std",
        "0.25",
        "--criterion",
        "l1",
        "--repair",
        "none",
    ]);
    prune.args(["--keep-macs", "0.9", "-o", &at("small.onnx"), "--data", &both[0]]);
    let (code, answer) = json(prune.args(["--test", &both[0], "--test", &both[1]]));
    assert_eq!((code, &answer["images"]["evaluation"]), (0, &20.into()), "{answer}");
    let mut prune = secateur();
    prune.args(["prune", &demo_network(), "--criterion", "l1", "--keep-macs", "0.9", "-o", &at("a.npz")]);
    let (code, answer) = json(prune.args(["--data", &at("a.npz:images")]));
    assert!(code == 2 && answer["error"]["message"].as_str().unwrap().contains("is an input"), "{answer}");
}

#[test]
fn class_folders_need_the_networks_classes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, level) in [("n2", 40), ("n5", 120), ("n7", 200)] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        for i in 0..4u8 {
            let picture = image::RgbImage::from_fn(32, 32, |x, y| {
                image::Rgb([level, (8 * x) as u8, (y as u8).wrapping_mul(i)])
            });
            picture.save(folder.path().join(name).join(format!("{i}.png"))).unwrap();
        }
    }
    let data = [folder.path().display().to_string()];
    for more in [&[][..], &["--metric", "top1"]] {
        let (code, answer) = eval(&data, more);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(code == 2 && message.contains("3 class names, but the output"), "{answer}");
        assert!(answer["error"]["remedy"].as_str().unwrap().contains("--classes"), "{answer}");
    }
    // Labels that are no classes count for nothing.
    for metric in ["agreement", "snr"] {
        let (code, answer) = eval(&data, &["--metric", metric]);
        assert!(code == 0 && answer["top1"].is_null(), "{answer}");
    }
    let names = folder.path().join("names.txt");
    std::fs::write(&names, "n0\nn1\nn2\nn3\nn4\nn5\nn6\nn7\nn8\nn9\n").unwrap();
    let (code, answer) = eval(&data, &["--classes", names.to_str().unwrap()]);
    assert!(code == 0 && answer["top1"].is_number(), "{answer}");
}
