//! Data sets in `.npz` archives: the arrays of samples and labels, found by their names.
//!
//! The usual names of a pair are `images` and `labels`, `x` and `y`, `data` and `targets`, or `arr_0` and `arr_1` of
//! `numpy.savez`. A split may stand in the name, as in `x_test` and `y_test`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::arrays::{Array, Kind, NpyHeader, plausible};
use crate::error::{Error, Result};

/// Names of arrays of samples, the preferred ones first.
const SAMPLES: [&str; 14] = [
    "images", "image", "imgs", "img", "x", "data", "inputs", "input", "features", "samples", "pixels", "xs",
    "arr_0", "",
];

/// Names of arrays of labels, the preferred ones first.
const LABELS: [&str; 12] = [
    "labels", "label", "y", "targets", "target", "classes", "class", "masks", "mask", "ys", "outputs",
    "arr_1",
];

/// Names of splits in names of arrays, with the usual one of each split.
const SPLITS: [(&str, &str); 9] = [
    ("train", "train"),
    ("training", "train"),
    ("val", "val"),
    ("valid", "val"),
    ("validation", "val"),
    ("dev", "dev"),
    ("test", "test"),
    ("testing", "test"),
    ("eval", "eval"),
];

/// The names of a data set's arrays in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Members {
    samples: String,
    labels: Option<String>,
}

/// Splits the name of an array into its split and the rest, in lower case.
fn parsed(name: &str) -> (Option<&'static str>, String) {
    let lower = name.to_lowercase();
    let tokens: Vec<&str> = lower.split(['_', '-', '.', '/', ' ']).collect();
    let split = |token: &&str| SPLITS.iter().find(|(known, _)| known == token).map(|(_, split)| *split);
    let found = tokens.iter().find_map(split);
    let rest: Vec<&str> = tokens.iter().filter(|token| split(token).is_none()).copied().collect();
    (found, rest.join("_"))
}

/// Returns the first of the known names that an array of a split has.
fn find(names: &[String], known: &[&str], split: Option<&str>) -> Option<String> {
    let parsed: Vec<_> = names.iter().map(|name| (name, parsed(name))).collect();
    let named = |known: &&str| parsed.iter().find(|(_, (found, rest))| *found == split && rest == known);
    known.iter().find_map(named).map(|(name, _)| (*name).clone())
}

/// Chooses the arrays of samples and labels.
///
/// `part` is the array or split that the user named, `input` the name of the network's input.
fn choose(names: &[String], part: Option<&str>, input: &str) -> Result<Members> {
    let of = |samples: String, split: Option<&str>| {
        let labels = find(names, &LABELS, split).filter(|labels| *labels != samples);
        Members { samples, labels }
    };
    if let Some(part) = part {
        let (split, rest) = parsed(part);
        let array = names.iter().find(|name| *name == part).cloned();
        let of_split = || split.filter(|_| rest.is_empty()).and_then(|_| find(names, &SAMPLES, split));
        return array.or_else(of_split).map(|samples| of(samples, split)).ok_or_else(|| {
            Error::new(format!("the archive has no array or split \"{part}\""))
                .got(names.join(", "))
                .remedy("give the name of an array of samples behind the colon, or that of a split")
        });
    }
    let exact = names.iter().find(|name| !input.is_empty() && *name == input).cloned();
    if let Some(samples) = exact.or_else(|| find(names, &SAMPLES, None)) {
        return Ok(of(samples, None));
    }
    let splits: BTreeSet<&str> = names.iter().filter_map(|name| parsed(name).0).collect();
    let held = splits.iter().filter_map(|split| Some((*split, find(names, &SAMPLES, Some(split))?)));
    match held.collect::<Vec<_>>().as_slice() {
        [(split, samples)] => Ok(of(samples.clone(), Some(split))),
        [(first, _), .., (last, _)] => Err(Error::new("the archive has several splits")
            .got(names.join(", "))
            .remedy(format!("give one of them behind a colon, as in FILE.npz:{last} or FILE.npz:{first}"))),
        [] => {
            let name = if input.is_empty() { "images" } else { input };
            Err(Error::new(format!("the archive has no array \"{name}\""))
                .got(if names.is_empty() { "an empty archive".to_owned() } else { names.join(", ") })
                .remedy(format!(
                    "name the array behind a colon, as in FILE.npz:{}, or write it with numpy.savez(FILE, images=…, \
                     labels=…)",
                    names.first().map_or("images", String::as_str)
                )))
        }
    }
}

/// Reads the samples of an archive, and their class indices if it has them.
pub(super) fn open(path: &Path, part: Option<&str>, input: &str) -> Result<(Array, Option<Vec<i64>>)> {
    let mut archive = open_archive(path)?;
    let Members { samples, labels } = choose(&names(&archive), part, input).map_err(|e| e.file(path))?;
    let array = array_of(&mut archive, path, &samples)?.ok_or_else(|| missing(&samples, path))?;
    let labels = labels.map(|labels| classes(&mut archive, path, &labels)).transpose()?;
    Ok((array, labels.flatten()))
}

/// Reads an array for each input of a network, and class indices if the archive has them.
pub(super) fn open_inputs<'a>(
    path: &Path,
    inputs: impl Iterator<Item = &'a str>,
) -> Result<(Vec<Array>, Option<Vec<i64>>)> {
    let mut archive = open_archive(path)?;
    let names = names(&archive);
    let mut arrays = Vec::new();
    let mut taken = BTreeSet::new();
    for input in inputs {
        arrays.push(array_of(&mut archive, path, input)?.ok_or_else(|| {
            missing(input, path).got(if names.is_empty() {
                "an empty archive".to_owned()
            } else {
                names.join(", ")
            })
        })?);
        taken.insert(input);
    }
    let rest: Vec<String> = names.iter().filter(|name| !taken.contains(name.as_str())).cloned().collect();
    let labels = find(&rest, &LABELS, None);
    let labels = labels.map(|labels| classes(&mut archive, path, &labels)).transpose()?;
    Ok((arrays, labels.flatten()))
}

/// Reads the label images of an archive's samples, if it has any.
pub(super) fn label_images(path: &Path, part: Option<&str>) -> Result<Option<Array>> {
    let mut archive = open_archive(path)?;
    let names = names(&archive);
    let labels = match choose(&names, part, "") {
        Ok(members) => members.labels,
        // An archive of label images alone.
        Err(_) => find(&names, &LABELS, None),
    };
    let array = labels.map(|labels| array_of(&mut archive, path, &labels)).transpose()?.flatten();
    Ok(array.filter(|array| !is_of_classes(array)))
}

/// Refuses the name of an array for a file that is no archive of arrays.
pub(super) fn refuse_part(path: &Path, part: Option<&str>) -> Result<()> {
    match part {
        None => Ok(()),
        Some(part) => Err(Error::new("only an .npz archive has arrays by name")
            .file(path)
            .got(format!("\"{part}\" behind the colon"))
            .remedy("leave out the colon and the name")),
    }
}

/// Returns whether an array of labels has class indices, not label images.
fn is_of_classes(labels: &Array) -> bool {
    !labels.is_of_images() || labels.shape[1..] == [1, 1]
}

/// Reads an array of class indices; `None` for label images, and for the targets of a regression.
fn classes(archive: &mut Archive, path: &Path, name: &str) -> Result<Option<Vec<i64>>> {
    let array = array_of(archive, path, name)?.ok_or_else(|| missing(name, path))?;
    let is_target = array.element.kind == Kind::Float && !parsed(name).1.starts_with("label");
    if !is_of_classes(&array) || is_target && !array.is_whole()? {
        return Ok(None);
    }
    array.class_indices().map(Some).map_err(|e| e.file(path))
}

fn missing(name: &str, path: &Path) -> Error {
    let missing = Error::new(format!("the archive has no array \"{name}\"")).file(path);
    missing.remedy(format!("write it with numpy.savez(FILE, {name}=…)"))
}

type Archive = zip::ZipArchive<BufReader<File>>;

fn bad_archive(path: &Path, e: &zip::result::ZipError) -> Error {
    Error::new("cannot read the archive")
        .file(path)
        .got(e.to_string())
        .remedy("write it with numpy.savez or numpy.savez_compressed")
}

fn open_archive(path: &Path) -> Result<Archive> {
    let file = File::open(path).map_err(|e| Error::io("open the archive", path, e))?;
    zip::ZipArchive::new(BufReader::new(file)).map_err(|e| bad_archive(path, &e))
}

/// Returns the names of an archive's arrays, in their order.
fn names(archive: &Archive) -> Vec<String> {
    let arrays = archive.file_names().flatten().map(|name| name.trim_end_matches(".npy").to_owned());
    arrays.collect()
}

/// Reads one array of an archive; `None` if the archive has none of this name.
fn array_of(archive: &mut Archive, path: &Path, name: &str) -> Result<Option<Array>> {
    let Some(index) = archive.index_for_name(&format!("{name}.npy")) else { return Ok(None) };
    let mut entry = archive.by_index(index).map_err(|e| bad_archive(path, &e))?;
    let (packed, unpacked) = (entry.compressed_size(), entry.size());
    let named = |e: Error| e.context(format!("array \"{name}\" of the archive")).file(path);
    let header = NpyHeader::read(&mut entry).map_err(named)?;
    header.check_length(unpacked).map_err(named)?;
    if !plausible(packed, unpacked) {
        return Err(named(
            Error::new("its size is impossible")
                .expected(format!("at most what {packed} packed bytes can hold"))
                .got(format!("{unpacked} bytes"))
                .remedy("the file is damaged; write it again"),
        ));
    }
    header.load(&mut entry, &format!("read the array \"{name}\""), path).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], part: Option<&str>, input: &str) -> Result<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let Members { samples, labels } = choose(&names, part, input)?;
        Ok(format!("{samples} {}", labels.as_deref().unwrap_or("-")))
    }

    #[test]
    fn arrays_are_found_by_their_usual_names() {
        for (names, expected) in [
            (&["labels", "images"][..], "images labels"),
            (&["x", "y"], "x y"),
            (&["Y", "X"], "X Y"),
            (&["arr_0", "arr_1"], "arr_0 arr_1"),
            (&["arr_0"], "arr_0 -"),
            (&["targets", "data"], "data targets"),
            (&["x_test", "y_test"], "x_test y_test"),
            (&["test_images", "test_labels"], "test_images test_labels"),
            (&["x_test", "y_train"], "x_test -"),
            (&["images", "x_test", "labels", "y_test"], "images labels"),
        ] {
            assert_eq!(chosen(names, None, "").unwrap(), expected, "{names:?}");
        }
        assert_eq!(chosen(&["x", "wave", "y"], None, "wave").unwrap(), "wave y", "the name of the input");
        assert!(chosen(&["pictures"], None, "").is_err(), "an array of any name may be anything");
    }

    #[test]
    fn splits_are_chosen_by_the_user() {
        let keras = ["x_train", "y_train", "x_test", "y_test"];
        let error = chosen(&keras, None, "").unwrap_err();
        assert!(error.message().contains("several splits"), "{error}");
        assert!(error.remedy_text().unwrap().contains("FILE.npz:train or FILE.npz:test"), "{error}");
        for part in ["test", "x_test", "TEST"] {
            assert_eq!(chosen(&keras, Some(part), "").unwrap(), "x_test y_test", "{part}");
        }
        let medical =
            ["train_images", "val_images", "test_images", "train_labels", "val_labels", "test_labels"];
        assert_eq!(chosen(&medical, Some("validation"), "").unwrap(), "val_images val_labels");
        assert!(chosen(&keras, Some("val"), "").is_err() && chosen(&keras, Some("x"), "").is_err());
        assert!(chosen(&["a", "b"], None, "").is_err() && chosen(&[], None, "").is_err());
        assert_eq!(chosen(&["a", "b"], Some("b"), "").unwrap(), "b -");
    }
}
