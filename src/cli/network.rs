//! `secateur run` and `secateur check`: one forward pass, and a comparison of the device with the reference.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Answer;
use super::args::{Global, PrecisionArgs};
use super::data_args::DataArgs;
use super::input_args::split;
use super::output::{BAD, GOOD, Output, shape};
use super::output_guard::OutputGuard;
use super::progress::{LOADING, Progress};
use super::streams::load_model;
use super::table::{Table, WIDTH};
use crate::error::{Error, Result};
use crate::pipeline::{
    Array, Checks, Graph, InputOptions, InputValue, check as side_by_side, first_failing, input_names,
    read_array, run as forward, write_array,
};

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Path of the ONNX file.
    model: PathBuf,
    /// Array for an input; once for each input.
    ///
    /// Numbers in place of a file fix the value of the input. An If that depends on it is then decided.
    #[arg(long, value_name = "NAME=FILE.npy", required = true)]
    input: Vec<String>,
    /// Folder for the outputs, each as NAME.npy.
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Also write these intermediate values, by their names in the graph.
    #[arg(long, value_name = "VALUE", num_args = 1..)]
    tap: Vec<String>,
    #[command(flatten)]
    precision: PrecisionArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Path of the ONNX file.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
}

pub(super) fn run(args: &RunArgs, global: &Global, output: &Output) -> Result<Answer> {
    let model = output.busy(LOADING, || load_model(&args.model))?;
    let names = input_names(&model);
    let mut inputs: HashMap<String, Array> = HashMap::new();
    let mut files = Vec::new();
    let mut fixed = InputOptions::default();
    for text in &args.input {
        let (name, file) = split(text, &names).ok_or_else(|| {
            Error::new("an input that is not NAME=FILE.npy").got(text).remedy("write --input NAME=FILE.npy")
        })?;
        let value: InputValue = file.parse()?;
        if matches!(value, InputValue::Numbers(_)) {
            fixed.values.push((name.to_owned(), value));
            continue;
        }
        if inputs.insert(name.to_owned(), read_array(Path::new(file))?).is_some() {
            return Err(Error::new(format!("the input \"{name}\" is given twice"))
                .got(args.input.join(", "))
                .remedy("give each input one file"));
        }
        files.push(file);
    }
    let model = fixed.bind(model, None)?;
    let device = args.precision.open(global, output)?;
    let results = output.busy("running the network", || forward(&model, &device, &inputs, &args.tap))?;
    std::fs::create_dir_all(&args.output_dir)
        .map_err(|e| Error::io("make the folder", &args.output_dir, e))?;
    let paths = file_names(results.iter().map(|r| r.0.as_str())).map(|name| args.output_dir.join(name));
    let paths: Vec<PathBuf> = paths.collect();
    OutputGuard::default().model(&model).read(&files).write(&paths, "write the output")?;
    let mut written = Vec::new();
    for ((name, tensor), file) in results.iter().zip(paths) {
        write_array(&file, tensor)?;
        output.line(format!("{name}  {}  {}", shape(&tensor.shape), file.display()));
        written.push(json!({ "name": name, "shape": tensor.shape, "file": file }));
    }
    output.result(&json!({ "device": device.describe(), "outputs": written }));
    Ok(Answer::Yes)
}

/// Returns file names for results: `_` replaces other characters, and is appended until all names differ.
pub(super) fn file_names<'a>(results: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let safe = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let mut taken = HashSet::new();
    results.map(move |name| {
        let mut name: String = name.chars().map(safe).collect();
        // Some file systems ignore case.
        while !taken.insert(name.to_lowercase()) {
            name.push('_');
        }
        name + ".npy"
    })
}

pub(super) fn check(args: &CheckArgs, global: &Global, output: &Output) -> Result<Answer> {
    let model = output.busy(LOADING, || args.data.load(&args.model))?;
    let device = args.precision.open(global, output)?;
    let data = match args.data.sources() {
        Some(_) => Some(args.data.open(&Graph::from_model(&model)?)?),
        None => None,
    };
    let found = side_by_side(&model, &device, data.as_ref(), &mut Progress::new(output))?;
    let Checks { steps: checks, data_dependent } = found;
    let mut table = Table::new(&["<kernel", "error", "drift", "*node"]);
    for c in &checks {
        let errors = [c.verdict.max_rel_err, c.drift].map(|error| format!("{error:.1e}"));
        table.row([c.kernel.to_string()].into_iter().chain(errors).chain([c.node.clone()]));
    }
    let mut lines = table.lines(WIDTH - 5);
    lines.next().into_iter().for_each(|titles| output.line(format!("     {titles}")));
    for (c, line) in checks.iter().zip(lines) {
        let (style, mark) = if c.verdict.passed() { (GOOD, "ok  ") } else { (BAD, "FAIL") };
        output.line(format!("{style}{mark}{style:#} {line}"));
    }
    for l in &data_dependent {
        let verdict = if l.agrees { "the same" } else { "another choice" };
        output.line(format!(
            "host {}  {} after the device, {} after the reference: {verdict}",
            l.name,
            shape(&l.shape),
            shape(&l.expected)
        ));
    }
    let host: Vec<_> = data_dependent
        .iter()
        .map(|l| json!({ "name": l.name, "shape": l.shape, "expected": l.expected, "agrees": l.agrees }))
        .collect();
    let failing = first_failing(&checks);
    let drift = checks.last().map_or(0.0, |c| c.drift);
    output.result(&json!({
        "device": device.describe(),
        "steps": checks.len(),
        "passed": failing.is_none(),
        "first_failing": failing.map(|c| json!({ "node": c.node, "kernel": c.kernel, "verdict": c.verdict.to_string() })),
        "drift": drift,
        "host": host,
    }));
    match failing {
        None => {
            output.line(format!(
                "{} steps agree with the reference; drift at the end {drift:.1e}",
                checks.len()
            ));
            Ok(Answer::Yes)
        }
        Some(c) => {
            output.line(format!("the first step that is wrong: {} ({}): {}", c.node, c.kernel, c.verdict));
            Ok(Answer::No)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::file_names;

    #[test]
    fn results_have_files_of_their_own() {
        let names = ["a/b", "a_b", "A_b", "ü.1-x", "a_b_"];
        let files: Vec<String> = file_names(names.into_iter()).collect();
        assert_eq!(files, ["a_b.npy", "a_b_.npy", "A_b__.npy", "ü.1-x.npy", "a_b___.npy"]);
    }
}
