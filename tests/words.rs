//! Private words that the field does not use, and where the sources still say them.
//!
//! Names and documents are to be found by the words that papers, frameworks and the ONNX standard use. [`PRIVATE`]
//! words are refused everywhere, [`IDENTIFIERS`] in names alone, [`NAMES`] as the whole name of a module, a type or a
//! file. Names are split at underscores and at changes of case. [`EXCEPTIONS`] lists all that is allowed nevertheless.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "common/scan.rs"]
mod scan;
#[path = "common/sources.rs"]
mod sources;

use scan::blank;

/// Files and folders that are read.
const PLACES: &[&str] =
    &["src", "shaders", "docs", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "assets/report"];
/// Extensions of files that are read.
const EXTENSIONS: &[&str] = &["rs", "wgsl", "md", "js", "css", "html"];

/// Words that are refused in prose and in names, with what to say in their place.
const PRIVATE: &[(&str, &str)] = &[
    ("dye dyes dyed dyer dyers dyeing", "channel labels, coupling"),
    ("knot knots", "coupled channels"),
    ("bundle bundles bundled", "dependency group"),
    ("passenger passengers", "per-channel constant"),
    ("twin twins", "paired graph"),
    ("mend mends mended mending", "repair"),
    ("street", "pipeline"),
    ("addend addends", "residual"),
    ("skeleton skeletons", "shapes_only"),
];

/// Sequences of words that are refused anywhere within a name.
const IDENTIFIERS: &[(&str, &str)] = &[
    ("way", "algorithm"),
    ("ways", "algorithms"),
    ("timed_as", "autotune_key"),
    ("standardize", "normalization"),
    ("suppress", "non_max_suppression"),
    ("products_lanes", "winograd_gemm"),
    ("rows_lanes", "gemv"),
    ("keep_halves", "f16_storage"),
    ("in_halves", "f16"),
    ("read_halves", "f16"),
    ("reads_halves", "f16"),
    ("weighs_halves", "f16"),
    ("write_halves", "f16"),
    ("writes_halves", "f16"),
];

/// Words that are refused as the whole name of a module, a type or a file, with what to say in their place.
const NAMES: &[(&str, &str)] = &[
    ("absent", "gpu_stub"),
    ("answers", "reference_outputs"),
    ("band", "padded_rows"),
    ("convolve", "conv_lowering"),
    ("cross", "cross_moment"),
    ("dead", "constant_channels"),
    ("decide", "plan options"),
    ("expand", "lowering"),
    ("fill", "texture copy"),
    ("find", "nonzero"),
    ("flow", "propagation"),
    ("grow", "subgraph"),
    ("judge", "masked_reference"),
    ("known", "evidence"),
    ("late", "data_dependent"),
    ("lead", "micro_batch"),
    ("moving", "data_movement"),
    ("norm", "normalization"),
    ("order", "toposort"),
    ("outcome", "summary"),
    ("page", "report builder"),
    ("pass", "profiling run"),
    ("pick", "gather"),
    ("rank", "arg_topk"),
    ("read", "input_view"),
    ("reading", "consumers"),
    ("reads", "layer_input"),
    ("reuse", "memory_planning"),
    ("rounds", "iterative pruning"),
    ("second", "second_moments"),
    ("seen", "layer_input"),
    ("site", "refit_target"),
    ("stored", "encoding"),
    ("stretched", "broadcast operand"),
    ("support", "confidence"),
    ("tail", "host_subgraph"),
    ("targets", "output guard"),
    ("ties", "equivalence_classes"),
    ("tile", "microkernel"),
    ("tune", "autotune"),
    ("tuned", "autotune_cache"),
    ("walk", "activation_cache"),
];

/// Places where a word is allowed: the path's beginning, the word, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("src/prune/cut.rs", "knots", "the field's name in cut files of earlier versions, which still load"),
    ("docs/cut.md", "knots", "says that these files still load"),
    ("src/kernels/", "fill", "the kernel that sets all elements to one value"),
    ("shaders/", "fill", "the kernel that sets all elements to one value"),
    ("src/ops/", "tile", "the ONNX operator Tile"),
    ("src/ops/reshape.rs", "order", "the order of elements that a reshape keeps"),
    ("src/data/recipe.rs", "order", "the order of an image's colours"),
    ("src/report/", "page", "the HTML page itself"),
    ("assets/report/", "page", "the HTML page itself"),
    ("src/report/pictures.rs", "tile", "one picture of a mosaic"),
    ("src/pipeline/", "outcome", "the result of a call that may be refused or interrupted"),
];

/// Splits a name into its words in lower case: `timedAs`, `TimedAs` and `timed_as` are the same two.
fn split(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (i, letter) in letters.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| letters[i]);
        let next_is_lower = letters.get(i + 1).is_some_and(|c| c.is_lowercase());
        let hump = letter.is_uppercase()
            && before
                .is_some_and(|b| b.is_lowercase() || b.is_numeric() || (b.is_uppercase() && next_is_lower));
        if hump || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns all names in `text`: runs of letters, digits and underscores.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty())
}

/// Returns the code of a source file, with everything else overwritten by spaces.
///
/// Spans of code within comments stay, and so do strings that hold a single name.
fn code(source: &str) -> String {
    scan::code(source, |hidden| {
        let inner = hidden.trim_matches(['"', '#']);
        if hidden.starts_with('"') && names(inner).eq([inner]) {
            hidden.to_owned()
        } else if hidden.starts_with('/') {
            spans(hidden)
        } else {
            blank(hidden)
        }
    })
}

/// Overwrites a text by spaces, except for its spans of code.
fn spans(text: &str) -> String {
    text.split('`')
        .enumerate()
        .map(|(i, part)| if i % 2 == 1 { part.to_owned() } else { blank(part) })
        .collect()
}

/// Returns the code of a Markdown file, with everything else overwritten by spaces.
fn markdown_code(text: &str) -> String {
    text.split("```")
        .enumerate()
        .map(|(i, part)| if i % 2 == 1 { part.to_owned() } else { spans(part) })
        .collect()
}

/// Returns the names that a line of code declares as a module or a type.
fn declared(line: &str) -> Vec<&str> {
    let all: Vec<&str> = names(line).collect();
    let keywords = ["mod", "struct", "enum", "trait", "type", "union", "class", "alias"];
    all.windows(2).filter(|pair| keywords.contains(&pair[0])).map(|pair| pair[1]).collect()
}

/// Finds the row of a whole name in a table.
fn row<'a>(table: &'a [(&'a str, &'a str)], word: &str) -> Option<&'a (&'a str, &'a str)> {
    table.iter().find(|(words, _)| words.split(' ').any(|w| w == word))
}

/// Finds all refused words of a file: the line, 0 for its path, then the word and a better one.
fn refused(path: &str, source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut refuse = |line: usize, word: &str, better: &str, what: &str| {
        let excepted = |(start, allowed, _): &(&str, &str, &str)| path.starts_with(start) && *allowed == word;
        if !EXCEPTIONS.iter().any(excepted) {
            found.push((line, format!("{what} \"{word}\" → {better}")));
        }
    };
    let parts: Vec<&str> = path.split('/').map(|part| part.split('.').next().unwrap()).collect();
    for part in parts {
        let words = split(part);
        let joined = words.join("_");
        let whole = row(NAMES, &joined).filter(|_| !path.ends_with(".md"));
        if let Some((word, better)) = whole.or_else(|| words.iter().find_map(|word| row(PRIVATE, word))) {
            refuse(0, word.split(' ').next().unwrap(), better, "file name");
        }
        for (name, better) in sequences(&words) {
            refuse(0, name, better, "file name");
        }
    }
    let code = if path.ends_with(".md") {
        markdown_code(source)
    } else if path.ends_with(".html") {
        blank(source)
    } else {
        code(source)
    };
    for (i, (line, code)) in source.lines().zip(code.lines()).enumerate() {
        for word in names(line).flat_map(split) {
            if let Some((_, better)) = row(PRIVATE, &word) {
                refuse(i + 1, &word, better, "word");
            }
        }
        for (name, better) in names(code).flat_map(|name| sequences(&split(name))) {
            refuse(i + 1, name, better, "identifier");
        }
        for name in declared(code) {
            if let Some((word, better)) = row(NAMES, &split(name).join("_")) {
                refuse(i + 1, word, better, "name");
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Returns the refused sequences within a name's words.
fn sequences(words: &[String]) -> Vec<(&'static str, &'static str)> {
    let joined = format!("_{}_", words.join("_"));
    IDENTIFIERS.iter().filter(|(name, _)| joined.contains(&format!("_{name}_"))).copied().collect()
}

#[test]
fn the_words_of_the_field_are_used() {
    let root = sources::root();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for place in PLACES {
        for (path, source) in sources::read(&root, place, EXTENSIONS) {
            seen += 1;
            let lines: Vec<&str> = source.lines().collect();
            for (line, refusal) in refused(&path, &source) {
                let excerpt: String =
                    line.checked_sub(1).map_or("", |i| lines[i].trim()).chars().take(90).collect();
                wrong.push(format!("{path}:{line}: {refusal}: {excerpt}"));
            }
        }
    }
    assert!(seen > 200, "the files were found");
    assert!(wrong.is_empty(), "{} violations\n{}\n", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_exception_has_its_place() {
    for (start, word, _) in EXCEPTIONS {
        let all = [PRIVATE, IDENTIFIERS, NAMES];
        assert!(all.iter().any(|table| row(table, word).is_some()), "{word} is refused nowhere");
        let inside = |place: &&&str| start.starts_with(**place);
        assert!(PLACES.iter().any(|place| inside(&place)), "{start} is not read");
    }
}

#[cfg(test)]
mod planted {
    use super::*;

    fn lines(path: &str, source: &str) -> Vec<usize> {
        refused(path, source).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn names_split_at_humps_and_underscores() {
        assert_eq!(split("timedAs"), ["timed", "as"]);
        assert_eq!(split("GPUWay_of2Knots"), ["gpu", "way", "of2", "knots"]);
        assert!(split("anyway_always").iter().all(|word| word != "way"));
    }

    #[test]
    fn private_words_are_refused_everywhere() {
        assert_eq!(
            lines("src/a.rs", "// A knot.\nlet dyedLabels = \"the twins are\";\n// Knotted.\n"),
            [1, 2, 2]
        );
        assert_eq!(lines("docs/a.md", "The street.\n\nStreetlight.\n"), [1]);
        assert_eq!(lines("assets/report/a.html", "<p>Addends</p>"), [1]);
        assert_eq!(lines("src/dye/twin_graph.rs", ""), [0, 0]);
    }

    #[test]
    fn words_of_names_are_fine_in_prose() {
        assert_eq!(lines("src/a.rs", "// A way, `ways` apart.\nlet s = \"ways\"; // way"), [1, 2]);
        assert_eq!(
            lines("src/a.rs", "fn f<'a>(c: char, s: &str) { c == '\"' || s == r#\"one \"way\"\"#; }"),
            [0; 0]
        );
        assert_eq!(lines("src/a.rs", "/* one way */ let s = \"this \\\" way\"; fn ways() {}"), [1]);
        assert_eq!(lines("docs/a.md", "One way.\n```\nkernel.ways()\n```\nAnother way.\n"), [3]);
        assert_eq!(lines("shaders/rows_lanes.wgsl", "var timed_as_way: u32;"), [0, 1, 1]);
    }

    #[test]
    fn common_words_are_refused_as_whole_names() {
        assert_eq!(
            lines("src/a.rs", "mod known;\npub(crate) struct Known<'a>;\nlet known = KnownTimes;"),
            [1, 2]
        );
        assert_eq!(lines("src/known.rs", "// struct Late\n"), [0]);
        assert_eq!(lines("src/a/tail/b.rs", "enum TailKind {}"), [0]);
        assert_eq!(lines("docs/known.md", ""), [0; 0]);
    }

    #[test]
    fn exceptions_hold_in_their_place_alone() {
        assert_eq!(lines("src/prune/cut.rs", "#[serde(alias = \"knots\")]"), [0; 0]);
        assert_eq!(lines("src/prune/cut.rs", "let knot = 1;"), [1]);
        assert_eq!(lines("src/prune/score.rs", "#[serde(alias = \"knots\")]"), [1]);
        assert_eq!(lines("src/ops/gather.rs", "struct Tile;"), [0; 0]);
        assert_eq!(lines("src/kernels/gemm.rs", "struct Tile;"), [1]);
    }
}
