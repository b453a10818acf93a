//! The paths that a Rust file names, found by tokens: imports, and paths from `crate`, `super` or `self`.

use super::scan;

/// A path as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The number of its line, from 1.
    pub(crate) line: usize,
    /// Its segments; of an import the last may be `*`.
    pub(crate) segments: Vec<String>,
    /// The name that an import gives to the path's end.
    pub(crate) import: Option<String>,
}

/// A word, `::` or a single other character, with the number of its line.
type Token = (usize, String);

/// Overwrites comments and strings, and with `tests` off also every item behind `#[cfg(test)]`.
fn cleared(source: &str, tests: bool) -> String {
    let mut code = scan::code(source, scan::blank);
    if tests {
        return code;
    }
    let mark = "#[cfg(test)]";
    while let Some(start) = code.find(mark) {
        let (mut depth, mut end) = (0, code.len());
        for (at, letter) in code[start + mark.len()..].char_indices() {
            match letter {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(letter, '}' | ';') {
                end = start + mark.len() + at + 1;
                break;
            }
        }
        let hidden = scan::blank(&code[start..end]);
        code.replace_range(start..end, &hidden);
    }
    code
}

/// Splits code into tokens.
fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (i, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let end = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push((i + 1, rest[..end].to_owned()));
            rest = rest[end..].trim_start();
        }
    }
    found
}

/// Reads the tree of paths that begins at token `at`; returns the index of the first token behind it.
fn tree(tokens: &[Token], mut at: usize, before: &[String], import: bool, found: &mut Vec<Named>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |token| token.1.as_str());
    let line = tokens[at].0;
    let mut segments = before.to_vec();
    loop {
        if text(at) == "{" {
            at += 1;
            while at < tokens.len() && text(at) != "}" {
                at = tree(tokens, at, &segments, import, found);
                at += usize::from(text(at) == ",");
            }
            return at + 1;
        }
        // `self` within braces is the module itself.
        if segments.is_empty() || text(at) != "self" {
            segments.push(text(at).to_owned());
        }
        at += 1;
        let goes_on = text(at + 1).starts_with(|c: char| c.is_alphabetic() || "_{*".contains(c));
        if text(at) != "::" || !goes_on || (text(at + 1) == "{" && !import) {
            break;
        }
        at += 1;
    }
    let renamed = import && text(at) == "as";
    let name = if renamed { text(at + 1).to_owned() } else { segments.last().cloned().unwrap_or_default() };
    found.push(Named { line, segments, import: import.then_some(name) });
    if renamed { at + 2 } else { at }
}

/// Returns all paths that `source` names, with those of its tests or without.
pub(crate) fn paths(source: &str, tests: bool) -> Vec<Named> {
    let tokens = tokens(&cleared(source, tests));
    let text = |i: usize| tokens.get(i).map_or("", |token| token.1.as_str());
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let rooted = matches!(text(at), "crate" | "super" | "self") && text(at + 1) == "::";
        at = if text(at) == "use" && at + 1 < tokens.len() {
            tree(&tokens, at + 1, &[], true, &mut found)
        } else if rooted {
            tree(&tokens, at, &[], false, &mut found)
        } else {
            at + 1
        };
    }
    found
}

#[test]
fn imports_and_paths_are_read() {
    let source = "use crate::a::{self, b::{C, D as E}, *};\nuse std::fmt; // use crate::x\n\
                  fn f() -> super::G { \"crate::y\"; crate::h::i::<u8>(self.j) }\npub(super) use child::K;\n\
                  #[cfg(test)]\nmod tests {\n    use super::L;\n}\nuse self::m::N;\n";
    let shown = |tests| -> Vec<String> {
        let all = paths(source, tests).into_iter();
        all.map(|p| format!("{} {} {}", p.line, p.segments.join("::"), p.import.unwrap_or_default()))
            .collect()
    };
    let expected = [
        "1 crate::a a",
        "1 crate::a::b::C C",
        "1 crate::a::b::D E",
        "1 crate::a::* *",
        "2 std::fmt fmt",
        "3 super::G ",
        "3 crate::h::i ",
        "4 child::K K",
        "9 self::m::N N",
    ];
    assert_eq!(shown(false), expected);
    assert_eq!(shown(true).len(), expected.len() + 1);
}
