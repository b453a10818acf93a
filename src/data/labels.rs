//! Labels of images and recordings: class indices and class names, and tables of labels.

use std::collections::{BTreeSet, HashMap};
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

/// The labels of a set's samples, before any offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Labels {
    /// Class index of each sample.
    pub(super) indices: Vec<i64>,
    /// Class names in the order of their indices, if names were numbered in their sorted order.
    pub(super) names: Option<Vec<String>>,
}

impl From<Vec<i64>> for Labels {
    fn from(indices: Vec<i64>) -> Self {
        Self { indices, names: None }
    }
}

impl Labels {
    /// Joins the labels of several sets, which have all class names or none.
    ///
    /// Class names are numbered in the sorted order of all of them.
    pub(super) fn join(parts: Vec<Self>) -> Result<Self> {
        let named = parts.iter().filter(|part| part.names.is_some()).count();
        if named == 0 || parts.len() == 1 {
            let names = parts.first().and_then(|part| part.names.clone());
            return Ok(Self { indices: parts.into_iter().flat_map(|part| part.indices).collect(), names });
        }
        if named < parts.len() {
            return Err(Error::new("class names in one data set, and class indices in another")
                .expected("names in all, or indices in all")
                .got(format!("names in {named} of {} data sets", parts.len()))
                .remedy(
                    "set `classes` to a file of the class names, one a line in the order of their indices",
                ));
        }
        let all: BTreeSet<String> =
            parts.iter().flat_map(|part| part.names.clone().unwrap_or_default()).collect();
        let place: HashMap<&str, i64> = all.iter().map(String::as_str).zip(0..).collect();
        let mut indices = Vec::new();
        for part in &parts {
            let names = part.names.as_deref().unwrap_or_default();
            indices.extend(part.indices.iter().map(|&index| place[names[index as usize].as_str()]));
        }
        Ok(Self { indices, names: Some(all.into_iter().collect()) })
    }

    /// Keeps the labels at some places, in their order.
    pub(super) fn at(&self, places: impl Iterator<Item = usize>) -> Self {
        Self { indices: places.map(|place| self.indices[place]).collect(), names: self.names.clone() }
    }
}

/// The class names of `classes`, each with its index.
#[derive(Debug)]
pub(super) struct ClassNames {
    path: PathBuf,
    /// The index of a name; `None` for a name of several classes.
    names: HashMap<String, Option<i64>>,
}

impl ClassNames {
    /// Reads class names, one per line; a line's place is the class index.
    ///
    /// The ImageNet synset id that starts a line is a name, too: `n01440764` for `n01440764 tench, Tinca tinca`.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the class names", path, e))?;
        let mut names = HashMap::new();
        let mut add = |name: &str, index: i64| {
            let unique = |known: &mut Option<i64>| *known = known.filter(|&known| known == index);
            names.entry(name.to_owned()).and_modify(unique).or_insert(Some(index));
        };
        for (index, line) in (0..).zip(text.trim_start_matches('\u{feff}').trim_end().lines()) {
            let name = line.trim();
            add(name, index);
            if let Some(id) = name.split([' ', ',', '\t']).next().filter(|id| is_synset(id)) {
                add(id, index);
            }
        }
        Ok(Self { path: path.to_path_buf(), names })
    }

    /// Returns the index of a name; `None` if it is not listed.
    ///
    /// # Errors
    /// A name of several classes.
    pub(super) fn index(&self, name: &str) -> Result<Option<i64>> {
        match self.names.get(name) {
            Some(None) => Err(Error::new(format!("the class \"{name}\" is named twice"))
                .file(&self.path)
                .remedy("one class name per line, each once: the line's place is the class index")),
            Some(index) => Ok(*index),
            None => Ok(None),
        }
    }
}

/// Returns whether a name is the id of an ImageNet synset, such as `n01440764`.
fn is_synset(name: &str) -> bool {
    name.len() == 9 && name.strip_prefix('n').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

/// Converts labels in text to class indices.
///
/// Integers are class indices. Names are looked up in the class list. Without one, names are numbered in their sorted
/// order, as torchvision numbers class folders; then none may be an integer. `refuse` describes the text at a place
/// that is no class.
pub(super) fn class_indices(
    texts: &[impl AsRef<str>],
    classes: Option<&ClassNames>,
    refuse: impl Fn(usize) -> Error,
) -> Result<Labels> {
    let integer = |text: &str| text.strip_suffix(".0").unwrap_or(text).parse::<i64>().ok();
    let names: BTreeSet<&str> = texts.iter().map(AsRef::as_ref).collect();
    let all_names = classes.is_none() && names.iter().all(|name| !name.is_empty() && integer(name).is_none());
    let sorted: HashMap<&str, i64> =
        if all_names { names.iter().copied().zip(0..).collect() } else { HashMap::new() };
    let index = |(place, text): (usize, &str)| {
        if let Some(index) = integer(text).or_else(|| sorted.get(text).copied()) {
            return Ok(index);
        }
        classes.map_or(Ok(None), |classes| classes.index(text))?.ok_or_else(|| refuse(place))
    };
    let indices = texts.iter().map(AsRef::as_ref).enumerate().map(index).collect::<Result<_>>()?;
    let names = all_names.then(|| names.into_iter().map(str::to_owned).collect());
    Ok(Labels { indices, names })
}

/// Returns the first name of a column's known headers that is present, as the index in the present ones.
fn column(present: &[String], known: &[&str]) -> Option<usize> {
    known.iter().find_map(|name| present.iter().position(|header| header == name))
}

/// Finds the column of labels among headers.
pub(super) fn label_column(present: &[String]) -> Option<usize> {
    column(present, &LABELS)
}

/// A table of labels, and the images that it may name.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) csv: &'a Path,
    /// The folder that paths in the table start from.
    pub(super) folder: &'a Path,
    /// The images that may be named without their extension.
    pub(super) images: &'a [PathBuf],
    /// The noun for an image, in errors.
    pub(super) one: &'a str,
}

impl Table<'_> {
    fn bad(&self, what: String) -> Error {
        Error::new(what).file(self.csv).remedy(format!(
            "give it a header such as file,label, and one row per {}: NAME,3 or NAME,cat",
            self.one
        ))
    }

    /// Reads a table that names each of the `wanted` images once.
    ///
    /// Returns the images that it names in the order of their paths, with their labels.
    pub(super) fn read_all(
        &self,
        wanted: &[PathBuf],
        classes: Option<&ClassNames>,
    ) -> Result<(Vec<PathBuf>, Labels)> {
        let (files, labels) = self.read(classes, true)?;
        let labels = labels.unwrap_or_default();
        let named: BTreeSet<&PathBuf> = files.iter().collect();
        let missing: BTreeSet<&PathBuf> = wanted.iter().filter(|p| !named.contains(p)).collect();
        if let Some(first) = missing.first() {
            let name = first.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            return Err(self
                .bad(format!("{}s of the folder have no row", self.one))
                .got(format!("{}, such as \"{name}\"", missing.len())));
        }
        let mut order: Vec<usize> = (0..files.len()).collect();
        order.sort_by_key(|&row| &files[row]);
        let labels = labels.at(order.iter().copied());
        Ok((order.into_iter().map(|row| files[row].clone()).collect(), labels))
    }

    /// Reads the images that a table names, in its order, and their labels if it has a column of them.
    ///
    /// # Errors
    /// A table that does not follow the form, and one without a column of labels if they are `needed`.
    pub(super) fn read(
        &self,
        classes: Option<&ClassNames>,
        needed: bool,
    ) -> Result<(Vec<PathBuf>, Option<Labels>)> {
        let Self { csv, folder, images, one } = *self;
        let text = read_text(csv)?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter(&text))
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(|e| self.bad(e.to_string()))?.clone();
        let header: Vec<String> = header.iter().map(str::to_lowercase).collect();
        let missing = |what: &str, known: &[&str]| {
            let missing = self.bad(format!("there is no column of {what}"));
            missing.expected(known.join(", ")).got(header.join(","))
        };
        let file = column(&header, &FILES).ok_or_else(|| missing("files", &FILES))?;
        let label = column(&header, &LABELS);
        if label.is_none() && needed {
            return Err(missing("labels", &LABELS));
        }
        let without_extension: HashMap<_, _> =
            images.iter().map(|path| (path.with_extension(""), path)).collect();
        let mut files: Vec<PathBuf> = Vec::new();
        let mut known = BTreeSet::new();
        let mut texts = Vec::new();
        for (index, record) in reader.records().enumerate() {
            let line = index + 2;
            let record = record.map_err(|e| self.bad(e.to_string()))?;
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
                    .remedy(format!("remove the row, or correct the path of the {one}")));
            }
            if !known.insert(path.clone()) {
                return Err(self.bad(format!("line {line} names \"{name}\" a second time")));
            }
            files.push(path);
            texts.extend(label.map(|label| record.get(label).unwrap_or_default().to_owned()));
        }
        let refuse = |place: usize| {
            self.bad(format!("line {} has no integer as its label", place + 2))
                .expected("class indices, names that `classes` lists, or names only")
                .got(format!("{:?}", texts[place]))
        };
        let labels = label.map(|_| class_indices(&texts, classes, refuse)).transpose()?;
        Ok((files, labels))
    }
}

/// Reads a text file without its byte order mark.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read the labels", path, e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Error::new("the table of labels is not in UTF-8")
            .file(path)
            .got(e.to_string())
            .remedy("save it as CSV in UTF-8")
    })?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// Returns the most frequent of the usual delimiters in the header.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|&b| b == delimiter).count();
    b",;\t".iter().copied().rev().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',')
}
