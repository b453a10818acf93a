//! A scanner that tells code from comments and strings.
//!
//! Rust, WGSL, JavaScript and CSS are near enough to each other for one.

/// Returns the text with each comment and string replaced by what `keep` makes of it.
///
/// Replacements must have as many line breaks as their originals, so that line numbers stay.
pub(crate) fn code(source: &str, keep: impl Fn(&str) -> String) -> String {
    let letters: Vec<char> = source.chars().collect();
    let at = |i: usize| letters.get(i).copied().unwrap_or('\0');
    let mut out = String::new();
    let mut i = 0;
    while i < letters.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') if i == 0 || at(i - 1) != ':' => until(&letters, i, "\n"),
            ('/', '*') => until(&letters, i + 2, "*/"),
            ('"', _) => string_end(&letters, i),
            ('\'', '\\') => until(&letters, i + 3, "'"),
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            _ => {
                out.push(letters[i]);
                i += 1;
                continue;
            }
        };
        let end = end.min(letters.len());
        out.push_str(&keep(&letters[i..end].iter().collect::<String>()));
        i = end;
    }
    out
}

/// Overwrites a text by spaces, except for its line breaks.
pub(crate) fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

/// Returns the index behind the next `mark` from `start` on, or the text's length.
fn until(letters: &[char], start: usize, mark: &str) -> usize {
    let mark: Vec<char> = mark.chars().collect();
    (start..letters.len())
        .find(|i| letters[*i..].starts_with(&mark))
        .map_or(letters.len(), |i| i + mark.len())
}

/// Returns the index behind the string that opens at `start`, which may be raw.
fn string_end(letters: &[char], start: usize) -> usize {
    let hashes = letters[..start].iter().rev().take_while(|c| **c == '#').count();
    if start > hashes && letters[start - hashes - 1] == 'r' {
        return until(letters, start + 1, &format!("\"{}", "#".repeat(hashes)));
    }
    let mut i = start + 1;
    while i < letters.len() && letters[i] != '"' {
        i += if letters[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}
