//! The layout of help: headings, the order of options, those that only `--help` lists, and examples.

use clap::{Arg, ArgAction, Command};

use super::examples;

/// Options that stand together in help.
struct Heading {
    title: &'static str,
    /// The most used options, which `-h` lists.
    common: &'static [&'static str],
    /// Options that only `--help` lists.
    more: &'static [&'static str],
}

/// All headings with their options in order. `VERB:OPTION` is an option of that verb alone.
const HEADINGS: [Heading; 12] = [
    Heading {
        title: "Data",
        common: &["data", "run:input", "images", "classes"],
        more: &[
            "sample",
            "shard",
            "label_offset",
            "input",
            "size",
            "strict",
            "allow_random",
            "demo:count",
            "demo:seed",
        ],
    },
    Heading {
        title: "Preprocessing",
        common: &["preset", "resize", "crop", "mean", "std"],
        more: &["letterbox", "scale", "channels", "layout", "rate", "try_presets"],
    },
    Heading {
        title: "Budget",
        common: &["keep_macs", "keep_params", "keep_latency", "max_drop", "protect"],
        more: &[
            "keep_bytes",
            "min_quality",
            "remove_below",
            "round_to",
            "max_cut",
            "min_channels",
            "inexact",
        ],
    },
    Heading {
        title: "Criterion",
        common: &["criterion", "criteria", "prune:cut", "report:cut", "profile"],
        more: &["normalize", "scope", "seed", "seeds", "require_confidence", "help_criteria"],
    },
    Heading {
        title: "Quantization",
        common: &["quantize:runtime", "quantize:ranges", "palette"],
        more: &["quantize", "prune:runtime", "prune:ranges", "float"],
    },
    Heading { title: "Repair", common: &["repair"], more: &["rounds"] },
    Heading {
        title: "Training",
        common: &[
            "prune:finetune",
            "teacher",
            "finetune:cut",
            "epochs",
            "steps",
            "finetune:learning_rate",
            "finetune:augment",
        ],
        more: &[
            "prune:learning_rate",
            "features",
            "prune:augment",
            "schedule",
            "optimizer",
            "weight_decay",
            "penalty",
            "train_bn",
            "train_batch",
            "label_weight",
            "loss",
            "finetune:seed",
            "checkpoint",
            "finetune:resume",
            "prune:resume",
        ],
    },
    Heading {
        title: "Quality",
        common: &["against", "metric", "labels", "test"],
        more: &["held_out", "lower_is_better", "peak", "boxes", "min_score", "force"],
    },
    Heading {
        title: "Statistics",
        common: &["gram", "gradients", "confidence", "profile:resume"],
        more: &["histograms", "no_classes", "measure_overhead"],
    },
    Heading {
        title: "Output",
        common: &["output", "output_dir", "report", "plot", "csv", "write_images", "tap"],
        more: &["report_seconds", "masked", "write_cut", "write_profile", "stamp"],
    },
    Heading {
        title: "Device",
        common: &["device", "bench:batch", "seconds", "layers", "tune"],
        more: &["batch", "precision", "transfers"],
    },
    Heading {
        title: "General",
        common: &["json", "quiet", "help"],
        more: &["config", "no_config", "color", "version"],
    },
];

/// The exit codes of every verb.
const EXIT_CODES: &str = "Exit codes:
  0  done
  1  no: a limit was not met, outputs differ, or Ctrl-C ended the work
  2  error";

/// Applies the layout to the program's command and to those of all verbs.
pub(super) fn arranged(command: Command) -> Command {
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).global(true);
    let help = help.help("Print this help: -h the most used options, --help all of them");
    let version = Arg::new("version").short('V').long("version").action(ArgAction::Version).global(true);
    let version = version.help("Print the version");
    let command = command.disable_help_flag(true).disable_version_flag(true).arg(help).arg(version);
    let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let mut command = placed(command, "");
    for name in &verbs {
        command = command.mut_subcommand(name, |verb| {
            let examples = examples::of(name);
            // Negative numbers are accepted here, and refused by their options.
            let verb = placed(verb, name).allow_negative_numbers(true);
            match name.as_str() {
                "man" | "completions" => verb.after_help(examples),
                _ => verb.after_long_help(format!("{examples}\n\n{EXIT_CODES}")).after_help(examples),
            }
        });
    }
    let first = "First steps:
  secateur demo
  secateur inspect net.onnx
  secateur prune net.onnx --data images/ --preset imagenet --keep-macs 0.7 \\
    -o small.onnx

`secateur VERB -h` lists the most used options of a verb, --help all of them.
";
    command.after_help(format!("{first}\n{EXIT_CODES}"))
}

/// Puts the options of a command under their headings, in order.
fn placed(mut command: Command, verb: &str) -> Command {
    let mut order = 0;
    for Heading { title, common, more } in &HEADINGS {
        let rows = common.iter().map(|name| (name, false)).chain(more.iter().map(|name| (name, true)));
        for (name, rare) in rows {
            let id = match name.split_once(':') {
                Some((only, id)) if only == verb => id,
                Some(_) => continue,
                None => name,
            };
            let is_free = |arg: &&Arg| arg.get_id() == id && arg.get_help_heading().is_none();
            if command.get_opts().chain(flags(&command)).any(|arg| is_free(&arg)) {
                order += 1;
                command = command
                    .mut_arg(id, |arg| arg.help_heading(*title).display_order(order).hide_short_help(rare));
            }
        }
    }
    command
}

/// Returns the options without a value.
fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let takes_none = |arg: &&Arg| !arg.get_action().takes_values();
    command.get_arguments().filter(|arg| !arg.is_positional()).filter(takes_none)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the whole command, with inherited options, at a width of 80 columns.
    fn built() -> Command {
        let mut command = super::super::command().term_width(80);
        command.build();
        command
    }

    #[test]
    fn every_option_has_a_heading() {
        let command = built();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            for arg in verb.get_arguments().filter(|arg| !arg.is_positional()) {
                let (verb, arg, heading) = (verb.get_name(), arg.get_id(), arg.get_help_heading());
                assert!(heading.is_some(), "{verb}: add the option {arg} to HEADINGS");
            }
        }
    }

    #[test]
    fn headings_name_options_that_exist() {
        let command = built();
        let exists = |name: &str| {
            let (only, id) = name.split_once(':').map_or((None, name), |(verb, id)| (Some(verb), id));
            let mut verbs =
                command.get_subcommands().filter(|verb| only.is_none_or(|o| verb.get_name() == o));
            verbs.any(|verb| verb.get_arguments().any(|arg| arg.get_id() == id))
        };
        let names = HEADINGS.iter().flat_map(|heading| heading.common.iter().chain(heading.more));
        let unknown: Vec<_> = names.filter(|name| !exists(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn help_fits_eighty_columns_and_short_help_two_screens() {
        const TWO_SCREENS: usize = 64;
        let mut command = built();
        let mut texts = vec![(String::new(), command.render_help(), command.render_long_help())];
        for verb in command.get_subcommands_mut() {
            texts.push((verb.get_name().to_owned(), verb.render_help(), verb.render_long_help()));
        }
        for (verb, short, long) in texts {
            let (short, long) = (short.to_string(), long.to_string());
            for line in short.lines().chain(long.lines()) {
                assert!(line.chars().count() <= 80, "{verb}: {line}");
            }
            assert!(short.lines().count() <= TWO_SCREENS, "{verb} -h has {} lines", short.lines().count());
            assert!(long.contains("Exit codes:") || ["man", "completions", "help"].contains(&verb.as_str()));
        }
    }
}
