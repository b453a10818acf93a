//! Patterns of file names: `*`, `?`, `[abc]`, and `**` for folders of any depth.

use std::path::{Component, Path, PathBuf};

use super::folder;
use crate::error::{Error, Result};

/// Returns the files and folders that a pattern matches, sorted; `None` for a path that exists, or is no pattern.
///
/// Hidden files match only a pattern that starts with a dot.
///
/// # Errors
/// A pattern without a match, and a folder that cannot be read.
pub(super) fn files(pattern: &Path) -> Result<Option<Vec<PathBuf>>> {
    let is_pattern = |text: &str| text.contains(['*', '?', '[']);
    if pattern.exists() || !pattern.to_str().is_some_and(is_pattern) {
        return Ok(None);
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        let mut next = Vec::new();
        for path in found {
            match part {
                Component::Normal(_) if text == "**" => below(&path, &mut next)?,
                Component::Normal(_) if is_pattern(&text) => {
                    next.extend(entries(&path)?.into_iter().filter(|entry| {
                        entry.file_name().is_some_and(|name| matches(&text, &name.to_string_lossy()))
                    }));
                }
                _ => next.push(path.join(part)),
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    found.sort();
    if found.is_empty() {
        return Err(Error::new("the pattern matches no file")
            .file(pattern)
            .remedy("check the folder and the extension, or give the folder itself"));
    }
    Ok(Some(found))
}

/// Lists a folder; a file has no entries.
fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() || path.as_os_str().is_empty() { folder::entries(path) } else { Ok(vec![]) }
}

/// Adds a folder and all folders below it. Links are not followed, so there are no circles.
fn below(path: &Path, all: &mut Vec<PathBuf>) -> Result<()> {
    all.push(path.to_path_buf());
    for entry in entries(path)? {
        if entry.is_dir() && !entry.is_symlink() {
            below(&entry, all)?;
        }
    }
    Ok(())
}

/// Returns whether a pattern matches a whole name.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return name.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    let mut chars = name.chars();
    match first {
        '*' => name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest, &name[at..])),
        '?' => chars.next().is_some() && matches(rest, chars.as_str()),
        '[' => match rest.char_indices().skip(1).find(|(_, c)| *c == ']') {
            Some((end, _)) => {
                let (set, rest) = (&rest[..end], &rest[end + 1..]);
                chars.next().is_some_and(|c| in_set(set, c)) && matches(rest, chars.as_str())
            }
            None => chars.next() == Some('[') && matches(rest, chars.as_str()),
        },
        _ => chars.next() == Some(first) && matches(rest, chars.as_str()),
    }
}

/// Returns whether a character is in a set such as `a-z_`, or not in `!a-z_`.
fn in_set(set: &str, c: char) -> bool {
    let (set, wanted) = set.strip_prefix(['!', '^']).map_or((set, true), |set| (set, false));
    let chars: Vec<char> = set.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let is_range = chars.get(at + 1) == Some(&'-') && at + 2 < chars.len();
        let last = if is_range { chars[at + 2] } else { chars[at] };
        if (chars[at]..=last).contains(&c) {
            return wanted;
        }
        at += if is_range { 3 } else { 1 };
    }
    !wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, expected) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "a.png", false),
            ("*.jpg", ".jpg", true),
            ("a?c*", "abc", true),
            ("a?c", "ac", false),
            ("img_[0-9][0-9].*", "img_07.png", true),
            ("[!a-c]x", "dx", true),
            ("[!a-c]x", "bx", false),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xaybz", false),
            ("ü*", "übel", true),
            ("[", "[", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_are_looked_up_in_folders() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a/1.jpg", "a/2.png", "b/3.jpg", "b/c/4.jpg", ".d/5.jpg"] {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "").unwrap();
        }
        let found = |pattern: &str| {
            let names = files(&at(pattern)).unwrap().unwrap();
            let inside = |p: &PathBuf| p.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
            names.iter().map(inside).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("*/*.jpg"), "a/1.jpg b/3.jpg");
        assert_eq!(found("a/[12].*"), "a/1.jpg a/2.png");
        assert_eq!(found("**/*.jpg"), "a/1.jpg b/3.jpg b/c/4.jpg");
        assert_eq!(found("*/c"), "b/c");
        assert!(files(&at("a/*.gif")).is_err() && files(&at("a/1.jpg")).unwrap().is_none());
    }
}
