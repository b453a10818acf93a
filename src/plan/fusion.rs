//! Fusion of a layer with the nodes that follow: scale and shift, a residual addition, an activation, max pooling.

use super::Operand;
use super::build::PlanBuilder;
use crate::fact::Inputs;
use crate::graph::{Node, NodeId, ValueId};
use crate::kernels::activation::Activation;
use crate::ops::Fused;

impl PlanBuilder<'_> {
    /// Returns the nodes fused into layer `id`, the residual operand, and the value that the fused layer computes.
    ///
    /// Marks these nodes as absorbed.
    pub(super) fn fused(&mut self, id: NodeId) -> (Fused, Option<Operand>, Option<ValueId>) {
        let graph = self.graph;
        let mut fused = Fused::default();
        let mut end = graph.nodes[id].outputs.first().copied().flatten();
        let (op, inputs) = (&graph.nodes[id].op, self.facts.inputs(graph, id));
        if !self.options.fuse || !op.fuses_activation(&inputs) {
            return (fused, None, end);
        }
        // Sums of integers are only followed by an activation.
        let floats = !self.integers.contains_key(&id);
        let scales = floats && op.fuses_scale_shift(&inputs);
        let adds = floats && self.options.fuse_residual && op.fuses_residual(&inputs);
        let pools = floats && self.options.fuse_pool && op.fuses_pool(&inputs);
        let mut residual = None;
        while let Some(value) = end.filter(|v| !self.kept.contains(v)) {
            let Some(next) = graph.only_consumer(value) else { break };
            let node = &graph.nodes[next];
            let inputs = self.facts.inputs(graph, next);
            let first = node.inputs.first().copied().flatten() == Some(value);
            if pools
                && first
                && residual.is_none()
                && fused.activation.rises()
                && node.op.is_max_pool_2x2(&inputs)
            {
                fused.pooled = true;
                self.absorbed.insert(next);
                end = node.outputs.first().copied().flatten();
                break;
            }
            let linear = fused.activation == Activation::None;
            let scale_shift =
                node.op.scale_shift(&inputs).filter(|_| scales && linear && first && residual.is_none());
            let other = (adds && linear && residual.is_none() && node.op.is_elementwise_add(&inputs))
                .then(|| self.other(node, value));
            if let (Some(scale_shift), None) = (scale_shift, &fused.scale_shift) {
                fused.scale_shift = Some(scale_shift);
            } else if let Some(place @ Operand::Buffer(_)) = other.flatten() {
                (residual, fused.residual) = (Some(place), true);
            } else if !first {
                break;
            } else if let Some(activation) =
                self.activation(node, &inputs).and_then(|next| fused.activation.then(next))
            {
                fused.activation = activation;
            } else {
                break;
            }
            self.absorbed.insert(next);
            end = node.outputs.first().copied().flatten();
        }
        (fused, residual, end)
    }

    /// Returns the function that a node computes of each element; roundings count if layers compute with integers.
    fn activation(&self, node: &Node, inputs: &Inputs) -> Option<Activation> {
        let rounding = || node.op.rounding(inputs).filter(|_| self.options.integers);
        node.op.activation(inputs).or_else(rounding)
    }

    /// Returns the operand of a node's other input, if a step before has computed it.
    fn other(&self, node: &Node, value: ValueId) -> Option<Operand> {
        let other = node.inputs.iter().flatten().find(|&&input| input != value)?;
        self.places[*other]
    }
}
