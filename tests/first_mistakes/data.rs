//! The files that the mistakes are made with: a trained network, and its images in every wrong form.

use std::path::Path;

use image::{ImageFormat, RgbImage};
use secateur::data::synthetic::{CLASSES, images};

use crate::builder::{Builder, int};
use crate::numpy::{npy, npz};

/// The right preprocessing of the built-in network.
pub(crate) const RIGHT: &str = "--mean 0.5 --std 0.25";
/// Images of the sets, and the side of an image.
const COUNT: usize = 240;
const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;

/// Returns a NumPy file of some dimensions.
fn array(kind: &str, dims: &[usize], data: &[u8]) -> Vec<u8> {
    npy(kind, &dims.iter().map(|n| format!("{n},")).collect::<String>(), data)
}

/// Writes an archive of images and labels.
fn archive(path: &Path, images: &[u8], labels: Option<&[u32]>) {
    let bytes = labels.map(|labels| {
        let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        array("<u4", &[labels.len()], &bytes)
    });
    let labels = bytes.as_ref().map(|bytes| ("labels", bytes.as_slice()));
    let arrays: Vec<_> = [("images", images)].into_iter().chain(labels).collect();
    std::fs::write(path, npz(&arrays)).unwrap();
}

fn floats(pixels: &[u8], of: fn(f32) -> f32) -> Vec<u8> {
    pixels.iter().flat_map(|&p| of(f32::from(p)).to_le_bytes()).collect()
}

/// Writes image `i` as a picture.
fn picture(path: &Path, pixels: &[u8], i: usize, grey: bool) {
    let planes = &pixels[i * 3 * PIXELS..(i + 1) * 3 * PIXELS];
    let picture = RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        let at = y as usize * SIDE + x as usize;
        let [r, g, b] = [0, 1, 2].map(|c| planes[c * PIXELS + at]);
        let mean = ((u16::from(r) + u16::from(g) + u16::from(b)) / 3) as u8;
        image::Rgb(if grey { [mean; 3] } else { [r, g, b] })
    });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save_with_format(path, ImageFormat::Png).unwrap();
}

/// Writes all files; `run` runs the program in the folder, and returns what it prints.
pub(crate) fn lay_out(folder: &Path, run: impl Fn(&str) -> String) {
    let at = |name: &str| folder.join(name);
    let write = |name: &str, bytes: &[u8]| std::fs::write(at(name), bytes).unwrap();
    write("net.onnx", include_bytes!("../../assets/demo.onnx"));
    write("detector.onnx", &detector());
    write("upscaler.onnx", &upscaler());
    write("model.pt", b"PK\x03\x04archive/data.pkl");
    let (pixels, labels) = images(2, COUNT);
    let shape = [COUNT, 3, SIDE, SIDE];
    let bytes = array("|u1", &shape, &pixels);
    let set = |name: &str, bytes: &[u8], labels: &[u32]| archive(&at(name), bytes, Some(labels));
    set("images.npz", &bytes, &labels);
    archive(&at("unlabelled.npz"), &bytes, None);
    let (truth, classes) = images(9, 300);
    set("truth.npz", &array("|u1", &[300, 3, SIDE, SIDE], &truth), &classes);
    // Images on which the network errs on none, as on those of a training.
    let flawless = (20..60).find(|&seed| {
        let (pixels, labels) = images(seed, 100);
        set("training.npz", &array("|u1", &[100, 3, SIDE, SIDE], &pixels), &labels);
        run(&format!("eval net.onnx --data training.npz {RIGHT} --json")).contains("\"top1\":1.0")
    });
    assert!(flawless.is_some(), "a network with an accuracy of 99 %");
    // Values.
    set("normalized.npz", &array("<f4", &shape, &floats(&pixels, |p| (p / 255.0 - 0.5) / 0.25)), &labels);
    set("floats.npz", &array("<f4", &shape, &floats(&pixels, |p| p)), &labels);
    let last = |i: usize| pixels[(i / (3 * PIXELS)) * 3 * PIXELS + (i % 3) * PIXELS + i / 3 % PIXELS];
    let channels_last: Vec<u8> = (0..pixels.len()).map(last).collect();
    set("channels-last.npz", &array("|u1", &[COUNT, SIDE, SIDE, 3], &channels_last), &labels);
    // Labels.
    set("from-one.npz", &bytes, &labels.iter().map(|label| label + 1).collect::<Vec<_>>());
    set("shifted.npz", &bytes, &labels.iter().map(|label| (label + 9) % 10).collect::<Vec<_>>());
    set("others.npz", &bytes, &(0..COUNT as u32).map(|i| i * i / 7 % 10).collect::<Vec<_>>());
    set("imagenet.npz", &bytes, &labels.iter().map(|label| 100 * label).collect::<Vec<_>>());
    // Few images.
    set("ten.npz", &array("|u1", &[10, 3, SIDE, SIDE], &pixels[..30 * PIXELS]), &labels[..10]);
    // Folders.
    for (i, &label) in labels.iter().enumerate().take(120) {
        let (file, class) = (format!("{i:03}.png"), CLASSES[label as usize]);
        let part = if i % 6 == 0 { "val" } else { "train" };
        picture(&at(&format!("dataset/{part}/{file}")), &pixels, i, false);
        picture(&at(&format!("grey/{file}")), &pixels, i, true);
        if label < 4 {
            picture(&at(&format!("four/{class}/{file}")), &pixels, i, false);
        }
    }
    picture(&at("one/a.png"), &pixels, 0, false);
    write("one/broken.png", b"no picture");
    std::fs::create_dir_all(at("empty")).unwrap();
    // Results of the program.
    run(&format!("profile net.onnx --data images.npz {RIGHT} -o net.profile"));
    run("plan net.onnx --criterion l1 --keep-macs 0.7 -o cut.json");
    run("prune net.onnx --criterion l1 --keep-macs 0.9 -o other.onnx");
}

/// A network of boxes and scores, N×64×4 and N×64×5.
fn detector() -> Vec<u8> {
    let mut b = Builder::new(5, SIDE);
    let x = b.input();
    let c = b.conv(&x, 8, 3, 2, 1);
    let c = b.unary("Relu", &c);
    let c = b.conv(&c, 16, 3, 2, 1);
    let c = b.unary("Relu", &c);
    let outputs = [("boxes", 4), ("scores", 5)].map(|(name, each)| {
        let y = b.conv(&c, each, 3, 1, 1);
        let to = b.whole(&[0, each as i64, 64]);
        let y = b.node("Reshape", &[&y.name, &to], vec![], &[each, 64]);
        let y = b.node("Transpose", &[&y.name], vec![crate::builder::ints("perm", &[0, 2, 1])], &[64, each]);
        let y = b.node("Sigmoid", &[&y.name], vec![], &[64, each]);
        (y.name, format!("N 64 {each}"), name)
    });
    b.with_outputs(&[(&outputs[0].0, &outputs[0].1), (&outputs[1].0, &outputs[1].1)])
}

/// A network that doubles the size of an image.
fn upscaler() -> Vec<u8> {
    let mut b = Builder::new(6, SIDE);
    let x = b.start("x", &[3, SIDE, SIDE]);
    let c = b.conv(&x, 16, 3, 1, 1);
    let c = b.unary("Relu", &c);
    let c = b.conv(&c, 12, 3, 1, 1);
    let y = b.node("DepthToSpace", &[&c.name], vec![int("blocksize", 2)], &[3, 2 * SIDE, 2 * SIDE]);
    b.with_outputs(&[(&y.name, &format!("N 3 {} {}", 2 * SIDE, 2 * SIDE))])
}
