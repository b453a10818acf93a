//! Inputs of other shapes than images, several inputs, and values and sizes that do not fit.

use super::case::{Case, case};
use super::notation::model;
use super::sets::{npy, npz};

/// Titles and command lines; `OUT` is an output file.
const LINES: &[(&str, &str)] = &[
    ("images for two inputs", "prune two.onnx --criterion l1 --keep-macs 0.7 --data rows.npy OUT"),
    ("a mean for two inputs", "profile two.onnx --data both.npz --mean 0.5 OUT"),
    ("arrays of other lengths", "profile two.onnx --data apart.npz OUT"),
    ("a preset for vectors", "profile features.onnx --data rows.npy --preset imagenet OUT"),
    ("vectors of another length", "profile features.onnx --data other.npy OUT"),
    ("no vectors", "profile features.onnx --data none.npy OUT"),
    ("labels of other vectors", "profile features.onnx --data labels.npz OUT"),
    ("fewer images than a clip has", "profile clip.onnx --data frames.npy OUT"),
    ("no input that takes data", "profile features.onnx --input x1=1 --data rows.npy OUT"),
    ("a value for no input", "inspect features.onnx --input z=1"),
    ("a value of another size", "inspect features.onnx --input x1=1,2,3"),
    ("a value that is no number and no file", "inspect features.onnx --input x1=nothing.npy"),
    ("a value that is given twice", "inspect features.onnx --input x1=1 --input x1=2"),
    ("a value without a name", "inspect features.onnx --input 1"),
    ("a size without a name", "inspect sound.onnx --size 1x1x100"),
    ("a size without a shape", "inspect sound.onnx --size x1=long"),
    ("a size that contradicts the file", "inspect sound.onnx --size x1=1x3x64"),
    ("a size that nothing determines", "inspect sound.onnx"),
    ("noise of a size that nothing determines", "check sound.onnx --data random:2"),
    ("a size that does not fit", "inspect lines.onnx"),
    (
        "to resume with another input value",
        "profile two.onnx --input x2=2 --data random:4 --allow-random --resume -o scaled.profile",
    ),
    (
        "to plan with another input value",
        "plan two.onnx --input x2=2 --criterion apoz --keep-macs 0.7 --profile scaled.profile OUT",
    ),
    ("profiles with other input values", "merge scaled.profile rescaled.profile OUT"),
];

pub(crate) fn cases() -> Vec<Case> {
    let floats = |shape: &str, len: usize| npy("<f4", shape, &vec![0; 4 * len]);
    let files = [
        ("features.onnx", model("Gemm [N,24] =[16,24] transB=1; Relu ^; Gemm ^ =[5,16] transB=1")),
        (
            "sound.onnx",
            model("Conv [N,1,T] =[8,1,3]; Relu ^; GlobalAveragePool ^; Flatten ^; Gemm ^ =[3,8] transB=1"),
        ),
        ("lines.onnx", model("Conv [N,3,H,W] =[8,3,3,3]; Relu ^; Flatten ^; Gemm ^ =[3,80] transB=1")),
        (
            "clip.onnx",
            model(
                "Conv [8,3,8,8] =[8,3,3,3]; GlobalAveragePool ^; Flatten ^; ReduceMax ^ (0); Gemm ^ =[3,8] transB=1",
            ),
        ),
        ("rows.npy", floats("6, 24", 144)),
        ("other.npy", floats("6, 23", 138)),
        ("none.npy", floats("0, 24", 0)),
        ("frames.npy", npy("|u1", "3, 3, 8, 8", &[7; 576])),
        ("labels.npz", npz(&[("images", &floats("6, 24", 144)), ("labels", &npy("|u1", "5,", &[0; 5]))])),
        ("both.npz", npz(&[("x1", &floats("2, 3, 8, 8", 384)), ("x2", &floats("2, 4, 4, 4", 128))])),
        ("apart.npz", npz(&[("x1", &floats("2, 3, 8, 8", 384)), ("x2", &floats("3, 4, 4, 4", 192))])),
    ];
    let one = |&(title, line): &(&str, &str)| {
        let named = files.iter().filter(|(name, _)| line.contains(name));
        named.fold(case(title, &line.replace("OUT", "-o out")), |case, (name, bytes)| {
            case.with(name, bytes.clone())
        })
    };
    LINES.iter().map(one).collect()
}
