//! Flattening: inlines local functions and replaces every `If` by the branch that is taken.
//!
//! The condition of an `If` must be constant. Models without functions and branches are not copied. Flattening is
//! deterministic, so that positions of nodes are comparable; a pruned model is written flat.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::facts::Facts;
use super::inputs::takes_first_axis;
use super::toposort::toposort;
use super::{Graph, Sizes};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::Model;
use crate::onnx::attrs::node_label;
use crate::onnx::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, ValueInfoProto};

/// The most nodes after flattening, because nested function calls multiply nodes exponentially.
const MOST_NODES: usize = 1 << 20;
/// The deepest nesting of functions or branches.
const MOST_DEPTH: usize = 64;

/// Returns the model with functions inlined and branches resolved.
///
/// # Errors
/// A recursive function, a function of another operator set, or an `If` whose condition is not constant.
pub fn flatten(model: &Model) -> Result<Cow<'_, Model>> {
    let nodes = &model.graph().node;
    let called = |n: &NodeProto| find(&model.proto.functions, n).is_some();
    if !nodes.iter().any(|n| called(n) || n.op_type() == "If") {
        return Ok(Cow::Borrowed(model));
    }
    let mut flat = model.clone();
    inline_functions(&mut flat)?;
    choose_branches(&mut flat)?;
    Ok(Cow::Owned(flat))
}

fn find<'a>(functions: &'a [FunctionProto], node: &NodeProto) -> Option<&'a FunctionProto> {
    functions.iter().find(|f| {
        f.name() == node.op_type() && f.domain() == node.domain() && f.overload() == node.overload()
    })
}

fn inline_functions(model: &mut Model) -> Result<()> {
    let functions = std::mem::take(&mut model.proto.functions);
    let opset = model.opset();
    for depth in 0.. {
        let graph = model.graph_mut();
        if !graph.node.iter().any(|n| find(&functions, n).is_some()) {
            break;
        }
        let mut nodes = Vec::new();
        for (position, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
            let Some(function) = find(&functions, &node) else {
                nodes.push(node);
                continue;
            };
            let label = node_label(&node);
            if depth >= MOST_DEPTH || nodes.len() + function.node.len() > MOST_NODES {
                return Err(Error::new(format!(
                    "the function {} is recursive or calls too many others",
                    function.name()
                ))
                // Names of inlined nodes contain the path of calls.
                .node(label.split('#').next().unwrap_or_default())
                .invalid_model());
            }
            let own = function.opset_import.iter().find(|o| matches!(o.domain(), "" | "ai.onnx"));
            if let Some(own) = own.filter(|o| o.version() != opset) {
                return Err(Error::new(format!(
                    "the function {} uses another operator set than the model",
                    function.name()
                ))
                .with_kind(ErrorKind::Unsupported)
                .node(label)
                .expected(format!("opset {opset}"))
                .got(format!("opset {}", own.version()))
                .remedy("export the model with one operator set"));
            }
            nodes.extend(body(function, &node, &format!("{label}#{depth}.{position}/")));
        }
        graph.node = nodes;
    }
    Ok(())
}

/// Returns the nodes of a function for one call; names of inner values get a prefix.
fn body(function: &FunctionProto, call: &NodeProto, prefix: &str) -> Vec<NodeProto> {
    let mut names: HashMap<&str, String> = HashMap::new();
    let pairs = |formal: &'_ [String], actual: &'_ [String]| -> Vec<(String, String)> {
        let given = actual.iter().cloned().chain(std::iter::repeat(String::new()));
        formal.iter().cloned().zip(given).collect()
    };
    let inputs = pairs(&function.input, &call.input);
    let outputs = pairs(&function.output, &call.output);
    for (formal, actual) in &inputs {
        names.insert(formal, actual.clone());
    }
    for (formal, actual) in outputs.iter().filter(|(_, actual)| !actual.is_empty()) {
        names.insert(formal, actual.clone());
    }
    let attribute = |name: &str| {
        let given = call.attribute.iter().find(|a| a.name() == name);
        given.or_else(|| function.attribute_proto.iter().find(|a| a.name() == name))
    };
    let mut nodes: Vec<NodeProto> = function.node.clone();
    for node in &mut nodes {
        node.name = Some(format!("{prefix}{}", node_label(node)));
        substitute(node, &attribute);
        rename(node, &|name| match names.get(name) {
            Some(actual) => actual.clone(),
            None => format!("{prefix}{name}"),
        });
    }
    // An output of a function may be one of the inputs.
    for (formal, actual) in &outputs {
        if let Some((_, source)) = inputs.iter().find(|(input, _)| input == formal) {
            nodes.push(identity(source, actual));
        }
    }
    nodes
}

fn identity(from: &str, to: &str) -> NodeProto {
    NodeProto {
        op_type: Some("Identity".to_owned()),
        name: Some(format!("{to}/Identity")),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        ..NodeProto::default()
    }
}

/// Replaces the parameters of a function by the attributes of the call; removes those without a value.
fn substitute<'a>(node: &mut NodeProto, attribute: &dyn Fn(&str) -> Option<&'a AttributeProto>) {
    node.attribute.retain_mut(|a| {
        if !a.ref_attr_name().is_empty() {
            let Some(actual) = attribute(a.ref_attr_name()) else { return false };
            *a = AttributeProto { name: a.name.take(), ..actual.clone() };
        }
        for graph in a.g.as_deref_mut().into_iter().chain(&mut a.graphs) {
            graph.node.iter_mut().for_each(|n| substitute(n, attribute));
        }
        true
    });
}

/// Renames the inputs and outputs of a node, including those in its subgraphs.
fn rename(node: &mut NodeProto, name: &dyn Fn(&str) -> String) {
    for value in node.input.iter_mut().chain(&mut node.output).filter(|v| !v.is_empty()) {
        *value = name(value);
    }
    for attribute in &mut node.attribute {
        for graph in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
            let infos = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
            for info in infos {
                info.name = Some(name(info.name()));
            }
            for tensor in &mut graph.initializer {
                tensor.name = Some(name(tensor.name()));
            }
            graph.node.iter_mut().for_each(|n| rename(n, name));
        }
    }
}

fn choose_branches(model: &mut Model) -> Result<()> {
    for round in 0.. {
        let graph = model.graph();
        let order = toposort(&graph.node)?;
        // The first in topological order does not depend on another `If`.
        let Some(&position) = order.iter().find(|&&p| graph.node[p].op_type() == "If") else { break };
        let node = graph.node[position].clone();
        if round >= MOST_NODES {
            return Err(Error::new("branches are nested too deeply").node(node_label(&node)).unsupported());
        }
        let truth = condition(model, &node).map_err(|e| e.node(node_label(&node)))?;
        let name = if truth { "then_branch" } else { "else_branch" };
        let branch = node.attribute.iter().find(|a| a.name() == name).and_then(|a| a.g.as_deref());
        let branch = branch.cloned().ok_or_else(|| {
            Error::new(format!("an If lacks the {name}")).node(node_label(&node)).invalid_model()
        })?;
        let graph = model.graph_mut();
        let (nodes, initializers) = taken(branch, &node, &format!("{}#{round}/", node_label(&node)));
        graph.node.splice(position..=position, nodes);
        graph.initializer.extend(initializers);
        remove_unread(graph, node.input.first().map_or("", String::as_str));
    }
    Ok(())
}

/// Returns the nodes and initializers of a branch, renamed to compute the outputs of the `If`.
fn taken(
    mut branch: GraphProto,
    node: &NodeProto,
    prefix: &str,
) -> (Vec<NodeProto>, Vec<crate::onnx::proto::TensorProto>) {
    let own: HashSet<String> = branch
        .node
        .iter()
        .flat_map(|n| n.output.iter().cloned())
        .chain(branch.initializer.iter().map(|t| t.name().to_owned()))
        .collect();
    let results: Vec<(String, String)> =
        branch.output.iter().map(|o| o.name().to_owned()).zip(node.output.iter().cloned()).collect();
    let name = |name: &str| if own.contains(name) { format!("{prefix}{name}") } else { name.to_owned() };
    for inner in &mut branch.node {
        inner.name = Some(format!("{prefix}{}", node_label(inner)));
        rename(inner, &name);
    }
    for tensor in &mut branch.initializer {
        tensor.name = Some(name(tensor.name()));
    }
    let outputs = results.iter().filter(|(_, to)| !to.is_empty());
    branch.node.extend(outputs.map(|(from, to)| identity(&name(from), to)));
    (branch.node, branch.initializer)
}

/// Evaluates the condition of an `If` on the part of the graph that computes it.
fn condition(model: &Model, node: &NodeProto) -> Result<bool> {
    let graph = model.graph();
    let wanted = node.input.first().cloned().unwrap_or_default();
    let producer: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(at, n)| n.output.iter().map(move |o| (o.as_str(), at)))
        .collect();
    let (mut needed, mut open) = (HashSet::new(), vec![wanted.as_str()]);
    while let Some(name) = open.pop() {
        if let Some(&at) = producer.get(name)
            && needed.insert(at)
        {
            open.extend(graph.node[at].input.iter().map(String::as_str));
        }
    }
    let read: HashSet<&str> =
        needed.iter().flat_map(|&at| graph.node[at].input.iter().map(String::as_str)).collect();
    let mut part = model.clone();
    let nodes = graph.node.iter().enumerate().filter(|(at, _)| needed.contains(at));
    let kept = GraphProto {
        node: nodes.map(|(_, n)| n.clone()).collect(),
        initializer: graph
            .initializer
            .iter()
            .filter(|t| read.contains(t.name()) || t.name() == wanted)
            .cloned()
            .collect(),
        input: graph.input.clone(),
        output: vec![ValueInfoProto { name: Some(wanted.clone()), ..ValueInfoProto::default() }],
        ..GraphProto::default()
    };
    part.proto.graph = Some(kept);
    let part = Graph::build(&part)?.bind(&part.bindings)?;
    let unknown = || {
        Error::new("an If whose condition depends on computed elements is not supported")
            .with_kind(ErrorKind::Unsupported)
            .expected("a condition that follows from constants and shapes")
            .got(format!("\"{wanted}\""))
            .remedy(match part.sample_inputs().next() {
                Some(input) => format!(
                    "fix the value of the input that decides, as in `input` {}=1; or export the network by tracing",
                    part.name(input.value)
                ),
                None => "export the network by tracing, or with the option decided (PyTorch: torch.export)".to_owned(),
            })
    };
    let truth = |facts: &Facts| -> Option<bool> {
        let value = facts.get(*part.outputs.first()?)?.value.as_ref()?.to_f64();
        value.first().map(|&v| v != 0.0)
    };
    let answer = truth(&Facts::at_own_size(&part)?).ok_or_else(unknown)?;
    // A network that accepts any batch size must take one branch for all of them.
    if takes_first_axis(&part) {
        let shapes = part.input_shapes(Some(2), &Sizes::Own)?;
        if truth(&Facts::infer(&part, &shapes)?) != Some(answer) {
            return Err(unknown());
        }
    }
    Ok(answer)
}

/// Removes the nodes and initializers that only the unused value `name` depends on.
fn remove_unread(graph: &mut GraphProto, name: &str) {
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        let in_subgraph = |n: &NodeProto| n.attribute.iter().any(|a| a.g.is_some());
        let read = graph.node.iter().any(|n| n.input.contains(&name) || in_subgraph(n))
            || graph.output.iter().any(|o| o.name() == name);
        if read {
            continue;
        }
        graph.initializer.retain(|t| t.name() != name);
        if let Some(at) = graph.node.iter().position(|n| n.output.contains(&name))
            && graph.node[at].output.iter().all(|o| o.is_empty() || *o == name)
        {
            open.extend(graph.node.remove(at).input);
        }
    }
}
