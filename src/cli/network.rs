//! `secateur run` and `secateur check`: arrays in, arrays out, and is this driver right?

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{DataArgs, Global, PrecisionArgs};
use super::output::{BAD, GOOD, Output};
use super::progress::Progress;
use super::targets::Targets;
use crate::data::{read_npy_f32, write_npy};
use crate::error::{Error, Result};
use crate::exec::check::{Checks, check as side_by_side, first_failing};
use crate::exec::session::{Session, SessionOptions};
use crate::graph::{Graph, Sizes};
use crate::onnx::Model;
use crate::tensor::show;

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The ONNX file.
    model: PathBuf,
    /// An input: NAME=FILE.npy, once for each.
    #[arg(long, value_name = "NAME=FILE.npy", required = true)]
    input: Vec<String>,
    /// Where the outputs go.
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Values inside the network that are written too.
    #[arg(long, value_name = "VALUE", num_args = 1..)]
    tap: Vec<String>,
    #[command(flatten)]
    precision: PrecisionArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The ONNX file.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
}

pub(super) fn run(args: &RunArgs, global: &Global, output: &Output) -> Result<Answer> {
    let model = Model::load(&args.model)?;
    let graph = Graph::from_model(&model)?;
    let mut given: HashMap<String, (Vec<usize>, Vec<f32>)> = HashMap::new();
    let mut files = Vec::new();
    for text in &args.input {
        let (name, file) = named(text, &graph)?;
        if given.insert(name.to_owned(), read_npy_f32(file)?).is_some() {
            return Err(Error::new(format!("the input \"{name}\" is given twice"))
                .got(args.input.join(", "))
                .remedy("give each input one file"));
        }
        files.push(file);
    }
    let shapes: HashMap<String, Vec<usize>> =
        given.iter().map(|(n, (s, _))| (n.clone(), s.clone())).collect();
    let mut inputs: Vec<&[f32]> = Vec::new();
    for input in &graph.inputs {
        let name = graph.name(input.value);
        let (_, data) = given.get(name).ok_or_else(|| {
            Error::new(format!("the input \"{name}\" is not given"))
                .file(&args.model)
                .expected(format!("an array of shape {}", input.show()))
                .got(args.input.join(", "))
                .remedy(format!("add --input {name}=FILE.npy"))
        })?;
        inputs.push(data);
    }
    let taps = args
        .tap
        .iter()
        .map(|name| {
            graph.value(name).ok_or_else(|| {
                Error::new(format!("the network has no value \"{name}\"")).file(&args.model).meant(
                    name,
                    graph.values.iter().map(|v| v.name.as_str()),
                    "see the file's values in a viewer such as Netron",
                )
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let device = args.precision.open(global, output)?;
    let wanted = SessionOptions { sizes: Sizes::Whole(shapes), taps, ..SessionOptions::default() };
    let mut session = Session::new(&graph, &device, &wanted, &|_| vec![])?;
    let results = session.run(&inputs).map_err(|e| e.file(&args.model))?;
    std::fs::create_dir_all(&args.output_dir)
        .map_err(|e| Error::io("make the folder", &args.output_dir, e))?;
    let paths = file_names(results.iter().map(|r| r.name.as_str())).map(|name| args.output_dir.join(name));
    let paths: Vec<PathBuf> = paths.collect();
    Targets::default().model(&model).read(&files).write(&paths, "write the output")?;
    let mut written = Vec::new();
    for (result, file) in results.iter().zip(paths) {
        let (name, shape) = (&result.name, &result.tensor.shape);
        write_npy(&file, &result.tensor)?;
        output.line(format!("{name}  {}  {}", show(shape), file.display()));
        written.push(json!({ "name": name, "shape": shape, "file": file }));
    }
    output.result(&json!({ "device": device.describe(), "outputs": written }));
    Ok(Answer::Yes)
}

/// What NAME=FILE.npy says. A name may have the sign in it: one that the network has counts, else the shortest.
fn named<'a>(text: &'a str, graph: &Graph) -> Result<(&'a str, &'a str)> {
    let mut splits = text.match_indices('=').map(|(at, _)| (&text[..at], &text[at + 1..]));
    let known = |(name, _): &(&str, &str)| graph.inputs.iter().any(|input| graph.name(input.value) == *name);
    splits.clone().find(known).or_else(|| splits.next()).ok_or_else(|| {
        Error::new("an input that is not NAME=FILE.npy").got(text).remedy("write --input NAME=FILE.npy")
    })
}

/// Files for results: what a file name cannot hold is `_`, as often as it takes to tell them apart.
fn file_names<'a>(results: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let safe = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let mut taken = HashSet::new();
    results.map(move |name| {
        let mut name: String = name.chars().map(safe).collect();
        // Not every file system tells large letters from small ones.
        while !taken.insert(name.to_lowercase()) {
            name.push('_');
        }
        name + ".npy"
    })
}

pub(super) fn check(args: &CheckArgs, global: &Global, output: &Output) -> Result<Answer> {
    let model = Model::load(&args.model)?;
    let graph = Graph::from_model(&model)?;
    let device = args.precision.open(global, output)?;
    let data = args.data.data.as_ref().map(|_| args.data.open(&graph)).transpose()?;
    let sizes = data.as_ref().map_or(Ok(Sizes::Own), |data| data.image().map(Sizes::Image))?;
    // One image, or as many as the network takes at once.
    let wanted = SessionOptions { images: 1, sizes, ..SessionOptions::default() };
    let session = Session::new(&graph, &device, &wanted, &|_| vec![])?;
    let inputs: Vec<Vec<f32>> = match data.and_then(|data| data.batches(session.batch).next()) {
        Some(batch) => {
            let mut images = batch?.data;
            images.resize(session.image_len()? * session.batch, 0.0);
            vec![images]
        }
        None => {
            let wave = |n: usize| (0..n).map(|i| ((i * 7919 % 1009) as f32 / 504.5) - 1.0).collect();
            session.plan.inputs.iter().map(|p| wave(p.shape.iter().product())).collect()
        }
    };
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let Checks { steps: checks, data_dependent: late } =
        side_by_side(&session.plan, &device, &inputs, &mut Progress::new(output))?;
    for c in &checks {
        let (style, mark) = if c.verdict.passed() { (GOOD, "ok  ") } else { (BAD, "FAIL") };
        output.line(format!(
            "{style}{mark}{style:#} {:<12} {:>9.1e} {:>9.1e}  {}",
            c.kernel, c.verdict.max_rel_err, c.drift, c.node
        ));
    }
    for l in &late {
        let verdict = if l.agrees { "the same" } else { "another choice" };
        output.line(format!(
            "host {}  {} behind the device, {} behind the reference: {verdict}",
            l.name,
            show(&l.shape),
            show(&l.expected)
        ));
    }
    let tail: Vec<_> = late
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
        "host": tail,
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
