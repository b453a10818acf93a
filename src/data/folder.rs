//! Folders of images or recordings: their files, order and labels.
//!
//! The files of class folders alternate (the first of every class, the second of every class, …), so that the first N
//! files of a set are a fair sample of its classes.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::decode;
use super::labels::{ClassNames, Labels, Table};
use super::splits;
use crate::error::{Error, Result};

/// The supported kinds of data, for errors.
pub(super) const SUPPORTED: &str = "a folder of .jpg .png .bmp .gif .webp .tiff .pnm images or .wav recordings (flat, \
     flat with labels.csv, or one subfolder per class), a pattern such as 'images/*.jpg', a .txt or .csv list of \
     images, WebDataset .tar, .parquet, .npy, .npz with \"images\" and \"labels\", idx files, or random:N";

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
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<PathBuf>,
    pub(super) labels: Option<Labels>,
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

/// Lists the visible entries of a folder, sorted by name; an empty path is the current folder.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |e: std::io::Error| Error::io("list the folder", folder, e);
    let mut paths = Vec::new();
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in std::fs::read_dir(listed).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        // The folder of macOS's archives has a file of attributes for each picture.
        if !name.to_string_lossy().starts_with('.') && name != "__MACOSX" {
            paths.push(folder.join(name));
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
        let table = Table { csv: &csv, folder, images: &flat, one };
        let (files, labels) = table.read_all(&flat, classes)?;
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
    let name_of = |class: &Path| class.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names: Vec<String> = groups.iter().map(|(class, _)| name_of(class)).collect();
    if classes.is_none() {
        splits::check(folder, &names)?;
    }
    let mut rounds: BTreeMap<(usize, usize), (PathBuf, i64)> = BTreeMap::new();
    for (position, (class, images)) in groups.into_iter().enumerate() {
        let name = &names[position];
        let label = match classes {
            None => position as i64,
            Some(_) if images.is_empty() => continue,
            Some(classes) => classes.index(name)?.ok_or_else(|| {
                Error::new(format!("the class list does not name the folder \"{name}\""))
                    .file(class)
                    .remedy("add it to the file of `classes`, one class name per line")
            })?,
        };
        rounds.extend(images.into_iter().enumerate().map(|(round, p)| ((round, position), (p, label))));
    }
    let (files, indices) = rounds.into_values().unzip();
    let names = classes.is_none().then_some(names);
    Ok(Listing { files, labels: Some(Labels { indices, names }) })
}

/// Returns the labels of files that lie in one folder with a `labels.csv`.
pub(super) fn labels_beside(
    files: &[PathBuf],
    one: &str,
    classes: Option<&ClassNames>,
) -> Result<Option<Labels>> {
    let Some(folder) = files.first().and_then(|file| file.parent()) else { return Ok(None) };
    let csv = folder.join("labels.csv");
    if !csv.is_file() || files.iter().any(|file| file.parent() != Some(folder)) {
        return Ok(None);
    }
    let images: Vec<PathBuf> = entries(folder)?.into_iter().filter(|path| path.is_file()).collect();
    let (named, labels) = Table { csv: &csv, folder, images: &images, one }.read_all(files, classes)?;
    let rows: HashMap<&PathBuf, usize> = named.iter().zip(0..).collect();
    Ok(Some(labels.at(files.iter().map(|file| rows[file]))))
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
