//! Visiting every tensor of a model.

use crate::error::Result;

use super::attrs::node_label;
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// A function that is called with each tensor.
pub(crate) type Visit<'a> = dyn FnMut(&mut TensorProto) -> Result<()> + 'a;

/// Visits every tensor of a model in a fixed order, and stops at the first error.
///
/// Visits initializers and attributes of the graph, its subgraphs, the training graphs and the functions. An error names
/// the node that contains the tensor. The decoder bounds the depth of subgraphs.
pub(crate) fn visit_tensors(model: &mut ModelProto, visit: &mut Visit<'_>) -> Result<()> {
    let training = model.training_info.iter_mut();
    let training = training.flat_map(|info| info.initialization.iter_mut().chain(&mut info.algorithm));
    for graph in model.graph.iter_mut().chain(training) {
        visit_graph(graph, visit)?;
    }
    for function in &mut model.functions {
        visit_attributes(&mut function.attribute_proto, visit)?;
        visit_nodes(&mut function.node, visit)?;
    }
    Ok(())
}

fn visit_graph(graph: &mut GraphProto, visit: &mut Visit<'_>) -> Result<()> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    visit_sparse(&mut graph.sparse_initializer, visit)?;
    visit_nodes(&mut graph.node, visit)
}

fn visit_nodes(nodes: &mut [NodeProto], visit: &mut Visit<'_>) -> Result<()> {
    nodes.iter_mut().try_for_each(|node| {
        let visited = visit_attributes(&mut node.attribute, visit);
        visited.map_err(|e| e.node(node_label(node)))
    })
}

fn visit_attributes(attributes: &mut [AttributeProto], visit: &mut Visit<'_>) -> Result<()> {
    for attribute in attributes {
        let one = attribute.t.as_deref_mut().into_iter();
        one.chain(&mut attribute.tensors).try_for_each(&mut *visit)?;
        let sparse = attribute.sparse_tensor.as_deref_mut().into_iter();
        visit_sparse(sparse.chain(&mut attribute.sparse_tensors), visit)?;
        let graphs = attribute.g.as_deref_mut().into_iter();
        for graph in graphs.chain(&mut attribute.graphs) {
            visit_graph(graph, visit)?;
        }
    }
    Ok(())
}

fn visit_sparse<'a>(
    sparse: impl IntoIterator<Item = &'a mut SparseTensorProto>,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let mut tensors =
        sparse.into_iter().flat_map(|sparse| sparse.values.iter_mut().chain(&mut sparse.indices));
    tensors.try_for_each(visit)
}
