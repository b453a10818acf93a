//! WebDataset archives: `.tar` files in which the files of one sample share a name.
//!
//! The archives are indexed once, without reading the pictures, which are then read at their offsets in any order.
//! <https://github.com/webdataset/webdataset> describes the convention: `000000.jpg` with `000000.cls` or
//! `000000.json`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::decode;
use super::encoded::{EncodedPicture, Skipped};
use super::labels::{ClassNames, Labels, class_indices, label_column};
use crate::error::{Error, Result};

/// The most bytes of a file with a sample's label.
const LONGEST_LABEL: u64 = 1 << 20;

/// The size of an archive's blocks, in bytes.
const BLOCK: u64 = 512;

/// The pictures of archives, in order.
#[derive(Debug)]
pub(super) struct Archives {
    files: Vec<PathBuf>,
    pictures: Vec<Entry>,
}

/// The place of a picture in an archive.
#[derive(Debug)]
struct Entry {
    /// Index of the archive.
    file: usize,
    offset: u64,
    length: u64,
    name: Box<str>,
}

/// One sample of an archive: files of one name.
#[derive(Default)]
struct Sample {
    picture: Option<Entry>,
    label: Option<String>,
}

/// Returns whether a file that starts with these bytes, and has this name, is an archive.
pub(super) fn is_archive(path: &Path, start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar") || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tar"))
}

/// Indexes archives; the labels are known if every picture has one.
///
/// # Errors
/// A damaged archive, one without pictures, or pictures of which only some have labels.
pub(super) fn open(files: &[PathBuf], classes: Option<&ClassNames>) -> Result<(Archives, Option<Labels>)> {
    let indexed =
        files.par_iter().enumerate().map(|(file, path)| index(path, file).map_err(|e| e.file(path)));
    let mut pictures = Vec::new();
    let mut texts = Vec::new();
    for sample in indexed.collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        if let Some(picture) = sample.picture {
            pictures.push(picture);
            texts.push(sample.label);
        }
    }
    let path_of = |entry: &Entry| inside(&files[entry.file], &entry.name);
    let labelled = texts.iter().flatten().count();
    if labelled == 0 {
        return Ok((Archives { files: files.to_vec(), pictures }, None));
    }
    if let Some(without) = texts.iter().position(Option::is_none) {
        return Err(Error::new("pictures of the archive have no label")
            .file(path_of(&pictures[without]))
            .expected("a label for each, as .cls or as \"label\" in .json, or for none")
            .got(format!("{labelled} labels of {} pictures", texts.len()))
            .remedy("add the missing labels, or leave out all"));
    }
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    let labels = class_indices(&texts, classes, |place| {
        Error::new("a label of the archive is no class")
            .file(path_of(&pictures[place]))
            .expected("class indices, names that `classes` lists, or names only")
            .got(format!("{:?}", texts[place]))
            .remedy("correct the label, or set `classes` to a file that names the classes")
    })?;
    Ok((Archives { files: files.to_vec(), pictures }, Some(labels)))
}

fn inside(archive: &Path, name: &str) -> PathBuf {
    archive.join(name)
}

/// Lists an archive's samples in order.
fn index(path: &Path, number: usize) -> Result<Vec<Sample>> {
    let bad = |what: String| {
        Error::new("cannot read the archive")
            .got(what)
            .remedy("the file is damaged or was cut short; write or download it again")
    };
    let file = File::open(path).map_err(|e| Error::io("open the archive", path, e))?;
    let whole = file.metadata().map_err(|e| Error::io("open the archive", path, e))?.len();
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut samples: Vec<Sample> = Vec::new();
    for entry in archive.entries_with_seek().map_err(|e| bad(e.to_string()))? {
        let mut entry = entry.map_err(|e| bad(e.to_string()))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some((key, kind)) = split(&name) else { continue };
        let (offset, length) = (entry.raw_file_position(), entry.size());
        // A file fills whole blocks.
        if offset
            .checked_add(length)
            .and_then(|end| end.checked_next_multiple_of(BLOCK))
            .is_none_or(|end| end > whole)
        {
            return Err(bad(format!("\"{name}\" ends behind the end of the archive")));
        }
        let place = *places.entry(key.to_owned()).or_insert_with(|| {
            samples.push(Sample::default());
            samples.len() - 1
        });
        let sample = &mut samples[place];
        if decode::is_picture(Path::new(&name)) {
            // A sample's picture is `jpg`, not `mask.png`.
            let plain = |name: &str| split(name).is_some_and(|(_, kind)| !kind.contains('.'));
            if sample.picture.as_ref().is_none_or(|held| !plain(&held.name) && plain(&name)) {
                sample.picture = Some(Entry { file: number, offset, length, name: name.into() });
            }
        } else if matches!(kind, "cls" | "json") {
            let mut text = String::new();
            let read = (&mut entry).take(LONGEST_LABEL).read_to_string(&mut text);
            read.map_err(|e| bad(format!("{name}: {e}")))?;
            let label = if kind == "cls" { Some(text.trim().to_owned()) } else { label_in(&text) };
            if kind == "cls" || sample.label.is_none() {
                sample.label = label.or(sample.label.take());
            }
        }
    }
    if samples.iter().all(|sample| sample.picture.is_none()) {
        return Err(Error::new("the archive has no pictures")
            .expected("pairs such as 000000.jpg and 000000.cls")
            .remedy("give a .tar of pictures"));
    }
    Ok(samples)
}

/// Splits a name at the first dot of its last part, into the sample's key and the kind of file.
///
/// `None` for hidden files, and for names without a dot.
fn split(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name[start..].find('.')?;
    (dot > start).then(|| (&name[..dot], &name[dot + 1..]))
}

/// Returns the label in a sample's JSON, an integer or a name.
fn label_in(json: &str) -> Option<String> {
    let Value::Object(fields) = serde_json::from_str(json).ok()? else { return None };
    let names: Vec<String> = fields.keys().map(|key| key.to_lowercase()).collect();
    match fields.values().nth(label_column(&names)?)? {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Archives {
    pub(super) fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Reads the pictures at these places, in their order.
    pub(super) fn read(&self, places: &[usize]) -> Vec<Result<EncodedPicture, Skipped>> {
        let read = |&place: &usize| {
            let Entry { file, offset, length, name } = &self.pictures[place];
            let archive = &self.files[*file];
            let name = inside(archive, name);
            let bytes = || -> std::io::Result<Vec<u8>> {
                let mut file = File::open(archive)?;
                file.seek(SeekFrom::Start(*offset))?;
                let mut bytes = Vec::new();
                file.take(*length).read_to_end(&mut bytes)?;
                Ok(bytes)
            };
            match bytes() {
                Ok(bytes) => Ok(EncodedPicture { name, bytes: bytes.into() }),
                Err(error) => Err((name, error.to_string())),
            }
        };
        places.par_iter().map(read).collect()
    }
}
