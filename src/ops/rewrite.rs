//! One node's view of a cut: which indices of its inputs and outputs stay, and what has to change in
//! the node itself.

use crate::fact::{Fact, Inputs};

/// A change in a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Sets an integer attribute.
    Int(&'static str, i64),
    /// Sets an attribute that is a list of integers.
    Ints(&'static str, Vec<i64>),
    /// Removes an attribute.
    Remove(&'static str),
    /// Makes input `.0` a new constant list.
    Input(usize, Vec<i64>),
    /// Makes input `.0` a new constant number.
    Scalar(usize, i64),
}

/// For each axis of a value, which indices stay; `None` where all do.
pub type Kept = Vec<Option<Vec<bool>>>;

/// One node's view of a cut.
#[derive(Debug)]
pub struct Rewrite<'a> {
    /// The facts of its inputs before the cut.
    pub inputs: Inputs<'a>,
    /// The facts of its outputs before the cut.
    pub outputs: &'a [Fact],
    /// What stays of each input.
    pub kept_in: Vec<Kept>,
    /// What stays of each output.
    pub kept_out: Vec<Kept>,
    /// For each input, which axes follow the sizes that the network's own inputs leave free.
    pub follows_in: Vec<Vec<bool>>,
    /// The same of each output.
    pub follows_out: Vec<Vec<bool>>,
    /// Whether a shape that the graph computes from shapes has to be replaced by a constant.
    pub explicit: bool,
    /// What has to change.
    pub edits: Vec<Edit>,
}

impl Rewrite<'_> {
    /// Which indices of `axis` of input `i` stay.
    pub fn kept_inputs(&self, i: usize, axis: usize) -> Vec<bool> {
        kept(&self.kept_in, i, axis, self.inputs.optional(i).map_or(&[], |f| &f.shape))
    }

    /// Which indices of `axis` of output `k` stay.
    pub fn kept_outputs(&self, k: usize, axis: usize) -> Vec<bool> {
        kept(&self.kept_out, k, axis, &self.outputs[k].shape)
    }

    /// How many indices of `axis` of output `k` stay, where that is not all.
    pub fn shrunk(&self, k: usize, axis: usize) -> Option<usize> {
        let kept = self.kept_out.get(k)?.get(axis)?.as_ref()?;
        Some(kept.iter().filter(|&&k| k).count()).filter(|&n| n != kept.len())
    }

    /// The constant integers of input `i`, if they have to be rewritten by this node: those that the
    /// graph computes from shapes follow the cut by themselves, unless an explicit value is asked for.
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

    /// Sets a list, which is an attribute in old opsets and input `input` in new ones.
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
