//! The mistakes: what a user does, and what the program says.

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Exit code 2: nothing is done.
    Error,
    /// Exit code 1: nothing is written.
    Refusal,
    /// Exit code 0, with a note.
    Note,
    /// Exit code 0: the program finds out by itself, or the result says it.
    Nothing,
}

/// A mistake of a new user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mistake {
    /// The mistake in words.
    pub(crate) mistake: &'static str,
    /// The command without the program's name.
    pub(crate) line: &'static str,
    pub(crate) ending: Ending,
    /// A part of what the program prints.
    pub(crate) says: &'static str,
}

impl Mistake {
    /// Returns the row of the documentation's table.
    pub(crate) fn row(&self) -> String {
        let Self { mistake, line, says, .. } = self;
        let ending = match self.ending {
            Error => "error",
            Refusal => "refusal",
            Note => "note",
            Nothing => "result",
        };
        format!("| {mistake} | `secateur {line}` | {ending}: {says} |\n")
    }

    /// Returns whether the written network has the classes of the images that judge it.
    pub(crate) fn judged(&self) -> bool {
        self.line.contains("net.onnx")
    }
}

const fn of(mistake: &'static str, line: &'static str, ending: Ending, says: &'static str) -> Mistake {
    Mistake { mistake, line, ending, says }
}

use Ending::{Error, Note, Nothing, Refusal};

/// All mistakes, by what is wrong.
pub(crate) const MISTAKES: &[Mistake] = &[
    of(
        "A preset for larger images",
        "prune net.onnx --data images.npz --preset imagenet --keep-macs 0.5 -o small.onnx",
        Note,
        "the images have the network's size, 32×32, and are enlarged to 37×37 and cropped",
    ),
    of(
        "No preset at all",
        "prune net.onnx --data images.npz --keep-macs 0.5 -o small.onnx",
        Note,
        "preprocessing: 32×32 u8 RGB → ÷255 → NCHW f32",
    ),
    of(
        "Values 0 to 255 for a network of normalized ones",
        "prune net.onnx --data images.npz --preset raw --keep-macs 0.5 -o small.onnx",
        Error,
        "values before the first BatchNormalization are far from its stored statistics",
    ),
    of(
        "The order of another framework's channels",
        "prune net.onnx --data images.npz --mean 0.5 --std 0.25 --channels bgr --keep-macs 0.5 -o small.onnx",
        Note,
        "BGR",
    ),
    of(
        "Floats that are normalized already",
        "prune net.onnx --data normalized.npz --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Error,
        "as if normalized already",
    ),
    of(
        "Floats from 0 to 255",
        "prune net.onnx --data floats.npz --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Error,
        "set --scale to 255",
    ),
    of(
        "Floats from 0 to 255, and several budgets",
        "prune net.onnx --data floats.npz --mean 0.5 --std 0.25 --keep-macs 0.7,0.5 -o small.onnx",
        Error,
        "set --scale to 255",
    ),
    of(
        "Images with channels last",
        "prune net.onnx --data channels-last.npz --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Nothing,
        "agreement",
    ),
    of(
        "A crop of another size",
        "prune net.onnx --data images.npz --mean 0.5 --std 0.25 --resize 64 --keep-macs 0.5 -o small.onnx",
        Error,
        "the preprocessed image does not have the network's size",
    ),
    of(
        "Grey images for a network of colours",
        "prune net.onnx --data grey --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Note,
        "images that were looked at are grey",
    ),
    of(
        "Labels from 1 to 10",
        "prune net.onnx --data from-one.npz --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Error,
        "set --label-offset to -1",
    ),
    of(
        "Labels off by one",
        "prune net.onnx --data shifted.npz --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Error,
        "set --label-offset to 1",
    ),
    of(
        "Labels of another data set, in range",
        "prune net.onnx --data others.npz --mean 0.5 --std 0.25 --max-drop 1 -o small.onnx",
        Error,
        "preprocessing or labels do not fit",
    ),
    of(
        "Labels of another data set, beyond the classes",
        "eval net.onnx --data imagenet.npz --mean 0.5 --std 0.25",
        Error,
        "but the output logits has 10 classes",
    ),
    of(
        "A folder of train/ and val/",
        "prune net.onnx --data dataset --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Error,
        "give \"dataset/val\"",
    ),
    of(
        "Folders of some classes only",
        "prune net.onnx --data four --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Error,
        "--classes",
    ),
    of(
        "Images without labels",
        "prune net.onnx --data unlabelled.npz --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Nothing,
        "agreement",
    ),
    of(
        "A wrong preset, without labels",
        "prune net.onnx --data unlabelled.npz --preset raw --keep-macs 0.5 -o small.onnx",
        Error,
        "expected: a divergence of 0.0",
    ),
    of(
        "Too few images to judge by",
        "prune net.onnx --data ten.npz --mean 0.5 --std 0.25 --max-drop 1 -o small.onnx",
        Note,
        "weighs",
    ),
    of(
        "Images of the training",
        "prune net.onnx --data training.npz --mean 0.5 --std 0.25 --keep-macs 0.7 -o small.onnx",
        Note,
        "which may be those of its training",
    ),
    of(
        "A budget that is too tight",
        "prune net.onnx --data images.npz --mean 0.5 --std 0.25 --criterion l1 --keep-macs 0.03 -o small.onnx",
        Note,
        "fewer than half of the answers of the original are left",
    ),
    of(
        "A budget that leaves nothing of use",
        "prune net.onnx --data images.npz --mean 0.5 --std 0.25 --criterion apoz --keep-macs 0.02 -o small.onnx",
        Refusal,
        "hardly better than chance",
    ),
    of(
        "A budget in percent",
        "prune net.onnx --data images.npz --mean 0.5 --std 0.25 --keep-macs 50 -o small.onnx",
        Error,
        "a share above 0, up to 1",
    ),
    of(
        "No images",
        "prune net.onnx --criterion l1 --keep-macs 0.9 -o small.onnx",
        Note,
        "not repaired: a repair needs images (--data)",
    ),
    of(
        "Noise in place of images",
        "prune net.onnx --data random:64 --keep-macs 0.5 -o small.onnx",
        Error,
        "--allow-random",
    ),
    of(
        "A folder without images",
        "prune net.onnx --data empty --mean 0.5 --std 0.25 --keep-macs 0.5 -o small.onnx",
        Error,
        "the folder has no images",
    ),
    of("Damaged images", "eval net.onnx --data one --mean 0.5 --std 0.25", Note, "skipped"),
    of(
        "A network without classes",
        "eval upscaler.onnx --data images.npz",
        Note,
        "does not hold class scores",
    ),
    of("A detector", "prune detector.onnx --data images.npz --keep-macs 0.8 -o small.onnx", Nothing, "SNR"),
    of("A file of PyTorch", "inspect model.pt", Error, "a zip archive or PyTorch checkpoint"),
    of(
        "The profile of another network",
        "plan other.onnx --profile net.profile --keep-macs 0.5 -o cut2.json",
        Error,
        "the profile is of another model",
    ),
    of("The cut of another network", "prune other.onnx --cut cut.json -o small.onnx", Error, "another model"),
    of(
        "The input file as output",
        "prune net.onnx --data images.npz --mean 0.5 --std 0.25 --keep-macs 0.5 -o net.onnx",
        Error,
        "the output is an input, and would replace it",
    ),
    of(
        "A misspelled option",
        "prune net.onnx --data images.npz --keep-mac 0.5 -o small.onnx",
        Error,
        "did you mean",
    ),
];
