//! The trained parameters of a network, and the graph in which they are inputs instead of constants.

use super::quantization::Quantization;
use crate::graph::facts::Facts;
use crate::graph::{Dim, Graph, GraphInput, Node, NodeId, ValueId};
use crate::plan::{BufferId, Operand, Plan};
use crate::tensor::Tensor;

/// A parameter of a network: an initializer that training changes.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The value in the graph.
    pub value: ValueId,
    /// The name of the initializer in the file.
    pub name: String,
    /// The name of the value that is an input in training: the initializer, or the numbers that integers stand for.
    pub input: String,
    /// The elements before training.
    pub initial: Tensor,
    /// The quantization, if the initializer has integers.
    pub quantization: Option<Quantization>,
    /// True for weights of layers, which decay; biases and normalizations do not.
    pub decays: bool,
    /// The layer that reads the parameter as its weights, for statistics of its filters.
    pub layer: Option<NodeId>,
}

/// A trained parameter in a plan.
pub(super) struct Trained {
    pub(super) parameter: Parameter,
    /// The buffer of the parameter's state.
    pub(super) buffer: BufferId,
    pub(super) gradient: Operand,
}

/// Returns the parameters of a network, in the order of its nodes. Facts are those of the network itself.
///
/// These are weights and biases of layers, scales and shifts of normalizations, slopes of PRelu, and constants that are
/// added to the output of a layer, one for each channel. Weights that are computed from an initializer (transposed,
/// standardized) are trained by it. Integers are trained if a DequantizeLinear without blocks reads them.
pub fn parameters(graph: &Graph, facts: &Facts) -> Vec<Parameter> {
    let mut found: Vec<Parameter> = Vec::new();
    for id in graph.nodes.ids() {
        let node = &graph.nodes[id];
        let weight = node.op.layer().map(|layer| layer.weight);
        for input in node.op.parameters().into_iter().chain(added_bias(graph, id)) {
            let Some(read) = node.inputs.get(input).copied().flatten() else { continue };
            // Integers that stand for different numbers in two places cannot be written for both.
            let quantized = Quantization::of(graph, facts, read)
                .filter(|(stored, _)| graph.consumers(*stored).len() == 1 && !graph.outputs.contains(stored));
            let source = match &quantized {
                Some(_) => {
                    facts.get(read).and_then(|fact| fact.value.as_ref()).map(|numbers| (read, numbers))
                }
                None => initializer(graph, read),
            };
            let Some((value, initial)) = source.filter(|(_, initial)| !is_neutral(node, initial)) else {
                continue;
            };
            let (stored, quantization) = quantized.map_or((value, None), |(stored, of)| (stored, Some(of)));
            let is_new = found.iter().all(|parameter| parameter.value != value);
            if initial.dtype.is_float() && !initial.is_empty() && is_new && is_trained(graph, facts, stored) {
                found.push(Parameter {
                    value,
                    name: graph.name(stored).to_owned(),
                    input: graph.name(value).to_owned(),
                    quantization,
                    initial: initial.clone(),
                    decays: weight == Some(input),
                    layer: (weight == Some(input)).then_some(id),
                });
            }
        }
    }
    found
}

/// Returns whether an InstanceNormalization has this constant only because it must have one: ones or zeros.
///
/// Exporters write GroupNormalization so, with its scale and shift in nodes that follow.
fn is_neutral(node: &Node, constant: &Tensor) -> bool {
    let all = |x: f64| constant.to_f64().iter().all(|&v| v == x);
    node.op_type == "InstanceNormalization" && (all(0.0) || all(1.0))
}

/// Returns whether all nodes that read a value may have it changed, and not as a statistic, say.
///
/// Nodes that compute constants from it pass the question on.
fn is_trained(graph: &Graph, facts: &Facts, value: ValueId) -> bool {
    graph.consumers(value).into_iter().all(|id| {
        let node = &graph.nodes[id];
        // A scale that is stored together with a bias must not change with it.
        let is_integer = node.op.dequantization(&facts.inputs(graph, id)).is_some();
        if is_integer && node.inputs.first() != Some(&Some(value)) {
            return false;
        }
        if node.outputs.iter().flatten().all(|&output| facts.is_constant(output)) {
            return node.outputs.iter().flatten().all(|&output| is_trained(graph, facts, output));
        }
        let parameters: Vec<usize> = node.op.parameters().into_iter().chain(added_bias(graph, id)).collect();
        node.inputs.iter().enumerate().all(|(at, input)| *input != Some(value) || parameters.contains(&at))
    })
}

/// Returns the initializer from which a value is computed through first inputs, with its elements.
fn initializer(graph: &Graph, mut value: ValueId) -> Option<(ValueId, &Tensor)> {
    loop {
        if let Some(constant) = &graph.values[value].constant {
            return Some((value, constant));
        }
        value = graph.nodes[graph.values[value].producer?].inputs.first().copied().flatten()?;
    }
}

/// Returns the input of an Add that holds a vector and follows a layer, as exporters write biases.
fn added_bias(graph: &Graph, id: NodeId) -> Option<usize> {
    let node = &graph.nodes[id];
    let follows_layer = |value: ValueId| {
        graph.values[value].producer.is_some_and(|made| graph.nodes[made].op.layer().is_some())
    };
    let of = |input: usize| node.inputs.get(input).copied().flatten();
    (0..2).find(|&input| {
        let constant = of(input).and_then(|value| graph.values[value].constant.as_ref());
        node.op_type == "Add"
            && constant.is_some_and(|c| c.shape.iter().filter(|&&n| n > 1).count() == 1)
            && of(1 - input).is_some_and(follows_layer)
    })
}

/// Returns the graph in which the parameters are further inputs, and the shapes of all inputs.
///
/// `shapes` are those of the graph's own inputs.
pub(super) fn with_inputs(
    graph: &Graph,
    parameters: &[Parameter],
    shapes: &[Vec<usize>],
) -> (Graph, Vec<Vec<usize>>) {
    let (mut graph, mut shapes) = (graph.clone(), shapes.to_vec());
    for parameter in parameters {
        let value = &mut graph.values[parameter.value];
        value.constant = None;
        if let Some(node) = value.producer.take() {
            graph.nodes[node].outputs.iter_mut().for_each(|output| *output = None);
        }
        let dims = parameter.initial.shape.iter().map(|&n| Dim::Fixed(n)).collect();
        let input = GraphInput::new(parameter.value, parameter.initial.dtype, dims);
        graph.inputs.push(GraphInput { batched: false, ..input });
        shapes.push(parameter.initial.shape.clone());
    }
    (graph, shapes)
}

/// Removes the parameters from the inputs of a plan; returns those that the plan uses, with their buffers.
pub(super) fn take_buffers(plan: &mut Plan, parameters: Vec<Parameter>) -> (Vec<Parameter>, Vec<BufferId>) {
    let taken = parameters.into_iter().filter_map(|parameter| {
        let at = plan.inputs.iter().position(|port| port.name == parameter.input)?;
        match plan.inputs.remove(at).place {
            Operand::Buffer(buffer) => Some((parameter, buffer)),
            Operand::Constant(_) => None,
        }
    });
    taken.unzip()
}

/// Returns the first node that turns a layer's output into an output of the network, and that layer.
///
/// The second element is the value that the layer reads: the features in front of a classifier.
pub(super) fn last_layer(graph: &Graph, facts: &Facts, output: ValueId) -> Option<(NodeId, ValueId)> {
    let mut value = output;
    loop {
        let node = graph.values[value].producer?;
        let input = graph.nodes[node].inputs.iter().flatten().copied().find(|&v| !facts.is_constant(v))?;
        if graph.nodes[node].op.layer().is_some() {
            return Some((node, input));
        }
        value = input;
    }
}
