//! The original and the pruned network side by side in one graph.
//!
//! The pruned network keeps the original's shapes: weights that multiply removed channels are zero, as in the masked
//! reference. Nodes whose inputs do not change are shared. Layers whose input changes are *refit targets*: their weights
//! are fitted one after the other, from the input in the pruned network (`x`, without removed channels) to the output of
//! the original (`y`, of the filters that stay).
//!
//! If a layer's output is added to residuals that are computed before the layer, the layer also compensates their
//! errors: `y = sum in the original − residuals in the pruned network`. If a clamp follows, values out of its bounds do
//! not count (`clamp`).
//!
//! Removed channels that are constant are part of biases, as in the masked reference. A refit finds its layer's own bias
//! itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Repair;
use super::clamp::{bounds, regression_target};
use crate::coupling::Label;
use crate::error::Result;
use crate::graph::facts::Facts;
use crate::graph::{Graph, IdVec, Node, NodeId, ValueId};
use crate::ops::Kept;
use crate::prune::{Channels, FoldedBias, ZeroedSlices, folds, kept_indices};
use crate::stats::{Filters, InputView, LayerInput, LayerTaps, Samples, input_view, layers, place};
use crate::tensor::Tensor;

/// The original and the pruned network in one graph.
pub(super) struct PairedGraph {
    /// The original's nodes and values with their ids, then the copies of the pruned network.
    pub(super) graph: Graph,
    /// The facts at the batch size of the repair.
    pub(super) facts: Facts,
    /// The samples of a batch.
    pub(super) samples: Samples,
    /// The refit targets in the order of the repair.
    pub(super) targets: Vec<RefitTarget>,
    /// Layers that are cut and cannot be repaired, with the reason.
    pub(super) skipped: Vec<(String, &'static str)>,
    /// New biases behind refit targets that have none of their own.
    pub(super) biases: Vec<FoldedBias>,
}

/// A layer whose weights are refitted.
#[derive(Debug)]
pub(super) struct RefitTarget {
    /// The layer in the original.
    pub(super) taps: LayerTaps,
    /// The layer's input in the original.
    pub(super) input: InputView,
    /// The indices that stay, of input channels and of filters.
    pub(super) kept_in: Vec<usize>,
    pub(super) kept_out: Vec<usize>,
    /// The input in the pruned network and the regression target, without removed channels.
    pub(super) x: ValueId,
    pub(super) y: ValueId,
    /// The current output in the pruned network, without removed channels.
    pub(super) own: ValueId,
    /// The regression target given the current output, if a clamp follows.
    pub(super) clamped: Option<ValueId>,
    /// The weights and the bias in the pruned network.
    pub(super) weight: ValueId,
    pub(super) bias: Option<ValueId>,
    /// The scale and shift of each channel behind the layer: `scale·x + shift`.
    pub(super) affine: Option<(Vec<f64>, Vec<f64>)>,
}

impl RefitTarget {
    /// Returns the number of groups of the input without removed channels.
    pub(super) fn groups(&self, channels: usize) -> usize {
        let groups = self.input.groups();
        if groups == channels { self.kept_in.len() } else { groups }
    }
}

/// A refit target, with the sum to which the output is added and the residuals of that sum.
///
/// Without residuals, the sum is the output itself.
type UnfinishedTarget = (RefitTarget, (ValueId, Vec<ValueId>));

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

/// Constants of the original with other elements in the changed network.
pub(super) type Replaced = BTreeMap<ValueId, Tensor>;

/// State of the construction of a paired graph.
struct PairedGraphBuilder<'a> {
    original: &'a Graph,
    channels: &'a Channels,
    removed: &'a BTreeSet<Label>,
    /// Constants that differ in the changed network.
    replaced: &'a Replaced,
    facts: &'a Facts,
    /// The indices that stay, for each value of the original.
    kept: IdVec<ValueId, Kept>,
    graph: Graph,
    /// The copy of each value of the original; the value itself if it is shared.
    copies: IdVec<ValueId, ValueId>,
    /// The weights and bias of each copied layer, by the original's node.
    parameters: HashMap<NodeId, (ValueId, Option<ValueId>)>,
    /// The biases that contain removed constant channels.
    biases: Vec<FoldedBias>,
}

impl PairedGraph {
    /// Builds the paired graph for a cut of the classes `removed` and `replaced` constants, for a repair.
    ///
    /// The batch size is that of `facts`.
    ///
    /// # Errors
    /// Weights that are not floats, shapes that cannot be inferred.
    pub(super) fn of(
        original: &Graph,
        (facts, samples): (&Facts, Samples),
        channels: &Channels,
        (removed, replaced): (&BTreeSet<Label>, &Replaced),
        how: Repair,
    ) -> Result<Self> {
        let mut builder = PairedGraphBuilder {
            original,
            channels,
            removed,
            replaced,
            facts,
            kept: kept_indices(original, channels, removed)?,
            graph: original.clone(),
            copies: original.values.ids().collect(),
            parameters: HashMap::new(),
            biases: folds(original, channels, &|label| channels.is_removed(label, removed)).biases,
        };
        let all: HashMap<NodeId, LayerTaps> =
            layers(original, facts).into_iter().map(|t| (t.node, t)).collect();
        let (mut targets, mut skipped) = (vec![], vec![]);
        for (id, node) in original.nodes.iter_enumerated() {
            if node.outputs.iter().flatten().all(|&v| facts.is_constant(v))
                || facts.is_data_dependent_node(original, id)
            {
                continue;
            }
            let sum = all.get(&id).and_then(|taps| builder.residual_sum(taps));
            let sum = sum.filter(|(_, residuals)| residuals.iter().any(|&v| builder.copies[v] != v));
            let differs = |&v: &ValueId| builder.consumes_removed(v) || replaced.contains_key(&v);
            let cut = node.inputs.iter().flatten().any(differs);
            let changed = node.inputs.iter().flatten().any(|&v| builder.copies[v] != v);
            if !(cut || changed || sum.is_some()) {
                continue;
            }
            let target = match all.get(&id).map(|taps| (taps, builder.refittable(taps, how))) {
                Some((taps, Ok(input))) => Some((taps, input)),
                Some((_, Err(why))) => {
                    skipped.push((node.name.clone(), why));
                    None
                }
                None => None,
            };
            builder.copy(id, target.is_some())?;
            if let Some((taps, input)) = target {
                targets.extend(builder.target(taps, input, sum.unwrap_or((taps.pre, vec![])))?);
            }
        }
        let targets: Vec<RefitTarget> =
            targets.into_iter().map(|target| builder.finish(target)).collect::<Result<_>>()?;
        let refitted = |fold: &FoldedBias| targets.iter().any(|t| t.taps.node == fold.layer);
        let mut biases = builder.biases;
        biases.retain(|fold| fold.node != fold.layer && refitted(fold));
        let graph = builder.graph;
        let facts = Facts::infer(&graph, &facts.input_shapes)?;
        Ok(Self { graph, facts, samples, targets, skipped, biases })
    }
}

impl PairedGraphBuilder<'_> {
    /// Returns the indices of a value along an axis that stay.
    fn kept(&self, value: ValueId, axis: usize) -> Vec<usize> {
        let all = 0..self.facts.shape(value)[axis];
        match &self.kept[value][axis] {
            Some(kept) => all.filter(|&i| kept[i]).collect(),
            None => all.collect(),
        }
    }

    /// Returns true if a constant multiplies removed channels.
    fn consumes_removed(&self, value: ValueId) -> bool {
        self.channels.zeroed_slices_of(value, self.removed).next().is_some()
    }

    /// Returns the sum of a layer's output and residuals, with the residuals.
    ///
    /// `None` unless the output has no other use and all residuals are computed before the layer.
    fn residual_sum(&self, taps: &LayerTaps) -> Option<(ValueId, Vec<ValueId>)> {
        let (mut sum, mut residuals) = (taps.pre, vec![]);
        while let Some(next) = self.original.only_consumer(sum) {
            let node = &self.original.nodes[next];
            let [Some(a), Some(b)] = node.inputs[..] else { break };
            let (residual, output) = (if a == sum { b } else { a }, node.outputs.first().copied().flatten()?);
            let early = self.original.values[residual].producer.is_none_or(|p| p < taps.node);
            let alike = self.facts.shape(residual) == self.facts.shape(taps.pre);
            if node.op_type != "Add" || a == b || self.facts.is_constant(residual) || !early || !alike {
                break;
            }
            residuals.push(residual);
            sum = output;
        }
        (!residuals.is_empty()).then_some((sum, residuals))
    }

    /// Returns the layer's input, or the reason why the weights cannot be refitted.
    fn refittable(&self, taps: &LayerTaps, how: Repair) -> Result<InputView, &'static str> {
        let weight = &self.original.values[taps.weight];
        let made = weight.producer.map(|p| self.original.nodes[p].op_type.as_str());
        if weight.consumers.len() > 1 {
            return Err("shares its weights with another layer");
        }
        if made.is_some_and(|op| op != "Constant" && op != "Identity") {
            return Err("has weights that are computed from other constants");
        }
        if taps.layer.gates.is_some() {
            // Its input can be reconstructed from the channels that stay; its outputs cannot be fitted.
            let view = input_view(self.original, self.facts, taps).filter(|_| how == Repair::Full);
            let changed = |view: &InputView| {
                self.copies[view.value] != view.value || self.consumes_removed(taps.weight)
            };
            return view.filter(changed).ok_or("is recurrent: its outputs are not linear in its weights");
        }
        if !taps.layer.plain {
            return Err("multiplies its weights by a factor");
        }
        let view = input_view(self.original, self.facts, taps).ok_or("reads no tensor of channels")?;
        if view.kind == LayerInput::Positions && self.replaced.contains_key(&taps.weight) {
            return Err("is not linear in patches of its input");
        }
        Ok(view)
    }

    /// Copies a node into the pruned network; with `refit`, the layer gets its own weights and a bias.
    fn copy(&mut self, id: NodeId, refit: bool) -> Result<()> {
        let node = self.original.nodes[id].clone();
        let named = |name: &str| format!("{name}, pruned");
        let mut inputs: Vec<Option<ValueId>> =
            node.inputs.iter().map(|v| v.map(|v| self.copies[v])).collect();
        for (i, value) in node.inputs.iter().enumerate() {
            let Some(value) = *value else { continue };
            let Some(tensor) = self.facts.get(value).and_then(|f| f.value.as_ref()) else { continue };
            let zeroed = masked_constant(self.channels, value, tensor, self.removed)?;
            if let Some(changed) = zeroed.or_else(|| self.replaced.get(&value).cloned()) {
                inputs[i] = Some(self.graph.add_value(named(self.original.name(value)), Some(changed)));
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
                let value = self.graph.add_value(format!("{}, pruned: bias", node.name), Some(bias));
                inputs.resize(inputs.len().max(at + 1), None);
                inputs[at] = Some(value);
                value
            });
            self.parameters.insert(id, (inputs[layer.weight].unwrap_or(weight), bias));
        }
        if let Some(fold) = self.biases.iter().find(|fold| fold.node == id).filter(|_| !refit) {
            let bias = self.graph.add_value(format!("{}, pruned: bias", node.name), Some(fold.bias.clone()));
            inputs.resize(inputs.len().max(fold.input + 1), None);
            inputs[fold.input] = Some(bias);
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

    /// Selects the indices `kept` of a value along an axis of length `whole`.
    fn select(
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
        let indices = self.graph.add_value(format!("{name}: kept indices"), Some(indices));
        let attributes = [("axis", axis as i64)];
        self.graph.add_operator(("Gather", &attributes), &[value, indices], format!("{name}: kept"))
    }

    /// Selects the indices that stay along all axes of a value but `axis`: the channels that pass a product.
    ///
    /// `of` is the value's original, whose axes are cut.
    fn select_rows(&mut self, value: ValueId, of: ValueId, axis: usize, name: &str) -> Result<ValueId> {
        let cut = (0..self.facts.shape(of).len()).filter(|&a| a != axis && self.kept[of][a].is_some());
        cut.collect::<Vec<_>>().into_iter().try_fold(value, |value, along| {
            let (whole, kept) = (self.facts.shape(of)[along], self.kept(of, along));
            self.select(value, (along, whole), &kept, &format!("{name}, axis {along}"))
        })
    }

    /// Creates the refit target of a copied layer; `None` if no input channel or no filter stays.
    fn target(
        &mut self,
        taps: &LayerTaps,
        input: InputView,
        sum: (ValueId, Vec<ValueId>),
    ) -> Result<Option<UnfinishedTarget>> {
        let Some(&(weight, bias)) = self.parameters.get(&taps.node) else { return Ok(None) };
        let name = self.original.nodes[taps.node].name.clone();
        let channels = self.facts.shape(input.value)[input.axis];
        let kept_in = self.kept(input.value, input.axis);
        let kept_out = self.kept(taps.pre, self.filters(taps).0);
        if kept_in.is_empty() || kept_out.is_empty() {
            return Ok(None);
        }
        let x =
            self.select(self.copies[input.value], (input.axis, channels), &kept_in, &format!("{name}: x"))?;
        let x = self.select_rows(x, input.value, input.axis, &format!("{name}: x"))?;
        let y = if input.kind == LayerInput::Positions {
            self.select_rows(input.value, input.value, input.axis, &format!("{name}: y"))?
        } else {
            let y = self.subtract(sum.0, &sum.1, &format!("{name}: residual"))?;
            self.select_output(y, taps, &kept_out, &format!("{name}: y"))?
        };
        let output = self.original.nodes[taps.node].outputs.first().copied().flatten();
        let follower = output.and_then(|v| self.original.only_consumer(v)).filter(|_| taps.scale.is_some());
        let affine = follower.and_then(|next| {
            self.original.nodes[next].op.scale_shift(&self.facts.inputs(self.original, next))
        });
        let behind = self.biases.iter().find(|fold| fold.layer == taps.node && fold.node != fold.layer);
        let affine = affine.or(behind.map(|fold| (vec![1.0; fold.sums.len()], fold.sums.clone())));
        let (taps, own) = (taps.clone(), taps.pre);
        let target =
            RefitTarget { taps, input, kept_in, kept_out, x, y, own, clamped: None, weight, bias, affine };
        Ok(Some((target, sum)))
    }

    /// Returns the axis of the filters in a layer's output, and the number of filters.
    fn filters(&self, taps: &LayerTaps) -> (usize, usize) {
        let shape = self.facts.shape(taps.pre);
        let axis = place(taps.layer.channels, shape.len());
        (axis, shape[axis])
    }

    /// Selects the filters `kept` of a value shaped like a layer's output, and the rows that stay.
    fn select_output(
        &mut self,
        value: ValueId,
        taps: &LayerTaps,
        kept: &[usize],
        name: &str,
    ) -> Result<ValueId> {
        let (axis, whole) = self.filters(taps);
        let value = self.select(value, (axis, whole), kept, name)?;
        self.select_rows(value, taps.pre, axis, name)
    }

    /// Subtracts the residuals of the pruned network from a sum.
    fn subtract(&mut self, sum: ValueId, residuals: &[ValueId], name: &str) -> Result<ValueId> {
        residuals.iter().enumerate().try_fold(sum, |left, (i, &residual)| {
            self.graph.add_operator(("Sub", &[]), &[left, self.copies[residual]], format!("{name} {i}"))
        })
    }

    /// Adds the current output and the clamped regression target, when all nodes behind the layer are copied.
    fn finish(&mut self, (mut target, (end, residuals)): UnfinishedTarget) -> Result<RefitTarget> {
        let node = self.original.nodes[target.taps.node].name.clone();
        target.own = self.select_output(
            self.copies[target.own],
            &target.taps,
            &target.kept_out,
            &format!("{node}: own"),
        )?;
        let clamp = self.original.only_consumer(end).and_then(|next| {
            bounds(&self.original.nodes[next].op.activation(&self.facts.inputs(self.original, next))?)
        });
        if let (Some(clamp), false) = (clamp, target.input.kind == LayerInput::Positions) {
            let so_far = (end, self.copies[end]);
            let whole = regression_target(&mut self.graph, clamp, so_far, &format!("{node}: clamped"))?;
            let wanted = self.subtract(whole, &residuals, &format!("{node}: clamped"))?;
            let name = format!("{node}: clamped y");
            target.clamped = Some(self.select_output(wanted, &target.taps, &target.kept_out, &name)?);
        }
        Ok(target)
    }
}
