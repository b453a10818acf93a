//! Patterns and lists of files, resolved to the files that they stand for.

use std::path::{Path, PathBuf};

use super::folder::{self, Listing, PICTURES};
use super::given::{DataSources, Given, split_part};
use super::labels::{ClassNames, Table, class_indices, read_text};
use super::{glob, idx, shards, wav};
use crate::error::{Error, Result};

/// Resolves a source: a pattern of arrays stands for several data sets.
pub(super) fn resolve(text: &str, classes: Option<&ClassNames>, takes_sound: bool) -> Result<Vec<Given>> {
    let (path, part) = split_part(text);
    if is_list(&path) {
        let listing = read_list(&path, classes)?;
        return Ok(vec![Given::Files { from: path, listing }]);
    }
    match files_of_pattern(&path)? {
        Some(files) => of_pattern(path, files, classes, takes_sound),
        None => Ok(vec![Given::Path { path, part }]),
    }
}

/// Returns the paths of all sources with the array or split that was named; a pattern stands for its files.
pub(super) fn paths(sources: &DataSources) -> Result<Vec<(PathBuf, Option<String>)>> {
    let mut all = Vec::new();
    for source in sources.as_slice() {
        let (path, part) = split_part(source);
        match files_of_pattern(&path)? {
            Some(files) => all.extend(files.into_iter().map(|file| (file, None))),
            None => all.push((path, part)),
        }
    }
    Ok(all)
}

/// Returns the files of a pattern; `None` for a path that exists, or is no pattern.
fn files_of_pattern(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let Some(expanded) = shards::expand(path)? else { return glob::files(path) };
    let mut files = Vec::new();
    for path in expanded {
        match glob::files(&path)? {
            Some(found) => files.extend(found),
            None => files.push(path),
        }
    }
    Ok(Some(files))
}

fn of_pattern(
    from: PathBuf,
    found: Vec<PathBuf>,
    classes: Option<&ClassNames>,
    takes_sound: bool,
) -> Result<Vec<Given>> {
    let files: Vec<PathBuf> = found.iter().filter(|path| !path.is_dir()).cloned().collect();
    if files.is_empty() {
        return Err(Error::new("the pattern stands for folders")
            .file(from)
            .expected("files, as in 'images/*.jpg'")
            .got(format!("{} folders", found.len()))
            .remedy("give the folder above them, or each of them with `data`"));
    }
    let of = |belongs: fn(&Path) -> bool| files.iter().filter(|p| belongs(p)).cloned().collect::<Vec<_>>();
    let (pictures, recordings) = (of(folder::is_image), of(wav::is_recording));
    let is_array = |path: &PathBuf| {
        let extension = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
        extension.is_some_and(|e| e == "npy" || e == "npz") || idx::is_images(path)
    };
    let sound = !recordings.is_empty() && (takes_sound || pictures.is_empty());
    let (members, one) = if sound { (recordings, "recording") } else { (pictures, PICTURES.one) };
    if members.is_empty() && files.iter().all(is_array) {
        return Ok(files.into_iter().map(|path| Given::Path { path, part: None }).collect());
    }
    // Other files are shards, or no data.
    let files = if members.is_empty() { files } else { members };
    let labels = folder::labels_beside(&files, one, classes)?;
    Ok(vec![Given::Files { from, listing: Listing { files, labels } }])
}

/// Returns whether a path is a list of files.
fn is_list(path: &Path) -> bool {
    let extension = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    path.is_file() && extension.is_some_and(|e| ["txt", "lst", "csv", "tsv"].iter().any(|list| e == *list))
}

/// Reads a list of pictures or recordings: a table with a header, or a path a line with or without a label.
fn read_list(path: &Path, classes: Option<&ClassNames>) -> Result<Listing> {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let is_table = path.extension().is_some_and(|e| ["csv", "tsv"].iter().any(|t| e.eq_ignore_ascii_case(t)));
    let (files, labels) = if is_table {
        let images: Vec<PathBuf> = folder::entries(folder)?.into_iter().filter(|p| p.is_file()).collect();
        Table { csv: path, folder, images: &images, one: "image" }.read(classes, false)?
    } else {
        let text = read_text(path)?;
        let mut files = Vec::new();
        let mut texts = Vec::new();
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (file, label) = listed(folder, line).ok_or_else(|| {
                Error::new(format!("line {number} names no file"))
                    .file(path)
                    .expected("the path of an image, from the list's folder, possibly with a label behind it")
                    .got(format!("{line:?}"))
                    .remedy("correct the path, or remove the line")
            })?;
            files.push(file);
            texts.extend(label.map(str::to_owned));
            lines.push(number);
        }
        if !texts.is_empty() && texts.len() < files.len() {
            return Err(Error::new("some lines of the list have a label, and others have none")
                .file(path)
                .got(format!("{} labels of {} images", texts.len(), files.len()))
                .remedy("add the missing labels, or leave out all"));
        }
        let refuse = |place: usize| {
            Error::new(format!("the label of line {} is no class", lines[place]))
                .file(path)
                .expected("class indices, names that `classes` lists, or names only")
                .got(format!("{:?}", texts[place]))
                .remedy("correct the label, or set `classes` to a file that names the classes")
        };
        let labels = (!texts.is_empty()).then(|| class_indices(&texts, classes, refuse)).transpose()?;
        (files, labels)
    };
    if files.is_empty() {
        return Err(Error::new("the list names no images").file(path).remedy("write a path a line"));
    }
    Ok(Listing { files, labels })
}

/// Returns the file and the label of a line; `None` if there is no such file.
fn listed<'a>(folder: &Path, line: &'a str) -> Option<(PathBuf, Option<&'a str>)> {
    let file = |text: &str| {
        let beside = folder.join(text);
        [beside, PathBuf::from(text)].into_iter().find(|path| path.is_file())
    };
    if let Some(file) = file(line) {
        return Some((file, None));
    }
    // A path may have spaces, and so may the name of a class.
    let separators: [&dyn Fn(char) -> bool; 3] = [&|c| c == '\t', &|c| c == ',', &char::is_whitespace];
    separators.iter().find_map(|is_separator| {
        let (path, label) = line.rsplit_once(is_separator)?;
        Some((file(path.trim_end())?, Some(label.trim_start())))
    })
}
