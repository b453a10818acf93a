//! Sizes of free input axes that follow from weights, and first axes that are no batch.
//!
//! Shapes are inferred with a distinct prime as the size of each free axis and of each first axis. The prime shows which
//! axis of an input arrives at a layer, whose weights then determine the size.

use super::facts::{Facts, infer_node};
use super::{Dim, Graph, NodeId};

/// The sizes by which axes are recognized, unless the network has them itself.
const PRIMES: [usize; 24] = [
    67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173,
    179, 181,
];

/// An axis of an input: the place of the input, and the axis.
type Axis = (usize, usize);

/// The use of an input's axis by a layer.
enum Role {
    /// An axis of this length.
    Size(Axis, usize),
    /// The batch axis of a tensor.
    Batch(Axis),
    /// Steps of a sequence.
    Steps(Axis),
}

impl Graph {
    /// Derives the sizes of free axes from the weights of the first layers, and finds first axes that are no batch.
    pub(super) fn derive_sizes(&mut self) {
        let axes: usize = self.inputs.iter().map(|input| input.dims.len()).sum();
        let (mut batches, mut others): (Vec<Axis>, Vec<Axis>) = (vec![], vec![]);
        // Each round determines a size, and the next one gets further.
        for _ in 0..=axes {
            let mut sized = None;
            for role in self.roles() {
                match role {
                    Role::Batch(axis) => batches.push(axis),
                    Role::Steps(axis) => others.push(axis),
                    Role::Size(axis, size) => sized = Some((axis, size)),
                }
            }
            let Some(((place, axis), size)) = sized else { break };
            others.push((place, axis));
            self.inputs[place].sizes[axis] = Some(size);
        }
        for (place, input) in self.inputs.iter_mut().enumerate() {
            if others.contains(&(place, 0)) && !batches.contains(&(place, 0)) {
                input.batched = false;
            }
        }
    }

    /// Returns the roles of tagged axes, up to the first layer that determines a size.
    fn roles(&self) -> Vec<Role> {
        let mut primes = PRIMES.into_iter().filter(|n| !self.has_size(*n));
        let mut tags: Vec<(usize, Axis)> = Vec::new();
        let mut shapes = Vec::new();
        for (place, input) in self.inputs.iter().enumerate() {
            let mut shape = Vec::new();
            for (axis, dim) in input.dims.iter().enumerate() {
                let known = input.sizes[axis];
                let size = match (dim, known) {
                    (_, Some(size)) => size,
                    (Dim::Fixed(size), None) if axis > 0 => *size,
                    _ => {
                        let Some(prime) = primes.next() else { return vec![] };
                        tags.push((prime, (place, axis)));
                        prime
                    }
                };
                shape.push(size);
            }
            shapes.push(shape);
        }
        if tags.is_empty() {
            return vec![];
        }
        let tagged = |size: usize| tags.iter().find(|tag| tag.0 == size).map(|tag| tag.1);
        let mut roles = Vec::new();
        let mut settled = vec![false; self.inputs.len()];
        // Inference ends when each input has met a layer, or at the first node that rejects the tags.
        Facts::infer_each(self, &shapes, &mut |facts, id| {
            let found = self.role(facts, id, &tagged);
            for role in found.iter().filter(|_| self.nodes[id].op.layer().is_some()) {
                let (Role::Size((place, _), _) | Role::Batch((place, _)) | Role::Steps((place, _))) = role;
                settled[*place] = true;
            }
            let sized = found.iter().any(|role| matches!(role, Role::Size(..)));
            let ends = sized || settled.iter().all(|&settled| settled);
            roles.extend(found);
            if ends { None } else { infer_node(&self.nodes[id], &facts.inputs(self, id)).ok() }
        });
        roles
    }

    fn has_size(&self, n: usize) -> bool {
        let fixed = |dim: &Dim| matches!(dim, Dim::Fixed(size) if *size == n);
        let of_input = self.inputs.iter().any(|input| input.dims.iter().any(fixed));
        of_input || self.values.iter().any(|v| v.constant.as_ref().is_some_and(|c| c.shape.contains(&n)))
    }

    /// Returns the roles that a node gives to the axes of its first input.
    fn role(&self, facts: &Facts, id: NodeId, tagged: &dyn Fn(usize) -> Option<Axis>) -> Vec<Role> {
        let node = &self.nodes[id];
        let shape = |input: usize| {
            let value = node.inputs.get(input).copied().flatten();
            value.and_then(|v| facts.get(v)).map(|fact| fact.shape.as_slice()).unwrap_or_default()
        };
        let (x, w) = (shape(0), shape(1));
        let axis = |axis: usize| x.get(axis).copied().and_then(tagged);
        let weighted = node.inputs.get(1).copied().flatten().is_some_and(|v| facts.is_constant(v));
        let (sized, length, first) = match node.op_type.as_str() {
            "Conv" | "FusedConv" | "ConvTranspose" => {
                let layer = node.op.layer();
                let groups = layer.map_or(1, |layer| layer.groups);
                let transposed = layer.is_some_and(|layer| layer.transposed);
                let channels = if transposed { w.first().copied() } else { w.get(1).map(|n| n * groups) };
                (axis(1), channels, axis(0).map(Role::Batch))
            }
            "BatchNormalization" | "InstanceNormalization" => {
                (axis(1), w.first().copied(), axis(0).map(Role::Batch))
            }
            "Gemm" => {
                let filters = node.op.layer().map_or(1, |layer| layer.filters);
                (axis(1), w.get(1 - filters.min(1)).copied(), axis(0).map(Role::Batch))
            }
            "MatMul" => {
                let depth = w.len().checked_sub(2).map(|at| w[at]);
                (x.len().checked_sub(1).and_then(axis), depth, None)
            }
            "LSTM" | "GRU" | "RNN" => (axis(2), w.get(2).copied(), axis(0).map(Role::Steps)),
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" => {
                (None, None, axis(0).map(Role::Batch))
            }
            _ => (None, None, None),
        };
        let size = sized.zip(length).filter(|_| weighted).map(|(axis, n)| Role::Size(axis, n));
        first.into_iter().chain(size).collect()
    }
}
