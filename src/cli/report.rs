//! `secateur report`: the HTML page of a cut, from its files.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Answer;
use super::args::{Global, positive, seconds};
use super::data_args::{DataArgs, JudgeArgs};
use super::output::Output;
use super::output_guard::OutputGuard;
use super::progress::{ANALYZING, LOADING, OPENING_DATA, Progress};
use super::streams::OutputFile;
use super::terms::translate;
use super::words;
use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::pipeline::{
    Cut, CutFiles, Model, Network, Page, Repair, ReportOptions, compare_cuts, load_profile, render, report,
};

/// The purpose of a page's file, for messages.
pub(super) const WRITE_PAGE: &str = "write the report";

#[derive(Debug, clap::Args)]
#[command(override_usage = "secateur report [OPTIONS] <MODEL> <PRUNED>... --output <FILE>")]
pub(super) struct Args {
    /// Path of the original ONNX file.
    model: PathBuf,
    /// Pruned ONNX files: one with its --cut, or several to compare.
    #[arg(required = true)]
    pruned: Vec<PathBuf>,
    /// Cut file of the pruned network, if there is only one network.
    #[arg(long, value_name = "CUT.json")]
    cut: Option<PathBuf>,
    /// Statistics of the original that `profile` wrote.
    ///
    /// Default: measured on --data; without data, statistics of the weights alone.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Masked reference that `prune --masked` wrote.
    ///
    /// A repaired network is proved by a comparison with it.
    #[arg(long, value_name = "FILE.onnx")]
    masked: Option<PathBuf>,
    /// HTML page to write; - for standard output.
    #[arg(short, long, value_name = "FILE.html")]
    pub(super) output: OutputFile,
    /// Seconds for which networks are timed; 0 leaves times out.
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let models = std::iter::once(&args.model).chain(&args.pruned);
    let mut models =
        output.busy(LOADING, || models.map(|path| args.data.load(path)).collect::<Result<Vec<_>>>())?;
    let guard = models.iter().fold(OutputGuard::default(), OutputGuard::model);
    let guard = guard.read(args.cut.iter().chain(&args.profile).chain(&args.masked)).data(&args.data);
    guard.write([args.output.path()], WRITE_PAGE)?;
    let options = ReportOptions {
        seconds: args.seconds,
        command: Some(command()),
        class_names: args.data.class_names()?,
        settings: global.settings(),
        ..ReportOptions::default()
    };
    let pruned = models.split_off(1);
    let mut page = match (<[Model; 1]>::try_from(pruned), args.cut.as_deref()) {
        (Ok([pruned]), Some(cut)) => {
            one_cut(args, (models.remove(0), pruned, cut), &options, global, output)?
        }
        (Err(pruned), None) => several_cuts(args, (models.remove(0), &pruned), &options, global, output)?,
        (Ok(_), None) => {
            return Err(Error::new("the page of one pruned network needs its cut")
                .remedy("set `cut`, or give several pruned networks to compare"));
        }
        (Err(pruned), Some(_)) => {
            return Err(Error::new("one cut for several pruned networks")
                .expected("a single pruned network with `cut`")
                .got(format!("{} pruned networks", pruned.len()))
                .remedy("leave out `cut` to compare them, or give one of them"));
        }
    };
    write_page(Some(&mut page), args.output.path())?;
    if let Some(reason) = &page.summary.unproved {
        output.note(format!("the proof could not be checked: {reason}"));
    }
    output.line(format!("→ {}", args.output));
    output.result(&json!({ "summary": page.summary, "cuts": page.cuts, "out": args.output }));
    Ok(Answer::Yes)
}

/// Builds the page of one cut.
fn one_cut(
    args: &Args,
    (model, pruned, cut): (Model, Model, &Path),
    options: &ReportOptions,
    global: &Global,
    output: &Output,
) -> Result<Page> {
    let cut = Cut::load(cut)?;
    let network = output.busy(ANALYZING, || Network::from_file(model, cut.inexact.is_some()))?;
    let profile = args.profile.as_deref().map(|file| load_profile(file, &network)).transpose()?;
    let open = || args.judge.open(&args.data, &network.graph, Some(Repair::None));
    let calibration = output.busy(OPENING_DATA, open)?;
    let device = global.open(output)?;
    let files = CutFiles { pruned, cut, profile, masked: args.masked.clone(), proof: None };
    let images = (files, calibration.as_ref(), args.batch);
    report(network, &device, images, options, &mut Progress::new(output))
}

/// Builds the page of several cuts side by side.
fn several_cuts(
    args: &Args,
    (model, pruned): (Model, &[Model]),
    options: &ReportOptions,
    global: &Global,
    output: &Output,
) -> Result<Page> {
    let network = output.busy(ANALYZING, || Network::from_file(model, false))?;
    let open = || args.judge.open(&args.data, &network.graph, Some(Repair::None));
    let calibration = output.busy(OPENING_DATA, open)?;
    let device = global.open(output)?;
    let images = (calibration.as_ref(), args.batch);
    compare_cuts(&network, pruned, &device, images, options, &mut Progress::new(output))
}

/// Writes a page in the command line's terms, whole or not at all.
pub(super) fn write_page(page: Option<&mut Page>, path: &Path) -> Result<()> {
    if let Some(page) = page {
        let untimed = page.cuts.as_mut().map(|cuts| &mut cuts.untimed);
        let reasons = [&mut page.summary.unproved, &mut page.summary.untimed].into_iter().chain(untimed);
        reasons.flatten().for_each(|reason| *reason = translate(reason));
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
