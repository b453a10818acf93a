//! Kinds of outputs: class scores, class indices, maps, or anything else.

use crate::data::metrics::classes;
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};

/// The kind of an output, by its shape and the nodes that compute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum OutputKind {
    /// A score for each class, N×K.
    Classes { classes: usize, evidence: Evidence },
    /// The index of a class, computed by ArgMax.
    Index,
    /// The index of a class for each pixel, computed by ArgMax.
    IndexMap,
    /// Values without a known meaning.
    Other,
}

/// The reason to take an output N×K for class scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Evidence {
    /// The shape alone, without other evidence.
    Shape,
    /// A linear layer at the end, as of classifiers that leave Softmax to the loss.
    Linear,
    /// A Softmax over the classes.
    Softmax,
}

/// The end of the nodes that compute a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Softmax,
    ArgMax,
    Linear,
    Other,
}

/// Words in names of outputs that are no class scores, although a linear layer computes them.
const NO_SCORES: [&str; 14] = [
    "embed",
    "feature",
    "landmark",
    "bbox",
    "box",
    "keypoint",
    "descriptor",
    "regress",
    "offset",
    "pose",
    "coord",
    "angle",
    "latent",
    "vector",
];

/// Returns the shape of an output, with a batch axis of 1 if the network takes one sample without such an axis.
pub(in super::super) fn batched_shape(graph: &Graph, facts: &Facts, output: ValueId) -> Vec<usize> {
    let shape = facts.shape(output);
    let lacks = shape.first() != Some(&1) && graph.sample_inputs().all(|input| !input.batched);
    if lacks { [&[1], shape].concat() } else { shape.to_vec() }
}

/// Returns the classes of a value, which may lack a batch axis.
fn classes_of(shape: &[usize]) -> Option<usize> {
    if let [one] = shape { classes(&[1, *one]) } else { classes(shape) }
}

/// Returns the kind of an output for a known batch size.
pub(in super::super) fn output_kind(
    graph: &Graph,
    facts: &Facts,
    (output, batch): (ValueId, usize),
) -> OutputKind {
    let shape = batched_shape(graph, facts, output);
    if shape.first() != Some(&batch) {
        return OutputKind::Other;
    }
    let found = classes(&shape);
    match (head(graph, facts, output, found, 0), found) {
        (Head::ArgMax, _) if shape[1..].iter().all(|&d| d == 1) => OutputKind::Index,
        (Head::ArgMax, _) if matches!(shape.len(), 3 | 4) => OutputKind::IndexMap,
        (Head::ArgMax, _) | (_, None) => OutputKind::Other,
        (Head::Softmax, Some(classes)) => OutputKind::Classes { classes, evidence: Evidence::Softmax },
        (head, Some(classes)) => {
            let name = graph.name(output).to_lowercase();
            let named_otherwise = NO_SCORES.iter().any(|word| name.contains(word));
            let linear = head == Head::Linear && !named_otherwise;
            let evidence = if linear { Evidence::Linear } else { Evidence::Shape };
            OutputKind::Classes { classes, evidence }
        }
    }
}

/// Returns the operator that ends an output, behind nodes that only move or convert its elements.
pub(in super::super) fn last_operator(graph: &Graph, output: ValueId) -> Option<&str> {
    let mut value = output;
    for _ in 0..graph.nodes.len() {
        let node = &graph.nodes[graph.values[value].producer?];
        match (moves(&node.op_type), node.inputs.first().copied().flatten()) {
            (true, Some(input)) => value = input,
            _ => return Some(&node.op_type),
        }
    }
    None
}

/// Returns whether the outputs are decoded boxes beside scores, by their names and the nodes that compute them.
///
/// Boxes are N×K×4 and not the end of a convolution, which would be offsets to anchors. Without facts the outputs have
/// data-dependent shapes: those of a non-maximum suppression.
pub(in super::super) fn holds_boxes(graph: &Graph, facts: Option<&Facts>) -> bool {
    let named = |value: ValueId, words: &[&str]| {
        let name = graph.name(value).to_lowercase();
        words.iter().any(|word| name.contains(word))
    };
    let is_scores = |value: ValueId| named(value, &["score", "conf"]);
    let is_boxes = |value: &ValueId| named(*value, &["box"]) && !is_scores(*value);
    let Some(facts) = facts else {
        let suppresses = graph.nodes.iter().any(|node| node.op_type == "NonMaxSuppression");
        let mut outputs = graph.outputs.iter();
        return suppresses && outputs.any(is_boxes) && graph.outputs.iter().any(|&value| is_scores(value));
    };
    let mut boxes = graph.outputs.iter().filter(|value| is_boxes(value));
    boxes.any(|&value| {
        let shape = batched_shape(graph, facts, value);
        let [_, count, 4] = shape[..] else { return false };
        let ends = ends(graph, value, 0);
        let is_decoded = !ends.iter().any(|op| matches!(*op, "Conv" | "Gemm" | "MatMul"));
        let belongs = |other: &ValueId| {
            *other != value && batched_shape(graph, facts, *other).iter().skip(1).any(|&size| size == count)
        };
        let are_shares = |other: ValueId| {
            let ends = self::ends(graph, other, 0);
            !ends.is_empty() && ends.iter().all(|op| matches!(*op, "Softmax" | "Sigmoid"))
        };
        count > 1
            && is_decoded
            && graph.outputs.iter().any(|other| belongs(other) && (is_scores(*other) || are_shares(*other)))
    })
}

/// Returns the first output of boxes if convolutions or linear layers end all of them: these are offsets to anchors.
pub(in super::super) fn undecoded_boxes<'a>(graph: &'a Graph, facts: &Facts) -> Option<&'a str> {
    let rank = |value: ValueId| batched_shape(graph, facts, value).len();
    let rows: Vec<ValueId> = graph.outputs.iter().copied().filter(|&value| rank(value) > 2).collect();
    let is_plain = |value: &ValueId| facts.shape(*value).last() == Some(&4);
    let plain: Vec<ValueId> = rows.iter().copied().filter(is_plain).collect();
    let boxes = if plain.is_empty() { rows } else { plain };
    let is_raw =
        |&value: &ValueId| ends(graph, value, 0).iter().any(|op| matches!(*op, "Conv" | "Gemm" | "MatMul"));
    boxes.first().filter(|_| boxes.iter().all(is_raw)).map(|&value| graph.name(value))
}

/// Returns the operators that end a value, behind nodes that move, join or split elements.
fn ends(graph: &Graph, value: ValueId, depth: usize) -> Vec<&str> {
    const DEEPEST: usize = 16;
    let Some(node) = graph.values[value].producer.map(|id| &graph.nodes[id]) else { return vec![] };
    let inputs = match node.op_type.as_str() {
        "Concat" => node.inputs.len(),
        op if moves(op) || matches!(op, "Slice" | "Split" | "Gather") => 1,
        _ => 0,
    };
    if inputs == 0 || depth == DEEPEST {
        return vec![&node.op_type];
    }
    node.inputs.iter().take(inputs).flatten().flat_map(|&input| ends(graph, input, depth + 1)).collect()
}

fn moves(op: &str) -> bool {
    matches!(
        op,
        "Identity"
            | "Cast"
            | "Dropout"
            | "Reshape"
            | "Flatten"
            | "Squeeze"
            | "Unsqueeze"
            | "Transpose"
            | "DequantizeLinear"
            | "QuantizeLinear"
    )
}

/// Returns the head of a value with so many classes.
fn head(graph: &Graph, facts: &Facts, value: ValueId, found: Option<usize>, depth: usize) -> Head {
    const DEEPEST: usize = 32;
    let Some(node) = graph.values[value].producer.filter(|_| depth < DEEPEST).map(|id| &graph.nodes[id])
    else {
        return Head::Other;
    };
    let input = |at: usize| node.inputs.get(at).copied().flatten();
    let next = |value: Option<ValueId>| {
        value.map_or(Head::Other, |value| head(graph, facts, value, found, depth + 1))
    };
    match node.op_type.as_str() {
        op if moves(op) => next(input(0)),
        // A softmax over other groups than the classes, such as pairs of boxes, proves nothing.
        "Softmax" | "LogSoftmax" if found.is_some() && classes_of(facts.shape(value)) == found => {
            Head::Softmax
        }
        "ArgMax" => Head::ArgMax,
        "Gemm" | "MatMul" | "Conv" | "QLinearMatMul" | "QLinearConv" | "MatMulInteger" | "ConvInteger"
        | "QGemm" | "FusedGemm" | "FusedMatMul" | "FusedConv" | "Einsum" => Head::Linear,
        // The mean of the scores of frames.
        "ReduceMean" if input(0).and_then(|value| last_operator(graph, value)) == Some("Gemm") => {
            Head::Linear
        }
        "GlobalAveragePool" | "AveragePool" | "ReduceMean" | "GlobalMaxPool" | "MaxPool" => {
            pooled(graph, input(0))
        }
        "Add" | "Sub" | "Mul" | "Div" => {
            let constant = |at: usize| {
                input(at).is_some_and(|v| facts.is_constant(v) || graph.values[v].constant.is_some())
            };
            match (constant(0), constant(1)) {
                (false, true) => next(input(0)),
                (true, false) if matches!(node.op_type.as_str(), "Add" | "Mul") => next(input(1)),
                // The sum of two heads.
                (false, false) if node.op_type == "Add" => match (next(input(0)), next(input(1))) {
                    (Head::Linear, Head::Linear) => Head::Linear,
                    _ => Head::Other,
                },
                _ => Head::Other,
            }
        }
        _ => Head::Other,
    }
}

/// Returns the head of a pooled value: a convolution, possibly with Relu, as of SqueezeNet and Network in Network.
///
/// Other nodes there, such as a sum of branches, are the end of a network whose classifier was cut off.
fn pooled(graph: &Graph, value: Option<ValueId>) -> Head {
    let producer = |value: ValueId| graph.values[value].producer.map(|id| &graph.nodes[id]);
    let Some(node) = value.and_then(producer) else { return Head::Other };
    let is_conv = |op: &str| matches!(op, "Conv" | "QLinearConv" | "FusedConv");
    let before = node.inputs.first().copied().flatten().and_then(producer);
    let behind_relu = node.op_type == "Relu" && before.is_some_and(|node| is_conv(&node.op_type));
    if is_conv(&node.op_type) || behind_relu { Head::Linear } else { Head::Other }
}
