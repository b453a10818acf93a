//! Trainings and quantizations that cannot begin, and gradients that do not exist.

use super::case::{Case, case};
use super::notation::model;
use super::sets::{npy, npz};

const TEACHER: &str = "--teacher good.onnx --data images.npz";

/// Title and command line; TEACHER stands for a teacher with images, OUT for an output.
const TRAININGS: &[(&str, &str)] = &[
    ("a training of no epochs", "finetune good.onnx TEACHER --epochs 0 OUT"),
    (
        "a training of epochs below 0",
        "prune good.onnx --criterion l1 --keep-macs 0.7 --data images.npz --finetune=-1 OUT",
    ),
    ("a training at no rate", "finetune good.onnx TEACHER --epochs 1 --learning-rate 0 OUT"),
    ("a training of a negative decay", "finetune good.onnx TEACHER --epochs 1 --weight-decay=-0.1 OUT"),
    (
        "a training with a negative weight of labels",
        "finetune good.onnx TEACHER --epochs 1 --label-weight=-1 OUT",
    ),
    ("a training of no length", "finetune good.onnx TEACHER OUT"),
    ("a training of two lengths", "finetune good.onnx TEACHER --epochs 1 --steps 1 OUT"),
    ("a training without images", "finetune good.onnx --epochs 1 OUT"),
    (
        "a training after the cut without images",
        "prune good.onnx --criterion l1 --keep-macs 0.7 --finetune 1 OUT",
    ),
    ("a training without teacher and labels", "finetune good.onnx --data images.npz --epochs 1 OUT"),
    ("a teacher and labels that are not there", "finetune good.onnx TEACHER --label-weight 1 --epochs 1 OUT"),
    (
        "a training on labels beyond the classes",
        "finetune good.onnx --data beyond.npz --epochs 1 --force OUT",
    ),
    (
        "a training on fewer images than its batch",
        "finetune sixteen.onnx --teacher sixteen.onnx --data images.npz --epochs 1 OUT",
    ),
    ("a training of no weights", "finetune bare.onnx --teacher bare.onnx --data images.npz --epochs 1 OUT"),
    ("shared weights of a network without layers", "quantize bare.onnx --palette 4bit OUT"),
    ("shared weights of small layers", "quantize narrow.onnx --palette 8bit --data images.npz --force OUT"),
    ("a repair of shared weights without images", "quantize good.onnx --palette 4bit --repair full OUT"),
    ("integers without images", "quantize good.onnx OUT"),
    ("integers after a cut without images", "prune good.onnx --criterion l1 --keep-macs 0.7 --quantize OUT"),
    ("integers of a network without layers", "quantize bare.onnx --data images.npz OUT"),
    ("integers in an old operator set", "quantize old.onnx --data images.npz OUT"),
    (
        "integers but for a node that is not there",
        "quantize good.onnx --data images.npz --float frobnicate OUT",
    ),
    (
        "integers of values that are NaN",
        "quantize undefined.onnx --data images.npz --repair none --force OUT",
    ),
    ("ranges by no method", "quantize good.onnx --data images.npz --ranges widest OUT"),
    ("integers for no runtime", "quantize good.onnx --data images.npz --for ncnn OUT"),
    ("integers and shared weights", "quantize good.onnx --data images.npz --palette 4bit --for ort OUT"),
    ("a palette of other bits", "quantize good.onnx --palette 5bit OUT"),
    (
        "a training through a node without a gradient",
        "finetune sampled.onnx --teacher sampled.onnx --data images.npz --epochs 1 OUT",
    ),
    ("gradients of outputs that are constant", "profile constant.onnx --data images.npz --gradients OUT"),
    (
        "a criterion on gradients that do not reach a layer",
        "plan partial.onnx --data images.npz --criterion taylor --keep-macs 0.7 OUT",
    ),
    (
        "a criterion on gradients without images",
        "plan good.onnx --profile good.profile --criterion fisher --keep-macs 0.7 OUT",
    ),
    (
        "a criterion on gradients for an early end",
        "profile good.onnx --data images.npz --criterion taylor --confidence 0.95 OUT",
    ),
    (
        "a training of outputs that are constant",
        "finetune constant.onnx --teacher constant.onnx --data images.npz --epochs 1 OUT",
    ),
    ("a teacher of other inputs", "finetune good.onnx --teacher named.onnx --data images.npz --epochs 1 OUT"),
    ("a teacher of more inputs", "finetune good.onnx --teacher two.onnx --data images.npz --epochs 1 OUT"),
    (
        "a teacher of other outputs",
        "finetune good.onnx --teacher other.onnx --data images.npz --epochs 1 OUT",
    ),
    (
        "a teacher that is not there",
        "finetune good.onnx --teacher nothing.onnx --data images.npz --epochs 1 OUT",
    ),
    ("a teacher that is none", "finetune good.onnx --teacher good.json --data images.npz --epochs 1 OUT"),
    (
        "a teacher for the output",
        "finetune small.onnx --teacher good.onnx --data images.npz --epochs 1 -o good.onnx",
    ),
    ("a layer of features that is mistyped", "finetune good.onnx TEACHER --epochs 1 --features n0,n22 OUT"),
    (
        "a layer of features that is not there",
        "prune good.onnx --criterion l1 --keep-macs 0.7 --data images.npz --finetune 1 --features frobnicate --force OUT",
    ),
    ("a cut of another model in a training", "finetune small.onnx TEACHER --cut second.json --epochs 1 OUT"),
    ("a cut without its teacher", "finetune small.onnx --data images.npz --cut good.json --epochs 1 OUT"),
    (
        "a checkpoint of rounds",
        "prune good.onnx --criterion l1 --keep-macs 0.7 --rounds 2 --data images.npz --finetune 1 --checkpoint r.ckpt --force OUT",
    ),
    ("a report of a training for the output", "finetune good.onnx TEACHER --epochs 1 --report out OUT"),
    ("a random change that is mistyped", "finetune good.onnx TEACHER --epochs 1 --augment flipp,shift OUT"),
    ("a random change that is none", "finetune good.onnx TEACHER --epochs 1 --augment frobnicate OUT"),
    ("a random change that is too strong", "finetune good.onnx TEACHER --epochs 1 --augment shift=2 OUT"),
    ("a random change of no strength", "finetune good.onnx TEACHER --epochs 1 --augment crop=much OUT"),
    ("a loss that is mistyped", "finetune good.onnx TEACHER --epochs 1 --loss output,features OUT"),
    ("a loss of a negative weight", "finetune good.onnx TEACHER --epochs 1 --loss features=-1 OUT"),
    ("losses of no weight", "finetune good.onnx TEACHER --epochs 1 --loss soft=0 OUT"),
    ("losses that need a teacher", "finetune good.onnx --data images.npz --epochs 1 --loss soft OUT"),
    (
        "a loss on features of other shapes",
        "finetune narrow.onnx --teacher wide.onnx --data images.npz --epochs 1 --loss features OUT",
    ),
    ("a penalty that is mistyped", "finetune good.onnx TEACHER --epochs 1 --penalty group-laso:0.1 OUT"),
    ("a penalty of no strength", "finetune good.onnx TEACHER --epochs 1 --penalty bn-l1 OUT"),
    (
        "a penalty of scales that are not there",
        "finetune good.onnx TEACHER --epochs 1 --penalty bn-l1:0.1 OUT",
    ),
    ("batch statistics without a normalization", "finetune good.onnx TEACHER --epochs 1 --train-bn OUT"),
    (
        "batch statistics of single elements",
        "finetune normed.onnx --teacher normed.onnx --data images.npz --batch 1 --epochs 1 --train-bn OUT",
    ),
    (
        "to resume a training with statistics of its epochs",
        "finetune good.onnx TEACHER --steps 1 --checkpoint good.ckpt --resume --write-profile p OUT",
    ),
    ("a checkpoint in no folder", "finetune good.onnx TEACHER --epochs 1 --checkpoint no/good.ckpt OUT"),
    ("the model for the checkpoint", "finetune small.onnx TEACHER --epochs 1 --checkpoint small.onnx OUT"),
    ("to resume without a checkpoint", "finetune good.onnx TEACHER --epochs 1 --resume OUT"),
    (
        "to resume a training that is not there",
        "finetune good.onnx TEACHER --steps 1 --checkpoint nothing.ckpt --resume OUT",
    ),
    (
        "to resume from what is no checkpoint",
        "finetune good.onnx TEACHER --steps 1 --checkpoint good.json --resume OUT",
    ),
    (
        "to resume from another safetensors file",
        "finetune good.onnx TEACHER --steps 1 --checkpoint good.profile --resume OUT",
    ),
    (
        "to resume from a checkpoint cut short",
        "finetune good.onnx TEACHER --steps 1 --checkpoint short.ckpt --resume OUT",
    ),
    (
        "to resume a training of other options",
        "finetune good.onnx TEACHER --steps 2 --checkpoint good.ckpt --resume OUT",
    ),
    (
        "to resume the training of another network",
        "finetune small.onnx TEACHER --steps 1 --checkpoint good.ckpt --resume OUT",
    ),
];

pub(crate) fn cases() -> Vec<Case> {
    let pixels = |count: usize| npy("|u1", &format!("{count}, 3, 8, 8"), &vec![7; count * 192]);
    let files = [
        (
            "beyond.npz",
            npz(&[("images", &pixels(8)), ("labels", &npy("|u1", "8,", &[0, 1, 2, 3, 4, 5, 6, 7]))]),
        ),
        ("sixteen.onnx", model("Conv [16,3,8,8] =[8,3,3,3]; Relu ^; Conv ^ =[4,8,3,3]")),
        (
            "normed.onnx",
            model(
                "Conv [1,3,8,8] =[8,3,3,3]; GlobalAveragePool ^; BatchNormalization ^ =[8] =[8] =[8] (1.,1.,1.,1.,1.,1.,1.,1.); Flatten ^",
            ),
        ),
        (
            "narrow.onnx",
            model("Conv [N,3,8,8] =[4,3,3,3]; GlobalAveragePool ^; Flatten ^; Gemm ^ =[5,4] transB=1"),
        ),
        (
            "wide.onnx",
            model("Conv [N,3,8,8] =[8,3,3,3]; GlobalAveragePool ^; Flatten ^; Gemm ^ =[5,8] transB=1"),
        ),
        ("bare.onnx", model("Relu [N,3,8,8]; GlobalAveragePool ^; Flatten ^")),
        ("old.onnx", model("Conv@11 [N,3,8,8] =[8,3,3,3]; Relu ^; Conv ^ =[4,8,3,3]")),
        ("undefined.onnx", model("Conv [N,3,8,8] =[8,3,3,3]; Sqrt ^; Log ^; Sqrt ^; Conv ^ =[4,8,3,3]")),
        ("sampled.onnx", model("Conv [1,3,8,8] =[8,3,3,3]; GridSample ^ =[1,4,4,2]")),
        ("partial.onnx", model("Conv [1,3,8,8] =[8,3,3,3]; GridSample ^ =[1,4,4,2]; Conv ^ =[4,8,3,3]")),
        ("constant.onnx", model("Conv [N,3,8,8] =[8,3,3,3]; Shape ^; ConstantOfShape ^")),
        (
            "named.onnx",
            model(
                "Identity [N,3,8,8]; Conv [N,3,8,8] =[8,3,3,3]; GlobalAveragePool ^; Flatten ^; Gemm ^ =[5,8] transB=1",
            ),
        ),
    ];
    let make = |(title, line): &(&str, &str)| {
        let line = line.replace("TEACHER", TEACHER).replace("OUT", "-o out");
        let named = files.iter().filter(|(name, _)| line.contains(name));
        named.fold(case(title, &line), |case, (name, bytes)| case.with(name, bytes.clone()))
    };
    TRAININGS.iter().map(make).collect()
}
