//! The library's names of options and functions, as the command line spells them.
//!
//! The library's errors name an option in backticks (`batch`) and a function as a call (`profile()`).

use crate::error::Error;

/// Verbs whose calls stand in remedies: the library's name, and the command.
const VERBS: [&str; 14] = [
    "bench",
    "check",
    "compare_criteria",
    "devices",
    "eval",
    "finetune",
    "inspect",
    "merge",
    "plan",
    "profile",
    "prune",
    "quantize",
    "report",
    "run",
];

/// Rewrites an error's texts in the command line's terms.
pub(super) fn translated(error: &Error) -> Error {
    error.map_texts(translate)
}

/// Replaces names in backticks by flags and commands; other text in backticks stays.
pub(super) fn translate(text: &str) -> String {
    let mut parts = text.split('`');
    let mut spoken = parts.next().unwrap_or_default().to_owned();
    let mut quoted = true;
    for part in parts {
        match (quoted, flag(part)) {
            (true, Some(flag)) => spoken += &flag,
            (true, None) => spoken += &format!("`{part}`"),
            (false, _) => spoken += part,
        }
        quoted = !quoted;
    }
    spoken
}

/// Returns the flag or command of a name; `None` for text that is no name.
fn flag(name: &str) -> Option<String> {
    if let Some(verb) = name.strip_suffix("()") {
        return VERBS.contains(&verb).then(|| format!("`secateur {}`", verb.replace('_', "-")));
    }
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_name.then(|| format!("--{}", name.replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_flags_and_commands() {
        assert_eq!(translate("use a smaller `batch`"), "use a smaller --batch");
        assert_eq!(
            translate("set `allow_random` or run `profile()`"),
            "set --allow-random or run `secateur profile`"
        );
        assert_eq!(translate("see `compare_criteria()`"), "see `secateur compare-criteria`");
        assert_eq!(translate("`secateur plan --help`, `a b`"), "`secateur plan --help`, `a b`");
        assert_eq!(translate("no names"), "no names");
    }
}
