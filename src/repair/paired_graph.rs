//! The original and the network that is being cut, side by side in one graph.
//!
//! The cut one keeps the original's shapes: what goes is only no longer read (its consumers' weights are zero), as in the
//! proof. Nodes before which nothing changed are shared. Layers whose input changed are *targets*: their weights are to
//! be found anew, one after the other, from what the cut network gives them (`x`, without the channels that go) and
//! what the original says there (`y`, of the filters that stay).
//!
//! Where a layer's output is added to others that are known before it, it is also to make up for what these lost:
//! `y = sum of the original − the others of the cut network`. Where a clamp follows, what it cuts off does not count
//! (`clamp`).

use std::collections::{BTreeSet, HashMap};

use super::clamp::{bounds, regression_target};
use crate::coupling::Label;
use crate::error::Result;
use crate::graph::facts::Facts;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::Kept;
use crate::prune::{Channels, ZeroedSlices, kept_indices};
use crate::stats::{Filters, InputView, LayerInput, LayerTaps, input_view, layers, place};
use crate::tensor::Tensor;

/// Both networks.
pub(super) struct PairedGraph {
    /// The original's nodes and values, under their numbers, and behind them those of the other.
    pub(super) graph: Graph,
    /// At the batch size of the walk.
    pub(super) facts: Facts,
    /// In the order in which they are repaired.
    pub(super) targets: Vec<RefitTarget>,
    /// Layers that are cut and cannot be repaired, and why.
    pub(super) skipped: Vec<(String, &'static str)>,
}

/// A layer to be repaired.
#[derive(Debug)]
pub(super) struct RefitTarget {
    /// The layer in the original.
    pub(super) taps: LayerTaps,
    /// What it reads there, and how.
    pub(super) read: InputView,
    /// The indices of the channels that it reads, and of its own, that stay.
    pub(super) kept_in: Vec<usize>,
    pub(super) kept_out: Vec<usize>,
    /// What it reads in the cut network, and what it should give: channels that stay only.
    pub(super) x: ValueId,
    pub(super) y: ValueId,
    /// What it gives so far.
    pub(super) own: ValueId,
    /// What it should give by what it gives so far, where a clamp follows.
    pub(super) clamped: Option<ValueId>,
    /// Its weights and its bias in the cut network.
    pub(super) weight: ValueId,
    pub(super) bias: Option<ValueId>,
    /// What follows it: `scale·x + shift` for each channel.
    pub(super) affine: Option<(Vec<f64>, Vec<f64>)>,
}

impl RefitTarget {
    /// Of the tensors that stay, the groups that are read apart.
    pub(super) fn groups(&self, channels: usize) -> usize {
        let groups = self.read.groups();
        if groups == channels { self.kept_in.len() } else { groups }
    }
}

/// A target, and the sum that it ends in with the other summands (its own output, with none).
type Unfinished = (RefitTarget, (ValueId, Vec<ValueId>));

/// Returns a constant whose slices that multiply removed channels are zero; `None` if it has none.
fn masked_constant(
    channels: &Channels,
    value: ValueId,
    tensor: &Tensor,
    removed: &BTreeSet<Label>,
) -> Result<Option<Tensor>> {
    let mut masked: Option<Vec<f32>> = None;
    for ZeroedSlices { axis, zeros, .. } in channels.zeroed_slices_of(value, removed) {
        let whole = tensor.floats()?;
        let inner: usize = tensor.shape[axis + 1..].iter().product();
        let slices = masked.get_or_insert_with(|| whole.to_vec()).chunks_mut(inner.max(1)).enumerate();
        slices.filter(|(i, _)| zeros[i % zeros.len()]).for_each(|(_, slice)| slice.fill(0.0));
    }
    Ok(masked.map(|data| Tensor { dtype: tensor.dtype, ..Tensor::float(&tensor.shape, data) }))
}

struct Builder<'a> {
    original: &'a Graph,
    channels: &'a Channels,
    gone: &'a BTreeSet<Label>,
    facts: &'a Facts,
    /// For each value of the original, the indices that stay.
    stays: Vec<Kept>,
    graph: Graph,
    copies: Vec<ValueId>,
    /// For each node of the original that has a copy, the values of its weights and bias there.
    own: HashMap<NodeId, (ValueId, Option<ValueId>)>,
}

impl PairedGraph {
    /// The original and itself without the classes `gone`, for the batch size of `facts`.
    ///
    /// # Errors
    /// Weights that are not floats, shapes that cannot be inferred.
    pub(super) fn of(
        original: &Graph,
        facts: &Facts,
        channels: &Channels,
        gone: &BTreeSet<Label>,
    ) -> Result<Self> {
        let mut builder = Builder {
            original,
            channels,
            gone,
            facts,
            stays: kept_indices(original, channels, gone)?,
            graph: original.clone(),
            copies: (0..original.values.len()).collect(),
            own: HashMap::new(),
        };
        let all: HashMap<NodeId, LayerTaps> =
            layers(original, facts).into_iter().map(|t| (t.node, t)).collect();
        let (mut targets, mut skipped) = (vec![], vec![]);
        for id in 0..original.nodes.len() {
            let node = &original.nodes[id];
            if node.outputs.iter().flatten().all(|&v| facts.is_constant(v))
                || facts.is_data_dependent_node(original, id)
            {
                continue;
            }
            let closing = all.get(&id).and_then(|taps| builder.closing(taps));
            let closing = closing.filter(|(_, others)| others.iter().any(|&v| builder.copies[v] != v));
            let cut = node.inputs.iter().flatten().any(|&v| builder.consumes_removed(v));
            let changed = node.inputs.iter().flatten().any(|&v| builder.copies[v] != v);
            if !(cut || changed || closing.is_some()) {
                continue;
            }
            let target = match all.get(&id).map(|taps| (taps, builder.refits(taps))) {
                Some((taps, Ok(read))) => Some((taps, read)),
                Some((_, Err(why))) => {
                    skipped.push((node.name.clone(), why));
                    None
                }
                None => None,
            };
            builder.copy(id, target.is_some())?;
            if let Some((taps, read)) = target {
                targets.extend(builder.target(taps, read, closing.unwrap_or((taps.pre, vec![])))?);
            }
        }
        let targets: Vec<RefitTarget> =
            targets.into_iter().map(|target| builder.finish(target)).collect::<Result<_>>()?;
        let graph = builder.graph;
        let facts = Facts::infer(&graph, &facts.input_shapes)?;
        Ok(Self { graph, facts, targets, skipped })
    }

    /// The images of a batch.
    pub(super) fn batch(&self) -> usize {
        self.facts.input_shapes[0][0]
    }
}

impl Builder<'_> {
    /// The indices of a value along an axis that stay.
    fn kept(&self, value: ValueId, axis: usize) -> Vec<usize> {
        let all = 0..self.facts.shape(value)[axis];
        match &self.stays[value][axis] {
            Some(stays) => all.filter(|&i| stays[i]).collect(),
            None => all.collect(),
        }
    }

    /// Returns true if a constant multiplies removed channels.
    fn consumes_removed(&self, value: ValueId) -> bool {
        self.channels.zeroed_slices_of(value, self.gone).next().is_some()
    }

    /// The sum that a layer's output ends in without any other use, and the other summands, if these are known before
    /// the layer runs.
    fn closing(&self, taps: &LayerTaps) -> Option<(ValueId, Vec<ValueId>)> {
        let (mut sum, mut others) = (taps.pre, vec![]);
        while let Some(next) = self.original.only_consumer(sum) {
            let node = &self.original.nodes[next];
            let [Some(a), Some(b)] = node.inputs[..] else { break };
            let (other, output) = (if a == sum { b } else { a }, node.outputs.first().copied().flatten()?);
            let early = self.original.values[other].producer.is_none_or(|p| p < taps.node);
            let alike = self.facts.shape(other) == self.facts.shape(taps.pre);
            if node.op_type != "Add" || a == b || self.facts.is_constant(other) || !early || !alike {
                break;
            }
            others.push(other);
            sum = output;
        }
        (!others.is_empty()).then_some((sum, others))
    }

    /// How a layer reads, if its weights can be found anew.
    fn refits(&self, taps: &LayerTaps) -> Result<InputView, &'static str> {
        let weight = &self.original.values[taps.weight];
        let made = weight.producer.map(|p| self.original.nodes[p].op_type.as_str());
        if weight.consumers.len() > 1 {
            return Err("shares its weights with another layer");
        }
        if made.is_some_and(|op| op != "Constant" && op != "Identity") {
            return Err("has weights that are computed from other constants");
        }
        if !taps.layer.plain {
            return Err("multiplies its weights by a factor");
        }
        input_view(self.original, self.facts, taps).ok_or("reads no tensor of channels")
    }

    /// The cut network gets its own version of a node; of a layer whose weights can change with a bias.
    fn copy(&mut self, id: NodeId, refit: bool) -> Result<()> {
        let node = self.original.nodes[id].clone();
        let named = |name: &str| format!("{name} of the cut");
        let mut inputs: Vec<Option<ValueId>> =
            node.inputs.iter().map(|v| v.map(|v| self.copies[v])).collect();
        for (i, value) in node.inputs.iter().enumerate() {
            let Some(value) = *value else { continue };
            let Some(tensor) = self.facts.get(value).and_then(|f| f.value.as_ref()) else { continue };
            if let Some(zeroed) = masked_constant(self.channels, value, tensor, self.gone)? {
                inputs[i] = Some(self.graph.add_value(named(self.original.name(value)), Some(zeroed)));
            }
        }
        if let Some(layer) = node.op.layer().filter(|_| refit)
            && let Some(weight) = node.inputs[layer.weight]
            && let Some(tensor) = self.facts.get(weight).and_then(|f| f.value.clone())
        {
            if inputs[layer.weight] == Some(weight) {
                inputs[layer.weight] =
                    Some(self.graph.add_value(named(self.original.name(weight)), Some(tensor.clone())));
            }
            let bias = layer.bias.map(|at| {
                let old = node.inputs.get(at).copied().flatten();
                let old = old.and_then(|v| self.facts.get(v)).and_then(|f| f.value.as_ref());
                let n = layer.out_channels(&tensor.shape);
                let bias = Tensor::from_f64(tensor.dtype, &[n], &Filters::bias(n, old));
                let value = self.graph.add_value(format!("bias of {}", node.name), Some(bias));
                inputs.resize(inputs.len().max(at + 1), None);
                inputs[at] = Some(value);
                value
            });
            self.own.insert(id, (inputs[layer.weight].unwrap_or(weight), bias));
        }
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for &value in &node.outputs {
            let Some(value) = value else {
                outputs.push(None);
                continue;
            };
            let new = self.graph.add_value(named(self.original.name(value)), None);
            self.copies[value] = new;
            outputs.push(Some(new));
        }
        let (name, position) = (named(&node.name), self.graph.nodes.len());
        self.graph.add_node(Node { name, inputs, outputs, position, ..node });
        Ok(())
    }

    /// The indices `kept` of a value along an axis.
    fn pick(
        &mut self,
        value: ValueId,
        (axis, whole): (usize, usize),
        kept: &[usize],
        name: &str,
    ) -> Result<ValueId> {
        if kept.len() == whole {
            return Ok(value);
        }
        let indices = Tensor::int(&[kept.len()], kept.iter().map(|&i| i as i64).collect());
        let indices = self.graph.add_value(format!("{name}: what stays"), Some(indices));
        let attributes = [("axis", axis as i64)];
        self.graph.add_operator(("Gather", &attributes), &[value, indices], format!("{name}: of what stays"))
    }

    fn target(
        &mut self,
        taps: &LayerTaps,
        read: InputView,
        ending: (ValueId, Vec<ValueId>),
    ) -> Result<Option<Unfinished>> {
        let Some(&(weight, bias)) = self.own.get(&taps.node) else { return Ok(None) };
        let name = self.original.nodes[taps.node].name.clone();
        let channels = self.facts.shape(read.value)[read.axis];
        let kept_in = self.kept(read.value, read.axis);
        let kept_out = self.kept(taps.pre, self.filters(taps).0);
        if kept_in.is_empty() || kept_out.is_empty() {
            return Ok(None);
        }
        let x = self.pick(self.copies[read.value], (read.axis, channels), &kept_in, &format!("{name}: x"))?;
        let y = if read.kind == LayerInput::Positions {
            read.value
        } else {
            let y = self.without(ending.0, &ending.1, &format!("{name}: wanted"))?;
            self.pick(y, self.filters(taps), &kept_out, &format!("{name}: y"))?
        };
        let output = self.original.nodes[taps.node].outputs.first().copied().flatten();
        let follower = output.and_then(|v| self.original.only_consumer(v)).filter(|_| taps.scale.is_some());
        let affine = follower.and_then(|next| {
            self.original.nodes[next].op.scale_shift(&self.facts.inputs(self.original, next))
        });
        let (taps, own) = (taps.clone(), taps.pre);
        let target =
            RefitTarget { taps, read, kept_in, kept_out, x, y, own, clamped: None, weight, bias, affine };
        Ok(Some((target, ending)))
    }

    /// The axis of a layer's filters in its output, and how many there are.
    fn filters(&self, taps: &LayerTaps) -> (usize, usize) {
        let shape = self.facts.shape(taps.pre);
        let axis = place(taps.layer.channels, shape.len());
        (axis, shape[axis])
    }

    /// A sum without what its other summands are in the cut network.
    fn without(&mut self, sum: ValueId, others: &[ValueId], name: &str) -> Result<ValueId> {
        others.iter().enumerate().try_fold(sum, |left, (i, &other)| {
            self.graph.add_operator(("Sub", &[]), &[left, self.copies[other]], format!("{name} {i}"))
        })
    }

    /// What a target gives is known once what follows it has its copy.
    fn finish(&mut self, (mut target, (end, others)): Unfinished) -> Result<RefitTarget> {
        let (node, filters) =
            (self.original.nodes[target.taps.node].name.clone(), self.filters(&target.taps));
        target.own =
            self.pick(self.copies[target.own], filters, &target.kept_out, &format!("{node}: own"))?;
        let clamp = self.original.only_consumer(end).and_then(|next| {
            bounds(&self.original.nodes[next].op.activation(&self.facts.inputs(self.original, next))?)
        });
        if let (Some(clamp), false) = (clamp, target.read.kind == LayerInput::Positions) {
            let so_far = (end, self.copies[end]);
            let whole = regression_target(&mut self.graph, clamp, so_far, &format!("{node}: clamped"))?;
            let wanted = self.without(whole, &others, &format!("{node}: clamped"))?;
            let name = format!("{node}: clamped y");
            target.clamped = Some(self.pick(wanted, filters, &target.kept_out, &name)?);
        }
        Ok(target)
    }
}
