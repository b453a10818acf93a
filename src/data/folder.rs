//! Folders of images or recordings: their files, order and labels.
//!
//! The files of class folders alternate (the first of every class, the second of every class, …), so that the first N
//! files of a set are a fair sample of its classes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::decode;
use super::labels::{self, ClassNames};
use crate::error::{Error, Result};

/// The supported kinds of data, for errors.
pub(super) const SUPPORTED: &str = "a folder of .jpg .png .bmp .gif .webp .tiff .pnm images or .wav recordings (flat, \
     flat with labels.csv, or one subfolder per class), WebDataset .tar, .parquet, .npy, .npz with \"images\" and \"labels\", idx files, or random:N";

/// The number of bytes from a file's start that identify a picture.
const SIGNATURE: u64 = 132;

/// The files of a folder that belong to a set.
#[derive(Clone, Copy)]
pub(super) struct Members {
    /// The noun for one file, in errors.
    pub(super) one: &'static str,
    /// Returns whether a file belongs to the set.
    pub(super) belongs: fn(&Path) -> bool,
}

/// The pictures among a folder's files.
pub(super) const PICTURES: Members = Members { one: "image", belongs: is_image };

/// The files of a set in order, and their labels before any offset.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<PathBuf>,
    pub(super) labels: Option<Vec<i64>>,
}

/// Returns whether a file is a picture, decoded or not: by its extension, or without one by its content.
pub(super) fn is_image(path: &Path) -> bool {
    if path.extension().is_some() {
        return decode::is_picture(path);
    }
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SIGNATURE).read_to_end(&mut start));
    read.is_ok() && decode::starts_as_picture(&start)
}

/// Lists the visible entries of a folder, sorted by name.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |e: std::io::Error| Error::io("list the folder", folder, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        // The folder of macOS's archives has a file of attributes for each picture.
        if !name.to_string_lossy().starts_with('.') && name != "__MACOSX" {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Lists the members of a set in a folder, possibly none.
pub(super) fn list(folder: &Path, classes: Option<&ClassNames>, members: Members) -> Result<Listing> {
    let Members { one, belongs } = members;
    let entries = entries(folder)?;
    let flat: Vec<PathBuf> = entries.iter().filter(|p| p.is_file() && belongs(p)).cloned().collect();
    let csv = folder.join("labels.csv");
    if csv.is_file() {
        let (files, labels) = labels::read_table(&csv, (folder, &flat, one), classes)?;
        return Ok(Listing { files, labels: Some(labels) });
    }
    let mut groups = Vec::new();
    for class in entries.iter().filter(|p| p.is_dir()) {
        let mut images = Vec::new();
        collect(class, belongs, &mut images)?;
        groups.push((class, images));
    }
    if groups.iter().all(|(_, images)| images.is_empty()) {
        return Ok(Listing { files: flat, labels: None });
    }
    if !flat.is_empty() {
        return Err(Error::new(format!("the folder has {one}s beside class folders"))
            .file(folder)
            .expected(format!("{one}s only, or one subfolder per class"))
            .got(format!("both, with {} {one}s outside of class folders", flat.len()))
            .remedy(format!("give one of the subfolders, or move the {one}s away")));
    }
    let mut rounds: BTreeMap<(usize, usize), (PathBuf, i64)> = BTreeMap::new();
    for (position, (class, images)) in groups.into_iter().enumerate() {
        let name = class.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let label = match classes {
            None => position as i64,
            Some(_) if images.is_empty() => continue,
            Some(names) => names.index(&name).ok_or_else(|| {
                Error::new(format!("the class list does not name the folder \"{name}\""))
                    .file(class)
                    .remedy("add it to the file of `classes`, one class name per line")
            })?,
        };
        rounds.extend(images.into_iter().enumerate().map(|(round, p)| ((round, position), (p, label))));
    }
    let (files, labels) = rounds.into_values().unzip();
    Ok(Listing { files, labels: Some(labels) })
}

/// Collects all members under a class folder. Links to folders are not followed, so there are no circles.
fn collect(folder: &Path, belongs: fn(&Path) -> bool, images: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            if !path.is_symlink() {
                collect(&path, belongs, images)?;
            }
        } else if belongs(&path) {
            images.push(path);
        }
    }
    Ok(())
}
