//! `secateur inspect`: layers, knots, blocks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Answer;
use super::output::{Output, grouped, short};
use crate::error::Result;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::Channels;
use crate::stats::layers;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The ONNX file.
    model: PathBuf,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Answer> {
    let model = Model::load(&args.model)?;
    let graph = Graph::of(&model)?;
    let channels = Channels::of(&graph)?;
    let facts = &channels.facts;
    let (macs, params) = channels.cost(&channels.lengths());
    let ports = |values: Vec<usize>| -> Vec<Value> {
        values.iter().map(|&v| json!({ "name": graph.name(v), "shape": facts.shape(v) })).collect()
    };
    let inputs: Vec<Value> = graph
        .inputs
        .iter()
        .map(|i| {
            let dims: Vec<Value> = i
                .dims
                .iter()
                .map(|d| match d {
                    crate::graph::Dim::Fixed(n) => json!(n),
                    crate::graph::Dim::Free(name) => json!(name),
                })
                .collect();
            json!({ "name": graph.name(i.value), "shape": dims })
        })
        .collect();
    output.line(format!(
        "{}  opset {}  {} parameters  {} MACs an image",
        args.model.display(),
        graph.opset,
        grouped(params),
        grouped(macs)
    ));
    let mut of_layer: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for knot in &channels.knots {
        for &(node, _) in &knot.members {
            let ids = of_layer.entry(node).or_default();
            if ids.last() != Some(&knot.id) {
                ids.push(knot.id);
            }
        }
    }
    output
        .line(format!("{:<34} {:>9} {:>6} {:>6} {:>9} {:>9}", "layer", "op", "in", "out", "params", "MACs"));
    let mut list = Vec::new();
    for taps in layers(&graph, facts) {
        let node = &graph.nodes[taps.node];
        let weight = facts.shape(taps.weight);
        let out_channels = taps.layer.out_channels(weight);
        let elements: usize = weight.iter().product();
        let is_conv = node.op_type.starts_with("Conv");
        let kernel: &[usize] = if is_conv { &weight[2..] } else { &[] };
        let reads = elements / out_channels.max(1) / kernel.iter().product::<usize>().max(1);
        let bias = node.inputs.get(2).copied().flatten().map_or(0, |v| facts.shape(v).iter().product());
        let cost = node.op.macs(&facts.inputs(&graph, taps.node), &facts.outputs(&graph, taps.node));
        let in_channels = reads * taps.layer.groups;
        output.line(format!(
            "{:<34} {:>9} {in_channels:>6} {out_channels:>6} {:>9} {:>9}",
            node.name,
            node.op_type,
            short((elements + bias) as u64),
            short(cost)
        ));
        list.push(json!({
            "name": node.name, "op": node.op_type, "in_channels": in_channels, "out_channels": out_channels,
            "kernel": kernel, "groups": taps.layer.groups, "params": elements + bias, "macs": cost,
            "knots": of_layer.get(&taps.node),
        }));
    }
    let knots: Vec<Value> = channels
        .knots
        .iter()
        .map(|knot| {
            let members: Vec<Value> = knot
                .members
                .iter()
                .map(|&(n, c)| json!({ "node": graph.nodes[n].name, "axis": 1, "channel": c }))
                .collect();
            let blocked = knot.block.as_ref().map(|b| json!({ "node": b.node, "reason": b.reason }));
            json!({ "id": knot.id, "channels": knot.members.len(), "members": members, "blocked": blocked })
        })
        .collect();
    let free = channels.knots.iter().filter(|k| k.block.is_none()).count();
    output.line(format!("{} knots, {free} of them may go", channels.knots.len()));
    let mut reasons: BTreeMap<(String, String), usize> = BTreeMap::new();
    for block in channels.knots.iter().filter_map(|k| k.block.as_ref()) {
        *reasons.entry((block.node.clone(), block.reason.clone())).or_default() += 1;
    }
    for ((node, reason), count) in reasons {
        output.line(format!("  {count} blocked: {node} {reason}"));
    }
    output.result(&json!({
        "model": args.model, "opset": graph.opset, "params": params, "macs": macs,
        "inputs": inputs, "outputs": ports(graph.outputs.clone()), "layers": list, "knots": knots,
    }));
    Ok(Answer::Yes)
}
