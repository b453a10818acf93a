//! `secateur show` and `secateur merge`: profiles as tables, and profiles of shards united.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Answer;
use super::output::{Output, write_csv};
use super::output_guard::OutputGuard;
use super::streams::OutputFile;
use super::table::{Table, WIDTH};
use crate::error::{Error, Result};
use crate::pipeline::{ChannelTable, Profile, RangeMethod, ValueRanges, layer_means, value_ranges};

#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// Profiles, in the order of their images.
    #[arg(required = true, num_args = 2..)]
    profiles: Vec<PathBuf>,
    /// Path of the profile to write; - for standard output.
    #[arg(short, long, value_name = "FILE.profile")]
    pub(super) output: OutputFile,
}

pub(super) fn merge(args: &MergeArgs, output: &Output) -> Result<Answer> {
    OutputGuard::default().read(&args.profiles).write([args.output.path()], "write the profile")?;
    let mut all = args.profiles.iter();
    let first = all.next().ok_or_else(|| Error::new("no profiles were given"))?;
    let mut whole = Profile::load(first)?;
    for path in all {
        whole.merge(&Profile::load(path)?).map_err(|e| e.file(path))?;
    }
    whole.save(args.output.path())?;
    let (count, images) = (args.profiles.len(), whole.header.images);
    output.line(format!("{count} profiles, {images} images → {}", args.output));
    output.result(&json!({ "profiles": count, "images": images, "out": args.output }));
    Ok(Answer::Yes)
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Path of the profile.
    profile: PathBuf,
    /// Write a CSV file with a row for each channel.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Writes every channel as a row; unknown values are left empty.
fn write_channels(profile: &Profile, path: &Path) -> Result<()> {
    let ChannelTable { columns, rows } = ChannelTable::new(profile);
    let head: Vec<String> = ["node", "channel"].map(str::to_owned).into_iter().chain(columns).collect();
    let rows = rows.into_iter().map(|(node, channel, values)| {
        let cells = values.into_iter().map(|n| n.map_or_else(String::new, |n| n.to_string()));
        [node, channel.to_string()].into_iter().chain(cells).collect()
    });
    write_csv(path, &head, rows)
}

pub(super) fn show(args: &ShowArgs, output: &Output) -> Result<Answer> {
    let profile = Profile::load(&args.profile)?;
    if let Some(path) = &args.csv {
        OutputGuard::default().read([&args.profile]).write([path], "write the table")?;
        write_channels(&profile, path)?;
    }
    output.line(format!(
        "{} images of {} through {}",
        profile.header.images, profile.header.data, profile.header.model
    ));
    let mut table = Table::new(&["*layer", "channels", "L1", "mean |x|", "x > 0"]);
    let means = layer_means(&profile);
    for layer in &means {
        table.row([
            layer.node.clone(),
            layer.channels.to_string(),
            format!("{:.4}", layer.l1),
            format!("{:.4}", layer.mean_abs),
            format!("{:.1} %", 100.0 * layer.frequency),
        ]);
    }
    table.lines(WIDTH).for_each(|line| output.line(line));
    let ranges = value_ranges(&profile);
    if !ranges.is_empty() {
        range_table(&ranges).lines(WIDTH).for_each(|line| output.line(line));
    }
    let layers = means.iter().map(|layer| {
        json!({
            "node": layer.node, "channels": layer.channels, "l1": layer.l1, "mean_abs": layer.mean_abs,
            "frequency": layer.frequency,
        })
    });
    output.result(&json!({
        "header": profile.header, "columns": profile.columns(), "layers": layers.collect::<Vec<_>>(),
        "values": ranges.iter().map(range_fields).collect::<Vec<_>>(),
    }));
    Ok(Answer::Yes)
}

/// Returns the ranges for 256 integers as a table.
fn range_table(ranges: &[ValueRanges]) -> Table {
    let methods = ranges.iter().map(|tensor| &tensor.asymmetric).max_by_key(|methods| methods.len());
    let methods: Vec<String> =
        methods.into_iter().flatten().map(|(method, _)| format!("by {method}")).collect();
    let head = ["*tensor", "values", "not finite"].into_iter().chain(methods.iter().map(String::as_str));
    let mut table = Table::new(&head.collect::<Vec<_>>());
    for tensor in ranges {
        let cells = (0..methods.len()).map(|method| {
            let range = tensor.asymmetric.get(method).map(|(_, range)| range);
            range.map_or_else(|| "none".to_owned(), |(low, high)| format!("{low:.4} to {high:.4}"))
        });
        let counts = [tensor.values, tensor.nan + tensor.infinite].map(|count| count.to_string());
        table.row([tensor.tensor.clone()].into_iter().chain(counts).chain(cells));
    }
    table
}

/// Returns the counts and ranges of a tensor for `--json`.
fn range_fields(tensor: &ValueRanges) -> serde_json::Value {
    let by = |methods: &[(RangeMethod, (f64, f64))]| -> serde_json::Map<String, serde_json::Value> {
        methods.iter().map(|(method, range)| (method.to_string(), json!(range))).collect()
    };
    json!({
        "tensor": tensor.tensor, "values": tensor.values, "nan": tensor.nan, "infinite": tensor.infinite,
        "min": tensor.extremes.map(|both| both.0), "max": tensor.extremes.map(|both| both.1),
        "asymmetric": by(&tensor.asymmetric), "symmetric": by(&tensor.symmetric),
    })
}
