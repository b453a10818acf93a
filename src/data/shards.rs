//! Files that are parts of one data set: patterns in braces, and folders of shards.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The largest number of files that a pattern may stand for.
const MOST_FILES: usize = 100_000;

/// Expands the braces of a path: `a-{000..011}.tar` and `{train,test}.tar`, as shells and WebDataset do.
///
/// `None` for a path that exists, or has no braces.
///
/// # Errors
/// Braces that cannot be expanded.
pub(super) fn expand(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let Some(text) = path.to_str().filter(|text| text.contains('{') && !path.exists()) else {
        return Ok(None);
    };
    let mut done = Vec::new();
    let mut open = vec![text.to_owned()];
    while let Some(pattern) = open.pop() {
        let Some((before, rest)) = pattern.split_once('{') else {
            done.push(PathBuf::from(pattern));
            continue;
        };
        let parts = rest.split_once('}').and_then(|(inside, after)| Some((alternatives(inside)?, after)));
        let (parts, after) = parts
            .filter(|(parts, _)| parts.len() + open.len() + done.len() <= MOST_FILES)
            .ok_or_else(|| {
            Error::new("a pattern of files that cannot be expanded")
                .got(format!("\"{text}\""))
                .expected(format!("{{000..011}} or {{a,b}}, at most {MOST_FILES} files"))
                .remedy("correct the pattern, or give the name of one file")
        })?;
        open.extend(parts.into_iter().rev().map(|part| format!("{before}{part}{after}")));
    }
    Ok(Some(done))
}

/// Returns the texts that the inside of one pair of braces stands for.
fn alternatives(inside: &str) -> Option<Vec<String>> {
    let Some((from, to)) = inside.split_once("..") else {
        return inside.contains(',').then(|| inside.split(',').map(str::to_owned).collect());
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<usize>().ok())?;
    let (first, last) = (number(from)?, number(to)?);
    let padded = from.len() > 1 && from.starts_with('0') || to.len() > 1 && to.starts_with('0');
    let width = if padded { from.len().max(to.len()) } else { 0 };
    let fits = first <= last && last - first < MOST_FILES;
    fits.then(|| (first..=last).map(|n| format!("{n:0width$}")).collect())
}

/// Returns the name of the set that a shard belongs to: `train` for `train-00000-of-00012.parquet`.
pub(super) fn set_name(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let without_number = |text: &str| {
        let trimmed = text.trim_end_matches(|c: char| c.is_ascii_digit());
        (trimmed.len() < text.len()).then(|| trimmed.trim_end_matches(['-', '_', '.']).to_owned())
    };
    let Some(first) = without_number(&stem) else { return stem };
    first.strip_suffix("-of").and_then(without_number).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_several_files() {
        let expanded = |text: &str| {
            expand(Path::new(text)).map(|files| {
                files.map(|files| files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" "))
            })
        };
        assert_eq!(expanded("a.tar").unwrap(), None);
        assert_eq!(
            expanded("no/a-{08..11}.tar").unwrap().unwrap(),
            "no/a-08.tar no/a-09.tar no/a-10.tar no/a-11.tar"
        );
        assert_eq!(expanded("{a,b}-{0..1}-of-2").unwrap().unwrap(), "a-0-of-2 a-1-of-2 b-0-of-2 b-1-of-2");
        assert_eq!(expanded("{9..10}").unwrap().unwrap(), "9 10");
        for wrong in ["{1..0}", "{a}", "{a..c}", "{0..1", "{0..999999}", "{..3}", "{0..99999}{0..99999}"] {
            assert!(expanded(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shards_of_one_set_have_one_name() {
        for (file, name) in [
            ("train-00000-of-00012.parquet", "train"),
            ("imagenet-val-000003.tar", "imagenet-val"),
            ("0003.parquet", ""),
            ("test.parquet", "test"),
            ("cifar10_2.tar", "cifar10"),
        ] {
            assert_eq!(set_name(Path::new(file)), name, "{file}");
        }
    }
}
