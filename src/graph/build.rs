//! Building the graph of a flat model: resolves operators and names, and decodes weights.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::fused::{is_fusion, unfused};
use super::toposort::toposort;
use super::{Dim, Graph, GraphInput, Node, ValueId};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::Model;
use crate::onnx::attrs::{Attrs, node_label};
use crate::onnx::proto::{NodeProto, TensorShapeProto, TensorShapeProtoDimension, ValueInfoProto};
use crate::onnx::tensor::decode;
use crate::ops::{Build, MICROSOFT, NEWEST_OPSET, OpRow, Operator};
use crate::tensor::{DType, Tensor};

impl Graph {
    /// Builds the graph of a flat model.
    pub(super) fn build(model: &Model) -> Result<Self> {
        let constants = model.graph().initializer.iter().map(|t| Ok((t.name().to_owned(), decode(t)?)));
        Self::with(model, constants.collect::<Result<Vec<_>>>()?)
    }

    /// Builds the graph of a flat model with decoded initializers, by name.
    pub(super) fn with(model: &Model, constants: Vec<(String, Tensor)>) -> Result<Self> {
        let opset = model.opset();
        let proto =
            model.proto.graph.as_ref().ok_or_else(|| Error::new("the model has no graph").invalid_model())?;
        if opset > NEWEST_OPSET {
            return Err(Error::new("the opset of the model is too new")
                .with_kind(ErrorKind::Unsupported)
                .expected(format!("opset {NEWEST_OPSET} or older"))
                .got(format!("opset {opset}"))
                .remedy("export at an older opset, or use onnx.version_converter"));
        }
        if let Some(sparse) = proto.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or("", |v| v.name());
            return Err(Error::new(format!("the sparse initializer \"{name}\" is not supported"))
                .with_kind(ErrorKind::Unsupported)
                .remedy("store it as a dense tensor"));
        }
        known(&proto.node, opset)?;
        let (nodes, positions) = unfused(&proto.node, opset)?;

        let mut graph = Self::new(opset, model.path.clone());
        let mut names: HashMap<String, ValueId> = HashMap::new();
        let mut add = |graph: &mut Self, name: &str, constant: Option<Tensor>| -> ValueId {
            *names.entry(name.to_owned()).or_insert_with(|| graph.add_value(name.to_owned(), constant))
        };
        let stored: HashSet<String> = constants.iter().map(|(name, _)| name.clone()).collect();
        for (name, tensor) in constants {
            add(&mut graph, &name, Some(tensor));
        }
        for info in &proto.input {
            let is_initializer = stored.contains(info.name());
            let value = add(&mut graph, info.name(), None);
            if !is_initializer {
                graph.inputs.push(input(info, value)?);
            }
        }
        let order = toposort(&nodes)?;
        for &position in &order {
            for name in nodes[position].output.iter().filter(|o| !o.is_empty()) {
                let taken = add(&mut graph, name, None);
                if graph.values[taken].constant.is_some() || graph.inputs.iter().any(|i| i.value == taken) {
                    return Err(Error::new(format!(
                        "a node computes the value \"{name}\", which is already defined"
                    ))
                    .node(node_label(&nodes[position]))
                    .invalid_model());
                }
            }
        }
        let mut seen: HashSet<String> = HashSet::new();
        for at in order {
            let mut node = node(&nodes[at], positions[at], opset, &names)?;
            if !seen.insert(node.name.clone()) {
                // Profiles, cuts and scores identify layers by name. Names of values are unique.
                let output = node.outputs.iter().flatten().next();
                node.name = format!("{} → {}", node.name, output.map_or("", |&v| &graph.values[v].name));
            }
            graph.add_node(node);
        }
        for info in &proto.output {
            let value = names.get(info.name()).copied().ok_or_else(|| {
                Error::new(format!("no node computes the output \"{}\"", info.name())).invalid_model()
            })?;
            graph.outputs.push(value);
        }
        if graph.outputs.is_empty() {
            return Err(Error::new("the graph has no output").invalid_model());
        }
        Ok(graph)
    }
}

/// Checks that all operators are supported; the error lists all that are not.
fn known(nodes: &[NodeProto], opset: i64) -> Result<()> {
    let mut missing: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    let mut older = false;
    for node in nodes.iter().filter(|n| !is_fusion(n)) {
        let domain = if node.domain() == "ai.onnx" { "" } else { node.domain() };
        let row = OpRow::find(domain, node.op_type());
        if row.is_none_or(|row| row.history[0] > opset) {
            older |= row.is_some();
            missing.entry((domain, node.op_type())).or_default().push(node_label(node));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing
        .iter()
        .map(|((domain, op), nodes)| {
            let op = if domain.is_empty() { (*op).to_owned() } else { format!("{domain}:{op}") };
            match nodes.len() {
                1 => format!("{op} (node \"{}\")", nodes[0]),
                n => format!("{op} ({n} nodes, the first \"{}\")", nodes[0]),
            }
        })
        .collect();
    let first = missing.values().next().and_then(|nodes| nodes.first()).cloned().unwrap_or_default();
    let kinds = if list.len() == 1 { "an operator that is" } else { "operators that are" };
    let error =
        Error::new(format!("the network uses {kinds} not supported at opset {opset}: {}", list.join(", ")))
            .node(first);
    // Plugins of TensorRT (EfficientNMS_TRT, BatchedNMS_TRT, ROIAlign_TRT), which exporters of detectors append.
    if missing.keys().any(|(_, op)| op.ends_with("_TRT")) {
        let remedy = "export the network without TensorRT plugins (without end-to-end NMS), or with ONNX's NonMaxSuppression";
        return Err(error.remedy(remedy).unsupported());
    }
    let domains: Vec<&str> = missing.keys().map(|(domain, _)| *domain).collect();
    let error = match origin(&domains) {
        Some((origin, remedy)) => error.got(origin).remedy(remedy),
        None if older => error.remedy("convert the model to a newer opset with onnx.version_converter"),
        None => error,
    };
    Err(error.unsupported())
}

/// Returns where a file with operators of these domains comes from, and the remedy; `None` for the default domain.
fn origin(domains: &[&str]) -> Option<(String, &'static str)> {
    if domains.contains(&"com.microsoft.nchwc") {
        return Some((
            "a file that ONNX Runtime optimized at level \"all\", for one kind of processor".to_owned(),
            "prune the file from which it was made, or save it with \
             SessionOptions.graph_optimization_level = ORT_ENABLE_BASIC",
        ));
    }
    if domains.contains(&MICROSOFT) {
        return Some((
            "a file with operators of ONNX Runtime, of its optimizer or its quantization".to_owned(),
            "prune the file from which it was made, or save it with \
             SessionOptions.graph_optimization_level = ORT_ENABLE_BASIC",
        ));
    }
    let other = domains.iter().find(|domain| !domain.is_empty())?;
    Some((
        format!("operators of the domain \"{other}\", which the ONNX standard lacks"),
        "export the network with standard operators, or put that part outside the network",
    ))
}

fn node(proto: &NodeProto, position: usize, opset: i64, names: &HashMap<String, ValueId>) -> Result<Node> {
    let name = node_label(proto);
    let inputs = proto
        .input
        .iter()
        .map(|input| match (input.is_empty(), names.get(input)) {
            (true, _) => Ok(None),
            (false, Some(&value)) => Ok(Some(value)),
            (false, None) => {
                Err(Error::new(format!("no node computes the value \"{input}\"")).node(&name).invalid_model())
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let outputs = proto.output.iter().map(|o| names.get(o).copied().filter(|_| !o.is_empty())).collect();
    let op = operator(proto, opset).map_err(|e| {
        let located = e.at(proto.op_type(), &name);
        // Operators mark what they do not support; anything else violates the standard.
        let kind = located.kind();
        if kind == ErrorKind::InvalidInput { located.invalid_model() } else { located }
    })?;
    Ok(Node { name, op_type: proto.op_type().to_owned(), op, inputs, outputs, position })
}

pub(super) fn operator(proto: &NodeProto, opset: i64) -> Result<Arc<dyn Operator>> {
    let row = OpRow::find(proto.domain(), proto.op_type())
        .ok_or_else(|| Error::new("the operator is not supported").unsupported())?;
    let named = |list: &[String]| list.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    let inputs = named(&proto.input);
    if inputs > row.inputs {
        return Err(Error::new("the node has more inputs than the operator")
            .expected(format!("at most {}", row.inputs))
            .got(format!("{inputs}: {}", proto.input.join(", "))));
    }
    let build = Build { attrs: Attrs::new(proto), opset, outputs: named(&proto.output) };
    Ok(Arc::from((row.build)(&build)?))
}

fn input(info: &ValueInfoProto, value: ValueId) -> Result<GraphInput> {
    let name = info.name();
    let Some(tensor) = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return Err(Error::new(format!("the input \"{name}\" is not a tensor"))
            .with_kind(ErrorKind::Unsupported)
            .remedy("export the network with tensors for its inputs"));
    };
    let dtype = DType::from_onnx(tensor.elem_type()).ok_or_else(|| {
        Error::new(format!("the input \"{name}\" has a type that is not supported"))
            .with_kind(ErrorKind::Unsupported)
            .expected("floats, integers or booleans")
            .got(format!("type {}", tensor.elem_type()))
            .remedy("put the conversion to numbers outside the network")
    })?;
    let Some(shape) = &tensor.shape else {
        return Err(Error::new(format!("the input \"{name}\" has no shape"))
            .with_kind(ErrorKind::Unsupported)
            .remedy("export the network with the shape of its input"));
    };
    Ok(GraphInput::new(value, dtype, dims(shape)))
}

fn dims(shape: &TensorShapeProto) -> Vec<Dim> {
    let dim = |dim: &TensorShapeProtoDimension| match dim.dim_value {
        Some(n) if n > 0 => Dim::Fixed(usize::try_from(n).unwrap_or(usize::MAX)),
        _ => Dim::Free(dim.dim_param().to_owned()),
    };
    shape.dim.iter().map(dim).collect()
}

/// Returns the shape that a file declares for an input or output, if any.
pub fn declared(info: &ValueInfoProto) -> Option<Vec<Dim>> {
    Some(dims(info.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?))
}
