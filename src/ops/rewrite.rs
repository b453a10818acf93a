//! The adaptation of one node to a cut: kept indices of inputs and outputs, and edits of the node.

use std::collections::HashMap;

use crate::fact::{Fact, Inputs};

/// An edit of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Sets an integer attribute.
    Int(&'static str, i64),
    /// Sets an attribute that is a list of integers.
    Ints(&'static str, Vec<i64>),
    /// Removes the attribute of this name.
    Remove(&'static str),
    /// Leaves out optional input `.0`.
    Omit(usize),
    /// Replaces input `.0` by a constant list.
    Input(usize, Vec<i64>),
    /// Replaces input `.0` by a constant scalar.
    Scalar(usize, i64),
}

/// The mask of kept indices for each axis of a value; `None` if all are kept.
pub type Kept = Vec<Option<Vec<bool>>>;

/// The masks of values that become smaller, by the names of the values.
pub type KeptValues = HashMap<String, Kept>;

/// The effect of a cut on one node.
#[derive(Debug)]
pub struct Rewrite<'a> {
    /// The facts of the inputs before the cut.
    pub inputs: Inputs<'a>,
    /// The facts of the outputs before the cut.
    pub outputs: &'a [Fact],
    /// The kept indices of each input.
    pub kept_in: Vec<Kept>,
    /// The kept indices of each output.
    pub kept_out: Vec<Kept>,
    /// For each input, the axes whose sizes depend on free sizes of the network's inputs.
    pub follows_in: Vec<Vec<bool>>,
    /// For each output, the axes whose sizes depend on free sizes of the network's inputs.
    pub follows_out: Vec<Vec<bool>>,
    /// True if a shape that the graph computes from shapes must be replaced by a constant.
    pub explicit: bool,
    /// The edits that the operator requests.
    pub edits: Vec<Edit>,
}

impl Rewrite<'_> {
    /// Returns the mask of kept indices of `axis` of input `i`.
    pub fn kept_inputs(&self, i: usize, axis: usize) -> Vec<bool> {
        kept(&self.kept_in, i, axis, self.inputs.optional(i).map_or(&[], |f| &f.shape))
    }

    /// Returns the mask of kept indices of `axis` of output `k`.
    pub fn kept_outputs(&self, k: usize, axis: usize) -> Vec<bool> {
        kept(&self.kept_out, k, axis, &self.outputs[k].shape)
    }

    /// Returns the number of kept indices of `axis` of output `k`, if some are removed.
    pub fn shrunk(&self, k: usize, axis: usize) -> Option<usize> {
        let kept = self.kept_out.get(k)?.get(axis)?.as_ref()?;
        Some(kept.iter().filter(|&&k| k).count()).filter(|&n| n != kept.len())
    }

    /// Returns the constant integers of input `i`, if the node must rewrite them.
    ///
    /// Integers that the graph computes from shapes adapt to the cut by themselves, unless [`Rewrite::explicit`] is set.
    pub fn literal(&self, i: usize) -> Option<Vec<i64>> {
        let fact = self.inputs.optional(i)?;
        if fact.from_shape && !self.explicit {
            return None;
        }
        fact.value.as_ref()?.ints().ok().map(|v| v.to_vec())
    }

    /// Sets an integer attribute.
    pub fn set_int(&mut self, name: &'static str, value: i64) {
        self.edits.push(Edit::Int(name, value));
    }

    /// Sets a list that is an attribute in old opsets and input `input` in new ones.
    pub fn set_list(&mut self, name: &'static str, input: usize, is_attribute: bool, value: Vec<i64>) {
        self.edits.push(if is_attribute { Edit::Ints(name, value) } else { Edit::Input(input, value) });
    }
}

fn kept(all: &[Kept], i: usize, axis: usize, shape: &[usize]) -> Vec<bool> {
    match all.get(i).and_then(|k| k.get(axis)) {
        Some(Some(mask)) => mask.clone(),
        _ => vec![true; shape.get(axis).copied().unwrap_or(0)],
    }
}
