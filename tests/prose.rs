//! Rules for prose that a program can check: how doc comments begin, and how long sentences are.
//!
//! - The first sentence of a doc comment has at least four words and does not lean on its neighbour ([`OPENERS`]).
//! - The first sentence on a `pub` item or a module has at most 20 words.
//! - Sentences of the README have at most 20 words on average.
//!
//! Doc comments on command-line arguments are the program's help and obey the rules. Possible values of an argument
//! (variants of an enum in `src/cli`) are shown beside their names, so a word or two is enough there. In a shader, a
//! comment that opens the file or stands before a declaration counts as a doc comment.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "common/sources.rs"]
mod sources;

/// Beginnings that make a doc comment depend on its neighbour or on its identifier.
const OPENERS: &[&str] = &["Of", "The same", "Such", "Where", "What", "Whether", "As"];
/// Fewest words of a first sentence.
const FEWEST: usize = 4;
/// Most words of a first sentence on a public item, and of the README's average sentence.
const MOST: usize = 20;

/// The item that a doc comment describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// A module or a file.
    Module,
    /// An item with an unrestricted `pub`.
    Public,
    /// An enum's variant in `src/cli`, so perhaps a possible value of an argument.
    Value,
    /// Any other item.
    Private,
}

/// A doc comment: the number of its first line, its text without comment marks, and its item.
#[derive(Debug)]
struct Doc {
    line: usize,
    text: String,
    item: Item,
}

/// Returns the text behind `mark` on a line that holds nothing else.
fn behind<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    let rest = line.trim_start().strip_prefix(mark)?;
    if rest.starts_with('/') { None } else { Some(rest) }
}

/// Classifies the item that begins behind a doc comment, past its attributes.
fn described(path: &str, following: &[&str]) -> Item {
    let mut depth = 0_i32;
    for line in following {
        let line = line.trim();
        if depth > 0 || line.starts_with("#[") {
            let count = |bracket| i32::try_from(line.matches(bracket).count()).unwrap();
            depth += count('[') - count(']');
            continue;
        }
        if line.starts_with("pub ") {
            return Item::Public;
        }
        let value = path.starts_with("src/cli")
            && line.starts_with(char::is_uppercase)
            && line.ends_with([',', '{', '('])
            && !line.contains(": ");
        return if value { Item::Value } else { Item::Private };
    }
    Item::Private
}

/// Collects the doc comments of a Rust file.
fn docs(path: &str, source: &str) -> Vec<Doc> {
    let lines: Vec<&str> = source.lines().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < lines.len() {
        let Some(mark) = ["///", "//!"].into_iter().find(|mark| behind(lines[at], mark).is_some()) else {
            at += 1;
            continue;
        };
        let text: Vec<&str> = lines[at..].iter().map_while(|line| behind(line, mark)).collect();
        let end = at + text.len();
        let item = if mark == "//!" { Item::Module } else { described(path, &lines[end..]) };
        found.push(Doc { line: at + 1, text: text.join("\n"), item });
        at = end;
    }
    found
}

/// Collects the comments of a shader that open the file or stand before a declaration.
fn shader_docs(source: &str) -> Vec<Doc> {
    let lines: Vec<&str> = source.lines().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < lines.len() {
        let text: Vec<&str> = lines[at..].iter().map_while(|line| line.strip_prefix("//")).collect();
        let end = at + text.len().max(1);
        let declares = |line: &&str| {
            ["fn ", "struct ", "const ", "alias ", "override ", "var", "@"]
                .iter()
                .any(|k| line.starts_with(k))
        };
        if !text.is_empty() && (at == 0 || lines.get(end).is_some_and(declares)) {
            let item = if at == 0 { Item::Module } else { Item::Private };
            found.push(Doc { line: at + 1, text: text.join("\n"), item });
        }
        at = end;
    }
    found
}

/// Replaces links by their texts and joins code to one word, so that neither its dots nor its spaces count.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 1 {
            out.push_str(&format!("`{}`", part.replace(char::is_whitespace, "·")));
        } else {
            out.push_str(part);
        }
    }
    while let Some(middle) = out.find("](") {
        let Some(end) = out[middle..].find(')') else { break };
        out.replace_range(middle..=middle + end, "]");
    }
    out.replace(['[', ']', '*'], " ")
}

/// Splits a paragraph of plain text into sentences.
fn sentences(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let tokens: Vec<&str> = text.split_whitespace().collect();
    for (i, token) in tokens.iter().enumerate() {
        let sentence = found.last_mut().unwrap();
        sentence.push_str(token);
        sentence.push(' ');
        let bare = token.trim_end_matches([')', '"', '”', '\'']);
        let short = ["e.g.", "i.e.", "vs.", "cf.", "resp.", "etc.", "al.", "Fig.", "Eq."];
        let begins = tokens.get(i + 1).is_none_or(|next| !next.starts_with(char::is_lowercase));
        if bare.ends_with(['.', '?']) && !short.contains(&bare) && begins {
            found.push(String::new());
        }
    }
    found.retain(|sentence| !sentence.is_empty());
    found.iter().map(|sentence| sentence.trim_end().to_owned()).collect()
}

/// Counts the words of plain text: tokens of code, or with a letter or a digit.
fn words(text: &str) -> usize {
    text.split_whitespace().filter(|token| token.contains(|c: char| c.is_alphanumeric() || c == '`')).count()
}

/// Returns the first sentence of a doc comment, in plain text.
fn first_sentence(text: &str) -> String {
    let paragraph: Vec<&str> = text
        .lines()
        .map(str::trim)
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty() && !line.starts_with("- ") && !line.starts_with("```"))
        .collect();
    sentences(&plain(&paragraph.join(" "))).into_iter().next().unwrap_or_default()
}

/// Returns the rules that a doc comment breaks.
fn breaks(doc: &Doc) -> Vec<String> {
    let (mut broken, first) = (Vec::new(), first_sentence(&doc.text));
    let count = words(&first);
    if count < FEWEST && doc.item != Item::Value {
        broken.push(format!("{count} words, at least {FEWEST}"));
    }
    if count > MOST && matches!(doc.item, Item::Public | Item::Module) {
        broken.push(format!("{count} words, at most {MOST}"));
    }
    let opens =
        |opener: &&&str| first.strip_prefix(**opener).is_some_and(|r| !r.starts_with(char::is_alphanumeric));
    if let Some(opener) = OPENERS.iter().find(opens) {
        broken.push(format!("begins with \"{opener}\""));
    }
    broken.into_iter().map(|rule| format!("{rule}: {first}")).collect()
}

/// Returns all sentences of a Markdown file with their lines, outside headings, code blocks, tables and HTML.
fn markdown(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut paragraph, mut start, mut fenced) = (Vec::new(), String::new(), 1, false);
    for (i, line) in text.lines().chain([""]).enumerate() {
        let line = line.trim();
        let fence = line.starts_with("```");
        let item = ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark));
        let skipped = fenced || fence || line.is_empty() || line.starts_with(['#', '|', '<']);
        if skipped || item {
            found.extend(sentences(&plain(&paragraph)).into_iter().map(|sentence| (start, sentence)));
            paragraph.clear();
        }
        fenced ^= fence;
        if !skipped {
            if paragraph.is_empty() {
                start = i + 1;
            }
            paragraph.push_str(line.trim_start_matches(['-', '+', ' ']));
            paragraph.push(' ');
        }
    }
    found.retain(|(_, sentence)| words(sentence) > 0);
    found
}

/// Returns the mean number of words in `sentences`, 0 for none.
fn average(sentences: &[(usize, String)]) -> f64 {
    let total: usize = sentences.iter().map(|(_, sentence)| words(sentence)).sum();
    total as f64 / sentences.len().max(1) as f64
}

/// Fails with one line for each violation.
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} violations\n{}\n", wrong.len(), wrong.join("\n"));
}

#[test]
fn doc_comments_stand_alone() {
    let root = sources::root();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, source) in sources::read(&root, "src", &["rs"]) {
        let all = docs(&path, &source);
        seen += all.len();
        let broken = all.iter().flat_map(|doc| breaks(doc).into_iter().map(move |rule| (doc.line, rule)));
        wrong.extend(broken.map(|(line, rule)| format!("{path}:{line}: {rule}")));
    }
    assert!(seen > 1000, "the doc comments were found");
    report(&wrong);
}

#[test]
fn comments_of_shaders_stand_alone() {
    let root = sources::root();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, source) in sources::read(&root, "shaders", &["wgsl"]) {
        let all = shader_docs(&source);
        seen += all.len();
        let broken = all.iter().flat_map(|doc| breaks(doc).into_iter().map(move |rule| (doc.line, rule)));
        wrong.extend(broken.map(|(line, rule)| format!("{path}:{line}: {rule}")));
    }
    assert!(seen > 30, "the comments were found");
    report(&wrong);
}

#[test]
fn sentences_of_the_readme_are_short() {
    let files = sources::read(&sources::root(), "README.md", &["md"]);
    let mut all = markdown(&files[0].1);
    assert!(all.len() > 20, "the sentences were found");
    let mean = average(&all);
    if mean > MOST as f64 {
        all.sort_by_key(|(_, sentence)| usize::MAX - words(sentence));
        let mut wrong =
            vec![format!("README.md:1: {mean:.1} words a sentence on average, at most {MOST}; longest:")];
        wrong.extend(
            all.iter().take(10).map(|(line, s)| format!("README.md:{line}: {} words: {s}", words(s))),
        );
        report(&wrong);
    }
}

#[cfg(test)]
mod planted {
    use super::*;

    fn rules(path: &str, source: &str) -> Vec<String> {
        docs(path, source).iter().flat_map(breaks).collect()
    }

    #[test]
    fn short_first_sentences_are_refused() {
        assert_eq!(
            rules("src/a.rs", "/// A count. Of all the images in a batch.\nlet x: u8,"),
            ["2 words, at least 4: A count.".to_owned()]
        );
        assert!(rules("src/a.rs", "/// Counts images, e.g. Frames of a film.\nfn f() {}").is_empty());
        assert!(rules("src/a.rs", "/// The [count](Self::count) of `a. b`.\nfn f() {}").is_empty());
        assert!(!rules("src/a.rs", "//! Layers.\n").is_empty(), "modules too");
    }

    #[test]
    fn dependent_openers_are_refused() {
        for opener in OPENERS {
            let rule =
                rules("src/a.rs", &format!("    /// {opener} a layer needs to be cut.\n    fn f() {{}}"));
            assert_eq!(rule.len(), 1, "{opener}");
            assert!(rule[0].starts_with(&format!("begins with \"{opener}\"")), "{rule:?}");
        }
        assert!(rules("src/a.rs", "/// Offsets of all the rows.\n/// Of a matrix.\nfn f() {}").is_empty());
        assert!(rules("src/a.rs", "//// What rustdoc ignores.\nfn f() {}").is_empty());
    }

    #[test]
    fn long_first_sentences_are_refused_on_public_items() {
        let long = format!("/// {}end.\n#[derive(\n    Debug,\n)]\n", "word ".repeat(MOST));
        let broken = [format!("21 words, at most 20: {}end.", "word ".repeat(MOST))];
        assert_eq!(rules("src/a.rs", &format!("{long}pub struct A;")), broken);
        assert_eq!(rules("src/a.rs", &long.replace("///", "//!").replace("#[", "[")), broken);
        assert!(rules("src/a.rs", &format!("{long}pub(crate) struct A;")).is_empty());
    }

    #[test]
    fn values_of_arguments_may_be_short() {
        let value = "    /// Only errors.\n    #[value(name = \"low\")]\n    Low,\n";
        assert!(rules("src/cli/args.rs", value).is_empty());
        assert_eq!(rules("src/data/args.rs", value).len(), 1);
        assert_eq!(rules("src/cli/args.rs", "    /// Only errors.\n    pub(crate) quiet: bool,\n").len(), 1);
        assert_eq!(rules("src/cli/args.rs", "    /// What is low.\n    Low,\n").len(), 1);
    }

    #[test]
    fn shaders_are_read() {
        let shader =
            "// Such a shader computes.\n\nfn f() {\n    // Fine.\n}\n\n// Fine.\n\n// Short.\nfn g() {\n}\n";
        let lines: Vec<_> =
            shader_docs(shader).iter().filter(|d| !breaks(d).is_empty()).map(|d| d.line).collect();
        assert_eq!(lines, [1, 9]);
    }

    #[test]
    fn long_sentences_raise_the_average() {
        let text = "# A heading of many words\n\nOne two three. Four\nfive six, `a. b c`!\n\n- Seven\n  eight.\n\
                    - [Nine](http://a.b/c d) ten.\n\n```\ncode of no interest\n```\n\n| a | b |\n";
        let all = markdown(text);
        let counts: Vec<_> = all.iter().map(|(line, sentence)| (*line, words(sentence))).collect();
        assert_eq!(counts, [(3, 3), (3, 4), (6, 2), (8, 2)]);
        assert!((average(&all) - 2.75).abs() < 1e-9);
        assert!(average(&markdown(&format!("{}.", "word ".repeat(21)))) > MOST as f64);
    }
}
