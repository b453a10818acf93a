//! Tests of patterns, lists, splits of archives, and several sources that are one set.

use super::*;

/// The input of a network of one pixel.
const PIXEL: [Option<usize>; 4] = [None, Some(1), Some(1), Some(1)];

/// Writes a grey .png of one pixel.
fn write_pixel(path: &Path, level: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    GrayImage::from_raw(1, 1, vec![level]).unwrap().save(path).unwrap();
}

/// Creates a folder with a picture of one pixel under each name.
fn pixels(names: &[(&str, u8)]) -> TempDir {
    let folder = tempdir().unwrap();
    names.iter().for_each(|(name, level)| write_pixel(&folder.path().join(name), *level));
    folder
}

fn text(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn opened(sources: &[String], options: &DataOptions) -> Result<Dataset> {
    Dataset::open(sources, options, &PIXEL)
}

/// Returns pixels and labels of a pass.
fn seen(data: &Dataset) -> (Vec<f32>, Option<Vec<u32>>) {
    let batches: Vec<Batch> = data.batches(3).map(Result::unwrap).collect();
    let labels = batches.iter().map(|batch| batch.labels.clone()).collect::<Option<Vec<_>>>();
    (batches.into_iter().flat_map(|batch| batch.data).collect(), labels.map(|all| all.concat()))
}

fn refused(sources: &[String], options: &DataOptions, words: &str) -> Error {
    let error = opened(sources, options).unwrap_err();
    assert!(error.to_string().contains(words), "{words}: {error}");
    error
}

fn npz_of(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// An array of so many images of one pixel of a level.
fn levels(level: u8, count: usize) -> Vec<u8> {
    npy("|u1", false, &format!("({count}, 1, 1, 1)"), &vec![level; count])
}

fn bytes(values: &[u8]) -> Vec<u8> {
    npy("|u1", false, &format!("({},)", values.len()), values)
}

#[test]
fn patterns_and_single_files_are_data_sets() {
    let folder = pixels(&[("a/1.png", 1), ("a/2.png", 2), ("b/3.png", 3), ("b/c/4.png", 4)]);
    fs::write(folder.path().join("a/notes.txt"), "no picture").unwrap();
    for (pattern, expected) in [
        ("a/*.png", &[1.0, 2.0][..]),
        ("a/*", &[1.0, 2.0]),
        ("*/?.png", &[1.0, 2.0, 3.0]),
        ("**/*.png", &[1.0, 2.0, 3.0, 4.0]),
        ("{b,a}/*.png", &[3.0, 1.0, 2.0]),
        ("b/3.png", &[3.0]),
    ] {
        let data = opened(&[text(&folder, pattern)], &plain()).unwrap();
        assert_eq!(seen(&data), (expected.to_vec(), None), "{pattern}");
    }
    refused(&[text(&folder, "a/*.gif")], &plain(), "matches no file");
    let error = refused(&[text(&folder, "*")], &plain(), "stands for folders");
    assert_eq!(error.file_path(), Some(folder.path().join("*").as_path()));
    refused(&[text(&folder, "a/*.txt")], &plain(), "not a shard");
    // Labels beside the pictures of a pattern count.
    fs::write(folder.path().join("a/labels.csv"), "file,label\n2,dog\n1,cat\n").unwrap();
    let one = opened(&[text(&folder, "a/2*")], &plain()).unwrap();
    assert_eq!((seen(&one), one.class_names().unwrap().len()), ((vec![2.0], Some(vec![1])), 2));
    assert_eq!(opened(&[text(&folder, "*/*.png")], &plain()).unwrap().labels(), None);
    // Arrays of a pattern are joined.
    write_npy(
        folder.path().join("x1.npy"),
        &crate::tensor::Tensor::from_f64(crate::tensor::DType::U8, &[2, 1, 1, 1], &[7.0, 8.0]),
    )
    .unwrap();
    write_npy(
        folder.path().join("x2.npy"),
        &crate::tensor::Tensor::from_f64(crate::tensor::DType::U8, &[1, 1, 1, 1], &[9.0]),
    )
    .unwrap();
    assert_eq!(seen(&opened(&[text(&folder, "x*.npy")], &plain()).unwrap()).0, [7.0, 8.0, 9.0]);
}

#[test]
fn lists_name_pictures_with_or_without_labels() {
    let folder = pixels(&[("in/1.png", 1), ("in/2 b.png", 2), ("3.png", 3)]);
    let absolute = text(&folder, "3.png");
    let list = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        text(&folder, name)
    };
    for (name, content, labels) in [
        ("a.txt", format!("in/2 b.png\n\n# a remark\n{absolute}\nin/1.png\n"), None),
        ("b.lst", "in/2 b.png 5\n3.png\t0\nin/1.png 7\n".to_owned(), Some(vec![5, 0, 7])),
        ("c.txt", "in/2 b.png, dog\n3.png, cat\nin/1.png, dog\n".to_owned(), Some(vec![1, 0, 1])),
        ("d.csv", "path;class\nin/2 b.png;5\n3.png;0\nin/1.png;7\n".to_owned(), Some(vec![5, 0, 7])),
        ("e.csv", "path,size\nin/2 b.png,1\n3,1\nin/1.png,2\n".to_owned(), None),
    ] {
        let data = opened(&[list(name, &content)], &plain()).unwrap();
        assert_eq!(seen(&data), (vec![2.0, 3.0, 1.0], labels), "{content}");
    }
    refused(&[list("f.txt", "3.png\nin/4.png\n")], &plain(), "line 2 names no file");
    refused(&[list("f.txt", "3.png 1\nin/1.png\n")], &plain(), "others have none");
    refused(&[list("f.txt", "3.png 1\n\nin/1.png cat\n")], &plain(), "label of line 3 is no class");
    refused(&[list("f.txt", "\n")], &plain(), "names no images");
}

#[test]
fn several_sources_are_one_set() {
    let folder = pixels(&[("a/1.png", 1), ("a/2.png", 2), ("b/3.png", 3), ("b/4.png", 4), ("b/5.png", 5)]);
    fs::write(folder.path().join("a/labels.csv"), "file,label\n1.png,6\n2.png,7\n").unwrap();
    fs::write(folder.path().join("b/labels.csv"), "file,label\n3.png,1\n4.png,2\n5.png,3\n").unwrap();
    let sources = [text(&folder, "b"), text(&folder, "a")];
    let whole = seen(&opened(&sources, &plain()).unwrap());
    assert_eq!(whole, (vec![3.0, 4.0, 5.0, 1.0, 2.0], Some(vec![1, 2, 3, 6, 7])));
    // Shards, samples, orders and held-out images go over the whole.
    let mut parts = (vec![], vec![]);
    for shard in ["1/3", "2/3", "3/3"] {
        let options = DataOptions { shard: Some(shard.parse().unwrap()), ..plain() };
        let (pixels, labels) = seen(&opened(&sources, &options).unwrap());
        parts.0.extend(pixels);
        parts.1.extend(labels.unwrap());
    }
    assert_eq!((parts.0, Some(parts.1)), whole);
    let shuffled = opened(&sources, &DataOptions { order: Some(4), label_offset: 1, ..plain() }).unwrap();
    let (pixels, labels) = seen(&shuffled);
    let mut sorted = pixels.clone();
    sorted.sort_by(f32::total_cmp);
    assert_eq!(sorted, [1.0, 2.0, 3.0, 4.0, 5.0]);
    for (pixel, label) in pixels.iter().zip(labels.unwrap()) {
        assert_eq!(label, [7, 8, 2, 3, 4][*pixel as usize - 1]);
    }
    let (rest, held) = opened(&sources, &plain()).unwrap().split(0.4).unwrap();
    assert_eq!((seen(&rest).0, seen(&held).0), (vec![3.0, 4.0, 1.0], vec![5.0, 2.0]));
    assert_eq!(held.place(1).file, Some(folder.path().join("a/2.png")));
    // An unreadable picture is skipped, whichever source it is in.
    fs::write(folder.path().join("a/1.png"), "broken").unwrap();
    let data = opened(&sources, &plain()).unwrap();
    assert_eq!(seen(&data), (vec![3.0, 4.0, 5.0, 2.0], Some(vec![1, 2, 3, 7])));
    assert_eq!(data.skipped()[0].0, folder.path().join("a/1.png"));
    // All have labels, or none.
    fs::remove_file(folder.path().join("a/labels.csv")).unwrap();
    refused(&sources, &plain(), "some of the data sets have labels");
    refused(&[sources[0].clone(), "random:4".to_owned()], &plain(), "no other data");
    refused(&[], &plain(), "no data were given");
}

#[test]
fn sources_of_other_kinds_do_not_mix() {
    let folder = pixels(&[("a/1.png", 1)]);
    write_npy_f32(folder.path().join("floats.npy"), &[1, 1, 1, 1], &[0.5]).unwrap();
    let sources = [text(&folder, "a"), text(&folder, "floats.npy")];
    let error = refused(&sources, &DataOptions::default(), "different preprocessing");
    assert!(error.message().contains("another resize and scale"), "{error}");
}

#[test]
fn class_folders_of_several_sources_are_numbered_together() {
    let folder = pixels(&[("a/cat/1.png", 1), ("a/eel/2.png", 2), ("b/dog/3.png", 3), ("b/cat/4.png", 4)]);
    let sources = [text(&folder, "a"), text(&folder, "b")];
    let data = opened(&sources, &plain()).unwrap();
    assert_eq!(seen(&data), (vec![1.0, 2.0, 4.0, 3.0], Some(vec![0, 2, 0, 1])), "cat, dog, eel");
    assert_eq!(data.class_names().unwrap(), ["cat", "dog", "eel"]);
    let indices = folder.path().join("c");
    write_pixel(&indices.join("5.png"), 5);
    fs::write(indices.join("labels.csv"), "file,label\n5.png,1\n").unwrap();
    let mixed = [sources[0].clone(), text(&folder, "c")];
    let error = refused(&mixed, &plain(), "class names in one data set");
    assert!(error.remedy_text().unwrap().contains("`classes`"));
    // A list of names gives both their indices.
    let names = folder.path().join("names.list");
    fs::write(&names, "eel\ncat\n").unwrap();
    let listed = opened(&mixed, &DataOptions { classes: Some(names), ..plain() }).unwrap();
    assert_eq!((listed.labels(), listed.class_names()), (Some(&[1, 0, 1][..]), None));
}

#[test]
fn splits_and_images_beside_labels_are_no_classes() {
    let folder = pixels(&[
        ("d/train/cat/1.png", 1),
        ("d/val/cat/2.png", 2),
        ("s/images/3.png", 3),
        ("s/masks/3.png", 4),
    ]);
    let error = refused(&[text(&folder, "d")], &plain(), "splits of the data");
    assert!(error.remedy_text().unwrap().contains("val"), "{error}");
    assert_eq!(seen(&opened(&[text(&folder, "d/val")], &plain()).unwrap()).0, [2.0]);
    refused(&[text(&folder, "s")], &plain(), "images and their labels");
    let names = folder.path().join("names.list");
    fs::write(&names, "train\nval\n").unwrap();
    let classes = DataOptions { classes: Some(names), ..plain() };
    assert_eq!(opened(&[text(&folder, "d")], &classes).unwrap().labels(), Some(&[0, 1][..]));
}

#[test]
fn class_lists_may_have_synset_ids_and_names_of_several_classes() {
    let folder = pixels(&[("n01440764/1.png", 1), ("n02012849/2.png", 2)]);
    let names = folder.path().join("synsets.list");
    let listed = |content: &str| {
        fs::write(&names, content).unwrap();
        opened(&[text(&folder, "")], &DataOptions { classes: Some(names.clone()), ..plain() })
    };
    let with_names = "n01440764 tench, Tinca tinca\nn01443537 goldfish\nn02012849 crane\n";
    assert_eq!(listed(with_names).unwrap().labels(), Some(&[0, 2][..]));
    // Names that occur twice do no harm unless a folder has one.
    let twice = "crane\nn02012849\nn01440764\ncrane\n";
    assert_eq!(listed(twice).unwrap().labels(), Some(&[2, 1][..]));
    assert!(listed("n01440764\nn02012849\nn01440764\n").unwrap_err().message().contains("named twice"));
}

#[test]
fn archives_have_usual_names_and_splits() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let of = |arrays: &[(&str, Vec<u8>)], part: &str| {
        npz_of(&path, arrays);
        opened(&[format!("{}{part}", path.display())], &plain()).map(|data| seen(&data))
    };
    let split = [
        ("x_train", levels(1, 2)),
        ("y_train", bytes(&[3, 4])),
        ("x_test", levels(2, 1)),
        ("y_test", npy("<i8", false, "(1, 1)", &[5, 0, 0, 0, 0, 0, 0, 0])),
    ];
    let error = of(&split, "").unwrap_err();
    assert!(error.remedy_text().unwrap().contains("FILE.npz:test"), "{error}");
    assert_eq!(of(&split, ":test").unwrap(), (vec![2.0], Some(vec![5])));
    assert_eq!(of(&split, ":x_train").unwrap(), (vec![1.0, 1.0], Some(vec![3, 4])));
    let both = [format!("{}:test", path.display()), format!("{}:train", path.display())];
    assert_eq!(seen(&opened(&both, &plain()).unwrap()), (vec![2.0, 1.0, 1.0], Some(vec![5, 3, 4])));
    assert!(of(&split, ":val").unwrap_err().message().contains("no array or split \"val\""));
    for names in
        [["x", "y"], ["X", "Y"], ["arr_0", "arr_1"], ["data", "targets"], ["test_images", "test_labels"]]
    {
        let arrays = [(names[0], levels(9, 2)), (names[1], bytes(&[0, 1]))];
        assert_eq!(of(&arrays, "").unwrap(), (vec![9.0, 9.0], Some(vec![0, 1])), "{names:?}");
    }
    let one_hot = [("x", levels(9, 2)), ("y", npy("|u1", false, "(2, 3)", &[0, 0, 1, 1, 0, 0]))];
    assert_eq!(of(&one_hot, "").unwrap().1, Some(vec![2, 0]));
    let several = [("x", levels(9, 2)), ("y", npy("|u1", false, "(2, 3)", &[0, 1, 1, 1, 0, 0]))];
    assert!(of(&several, "").unwrap_err().message().contains("several labels for an image"));
    let floats = |value: f32| npy("<f4", false, "(1,)", &value.to_le_bytes());
    assert_eq!(of(&[("x", levels(9, 1)), ("y", floats(4.0))], "").unwrap().1, Some(vec![4]));
    assert_eq!(of(&[("x", levels(9, 1)), ("y", floats(0.5))], "").unwrap().1, None, "a regression");
    assert!(of(&[("x", levels(9, 1)), ("labels", floats(0.5))], "").is_err());
    write_pixel(&folder.path().join("a.png"), 1);
    refused(&[format!("{}:test", text(&folder, "a.png"))], &plain(), "only an .npz archive");
}
