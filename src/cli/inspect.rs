//! `secateur inspect`: layers, coupled, blocks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Answer;
use super::output::{Output, grouped, short};
use crate::error::Result;
use crate::graph::{Dim, Graph, declared};
use crate::onnx::Model;
use crate::prune::Channels;
use crate::report::network::{DependencyGroup, LayerSize, dependency_groups, sizes};
use crate::tensor::show;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The ONNX file.
    model: PathBuf,
    /// Shows the coupled that `plan --inexact` decides on, and where their channels would mix.
    #[arg(long)]
    inexact: bool,
}

/// Knots as people think of them: the layers that are tied, how many coupled they share, what blocks them.
fn tell_coupled(graph: &Graph, channels: &Channels, output: &Output) {
    let free = channels.coupled.iter().filter(|k| k.block.is_none()).count();
    output.line(format!("\n{} coupled, {free} of them may go", channels.coupled.len()));
    output.line(format!("{:>6} {:>6}  {:<8}  tied layers", "coupled", "each", ""));
    const NAMED: usize = 3;
    for DependencyGroup { nodes, coupled, each, block } in dependency_groups(channels) {
        let names: Vec<&str> = nodes.iter().take(NAMED).map(|&n| graph.nodes[n].name.as_str()).collect();
        let more = nodes.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let verdict = if block.is_some() { "blocked" } else { "may go" };
        let coupled = coupled.len();
        output.line(format!("{coupled:>6} {each:>6}  {verdict:<8}  {}{more}", names.join(", ")));
        if let Some(block) = block {
            output.line(format!("{:>24}{} {}", "", block.node, block.reason));
        }
    }
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Answer> {
    let model = Model::load(&args.model)?;
    let graph = Graph::from_model(&model)?;
    let channels = Channels::analyze(&graph, args.inexact)?;
    let facts = &channels.facts;
    let (macs, params) = channels.cost(&channels.lengths());
    let size = |dim: &Dim| match dim {
        Dim::Fixed(n) => json!(n),
        Dim::Free(name) => json!(name),
    };
    let infos = || model.proto.graph.iter().flat_map(|g| &g.output);
    let output_of = |&v: &usize| {
        let name = graph.name(v);
        let dims = infos().filter(|info| info.name() == name).find_map(declared);
        // A shape that is known only at run time is null.
        let shape = facts.get(v).map(|fact| -> Vec<Value> {
            let dims = dims.filter(|dims| dims.len() == fact.shape.len()).unwrap_or_default();
            // What the file gives a name is free.
            let named =
                |axis| dims.get(axis).filter(|dim| matches!(dim, Dim::Free(name) if !name.is_empty()));
            fact.shape
                .iter()
                .enumerate()
                .map(|(axis, n)| named(axis).map_or_else(|| json!(n), size))
                .collect()
        });
        json!({ "name": name, "shape": shape })
    };
    let outputs: Vec<Value> = graph.outputs.iter().map(output_of).collect();
    let inputs: Vec<Value> = graph
        .inputs
        .iter()
        .map(|i| {
            let dims: Vec<Value> = i.dims.iter().map(size).collect();
            json!({ "name": graph.name(i.value), "shape": dims })
        })
        .collect();
    let image = match &facts.input_shapes[..] {
        [shape] if shape.len() > 1 => format!(" of {}", show(&shape[1..])),
        _ => String::new(),
    };
    output.line(format!(
        "{}  opset {}  {} parameters  {} MACs an image{image}",
        args.model.display(),
        graph.opset,
        grouped(params),
        grouped(macs)
    ));
    let mut of_layer: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for set in &channels.coupled {
        for &(node, _) in &set.members {
            let ids = of_layer.entry(node).or_default();
            if ids.last() != Some(&set.id) {
                ids.push(set.id);
            }
        }
    }
    output
        .line(format!("{:<34} {:>9} {:>6} {:>6} {:>9} {:>9}", "layer", "op", "in", "out", "params", "MACs"));
    let mut list = Vec::new();
    for LayerSize { taps, inputs, outputs, kernel, params, macs } in sizes(&graph, facts) {
        let node = &graph.nodes[taps.node];
        output.line(format!(
            "{:<34} {:>9} {inputs:>6} {outputs:>6} {:>9} {:>9}",
            node.name,
            node.op_type,
            short(params),
            short(macs)
        ));
        list.push(json!({
            "name": node.name, "op": node.op_type, "in_channels": inputs, "out_channels": outputs,
            "kernel": kernel, "groups": taps.layer.groups, "params": params, "macs": macs,
            "coupled": of_layer.get(&taps.node),
        }));
    }
    let coupled: Vec<Value> = channels
        .coupled
        .iter()
        .map(|set| {
            let members: Vec<Value> = set
                .members
                .iter()
                .map(|&(n, c)| json!({ "node": graph.nodes[n].name, "axis": 1, "channel": c }))
                .collect();
            let blocked = set.block.as_ref().map(|b| json!({ "node": b.node, "reason": b.reason }));
            json!({ "id": set.id, "channels": set.members.len(), "members": members, "blocked": blocked })
        })
        .collect();
    let host: Vec<&str> = (0..graph.nodes.len())
        .filter(|&id| facts.is_data_dependent_node(&graph, id))
        .map(|id| graph.nodes[id].name.as_str())
        .collect();
    if let Some(first) = host.first() {
        output.line(format!(
            "{} nodes from {first} on run on the host: their shapes are known only at run time (no MACs counted)",
            host.len()
        ));
    }
    tell_coupled(&graph, &channels, output);
    let free = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id).collect();
    let mixing = channels.inexact(&graph, &free);
    if let (Some(first), Some(last)) = (mixing.first(), mixing.last()) {
        output.line(format!(
            "inexact: channels that may go mix with others at {} nodes, {first} to {last}",
            mixing.len()
        ));
    }
    output.result(&json!({
        "model": args.model, "opset": graph.opset, "params": params, "macs": macs,
        "inputs": inputs, "outputs": outputs, "layers": list, "coupled": coupled,
        "host_nodes": host,
        "inexact": mixing,
    }));
    Ok(Answer::Yes)
}
