//! Tests of recipes: their description in one line, doubts about them, and the letterbox.

use super::*;
use crate::observer::Doubt;

fn of_bytes(bytes: Vec<u8>, shape: &[usize], options: &DataOptions, input: &[Option<usize>]) -> Dataset {
    Dataset::from_bytes(bytes, shape, None, options, SampleSpec::from(input)).unwrap()
}

/// Eight images of this size with colours.
fn coloured(side: usize, options: &DataOptions, input: &[Option<usize>]) -> Dataset {
    let bytes = (0..8 * 3 * side * side).map(|i| (i % 257).min(255) as u8).collect();
    of_bytes(bytes, &[8, 3, side, side], options, input)
}

/// Eight images of floats from `low` to `high`.
fn of_floats([low, high]: [f32; 2], options: &DataOptions, input: &[Option<usize>]) -> Dataset {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let count = 8 * 3 * 4 * 4;
    let values: Vec<u8> =
        (0..count).flat_map(|i| (low + (high - low) * (i % 48) as f32 / 47.0).to_le_bytes()).collect();
    fs::write(&path, npy("<f4", false, "(8, 3, 4, 4)", &values)).unwrap();
    let data = open(&path, options, input).unwrap();
    data.survey().unwrap();
    data
}

fn preset(preset: Preset) -> DataOptions {
    DataOptions { preset: Some(preset), ..DataOptions::default() }
}

fn square(channels: usize, side: usize) -> [Option<usize>; 4] {
    [None, Some(channels), Some(side), Some(side)]
}

#[test]
fn a_recipe_is_described_in_one_line() {
    let told =
        |options: &DataOptions, input: [Option<usize>; 4]| coloured(32, options, &input).describe().unwrap();
    assert_eq!(
        told(&preset(Preset::ImageNet), square(3, 32)).split(" [").next().unwrap(),
        "32×32 u8 RGB → shorter side 37 → crop 32 → ÷255 → −mean → ÷std → NCHW f32"
    );
    assert_eq!(
        told(&preset(Preset::Cifar10), square(3, 32)),
        "32×32 u8 RGB → ÷255 → −mean → ÷std → NCHW f32 [−2.12, 2.64]"
    );
    assert_eq!(told(&preset(Preset::Raw), square(3, 32)), "32×32 u8 RGB → as they are → NCHW f32 [0, 255]");
    let options = DataOptions {
        channels: Some(ChannelOrder::Bgr),
        scale: Some(1.0),
        mean: Some(vec![127.0]),
        std: Some(vec![128.0]),
        ..DataOptions::default()
    };
    assert_eq!(
        told(&options, [None, Some(24), Some(40), Some(3)]).split(" [").next().unwrap(),
        "32×32 u8 RGB → resize 24×40 → BGR → −127 → ÷128 → NHWC f32"
    );
    let boxed = DataOptions { letterbox: Some(114), ..preset(Preset::Raw) };
    let line = told(&boxed, [None, Some(3), Some(40), Some(64)]);
    assert!(line.starts_with("32×32 u8 RGB → fit into 40×64, padded with 114 → NCHW f32 ["), "{line}");
    let line = told(&DataOptions { mean: Some(vec![-0.5]), ..preset(Preset::Mnist) }, square(1, 32));
    assert!(line.starts_with("32×32 u8 RGB → grey → ÷255 → +0.5 → NCHW f32 [0.5"), "{line}");
    let floats = of_floats([-1.0, 2.0], &DataOptions::default(), &square(3, 4));
    assert_eq!(floats.describe().unwrap(), "4×4 f32 RGB → as they are → NCHW f32 [−1, 2]");
    let recipe = floats.preprocessing().describe(None);
    assert_eq!(recipe, "as they are → NCHW f32", "a recipe without data");
}

#[test]
fn data_that_are_no_images_are_described_too() {
    let options = DataOptions { mean: Some(vec![1.0]), ..DataOptions::default() };
    let rows = of_bytes((0..12).collect(), &[3, 4], &options, &[None, Some(4)]);
    assert_eq!(rows.describe().unwrap(), "u8 arrays → −1 → 4 f32 [−1, 10]");
    let noise = Dataset::open("random:4", &DataOptions::default(), &square(3, 4)).unwrap();
    let line = noise.describe().unwrap();
    assert!(line.starts_with("random numbers → 3×4×4 f32 [−"), "{line}");
    assert_eq!(noise.doubts().unwrap(), []);
    let folder = folder_of(&["a.png", "b.png"]);
    RgbImage::new(9, 8).save(folder.path().join("c.png")).unwrap();
    let files = open(folder.path(), &DataOptions::default(), &INPUT).unwrap();
    let line = files.describe().unwrap();
    assert!(line.starts_with("images of 7×5 to 8×9, u8 RGB → resize 7×5 → ÷255 → NCHW f32 [0, 1"), "{line}");
}

#[test]
fn doubts_are_raised_for_the_usual_mistakes() {
    let doubts = |data: Dataset| data.doubts().unwrap();
    let found = doubts(coloured(32, &preset(Preset::ImageNet), &square(3, 32)));
    assert_eq!(found, [Doubt::EnlargedAndCropped { size: [32, 32], enlarged: [37, 37] }]);
    let found = doubts(coloured(8, &preset(Preset::Unit), &square(3, 32)));
    assert_eq!(found, [Doubt::Enlarged { size: [8, 8], enlarged: [32, 32] }]);
    let found = doubts(coloured(8, &preset(Preset::Unit), &[None, Some(3), Some(8), Some(16)]));
    assert_eq!(found, [Doubt::Distorted { size: [8, 8], to: [8, 16] }]);
    let boxed = DataOptions { letterbox: Some(0), ..preset(Preset::Unit) };
    assert_eq!(doubts(coloured(8, &boxed, &[None, Some(3), Some(8), Some(16)])), []);
    let normal = DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.5]), ..DataOptions::default() };
    let found = doubts(of_floats([-1.5, 2.5], &normal, &square(3, 4)));
    assert_eq!(found, [Doubt::NormalizedAlready { low: -1.5, high: 2.5 }]);
    let found = doubts(of_floats([0.0, 1.0], &preset(Preset::Unit), &square(3, 4)));
    assert_eq!(found, [Doubt::UnitValues { high: 1.0, scale: 255.0 }]);
    let found = doubts(of_floats([0.0, 250.0], &normal, &square(3, 4)));
    assert_eq!(found, [Doubt::ByteValues { high: 250.0 }]);
    let grey = of_bytes((0..8 * 16).collect(), &[8, 4, 4], &preset(Preset::Unit), &square(3, 4));
    assert_eq!(doubts(grey), [Doubt::GreyImages { images: 8 }]);
    let found = doubts(coloured(28, &preset(Preset::Mnist), &square(1, 28)));
    assert_eq!(found, [Doubt::ColourImages { images: 8 }]);
    let found = doubts(coloured(3, &preset(Preset::Unit), &square(3, 3)));
    assert_eq!(found, [Doubt::GuessedLayout]);
}

#[test]
fn right_recipes_raise_no_doubt() {
    let none = |data: Dataset| assert_eq!(data.doubts().unwrap(), [], "{}", data.describe().unwrap());
    let plain = DataOptions::default;
    none(coloured(256, &preset(Preset::ImageNet), &square(3, 224)));
    none(coloured(32, &preset(Preset::Cifar10), &square(3, 32)));
    none(coloured(256, &preset(Preset::Raw), &[None, Some(3), Some(240), Some(320)]));
    none(coloured(64, &DataOptions { layout: Some(Layout::Nchw), ..plain() }, &square(3, 64)));
    // Caffe's means, and values from −1 to 1 by the mean and deviation of bytes.
    none(coloured(
        32,
        &DataOptions { mean: Some(vec![104.0, 117.0, 123.0]), ..preset(Preset::Raw) },
        &square(3, 32),
    ));
    let symmetric = DataOptions { mean: Some(vec![128.0]), std: Some(vec![128.0]), ..preset(Preset::Raw) };
    none(coloured(32, &symmetric, &square(3, 32)));
    none(coloured(32, &plain(), &square(1, 32)));
    none(of_floats([-2.0, 2.0], &plain(), &square(3, 4)));
    none(of_floats([0.0, 255.0], &DataOptions { scale: Some(255.0), ..plain() }, &square(3, 4)));
    let shifted = DataOptions { mean: Some(vec![-1.0]), std: Some(vec![2.0]), ..plain() };
    none(of_floats([-1.0, 1.0], &shifted, &square(3, 4)));
}

/// NumPy and Pillow 11.3 on the pattern: `resize((nw, nh), Image.BILINEAR)` and `numpy.pad` with Ultralytics' sides.
#[test]
fn a_letterbox_is_that_of_ultralytics() {
    let boxed = |height, width, layout| {
        let options = DataOptions { letterbox: Some(114), layout: Some(layout), ..plain() };
        let input = match layout {
            Layout::Nhwc => [None, Some(height), Some(width), Some(3)],
            Layout::Nchw => [None, Some(3), Some(height), Some(width)],
        };
        one_image(&options, &input)
    };
    // 7×5 becomes 4×3 with one column of padding on the left, and two on the right.
    let wide = [
        114, 114, 114, 71, 108, 139, 120, 83, 117, 156, 130, 91, 114, 114, 114, 114, 114, 114, 114, 114, 114,
        137, 144, 123, 112, 133, 125, 113, 120, 127, 114, 114, 114, 114, 114, 114, 114, 114, 114, 137, 144,
        151, 139, 131, 152, 141, 120, 127, 114, 114, 114, 114, 114, 114, 114, 114, 114, 97, 134, 108, 147,
        107, 144, 125, 156, 117, 114, 114, 114, 114, 114, 114,
    ];
    near(&boxed(4, 6, Layout::Nhwc), &wide);
    let planes: Vec<i32> = (0..3).flat_map(|c| wide.iter().skip(c).step_by(3).copied()).collect();
    near(&boxed(4, 6, Layout::Nchw), &planes);
    // 6×4 with one row of padding above, and two below.
    let tall = [
        36, 73, 110, 145, 96, 133, 125, 76, 113, 168, 169, 50, 84, 121, 138, 107, 144, 135, 87, 124, 161,
        156, 61, 98, 133, 142, 143, 156, 127, 80, 136, 173, 144, 73, 110, 119, 145, 154, 191, 120, 91, 128,
        184, 137, 108, 121, 122, 131, 166, 203, 108, 103, 140, 177, 129, 120, 157, 126, 143, 180, 58, 95, 96,
        151, 102, 139, 131, 82, 119, 154, 191, 72,
    ];
    let found = boxed(9, 4, Layout::Nhwc);
    near(&found[12..84], &tall);
    assert!(found[..12].iter().chain(&found[84..]).all(|&v| v == 114.0) && found.len() == 108);
}

#[test]
fn padding_is_normalised_like_pixels() {
    let options = DataOptions {
        letterbox: Some(51),
        mean: Some(vec![0.0, 0.1, 0.2]),
        std: Some(vec![1.0, 2.0, 4.0]),
        channels: Some(ChannelOrder::Bgr),
        ..DataOptions::default()
    };
    let found = one_image(&options, &[None, Some(3), Some(7), Some(9)]);
    assert_eq!([found[0], found[63], found[126]], [0.2, (0.2 - 0.1) / 2.0, 0.0], "by the network's channels");
    let plain = one_image(&DataOptions { letterbox: None, ..options }, &[None, Some(3), Some(7), Some(5)]);
    assert_eq!(found[2..7], plain[..5], "in the middle");
}

#[test]
fn a_letterbox_needs_a_size_and_no_crop() {
    let free = [None, Some(3), None, None];
    let with = |resize: Option<&str>, crop: Option<&str>| {
        let options = DataOptions {
            letterbox: Some(114),
            resize: resize.map(|text| text.parse().unwrap()),
            crop: crop.map(|text| text.parse().unwrap()),
            ..DataOptions::default()
        };
        let data = Dataset::from_bytes(pattern(), &[1, 7, 5, 3], None, &options, &free);
        data.and_then(|data| Ok(data.sample()?.only().unwrap().to_vec()))
    };
    assert_eq!(with(Some("16"), None).unwrap(), [3, 16, 16], "one number is a square");
    assert_eq!(with(Some("8x16"), None).unwrap(), [3, 8, 16]);
    assert!(with(None, None).unwrap_err().message().contains("`letterbox` needs a size"));
    assert!(with(Some("16"), Some("8")).unwrap_err().message().contains("nothing is cropped"));
    let array = Dataset::from_bytes(
        vec![0; 8],
        &[2, 4],
        None,
        &DataOptions { letterbox: Some(114), ..DataOptions::default() },
        &[None, Some(4)],
    );
    assert!(array.unwrap_err().message().contains("`letterbox` is for images"));
}

#[test]
fn recipes_of_older_profiles_have_no_letterbox() {
    let recipe = coloured(8, &preset(Preset::Unit), &square(3, 8)).preprocessing().clone();
    let text = serde_json::to_string(&recipe).unwrap();
    assert!(!text.contains("letterbox"));
    assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), recipe);
    let boxed = Preprocessing { letterbox: Some(114), ..recipe };
    let text = serde_json::to_string(&boxed).unwrap();
    assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), boxed);
}
