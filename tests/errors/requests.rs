//! Command lines with requests that cannot be fulfilled.

use std::collections::BTreeMap;

use super::case::{Case, case};
use super::notation::model;
use super::sets::{npy, npz, png as picture};

const RANDOM: &str = "--data random:4 --allow-random";

/// Title and command line; RANDOM stands for allowed random images, OUT for an output.
const REQUESTS: &[(&str, &str)] = &[
    ("a verb that is mistyped", "purne good.onnx"),
    ("a verb that is none", "frobnicate good.onnx"),
    ("an option that is mistyped", "plan good.onnx --keep-mac 0.7"),
    ("an option that is none", "plan good.onnx --frobnicate"),
    ("an option without its value", "plan good.onnx --criterion"),
    ("a value that is none of the possible", "plan good.onnx --scope locale"),
    ("a number that is none", "plan good.onnx --keep-macs many"),
    ("arguments that are missing", "prune good.onnx"),
    ("one argument too many", "inspect good.onnx other.onnx"),
    ("options that exclude each other", "prune good.onnx --max-drop 1 --keep-macs 0.5 OUT"),
    (
        "an option that excludes two others",
        "prune good.onnx --max-drop 1 --keep-macs 0.5 --cut good.json OUT",
    ),
    ("an option that needs another", "eval good.onnx --data random:4 --sample 1"),
    ("an option given twice", "inspect good.onnx --device cpu --device cpu"),
    ("the page of a verb that is mistyped", "man prun"),
    ("no device", "check good.onnx --device="),
    ("a device by a number that is not there", "check good.onnx --device 99"),
    ("a device by a name that is not there", "check good.onnx --device radeon"),
    ("a device that is mistyped", "check good.onnx --device gpu"),
    ("halves on the CPU", "check good.onnx --device cpu --precision f16"),
    ("a precision that is not there", "check good.onnx --device cpu --precision f8"),
    ("a criterion that is mistyped", "plan good.onnx --criterion apozz --keep-macs 0.7 OUT"),
    ("a criterion that is none", "plan good.onnx --criterion frobnicate --keep-macs 0.7 OUT"),
    ("a criterion of a weight below 0", "plan good.onnx --criterion=-1*l1 --keep-macs 0.7 OUT"),
    ("a criterion that needs images", "plan good.onnx --criterion apoz --keep-macs 0.7 OUT"),
    (
        "a criterion that needs a BatchNormalization",
        "plan good.onnx --criterion bn-scale --keep-macs 0.7 OUT",
    ),
    ("a repair that is none", "prune good.onnx --criterion l1 --keep-macs 0.7 --repair ful OUT"),
    ("a batch of nothing", "eval good.onnx --data images.npz --batch 0"),
    ("a time below 0", "bench good.onnx --seconds -1"),
    ("a score that is none", "plan good.onnx --criterion l1 --remove-below nan OUT"),
    ("a share below 0", "plan good.onnx --criterion l1 --keep-macs -0.5 OUT"),
    ("no budget", "plan good.onnx --criterion l1 OUT"),
    ("two budgets", "plan good.onnx --criterion l1 --keep-macs 0.7 --keep-params 0.7 OUT"),
    ("a share above 1", "plan good.onnx --criterion l1 --keep-macs 1.5 OUT"),
    ("two values for a plan", "plan good.onnx --criterion l1 --keep-macs 0.7,0.5 OUT"),
    ("a budget given twice", "prune good.onnx --criterion l1 --keep-macs 0.7,0.7 OUT"),
    ("rounds to several budgets", "prune good.onnx --criterion l1 --keep-macs 0.7,0.5 --rounds 2 OUT"),
    ("several networks on standard output", "prune good.onnx --criterion l1 --keep-macs 0.7,0.5 -o -"),
    ("a cut that is written and given", "prune good.onnx --cut good.json --write-cut cut.json OUT"),
    ("a report by the cut of another network", "report good.onnx stamped.onnx --cut good.json OUT"),
    ("a report of a network made from another", "report other.onnx stamped.onnx --cut second.json OUT"),
    ("a share of no parameters", "plan good.onnx --criterion l1 --keep-params 0 OUT"),
    ("a share of no time", "plan good.onnx --criterion l1 --keep-latency 0 OUT"),
    ("a budget that cannot be met", "plan good.onnx --criterion l1 --keep-macs 0.001 OUT"),
    ("a share to cut above 1", "plan good.onnx --criterion l1 --keep-macs 0.7 --max-cut 2 OUT"),
    ("a pattern that is none", "plan good.onnx --criterion l1 --keep-macs 0.7 --protect n( OUT"),
    ("a layer to protect that is mistyped", "plan good.onnx --criterion l1 --keep-macs 0.7 --protect m1 OUT"),
    ("a plan without a model", "plan --criterion l1 --keep-macs 0.7"),
    ("a confidence of 0.2", "profile good.onnx RANDOM --confidence 0.2 OUT"),
    (
        "a confidence in probed scores",
        "profile good.onnx RANDOM --confidence 0.9 --criterion reconstruction OUT",
    ),
    ("a confidence in weights", "profile good.onnx RANDOM --confidence 0.9 --criterion l1 OUT"),
    (
        "a confidence that nobody knows",
        "profile good.onnx --data random:64 --allow-random --confidence 0.9 --criterion obs OUT",
    ),
    ("a profile without images", "profile good.onnx OUT"),
    ("a profile of random images", "profile good.onnx --data random:4 OUT"),
    ("a share of no bytes", "prune good.onnx --criterion l1 --keep-bytes 0 --data images.npz OUT"),
    ("a share of too few bytes", "prune good.onnx --criterion l1 --keep-bytes 0.0001 --data images.npz OUT"),
    ("a share of bytes without images", "prune good.onnx --criterion l1 --keep-bytes 0.5 OUT"),
    ("integers within no drop", "quantize good.onnx --max-drop 100 --data images.npz OUT"),
    ("a drop below 0", "prune good.onnx --criterion l1 --max-drop -1 OUT"),
    ("a drop without images", "prune good.onnx --criterion l1 --max-drop 1 OUT"),
    ("a drop of what is no score", "prune map.onnx --criterion l1 --max-drop 1 --data images.npz OUT"),
    (
        "a metric for a plan without a search",
        "plan good.onnx --criterion l1 --keep-macs 0.7 --metric snr --data images.npz OUT",
    ),
    ("a quality that is no number", "prune good.onnx --criterion l1 --min-quality nan --data images.npz OUT"),
    (
        "one class for all images",
        "prune softmax.onnx --criterion l1 --max-drop 1 --repair none --data same.npz OUT",
    ),
    ("a metric that is mistyped", "eval good.onnx --data images.npz --metric top-10"),
    ("a metric that is none", "eval good.onnx --data images.npz --metric frobnicate"),
    ("a metric without the original", "eval good.onnx --data images.npz --metric snr"),
    ("top-1 without labels", "eval good.onnx --data images.npz --metric top1"),
    ("top-5 of five classes", "eval good.onnx --data labelled.npz --metric top5"),
    ("top-1 of a map", "eval map.onnx --data labelled.npz --metric top1"),
    ("a map without labels", "eval map.onnx --data images.npz --metric miou"),
    ("classes of what is no map", "eval good.onnx --data images.npz --metric miou --against good.onnx"),
    (
        "the likeness of what is no picture",
        "eval good.onnx --data images.npz --metric ssim --against good.onnx",
    ),
    ("a peak of 0", "eval map.onnx --data images.npz --metric psnr --peak 0 --against map.onnx"),
    ("labels beyond the classes", "eval good.onnx --data labelled.npz --label-offset 5"),
    ("labels of other classes", "eval good.onnx --data labelled.npz --label-offset 7"),
    ("networks of other outputs", "eval good.onnx --data images.npz --against other.onnx"),
    ("networks of more outputs", "eval good.onnx --data images.npz --against split.onnx"),
    ("less is better than top-1", "eval good.onnx --data labelled.npz --metric top1 --lower-is-better"),
    ("label images that are not there", "eval map.onnx --data images.npz --labels nothing"),
    ("label images of another kind", "eval map.onnx --data images.npz --labels flat.npy"),
    ("label images in a folder for an array", "eval map.onnx --data images.npz --labels masks --metric miou"),
    ("a folder without label images", "eval map.onnx --data images.npz --labels folder"),
    ("two label images of a name", "eval map.onnx --data images.npz --labels twins"),
    ("an image without a label image", "eval map.onnx --data pictures --labels others --metric miou"),
    ("a mask of colours", "eval map.onnx --data pictures --labels masks --metric miou"),
    ("masks of floats", "eval map.onnx --data images.npz --labels floats.npy --metric miou"),
    ("fewer masks than images", "eval map.onnx --data images.npz --labels one.npy --metric miou"),
    ("masks smaller than the crop", "eval map.onnx --data pictures --labels small --metric miou --crop 8"),
    ("targets of another size", "eval map.onnx --data images.npz --labels floats.npy --metric psnr"),
    ("pictures as targets of four channels", "eval map.onnx --data pictures --labels masks --metric psnr"),
    ("a target that cannot be read", "eval relu.onnx --data pictures --labels broken --metric psnr"),
    ("recipes for what is no image", "eval rows.onnx --data rows.npy --try-presets"),
    ("recipes with nothing to rank by", "eval map.onnx --data images.npz --try-presets"),
    ("a letterbox with a crop", "eval good.onnx --data images.npz --letterbox 114 --crop 8"),
    ("a letterbox of unknown size", "eval free.onnx --data pictures --letterbox 114"),
    ("an original at chance", "prune good.onnx --criterion l1 --keep-macs 0.7 --data chance.npz OUT"),
    ("a repair without images", "prune good.onnx --criterion l1 --keep-macs 0.7 --repair full OUT"),
    ("all images to judge", "prune good.onnx --criterion l1 --keep-macs 0.7 --held-out 1 RANDOM OUT"),
    ("the input for the output", "prune good.onnx --criterion l1 --keep-macs 0.7 -o good.onnx"),
    ("the cut for the output", "prune good.onnx --cut good.json -o good.json"),
    ("the images for the profile", "profile good.onnx --data images.npz -o images.npz"),
    ("one file for two outputs", "prune good.onnx --criterion l1 --keep-macs 0.7 --masked ./out OUT"),
    ("an output in no folder", "prune good.onnx --criterion l1 --keep-macs 0.7 -o no/out.onnx"),
    ("a folder for the output", "prune good.onnx --criterion l1 --keep-macs 0.7 -o folder"),
    ("a folder for the profile", "profile good.onnx RANDOM -o folder"),
    ("a folder for the cut", "plan good.onnx --criterion l1 --keep-macs 0.7 -o folder"),
    ("a folder for the table", "show good.profile --csv folder"),
    ("a folder for the images", "demo --write-images folder"),
    ("the model for the report", "prune good.onnx --criterion l1 --keep-macs 0.7 --report good.onnx OUT"),
    ("a cut that is not there", "prune good.onnx --cut nothing.json OUT"),
    ("a cut that is none", "prune good.onnx --cut good.onnx OUT"),
    ("a cut of another model", "prune other.onnx --cut good.json OUT"),
    ("a cut of coupled that are not there", "prune good.onnx --cut renamed.json OUT"),
    ("a cut of coupled that must stay", "prune good.onnx --cut all.json OUT"),
    ("a cut that names a set twice", "prune good.onnx --cut twice.json OUT"),
    ("a cut of a whole layer", "prune good.onnx --cut emptied.json OUT"),
    ("a cut that is decided twice", "prune good.onnx --cut good.json --protect n1 OUT"),
    ("the report of another network", "report good.onnx good.onnx --cut good.json OUT"),
    ("a report without a cut", "report good.onnx small.onnx OUT"),
    ("a cut for two networks", "report good.onnx small.onnx small.onnx --cut good.json OUT"),
    ("the report of unrelated networks", "report good.onnx small.onnx deep.onnx OUT"),
    ("the masked network of another", "report good.onnx small.onnx --cut good.json --masked two.onnx OUT"),
    ("a profile that is not there", "show nothing.profile"),
    ("a profile that is none", "show good.onnx"),
    (
        "a profile of another model",
        "plan good.onnx --criterion apoz --keep-macs 0.7 --profile other.profile OUT",
    ),
    (
        "a profile without labels",
        "plan good.onnx --criterion discriminant --keep-macs 0.7 --profile good.profile OUT",
    ),
    ("profiles of the same images", "merge good.profile good.profile OUT"),
    ("profiles of two models", "merge good.profile other.profile OUT"),
    ("profiles of images prepared otherwise", "merge good.profile images.profile OUT"),
    ("profiles with and without labels", "merge images.profile labelled.profile OUT"),
    ("profiles with other matrices", "merge good.profile bare.profile OUT"),
    ("profiles with and without histograms", "merge good.profile counted.profile OUT"),
    (
        "the statistics of too many classes",
        "profile good.onnx --data labelled.npz --label-offset 2000000000 OUT",
    ),
    ("the matrix of too wide a layer", "profile flat.onnx RANDOM OUT"),
    ("a table in no folder", "show good.profile --csv no/table.csv"),
    ("checkpoints of two networks", "profile other.onnx good.onnx OUT"),
    ("checkpoints of wider filters", "profile wide.onnx good.onnx OUT"),
    ("checkpoints of fewer layers", "profile short.onnx good.onnx OUT"),
    ("to resume what is not there", "profile good.onnx RANDOM --resume -o nothing.profile"),
    ("to resume on standard output", "profile good.onnx RANDOM --resume -o -"),
    ("to resume another model's", "profile good.onnx RANDOM --resume -o other.profile"),
    (
        "to resume with other images",
        "profile good.onnx --data random:5 --allow-random --resume -o good.profile",
    ),
    ("to resume a shard", "profile good.onnx RANDOM --shard 1/2 --resume -o good.profile"),
    ("to resume less", "profile good.onnx --data images.npz --images 1 --resume -o images.profile"),
    (
        "to resume in another order",
        "profile good.onnx RANDOM --confidence 0.9 --criterion apoz --resume -o good.profile",
    ),
    (
        "to resume with images prepared otherwise",
        "profile good.onnx --data images.npz --resume -o good.profile",
    ),
    ("to resume with other matrices", "profile good.onnx RANDOM --gram none --resume -o good.profile"),
    ("to resume with histograms", "profile good.onnx RANDOM --histograms --resume -o good.profile"),
    ("scores that are not there", "plan good.onnx --criterion file:nothing.csv --keep-macs 0.7 OUT"),
    ("scores that are none", "plan good.onnx --criterion file:bad.csv --keep-macs 0.7 OUT"),
    ("scores of one channel", "plan good.onnx --criterion file:few.csv --keep-macs 0.7 OUT"),
    ("scores of a layer that is not there", "plan good.onnx --criterion file:layer.csv --keep-macs 0.7 OUT"),
    (
        "scores of a channel that is not there",
        "plan good.onnx --criterion file:channel.csv --keep-macs 0.7 OUT",
    ),
    ("two scores of a channel", "plan good.onnx --criterion file:double.csv --keep-macs 0.7 OUT"),
    ("scores that are not numbers", "plan good.onnx --criterion file:nan.csv --keep-macs 0.7 OUT"),
    ("no criterion that can be measured", "compare-criteria good.onnx --data images.npz --keep-macs 0.0001"),
    ("several images for a fixed batch", "bench fixed.onnx --batch 4"),
    ("several images where they mix", "profile mixed.onnx RANDOM --batch 2 OUT"),
    ("an input that is not NAME=FILE", "run good.onnx --input x1 --output-dir out"),
    ("an input that is given twice", "run good.onnx --input x1=x.npy --input x1=x.npy --output-dir out"),
    ("an input for the output", "run good.onnx --input x1=y.npy --output-dir ."),
    ("an input that is not given", "run two.onnx --input x1=x.npy --output-dir out"),
    ("an input that is not there", "run good.onnx --input x1=nothing.npy --output-dir out"),
    ("an input of another name", "run good.onnx --input x1=x.npy --input z=x.npy --output-dir out"),
    ("an input of another shape", "run good.onnx --input x1=flat.npy --output-dir out"),
    ("a tap that is no value", "run good.onnx --input x1=x.npy --tap nobody --output-dir out"),
    ("a folder of outputs that is a file", "run good.onnx --input x1=x.npy --output-dir x.npy"),
    ("too large a tensor behind the network", "run late.onnx --input x1=x.npy --output-dir out"),
    (
        "a network that the images take beyond numbers",
        "prune big.onnx --criterion l1 --keep-macs 0.7 --data images.npz OUT",
    ),
    ("a network that gathers by a table", "prune table.onnx --criterion l1 --keep-macs 0.7 OUT"),
    ("a network whose answers are NaN", "prune nan.onnx --criterion l1 --keep-macs 0.7 OUT"),
];

/// Creates a grey picture.
fn grey(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub(crate) fn cases() -> Vec<Case> {
    let files: BTreeMap<&str, Vec<u8>> = [
        ("map.onnx", model("Conv [N,3,8,8] =[8,3,3,3]; Relu ^; Conv ^ =[4,8,3,3]")),
        (
            "softmax.onnx",
            model(
                "Conv [N,3,8,8] =[8,3,3,3]; Relu ^; Conv ^ =[12,8,3,3]; Relu ^; GlobalAveragePool ^; Flatten ^; \
                 Gemm ^ =[5,12] transB=1; Softmax ^ axis=1",
            ),
        ),
        ("free.onnx", model("Conv [N,3,H,W] =[8,3,3,3]; Relu ^; GlobalAveragePool ^; Flatten ^; Gemm ^ =[5,8] transB=1")),
        ("rows.onnx", model("Gemm [N,8] =[8,8]; Relu ^; Gemm ^ =[8,4]")),
        ("rows.npy", npy("|u1", "4, 8", &[7; 32])),
        ("split.onnx", model("Conv [N,3,8,8] =[8,3,3,3]; GlobalAveragePool ^; Flatten ^; Split ^ num_outputs=2 axis=1 →2")),
        ("relu.onnx", model("Conv [N,3,8,8] =[3,3,1,1]; Relu ^")),
        ("same.npz", npz(&[("images", &npy("|u1", "24, 3, 8, 8", &[7; 24 * 192]))])),
        // The largest score of equal images is one of two classes at most, so the others are wrong.
        (
            "chance.npz",
            npz(&[
                ("images", &npy("|u1", "20, 3, 8, 8", &[7; 20 * 192])),
                ("labels", &npy("|u1", "20,", &[[0, 1, 2, 3, 4]; 4].concat())),
            ]),
        ),
        ("floats.npy", npy("<f4", "8, 2, 2", &[0; 4 * 32])),
        ("one.npy", npy("|u1", "1, 4, 4", &[0; 16])),
        ("pictures/a.png", picture(8, 8)),
        ("masks/a.png", picture(8, 8)),
        ("others/b.png", picture(8, 8)),
        ("twins/a.png", picture(8, 8)),
        ("twins/a.jpg", picture(8, 8)),
        ("small/a.png", grey(4, 3)),
        ("broken/a.png", b"none".to_vec()),
        ("fixed.onnx", model("Conv [1,3,8,8] =[8,3,3,3]; Flatten ^; Reshape ^ (288)")),
        ("flat.onnx", model("Gemm [N,9000] =[2,9000] transB=1; Relu ^; Gemm ^ =[2,3]")),
        ("big.onnx", model("Conv [N,3,8,8] =[8,3,3,3]; Mul ^ 1.0e38; Mul ^ 1.0e38; Relu ^; Conv ^ =[4,8,3,3]")),
        ("mixed.onnx", model(
            "Conv [N,3,8,8] =[8,3,3,3]; Reshape ^ (1,-1,36); MatMul ^ =[36,5]; Reshape ^ (-1,40); Gemm ^ =[40,3]",
        )),
        ("short.onnx", model("Conv [N,3,8,8] =[8,3,3,3] pads=[1,1,1,1]; Relu ^")),
        (
            "wide.onnx",
            model(
                "Conv [N,3,8,8] =[8,3,3,3] pads=[1,1,1,1]; Relu ^; Conv ^ =[12,8,1,1]; Relu ^; \
             GlobalAveragePool ^; Flatten ^; Gemm ^ =[5,12] transB=1",
            ),
        ),
        ("late.onnx", model("NonZero [N,3,8,8]; Shape ^; Mul ^ 700; Expand 1. ^")),
        ("nan.onnx", model("Conv [N,3,8,8] =[8,3,3,3]; Sqrt ^; Log ^; Sqrt ^; Conv ^ =[4,8,3,3]")),
        ("x.npy", npy("<f4", "1, 3, 8, 8", &1f32.to_le_bytes().repeat(192))),
        ("y.npy", npy("<f4", "1, 3, 8, 8", &1f32.to_le_bytes().repeat(192))),
        ("flat.npy", npy("<f4", "1, 192", &[0; 4 * 192])),
        ("bad.csv", b"layer,filter\nn1,0\n".to_vec()),
        ("few.csv", b"node,channel,score\nn1,0,1\n".to_vec()),
        ("layer.csv", b"node,channel,score\nn2,0,1\n".to_vec()),
        ("channel.csv", b"node,channel,score\nn1,8,1\n".to_vec()),
        ("double.csv", b"node,channel,score\nn1,0,1\nn1,0,2\n".to_vec()),
        (
            "nan.csv",
            (0..20)
                .fold("node,channel,score\n".to_owned(), |text, k| {
                    text + &format!(
                        "{},{},nan\n",
                        if k < 8 { "n1" } else { "n3" },
                        if k < 8 { k } else { k - 8 }
                    )
                })
                .into_bytes(),
        ),
        ("table.onnx", model("Conv [N,3,8,8] =[8,3,3,3]; Gather ^ =i64[2,2] axis=1; Reshape ^ (0,4,36); Conv ^ =[4,4,3]")),
        ("folder/", vec![]),
    ]
    .into();
    let make = |(title, line): &(&str, &str)| {
        let line = line.replace("RANDOM", RANDOM).replace("OUT", "-o out");
        let is_used = |name: &str| {
            // A folder is used with all that it contains.
            let place = name.split('/').next().unwrap_or(name);
            line.split_whitespace().any(|word| word == place) || line.contains(name.trim_end_matches('/'))
        };
        let named = files.iter().filter(|(name, _)| is_used(name));
        named.fold(case(title, &line), |case, (name, bytes)| case.with(name, bytes.clone()))
    };
    let instructions = case("an instruction set that is none", "bench good.onnx --device cpu")
        .under(&[("SECATEUR_INSTRUCTIONS", "avx1024")]);
    REQUESTS.iter().map(make).chain([instructions]).collect()
}
