//! Configuration files with mistakes.

use super::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let of = |title: &str, text: &str| {
        case(title, "plan good.onnx --config team.toml -o new.json").with("team.toml", text)
    };
    vec![
        case("a configuration that is not there", "inspect good.onnx --config none.toml"),
        of("a configuration that is no TOML", "preset = imagenet\n"),
        of("a key that is mistyped", "criterium = 'l1'\n"),
        of("a key that is none", "frobnicate = 1\n"),
        of("a key of another verb in a section", "[inspect]\ncriterion = 'l1'\n"),
        of("a section that is no verb", "[training]\nepochs = 3\n"),
        of("a list for an option of one value", "preset = ['imagenet', 'unit']\n"),
        of("a switch that is no boolean", "strict = 'yes'\n"),
        of("a date for an option", "criterion = 2026-01-01\n"),
        of("two budgets of a configuration", "criterion = 'l1'\nkeep-macs = 0.5\nkeep-params = 0.5\n"),
        of("a number in quotes that is none", "criterion = 'l1'\nkeep-macs = 'half'\n"),
    ]
}
