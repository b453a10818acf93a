//! The files and the table of `secateur prune` with several budgets.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::notices::{self, interrupted};
use super::output::{Output, grouped};
use super::output_guard::OutputGuard;
use super::report::{WRITE_PAGE, write_page};
use super::results::{in_unit, judged_on, metric_json, pruned_json, with_error};
use super::streams::OutputFile;
use super::training_args::{rounds_json, training_json};
use crate::error::{Error, Result};
use crate::pipeline::{
    Calibration, MetricResult, Model, Outcome, Pruned, Sweep, SweepBudget, SweptBudget, Target,
};

/// Marks the place of the budget in the name of a file.
const MARK: &str = "{}";

/// The files that `prune` was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outputs<'a> {
    pub(super) network: &'a OutputFile,
    pub(super) masked: Option<&'a Path>,
    pub(super) cut: Option<&'a Path>,
    pub(super) report: Option<&'a Path>,
}

/// The files that `prune` writes for a budget.
#[derive(Clone, Debug)]
pub(super) struct SweepFiles {
    target: Target,
    /// The path of the pruned network as it is shown; `-` for standard output.
    pub(super) output: PathBuf,
    /// The path at which the pruned network is written.
    file: PathBuf,
    masked: Option<PathBuf>,
    pub(super) cut: Option<PathBuf>,
    pub(super) report: Option<PathBuf>,
}

impl SweepFiles {
    /// Returns the files of one budget, as they were named.
    pub(super) fn single(asked: Outputs, target: Target) -> Self {
        let file = asked.network.path().to_path_buf();
        let [masked, cut, report] =
            [asked.masked, asked.cut, asked.report].map(|path| path.map(Path::to_path_buf));
        Self { target, output: PathBuf::from(asked.network.to_string()), file, masked, cut, report }
    }

    /// Returns the files of all budgets.
    ///
    /// # Errors
    /// Several networks for standard output.
    pub(super) fn of(asked: Outputs, targets: &[Target]) -> Result<Vec<Self>> {
        if let [target] = targets {
            return Ok(vec![Self::single(asked, *target)]);
        }
        if asked.network.is_stdout() {
            return Err(Error::new("standard output takes one network")
                .expected("the name of a file for several budgets")
                .got(format!("{} budgets", targets.len()))
                .remedy("write to files with -o, for example -o small-{}.onnx"));
        }
        let files = |&target: &Target| {
            let named = |path: &Path| named_for(path, target);
            let file = named(asked.network.path());
            let [masked, cut, report] = [asked.masked, asked.cut, asked.report].map(|path| path.map(named));
            Self { target, output: file.clone(), file, masked, cut, report }
        };
        Ok(targets.iter().map(files).collect())
    }

    /// Adds the files to those that are going to be written.
    pub(super) fn guarded(&self, guard: OutputGuard, model: &Model) -> Result<OutputGuard> {
        let guard = guard.write_model(model, &self.file)?;
        let guard = self.masked.iter().try_fold(guard, |guard, path| guard.write_model(model, path))?;
        guard.write(&self.cut, "write the cut")?.write(&self.report, WRITE_PAGE)
    }

    /// Returns the budget with the files of its networks.
    pub(super) fn budget(&self) -> SweepBudget {
        SweepBudget { target: self.target, output: Some(self.file.clone()), masked: self.masked.clone() }
    }

    /// Writes the cut and the report.
    pub(super) fn write(&self, pruned: &mut Pruned) -> Result<()> {
        if let Some(path) = &self.cut {
            pruned.cut.save(path)?;
        }
        self.report.iter().try_for_each(|path| write_page(pruned.page.as_mut(), path))
    }

    /// Prints the names of the files.
    pub(super) fn print(&self, output: &Output) {
        for path in [Some(&self.output), self.cut.as_ref(), self.report.as_ref()].into_iter().flatten() {
            output.line(format!("→ {}", path.display()));
        }
    }

    /// Returns the result of the budget for `--json`.
    pub(super) fn json(&self, pruned: &Pruned, calibration: Option<&Calibration>) -> Result<Value> {
        let mut fields = pruned_json(pruned, calibration);
        fields["preprocessing"] =
            json!(calibration.map(|calibration| calibration.fit.describe()).transpose()?);
        let untrained = pruned.untrained.as_ref().and_then(|found| found.metric.as_ref());
        fields["untrained"] = metric_json(untrained);
        let unquantized = pruned.unquantized.as_ref().and_then(|found| found.metric.as_ref());
        fields["unquantized"] = metric_json(unquantized);
        fields["layers_quantized"] = json!(pruned.quantized_layers);
        fields["formats"] = json!(pruned.formats);
        fields["training"] = training_json(pruned.training.as_ref());
        fields["rounds"] = rounds_json(&pruned.rounds);
        fields["out"] = json!(self.output);
        fields["report"] = json!(self.report);
        fields["cut"] = json!(self.cut);
        Ok(fields)
    }
}

/// Returns the name of a file for a budget: with the budget in the place of the mark, or before the extension.
fn named_for(path: &Path, target: Target) -> PathBuf {
    let text = target.to_string();
    let value = text.rsplit(' ').next().unwrap_or_default();
    if let Some(whole) = path.to_str().filter(|whole| whole.contains(MARK)) {
        return PathBuf::from(whole.replace(MARK, value));
    }
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{value}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Writes the files of a sweep that are left, and prints its table.
pub(super) fn print_sweep(
    swept: Outcome<Sweep>,
    files: &[SweepFiles],
    calibration: Option<&Calibration>,
    profile: Option<&Path>,
    output: &Output,
) -> Result<Answer> {
    let Outcome::Done(mut sweep) = swept else {
        output.note(interrupted(profile));
        output.result(&json!({ "out": null, "sweep": [] }));
        return Ok(Answer::No);
    };
    for (budget, files) in sweep.budgets.iter_mut().zip(files) {
        match &mut budget.result {
            Ok(pruned) => files.write(pruned)?,
            Err(refusal) => output.note(format!("{}: {}", budget.target, notices::refusal(refusal))),
        }
    }
    table(&sweep, files, output);
    if let Some(calibration) = calibration.filter(|_| sweep.networks().any(|(_, p)| p.evaluation.is_some())) {
        output.line(judged_on(calibration));
    }
    let rows = sweep.budgets.iter().zip(files).map(|(budget, files)| row_json(budget, files, calibration));
    output.result(&json!({ "before": sweep.before, "sweep": rows.collect::<Result<Vec<_>>>()? }));
    Ok(if sweep.is_refused() { Answer::No } else { Answer::Yes })
}

fn row_json(budget: &SweptBudget, files: &SweepFiles, calibration: Option<&Calibration>) -> Result<Value> {
    let mut row = match &budget.result {
        Ok(pruned) => files.json(pruned, calibration)?,
        Err(refusal) => json!({ "tried": refusal.attempts, "out": null }),
    };
    row["target"] = json!(budget.target.to_string());
    row["best"] = json!(budget.is_best);
    row["refused"] = json!(budget.result.as_ref().err().map(|refusal| notices::refusal(refusal)));
    Ok(row)
}

/// Prints a row for the original and for each budget.
fn table(sweep: &Sweep, files: &[SweepFiles], output: &Output) {
    let judged = |pruned: &Pruned| -> Option<MetricResult> { pruned.evaluation.as_ref()?.metric.clone() };
    let metric = sweep.networks().find_map(|(_, pruned)| judged(pruned));
    let agreement = |pruned: &Pruned| pruned.evaluation.as_ref()?.metric_named("agreement").map(with_error);
    let has_agreement = metric.as_ref().is_some_and(|metric| metric.name != "agreement")
        && sweep.networks().any(|(_, pruned)| agreement(pruned).is_some());
    let has_latency = sweep.networks().any(|(_, pruned)| latency(pruned).is_some());
    let line =
        |name: &str, costs: [String; 2], quality: Option<String>, more: [Option<String>; 2], file: &str| {
            let mut line = format!("{name:<17} {:>7} {:>7}", costs[0], costs[1]);
            let cell = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
            if metric.is_some() {
                line += &format!(" {:>16}", cell(quality));
            }
            let [agreement, latency] = more;
            if has_agreement {
                line += &format!(" {:>16}", cell(agreement));
            }
            if has_latency {
                line += &format!(" {:>9}", cell(latency));
            }
            output.line(format!("{line}  {file}").trim_end());
        };
    let text = |text: &str| Some(text.to_owned());
    let name = metric.as_ref().map(|metric| metric.name.clone());
    let heads = ["MACs", "params"].map(str::to_owned);
    line("budget", heads, name, [text("agreement"), text("latency")], "file");
    let whole = metric.as_ref().and_then(|metric| {
        metric.before.filter(|_| !metric.is_relative()).map(|before| in_unit(before, &metric.unit))
    });
    let all = ["100 %", "100 %"].map(str::to_owned);
    line("original", all, whole, [None, has_latency.then(|| "100 %".to_owned())], "");
    for (budget, files) in sweep.budgets.iter().zip(files) {
        let target = budget.target.to_string();
        let Ok(pruned) = &budget.result else {
            output.line(format!("{target:<17} refused"));
            continue;
        };
        let share = |after: u64, before: u64| format!("{:.1} %", 100.0 * after as f64 / before.max(1) as f64);
        let costs =
            [share(pruned.after.macs, pruned.before.macs), share(pruned.after.params, pruned.before.params)];
        let quality = judged(pruned).as_ref().map(with_error);
        let more = [agreement(pruned), latency(pruned)];
        line(&target, costs, quality, more, &files.output.display().to_string());
    }
    output.line(format!(
        "of the original's {} MACs and {} parameters",
        grouped(sweep.before.macs),
        grouped(sweep.before.params)
    ));
    if sweep.networks().any(|(_, pruned)| judged(pruned).is_some_and(|metric| metric.error.is_some())) {
        output.line("± is the standard error of the difference to the original");
    }
}

/// Returns the latency as a share of the original's, if it was measured.
fn latency(pruned: &Pruned) -> Option<String> {
    let searched = pruned.latency.as_ref().map(|latency| latency.measured.median);
    let timed = || Some(pruned.page.as_ref()?.summary.speed.as_ref()?.speedup.median.recip());
    searched.or_else(timed).map(|share| format!("{:.1} %", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_for_their_budgets() {
        let named = |path: &str| named_for(Path::new(path), Target::MaxDrop(1.5)).display().to_string();
        assert_eq!(named("out/small.onnx"), "out/small-1.5.onnx");
        assert_eq!(named("out/small-{}-x.onnx"), "out/small-1.5-x.onnx");
        assert_eq!(named("a.b/small"), "a.b/small-1.5");
    }
}
