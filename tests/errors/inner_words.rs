//! Words of the program's inside, which no message to a user may contain.

use regex::Regex;

/// The names of parts of the program, as whole words. `prost` and the system say what they say (`got`).
const INNER: &str = r"\b(kernels? for|probes?|facts|gatherer|lowering|dispatch|subgraph|coupling|refit target|paired|session|plans?|accumulat\w+|activation cache|operand)\b";

/// Returns the lines of a catalogue's errors that contain an inner word.
pub(crate) fn inner_words(catalogue: &str) -> Vec<String> {
    let inner = Regex::new(INNER).unwrap();
    let line = Regex::new(r"^(error|  expected|    remedy): (.*)$").unwrap();
    // Verbs of the command line are no inside.
    let verbs = Regex::new(r"`[^`]*`").unwrap();
    let lines = catalogue.lines().filter_map(|text| Some((text, line.captures(text)?)));
    let found = lines.filter(|(_, parts)| inner.is_match(&verbs.replace_all(&parts[2], "")));
    found.map(|(text, _)| format!("a word of the program's inside: {text}")).collect()
}
