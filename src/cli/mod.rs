//! The command line: one file a verb, each of which parses, fills options, calls the pipeline, and prints.

mod activity;
mod args;
mod bench;
mod compare_criteria;
mod config;
mod data_args;
mod demo;
mod devices;
mod eval;
mod examples;
mod finetune;
mod help;
mod input_args;
mod inspect;
mod job_array;
mod metric_args;
mod metric_command;
mod monitor;
mod network;
mod notices;
mod numbers;
mod output;
mod output_guard;
mod plan;
mod plan_args;
mod plot;
mod presets;
mod profile;
mod progress;
mod prune;
mod quantize;
mod report;
mod results;
mod show;
mod streams;
mod sweep;
mod table;
mod terms;
mod training_args;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::{Error, OUR_FAULT, Result};
use config::Config;
use output::Output;
use streams::OutputFile;

/// Prunes trained convolutional networks on any GPU: ONNX in, a smaller ONNX file out, checked against the original.
#[derive(Debug, Parser)]
#[command(name = "secateur", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: args::Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the available devices, and the one that `auto` uses.
    Devices,
    /// Show layers, MACs, parameters, coupled channels, and why some are blocked.
    Inspect(inspect::Args),
    /// Run one forward pass on arrays and write its outputs as .npy files.
    Run(network::RunArgs),
    /// Compare the result of every step on the device with a reference in f64.
    Check(network::CheckArgs),
    /// Measure the statistics of every layer on calibration images.
    Profile(profile::Args),
    /// Merge profiles of parts of a data set into one.
    Merge(show::MergeArgs),
    /// Print the statistics in a profile.
    Show(show::ShowArgs),
    /// Decide which channels to remove, and write the decision as a cut file.
    Plan(plan::Args),
    /// Remove channels, repair the weights, prove the smaller network, and write it.
    Prune(prune::Args),
    /// Train a network to imitate another one, or on labels.
    Finetune(finetune::Args),
    /// Write a network with fewer bits for each weight, judged against the original.
    Quantize(quantize::Args),
    /// Compare pruning criteria: accuracy at several shares of the MACs.
    CompareCriteria(compare_criteria::Args),
    /// Measure accuracy or another metric of a network, or of two side by side.
    Eval(eval::Args),
    /// Measure the speed of networks side by side, after a check of their outputs.
    Bench(bench::Args),
    /// Write an HTML report that compares pruned networks with the original.
    Report(report::Args),
    /// Run the whole pipeline on a built-in network and images, without any file or GPU.
    Demo(demo::Args),
    /// Print a script that completes commands in a shell.
    ///
    /// With --json, the result is also a plain script.
    Completions {
        /// Name of the shell.
        shell: clap_complete::Shell,
    },
    /// Print a manual page for `man`.
    ///
    /// With --json, the result is also a plain page.
    Man {
        /// Command whose page is printed.
        ///
        /// Default: the page of the whole program.
        verb: Option<String>,
    },
}

impl Verb {
    /// Returns the file that the verb writes its result to, if it writes one.
    fn output_file(&mut self) -> Option<&mut OutputFile> {
        match self {
            Self::Profile(args) => Some(&mut args.output),
            Self::Merge(args) => Some(&mut args.output),
            Self::Plan(args) => args.output.as_mut(),
            Self::Prune(args) => Some(&mut args.output),
            Self::Finetune(args) => Some(&mut args.output),
            Self::Quantize(args) => Some(&mut args.output),
            Self::Report(args) => Some(&mut args.output),
            Self::Demo(args) => Some(&mut args.output),
            _ => None,
        }
    }
}

/// The result of a verb: done, or an honest no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
}

/// Parses and runs the command line of this process.
pub fn main() -> ExitCode {
    ExitCode::from(main_with(std::env::args_os()))
}

/// Parses and runs a command line, whose first word is the program; a process runs one.
///
/// Returns the exit code: 0 done, 1 an honest no, 2 an error.
pub fn main_with(words: impl IntoIterator<Item = OsString>) -> u8 {
    words::set(words.into_iter().collect());
    let wants_json = words::all().iter().any(|a| a == "--json");
    let color = args::Color::asked(words::all().iter().cloned()).choose();
    let refused = |said: Error| {
        let said = terms::translated(&said);
        if wants_json {
            Output::json_error(&said, false);
        }
        said
    };
    let command = command().color(color);
    let config = match Config::find(&command, words::all()) {
        Ok(config) => config,
        Err(error) => {
            Output::error(&refused(error));
            return 2;
        }
    };
    let mut cli = match parse(command, words::all().to_vec(), config.as_ref()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let said = refused(spoken(&error, config.as_ref()));
            if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                // A closed stderr cannot be reported.
                let _ = error.print();
            } else {
                Output::error(&said);
            }
            return 2;
        }
        Err(help) => {
            let _ = help.print();
            return 0;
        }
    };
    let takes_stdout = cli.verb.output_file().is_some_and(|file| file.is_stdout());
    let output = Output::new(cli.global.json, cli.global.quiet, takes_stdout);
    if let Some(note) = config.as_ref().and_then(Config::note) {
        output.note(note);
    }
    output.monitor.start();
    let answer = run(cli, &output);
    output.monitor.stop();
    match answer {
        Ok(Answer::Yes) => 0,
        Ok(Answer::No) => 1,
        Err(error) => {
            let error = terms::translated(&error.remedy(OUR_FAULT));
            if output.json {
                Output::json_error(&error, takes_stdout);
            }
            Output::error(&error);
            2
        }
    }
}

/// Returns the parser of the command line.
fn command() -> Command {
    help::arranged(Cli::command())
}

/// Parses a command line, with default values from a configuration file.
fn parse(command: Command, mut args: Vec<OsString>, config: Option<&Config>) -> Result<Cli, clap::Error> {
    let mut command = config.map_or(command.clone(), |config| config.install(command));
    let mut supplied = Vec::new();
    let matches = loop {
        let error = match command.try_get_matches_from_mut(&args) {
            Ok(matches) => break matches,
            Err(error) => error,
        };
        // An option of the command line may require one of the file.
        let missing = match (error.kind(), error.get(ContextKind::InvalidArg)) {
            (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(flags))) => flags.join(" "),
            _ => return Err(error),
        };
        let more = config.map_or_else(Vec::new, |config| config.supplied(&missing));
        let more: Vec<_> = more.into_iter().filter(|(id, _)| !supplied.contains(id)).collect();
        if more.is_empty() {
            return Err(error);
        }
        for (id, words) in more {
            supplied.push(id);
            args.extend(words);
        }
    };
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    cli.global.settings = config::settings(&command, &matches, config, &supplied);
    Ok(cli)
}

/// Converts clap's error into the format of all errors.
fn spoken(error: &clap::Error, config: Option<&Config>) -> Error {
    let own = std::error::Error::source(error).and_then(|e| e.downcast_ref::<Error>());
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let listed = |kind| match error.get(kind)? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(all) => Some(all.join(", ")),
        _ => None,
    };
    // The words after a colon stand on lines of their own.
    let what = match (what.strip_suffix(':'), error.kind(), listed(ContextKind::PriorArg)) {
        (Some(what), ErrorKind::ArgumentConflict, Some(others)) => format!("{what} {others}"),
        (without, ..) => without.unwrap_or(what).to_owned(),
    };
    let said = own.cloned().unwrap_or_else(|| Error::new(what));
    let said = match (config, listed(ContextKind::InvalidArg)) {
        (Some(config), Some(flag)) if config.is_about(&flag) => said.file(config.path()),
        _ => said,
    };
    let expected = match error.kind() {
        ErrorKind::MissingRequiredArgument => listed(ContextKind::InvalidArg),
        _ => listed(ContextKind::ValidValue),
    };
    let expected = expected.filter(|names| !names.is_empty());
    let said = match expected {
        Some(expected) => said.expected(expected),
        None => said,
    };
    let similar = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    if let Some(similar) = similar.into_iter().find_map(listed) {
        return said.remedy(format!("did you mean {similar}?"));
    }
    let command = command();
    let verb = words::all().iter().find(|a| command.find_subcommand(a).is_some());
    let verb = verb.map(|verb| verb.to_string_lossy().into_owned());
    said.remedy(format!("see `secateur {}--help`", verb.map_or_else(String::new, |v| v + " ")))
}

fn run(mut cli: Cli, output: &Output) -> Result<Answer> {
    if let Some(file) = cli.verb.output_file() {
        file.prepare()?;
    }
    let file = cli.verb.output_file().cloned();
    let answer = answer(cli, output)?;
    file.map_or(Ok(()), |file| file.finish(output))?;
    Ok(answer)
}

fn answer(Cli { verb, global }: Cli, output: &Output) -> Result<Answer> {
    let answer = answer_of(verb, &global, output)?;
    global.note_refused_kernels(output);
    Ok(answer)
}

fn answer_of(verb: Verb, global: &args::Global, output: &Output) -> Result<Answer> {
    match verb {
        Verb::Devices => devices::run(output),
        Verb::Inspect(args) => inspect::run(&args, output),
        Verb::Run(args) => network::run(&args, global, output),
        Verb::Check(args) => network::check(&args, global, output),
        Verb::Profile(args) => profile::run(&args, global, output),
        Verb::Merge(args) => show::merge(&args, output),
        Verb::Show(args) => show::show(&args, output),
        Verb::Plan(args) => plan::run(&args, global, output),
        Verb::Prune(args) => prune::run(&args, global, output),
        Verb::Finetune(args) => finetune::run(&args, global, output),
        Verb::Quantize(args) => quantize::run(&args, global, output),
        Verb::CompareCriteria(args) => compare_criteria::run(&args, global, output),
        Verb::Eval(args) => eval::run(&args, global, output),
        Verb::Bench(args) => bench::run(&args, global, output),
        Verb::Report(args) => report::run(&args, global, output),
        Verb::Demo(args) => demo::run(&args, global, output),
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command(), "secateur", &mut text);
            output.raw(&text);
            Ok(Answer::Yes)
        }
        Verb::Man { verb } => {
            let mut command = command();
            command.build();
            if let Some(name) = verb {
                command = command.find_subcommand(&name).cloned().ok_or_else(|| {
                    let names = command.get_subcommands().map(Command::get_name);
                    Error::new("no verb has this name").got(name.clone()).meant(
                        &name,
                        names,
                        "see `secateur --help`",
                    )
                })?;
            }
            let mut text = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut text)
                .map_err(|e| Error::new("cannot render the manual page").got(e.to_string()))?;
            output.raw(&text);
            Ok(Answer::Yes)
        }
    }
}
