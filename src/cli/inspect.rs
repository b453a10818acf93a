//! `secateur inspect`: layers, coupled channels, and what blocks them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Answer;
use super::input_args::InputArgs;
use super::output::{Output, grouped, shape, short};
use super::progress::{ANALYZING, LOADING};
use super::results::of_channels;
use super::table::{Table, WIDTH, shortened, wrapped};
use crate::error::Result;
use crate::pipeline::{CoupledSummary, GroupSummary, Network, NetworkSummary};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    #[command(flatten)]
    inputs: InputArgs,
    /// Also analyze channels that `plan --inexact` can remove.
    ///
    /// The result names the nodes at which they mix.
    #[arg(long)]
    inexact: bool,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Answer> {
    let model = output.busy(LOADING, || args.inputs.load(&args.model, None))?;
    let summary = output.busy(ANALYZING, || Network::from_file(model, args.inexact))?.summary();
    let image = summary.image.as_ref().map_or_else(String::new, |image| format!(" of {}", shape(image)));
    output.line(format!(
        "{}  opset {}  {} parameters  {} MACs an image{image}",
        args.model.display(),
        summary.opset,
        grouped(summary.cost.params),
        grouped(summary.cost.macs)
    ));
    if let Some(stamp) = &summary.stamp {
        output.line(format!(
            "pruned by Secateur {} from the model {}: {}, {}, repair {}",
            stamp.version,
            stamp.original.get(..12).unwrap_or(&stamp.original),
            stamp.criterion,
            stamp.budget,
            stamp.repair
        ));
    }
    print_layers(&summary, output);
    print_coupled(&summary, output);
    if let (Some(first), Some(last)) = (summary.inexact.first(), summary.inexact.last()) {
        output.line(format!(
            "inexact: channels that may be removed mix with others at {} nodes, {first} to {last}",
            summary.inexact.len()
        ));
    }
    output.result(&json!({
        "model": args.model, "opset": summary.opset, "params": summary.cost.params, "macs": summary.cost.macs,
        "inputs": summary.inputs.iter().map(|(n, s)| json!({ "name": n, "shape": s })).collect::<Vec<_>>(),
        "outputs": summary.outputs.iter().map(|(n, s)| json!({ "name": n, "shape": s })).collect::<Vec<_>>(),
        "layers": summary.layers, "coupled": summary.coupled.iter().map(coupled).collect::<Vec<_>>(),
        "host_nodes": summary.host_nodes, "inexact": summary.inexact, "stamp": summary.stamp,
    }));
    Ok(Answer::Yes)
}

fn print_layers(summary: &NetworkSummary, output: &Output) {
    let mut table = Table::new(&["*layer", "op", "in", "out", "params", "MACs"]);
    for layer in &summary.layers {
        table.row([
            layer.name.clone(),
            layer.op.clone(),
            layer.in_channels.to_string(),
            layer.out_channels.to_string(),
            short(layer.params),
            short(layer.macs),
        ]);
    }
    table.lines(WIDTH).for_each(|line| output.line(line));
    if let Some(first) = summary.host_nodes.first() {
        output.line(format!(
            "{} nodes from {first} on run on the host: their shapes depend on data (their MACs are not counted)",
            summary.host_nodes.len()
        ));
    }
}

/// Prints the dependency groups: coupled layers, their sets of channels, and what blocks them.
fn print_coupled(summary: &NetworkSummary, output: &Output) {
    const NAMED: usize = 3;
    /// The width of a layer's name.
    const NAME: usize = 16;
    let channels = |free: bool| -> (usize, usize) {
        let sets = summary.coupled.iter().filter(|coupled| !free || coupled.blocked.is_none());
        sets.fold((0, 0), |(channels, sets), coupled| (channels + coupled.members.len(), sets + 1))
    };
    output.line(format!("\n{} may be removed", of_channels(channels(true), channels(false))));
    let mut table = Table::new(&["channels", "sets", "<", "*coupled layers"]);
    for GroupSummary { layers, coupled, channels, blocked } in &summary.groups {
        let more = layers.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let verdict = if blocked.is_some() { "blocked" } else { "removable" };
        let names =
            layers.iter().take(NAMED).map(|name| shortened(name, NAME)).collect::<Vec<_>>().join(", ");
        let all = coupled * channels;
        table.row([all.to_string(), coupled.to_string(), verdict.to_owned(), names + &more]);
    }
    let mut lines = table.lines(WIDTH);
    lines.next().into_iter().for_each(|titles| output.line(titles));
    for (line, group) in lines.zip(&summary.groups) {
        output.line(line);
        let reason = group.blocked.as_ref().map(|(node, reason)| format!("{node} {reason}"));
        reason.iter().flat_map(|reason| wrapped(reason, 8)).for_each(|line| output.line(line));
    }
}

fn coupled(CoupledSummary { id, members, blocked }: &CoupledSummary) -> Value {
    let channels = members.len();
    let members: Vec<Value> = members
        .iter()
        .map(|(node, channel)| json!({ "node": node, "axis": 1, "channel": channel }))
        .collect();
    let blocked = blocked.as_ref().map(|(node, reason)| json!({ "node": node, "reason": reason }));
    json!({ "id": id, "channels": channels, "members": members, "blocked": blocked })
}
