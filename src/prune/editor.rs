//! Edits of an ONNX message: constants, node inputs and attributes, declared shapes.
//!
//! Nodes and initializers that become unused are removed. Everything else keeps its bytes.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::graph::flatten::flatten;
use crate::onnx::attrs::{set_int, set_ints};
use crate::onnx::proto::{GraphProto, ModelProto, TensorProto, TensorShapeProtoDimension, ValueInfoProto};
use crate::onnx::tensor::encode;
use crate::onnx::{Model, declaration};
use crate::ops::{Edit, Kept};
use crate::tensor::Tensor;

/// Returns a model whose constants are replaced, by name, and inputs of nodes, by the node's position; no shape changes.
///
/// # Errors
/// A model whose functions and branches cannot be flattened.
pub fn with_constants<'a>(
    model: &Model,
    constants: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
    inputs: impl IntoIterator<Item = ((usize, usize), &'a Tensor)>,
) -> Result<Model> {
    let mut changed = flatten(model)?.into_owned();
    let mut editor = Editor::new(&mut changed.proto);
    for (name, tensor) in constants {
        editor.constant(name, encode(name, tensor));
    }
    for ((position, input), tensor) in inputs {
        match editor.own_initializer(position, input) {
            Some(name) => editor.constant(&name, encode(&name, tensor)),
            None => editor.input(position, input, tensor),
        }
    }
    editor.finish();
    Ok(changed)
}

/// An editor of one model message.
pub(crate) struct Editor<'a> {
    graph: &'a mut GraphProto,
    /// True up to IR version 3, in which every initializer is listed as an input.
    listed: bool,
    /// Values whose producer is replaced by an initializer.
    replaced: HashSet<String>,
    touched: bool,
    initializers: HashMap<String, usize>,
    /// The names of all values.
    names: HashSet<String>,
    /// The values that nodes used before the edits.
    used_before: HashSet<String>,
}

impl<'a> Editor<'a> {
    pub(crate) fn new(proto: &'a mut ModelProto) -> Self {
        let listed = proto.ir_version() < 4;
        let graph = proto.graph.get_or_insert_default();
        let initializers =
            graph.initializer.iter().enumerate().map(|(i, t)| (t.name().to_owned(), i)).collect();
        let (names, used_before) = (value_names(graph), used_names(graph));
        Self { graph, listed, replaced: HashSet::new(), touched: false, initializers, names, used_before }
    }

    /// Returns the initializer that a node reads as this input, if nothing else reads it.
    fn own_initializer(&self, position: usize, input: usize) -> Option<String> {
        let name = self.graph.node.get(position)?.input.get(input)?;
        let uses = self.graph.node.iter().flat_map(|node| &node.input).filter(|other| *other == name).count();
        let is_output = self.graph.output.iter().any(|output| output.name() == name);
        (uses == 1 && !is_output && self.initializers.contains_key(name)).then(|| name.clone())
    }

    /// Makes the value `name` a constant.
    pub(crate) fn constant(&mut self, name: &str, tensor: TensorProto) {
        self.touched = true;
        if let Some(&at) = self.initializers.get(name) {
            self.graph.initializer[at] = tensor;
            return;
        }
        self.replaced.insert(name.to_owned());
        if self.listed {
            self.graph.input.push(declaration(name, &tensor));
        }
        self.initializers.insert(name.to_owned(), self.graph.initializer.len());
        self.graph.initializer.push(tensor);
    }

    /// Applies an operator's edit to the node at `position`.
    pub(crate) fn edit(&mut self, position: usize, edit: Edit) {
        self.touched = true;
        let node = &mut self.graph.node[position];
        let (input, tensor) = match edit {
            Edit::Int(name, value) => return set_int(node, name, value),
            Edit::Ints(name, values) => return set_ints(node, name, &values),
            Edit::Remove(name) => return node.attribute.retain(|a| a.name() != name),
            Edit::Omit(input) => {
                node.input[input].clear();
                return;
            }
            Edit::Input(input, values) => (input, Tensor::int(&[values.len()], values)),
            Edit::Scalar(input, value) => (input, Tensor::int(&[], vec![value])),
        };
        self.input(position, input, &tensor);
    }

    /// Replaces input `input` of the node at `position` by a new constant.
    pub(crate) fn input(&mut self, position: usize, input: usize, tensor: &Tensor) {
        self.touched = true;
        let node = &self.graph.node[position];
        let base = node.output.first().cloned().unwrap_or_default();
        let mut name = format!("{base}_input{input}");
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        let node = &mut self.graph.node[position];
        if node.input.len() <= input {
            node.input.resize(input + 1, String::new());
        }
        node.input[input].clone_from(&name);
        let tensor = encode(&name, tensor);
        self.constant(&name, tensor);
    }

    /// Adjusts the declared shape of the value `name`.
    pub(crate) fn shape(&mut self, name: &str, kept: &Kept) {
        if kept.iter().all(Option::is_none) {
            return;
        }
        let infos = self.graph.value_info.iter_mut().chain(&mut self.graph.input);
        for info in infos.filter(|i| i.name() == name) {
            let shape =
                info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).and_then(|t| t.shape.as_mut());
            for (dim, kept) in shape.into_iter().flat_map(|s| &mut s.dim).zip(kept) {
                if let (Some(kept), Some(_)) = (kept, dim.dim_value) {
                    dim.dim_value = Some(kept.iter().filter(|&&k| k).count() as i64);
                }
            }
        }
    }

    /// Removes nodes that were replaced by constants, and everything that only these nodes used.
    pub(crate) fn finish(self) {
        if !self.touched {
            return;
        }
        let graph = self.graph;
        forget_computed_sizes(graph);
        graph.node.retain(|n| !n.output.iter().any(|o| self.replaced.contains(o)));
        remove_unused(graph, &self.used_before);
    }
}

/// Returns the names of all values of a graph.
pub(crate) fn value_names(graph: &GraphProto) -> HashSet<String> {
    let produced = graph.node.iter().flat_map(|n| n.output.iter().cloned());
    let given = graph.input.iter().map(|i| i.name().to_owned());
    let stored = graph.initializer.iter().map(|t| t.name().to_owned());
    produced.chain(given).chain(stored).collect()
}

/// Returns the names of the values that nodes use.
pub(crate) fn used_names(graph: &GraphProto) -> HashSet<String> {
    graph.node.iter().flat_map(|n| n.input.iter().cloned()).collect()
}

/// Removes nodes, initializers and inputs that were used before an edit, and are not any more.
///
/// Values that were unused before the edit stay in the file.
pub(crate) fn remove_unused(graph: &mut GraphProto, used_before: &HashSet<String>) {
    loop {
        let mut used = used_names(graph);
        used.extend(graph.output.iter().map(|o| o.name().to_owned()));
        let unused = |name: &str| !used.contains(name) && used_before.contains(name);
        let count = graph.node.len();
        graph.node.retain(|n| n.output.is_empty() || !n.output.iter().all(|o| o.is_empty() || unused(o)));
        graph.initializer.retain(|t| !unused(t.name()));
        let names: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        graph.input.retain(|i| names.contains(i.name()) || !unused(i.name()));
        if graph.node.len() == count {
            return;
        }
    }
}

/// Removes the names of sizes that no input declares, such as `16*N`, from the declared shapes of inner values.
///
/// Runtimes take equal names for equal sizes, and the cut may change the number of channels in such a product.
fn forget_computed_sizes(graph: &mut GraphProto) {
    let dims = |info: &ValueInfoProto| -> Vec<TensorShapeProtoDimension> {
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        tensor.and_then(|t| t.shape.as_ref()).map(|s| s.dim.clone()).unwrap_or_default()
    };
    let declared: HashSet<String> =
        graph.input.iter().flat_map(dims).filter_map(|dim| dim.dim_param).collect();
    for info in &mut graph.value_info {
        let tensor = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut());
        let dims = tensor.and_then(|t| t.shape.as_mut()).into_iter().flat_map(|s| &mut s.dim);
        for dim in dims.filter(|dim| dim.dim_param.as_ref().is_some_and(|name| !declared.contains(name))) {
            dim.dim_param = None;
        }
    }
}
