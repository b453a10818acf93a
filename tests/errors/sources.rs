//! Patterns, lists, splits and several sources that are no data set, and boxes that cannot be compared.

use super::case::{Case, case};
use super::notation::model;
use super::sets::{npy, npz, png};

pub(crate) fn cases() -> Vec<Case> {
    [sources(), classes(), boxes()].concat()
}

fn pixels(count: usize) -> Vec<u8> {
    npy("|u1", &format!("{count}, 3, 8, 8"), &vec![7; count * 192])
}

fn from(title: &str, data: &str) -> Case {
    case(title, &format!("prune good.onnx --criterion l1 --keep-macs 0.7 -o out --data {data}"))
}

fn sources() -> Vec<Case> {
    let folders = |case: Case| case.with("f/cat/a.png", png(8, 8)).with("f/dog/b.png", png(8, 8));
    let split = npz(&[("x_train", &pixels(4)), ("x_test", &pixels(2))]);
    let labels = npy("|u1", "2, 3", &[0, 1, 1, 1, 0, 0]);
    let list = |title: &str, text: &str| {
        from(title, "list.txt").with("list.txt", text).with("a.png", png(8, 8)).with("b.png", png(8, 8))
    };
    let two = |title: &str, first: &[u8], second: &[u8]| {
        from(title, "f --data g")
            .with("f/a.png", png(8, 8))
            .with("f/labels.csv", first)
            .with("g/b.png", png(8, 8))
            .with("g/labels.csv", second)
    };
    let masks = npz(&[("images", &pixels(2)), ("labels", &npy("|u1", "2, 8, 8", &[0; 128]))]);
    vec![
        from("a pattern of no file", "f/*.jpg").with("f/a.png", png(8, 8)),
        folders(from("a pattern of folders", "f/*")),
        list("a list of a file that is not there", "a.png\nc.png\n"),
        list("a list with few labels", "a.png 1\nb.png\n"),
        list("a list of labels that are no classes", "a.png 1\nb.png cat\n"),
        list("an empty list", "\n"),
        from("an archive of two splits", "a.npz").with("a.npz", split.clone()),
        from("a split that is not there", "a.npz:val").with("a.npz", split),
        from("a split of a picture", "a.png:test").with("a.png", png(8, 8)),
        from("several labels for an image", "a.npz").with("a.npz", npz(&[("x", &pixels(2)), ("y", &labels)])),
        two("class names beside class indices", b"file,label\na.png,1\n", b"file,label\nb.png,cat\n"),
        from("two data sets of which one has labels", "f --data g")
            .with("f/a.png", png(8, 8))
            .with("f/labels.csv", "file,label\na.png,1\n")
            .with("g/b.png", png(8, 8)),
        from("pictures and floats in one set", "f --data a.npy")
            .with("f/a.png", png(8, 8))
            .with("a.npy", npy("<f4", "1, 3, 8, 8", &[0; 4 * 192])),
        from("random images beside data", "random:4 --data f").with("f/a.png", png(8, 8)),
        case(
            "masks inside of one of two archives",
            "eval map.onnx --data a.npz --data b.npz --against map.onnx",
        )
        .with("map.onnx", model("Conv [N,3,8,8] =[4,3,3,3] pads=[1,1,1,1]"))
        .with("a.npz", masks.clone())
        .with("b.npz", masks),
    ]
}

fn classes() -> Vec<Case> {
    let of = |title: &str, names: &[&str], more: &str| {
        let case = case(title, format!("eval good.onnx --data f {more}").trim_end());
        names.iter().fold(case, |case, name| case.with(&format!("f/{name}/a.png"), png(8, 8)))
    };
    let names = |count: usize| -> Vec<String> { (0..count).map(|i| format!("c{i}")).collect() };
    let few = names(3);
    let few: Vec<&str> = few.iter().map(String::as_str).collect();
    vec![
        of("splits for classes", &["train", "val"], ""),
        of("images and masks for classes", &["images", "masks"], ""),
        of("fewer class folders than classes", &few, ""),
        of("one class folder less than classes", &["a", "b", "c", "d"], ""),
        of("more class folders than classes", &["a", "b", "c", "d", "e", "f", "g"], ""),
        of("fewer class folders than classes, and top-1", &few, "--metric top1"),
    ]
}

fn boxes() -> Vec<Case> {
    let of = |title: &str, more: &str| {
        case(title, &format!("eval rows.onnx --data images.npz --against rows.onnx {more}"))
            .with("rows.onnx", model("Conv [N,3,8,8] =[24,3,8,8]; Mul ^ 3.; Reshape ^ (0,4,6)"))
    };
    let raw = "Conv [N,3,8,8] =[24,3,8,8]; Reshape ^ (0,4,6)";
    let sure = "Conv [N,3,8,8] =[24,3,8,8]; Mul ^ 0.; Reshape ^ (0,4,6)";
    vec![
        of("columns of boxes that are none", "--boxes edges"),
        of("columns of boxes for another metric", "--boxes xyxy,score,class --metric snr"),
        of("a least score that is no number", "--min-score nan"),
        of("boxes of other columns", "--boxes xyxy,score"),
        of("numbers that are no boxes", "--metric boxes"),
        of("boxes that are not decoded", "--metric boxes").with("rows.onnx", model(raw)),
        of("no box that is sure", "--boxes xyxy,score,class").with("rows.onnx", model(sure)),
        case("boxes without the original", "eval good.onnx --data images.npz --metric boxes"),
        case("boxes of class scores", "eval good.onnx --data images.npz --metric boxes --against good.onnx"),
    ]
}
