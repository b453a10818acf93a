//! Labels of images and recordings: class indices and class names, and tables of labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Headers of the column of files, the preferred ones first.
const FILES: [&str; 20] = [
    "file",
    "filename",
    "file_name",
    "image",
    "img",
    "path",
    "filepath",
    "file_path",
    "image_path",
    "img_path",
    "image_name",
    "image_id",
    "audio",
    "audio_file",
    "audio_path",
    "wav",
    "recording",
    "slice_file_name",
    "name",
    "id",
];

/// Headers of the column of labels, the preferred ones first.
const LABELS: [&str; 13] = [
    "label",
    "labels",
    "class",
    "class_id",
    "classid",
    "label_id",
    "target",
    "category",
    "cls",
    "y",
    "fine_label",
    "class_name",
    "breed",
];

/// The class names of `classes`, each with its index.
#[derive(Debug)]
pub(super) struct ClassNames(HashMap<String, i64>);

impl ClassNames {
    /// Reads class names, one per line; a line's place is the class index.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the class names", path, e))?;
        let mut names = HashMap::new();
        for (index, name) in text.trim_end().lines().enumerate() {
            if names.insert(name.trim().to_owned(), index as i64).is_some() {
                return Err(Error::new(format!("the class \"{}\" is named twice", name.trim()))
                    .file(path)
                    .remedy("one class name per line, each once: the line's place is the class index"));
            }
        }
        Ok(Self(names))
    }

    pub(super) fn index(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied()
    }
}

/// A label that is no class index, at this place of the labels.
#[derive(Debug)]
pub(super) struct NoClass(pub(super) usize);

/// Converts labels in text to class indices.
///
/// Integers are class indices. Names are looked up in the class list. Without one, names are numbered in their sorted
/// order, as torchvision numbers class folders; then none may be an integer.
pub(super) fn class_indices(
    texts: &[impl AsRef<str>],
    classes: Option<&ClassNames>,
) -> Result<Vec<i64>, NoClass> {
    let integer = |text: &str| text.strip_suffix(".0").unwrap_or(text).parse::<i64>().ok();
    let names: BTreeSet<&str> = texts.iter().map(AsRef::as_ref).collect();
    let all_names = classes.is_none() && names.iter().all(|name| !name.is_empty() && integer(name).is_none());
    let sorted: HashMap<&str, i64> = if all_names {
        names.into_iter().enumerate().map(|(index, name)| (name, index as i64)).collect()
    } else {
        HashMap::new()
    };
    let index = |(place, text): (usize, &str)| {
        let known = || classes.and_then(|c| c.index(text)).or_else(|| sorted.get(text).copied());
        integer(text).or_else(known).ok_or(NoClass(place))
    };
    texts.iter().map(AsRef::as_ref).enumerate().map(index).collect()
}

/// Returns the first name of a column's known headers that is present, as the index in the present ones.
fn column(present: &[String], known: &[&str]) -> Option<usize> {
    known.iter().find_map(|name| present.iter().position(|header| header == name))
}

/// Finds the column of labels among headers.
pub(super) fn label_column(present: &[String]) -> Option<usize> {
    column(present, &LABELS)
}

/// Reads a table of labels, which must name each of the folder's images once, and no others.
///
/// `one` is the noun for an image, in errors. Returns the images in the order of their paths, with their labels.
pub(super) fn read_table(
    csv: &Path,
    (folder, images, one): (&Path, &[PathBuf], &str),
    classes: Option<&ClassNames>,
) -> Result<(Vec<PathBuf>, Vec<i64>)> {
    let bad = |what: String| {
        Error::new(what)
            .file(csv)
            .remedy(format!("give it a header such as file,label, and one row per {one}: NAME,3 or NAME,cat"))
    };
    let bytes = std::fs::read(csv).map_err(|e| Error::io("read the labels", csv, e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Error::new("the table of labels is not in UTF-8")
            .file(csv)
            .got(e.to_string())
            .remedy("save it as CSV in UTF-8")
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| bad(e.to_string()))?.clone();
    let header: Vec<String> = header.iter().map(str::to_lowercase).collect();
    let find = |what: &str, known: &[&str]| {
        column(&header, known).ok_or_else(|| {
            bad(format!("there is no column of {what}")).expected(known.join(", ")).got(header.join(","))
        })
    };
    let (file, label) = (find("files", &FILES)?, find("labels", &LABELS)?);
    let without_extension: HashMap<_, _> =
        images.iter().map(|path| (path.with_extension(""), path)).collect();
    let mut lines = BTreeMap::new();
    let mut texts = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let line = index + 2;
        let record = record.map_err(|e| bad(e.to_string()))?;
        // The reader has refused rows that are too short.
        let name = record.get(file).unwrap_or_default();
        let path = folder.join(name);
        let path = match without_extension.get(&path) {
            Some(&image) if !path.is_file() => image.clone(),
            _ => path,
        };
        if name.is_empty() || !path.is_file() {
            return Err(Error::new(format!("line {line} names a missing file"))
                .file(csv)
                .got(format!("{name:?}"))
                .remedy(format!("remove the row, or put the {one} beside labels.csv")));
        }
        if lines.insert(path, index).is_some() {
            return Err(bad(format!("line {line} names \"{name}\" a second time")));
        }
        texts.push(record.get(label).unwrap_or_default().to_owned());
    }
    let labels = class_indices(&texts, classes).map_err(|NoClass(place)| {
        bad(format!("line {} has no integer as its label", place + 2))
            .expected("class indices, names that `classes` lists, or names only")
            .got(format!("{:?}", texts[place]))
    })?;
    let missing: BTreeSet<&PathBuf> = images.iter().filter(|p| !lines.contains_key(*p)).collect();
    if let Some(first) = missing.first() {
        let name = first.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        return Err(bad(format!("{one}s of the folder have no row"))
            .got(format!("{}, such as \"{name}\"", missing.len())));
    }
    Ok(lines.into_iter().map(|(path, line)| (path, labels[line])).unzip())
}

/// Returns the most frequent of the usual delimiters in the header.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|&b| b == delimiter).count();
    b",;\t".iter().copied().rev().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',')
}
