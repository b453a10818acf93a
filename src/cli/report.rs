//! `secateur report`: the HTML page of a cut, from its files.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Answer;
use super::args::{Global, positive, seconds};
use super::data_args::{DataArgs, JudgeArgs};
use super::output::Output;
use super::output_guard::OutputGuard;
use super::progress::Progress;
use super::streams::OutputFile;
use super::terms::translate;
use super::words;
use crate::error::Result;
use crate::file::write_whole;
use crate::pipeline::{Cut, CutFiles, Network, Page, Repair, ReportOptions, load_profile, render, report};

/// The purpose of a page's file, for messages.
pub(super) const WRITE_PAGE: &str = "write the report";

const EXAMPLES: &str = "Examples:
  secateur report net.onnx small.onnx --cut cut.json --profile net.profile -o report.html
  secateur report net.onnx small.onnx --cut cut.json --data images/ --preset imagenet --masked masked.onnx -o report.html

`prune --report FILE.html` writes the same page in one go.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Path of the original ONNX file.
    model: PathBuf,
    /// Path of the pruned ONNX file.
    pruned: PathBuf,
    /// Cut file by which it was pruned.
    #[arg(long, value_name = "CUT.json")]
    cut: PathBuf,
    /// Profile of the original. Default: gathered from the data, or of the weights alone.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Masked reference that `prune --masked` wrote, with which the proof compares a repaired network.
    #[arg(long, value_name = "FILE.onnx")]
    masked: Option<PathBuf>,
    /// HTML page to write; - for standard output.
    #[arg(short, long, value_name = "FILE.html")]
    pub(super) output: OutputFile,
    /// Seconds for which both networks are timed, in all; 0 leaves times out.
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Number of images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let (model, pruned) = (args.data.load(&args.model)?, args.data.load(&args.pruned)?);
    let guard = OutputGuard::default().model(&model).model(&pruned).read([&args.cut]);
    let guard = guard.read(args.profile.iter().chain(&args.masked)).data(&args.data);
    guard.write([args.output.path()], WRITE_PAGE)?;
    let cut = Cut::load(&args.cut)?;
    let network = Network::from_file(model, cut.inexact.is_some())?;
    let profile = args.profile.as_deref().map(|file| load_profile(file, &network)).transpose()?;
    let calibration = args.judge.open(&args.data, &network.graph, Some(Repair::None))?;
    let device = global.open(output)?;
    let files = CutFiles { pruned, cut, profile, masked: args.masked.clone(), proof: None };
    let options =
        ReportOptions { seconds: args.seconds, command: Some(command()), ..ReportOptions::default() };
    let images = (files, calibration.as_ref(), args.batch);
    let mut page = report(network, &device, images, &options, &mut Progress::new(output))?;
    write_page(Some(&mut page), args.output.path())?;
    output.line(format!("→ {}", args.output));
    output.result(&json!({ "summary": page.summary, "out": args.output }));
    Ok(Answer::Yes)
}

/// Writes a page in the command line's terms, whole or not at all.
pub(super) fn write_page(page: Option<&mut Page>, path: &Path) -> Result<()> {
    if let Some(page) = page {
        let reasons = [&mut page.summary.unproved, &mut page.summary.untimed];
        reasons.into_iter().flatten().for_each(|reason| *reason = translate(reason));
        write_whole(path, WRITE_PAGE, render(page).as_bytes())?;
    }
    Ok(())
}

/// Returns the command line in shell syntax.
pub(super) fn command() -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./,:+@%".contains(c);
    let quoted = |word: String| match !word.is_empty() && word.chars().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    let words = words::all().iter().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("secateur".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
