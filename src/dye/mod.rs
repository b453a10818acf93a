//! Which channels are tied: labels that the graph carries.
//!
//! Every output channel of every layer with weights gets a fresh label. The operators then run on
//! labels instead of numbers ([`flow::Flow`]): those that move data move labels, those that compute pointwise
//! tie the labels that meet, those that contract an axis read the labels on it. What is tied at the
//! end can only stay or go together: a knot.
//!
//! Two rules complete it. A tensor must stay a box: where labels vary along several axes, one axis
//! shrinks, and labels that share an index of it are tied ([`Ties::keep_box`]). And label
//! [`FROZEN`] marks what may not go: the network's inputs and outputs, and where channels mix.

pub mod flow;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::tensor::elements;

/// A channel's label.
pub type Label = u32;

/// The label of what may not be removed.
pub const FROZEN: Label = 0;

/// Why a label may not go: the node that forbids it, and the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The node's name.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// The labels of a tensor's elements. Stored only over the axes along which they vary.
#[derive(Clone, Debug, PartialEq)]
pub struct Dyed {
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// The stored shape: `shape[a]` where labels vary along `a`, else 1.
    stored: Vec<usize>,
    data: Arc<Vec<Label>>,
}

impl Dyed {
    /// One label everywhere.
    pub fn uniform(shape: &[usize], label: Label) -> Self {
        Self { shape: shape.to_vec(), stored: vec![1; shape.len()], data: Arc::new(vec![label]) }
    }

    /// Labels that vary along one axis only.
    pub fn along(shape: &[usize], axis: usize, labels: &[Label]) -> Self {
        assert_eq!(shape[axis], labels.len(), "one label an index of the axis");
        let mut stored = vec![1; shape.len()];
        stored[axis] = labels.len();
        Self { shape: shape.to_vec(), stored, data: Arc::new(labels.to_vec()) }.compressed()
    }

    /// A label for each element, row-major.
    pub fn full(shape: &[usize], data: Vec<Label>) -> Self {
        assert_eq!(elements(shape), Some(data.len()), "one label an element");
        Self { shape: shape.to_vec(), stored: shape.to_vec(), data: Arc::new(data) }.compressed()
    }

    /// Labels over `stored` axes: `shape[a]` where they vary along `a`, else 1.
    pub(crate) fn stored(shape: &[usize], stored: &[usize], labels: Vec<Label>) -> Self {
        Self { shape: shape.to_vec(), stored: stored.to_vec(), data: Arc::new(labels) }.compressed()
    }

    /// The same labels with axes of size 1 put in front.
    pub(crate) fn with_leading_ones(&self, rank: usize) -> Self {
        let lead = vec![1; rank - self.shape.len()];
        let pad = |dims: &[usize]| lead.iter().chain(dims).copied().collect();
        Self { shape: pad(&self.shape), stored: pad(&self.stored), data: self.data.clone() }
    }

    /// The same labels in a tensor of another shape, which may differ along axes where they do not vary.
    pub(crate) fn reshaped(&self, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), stored: self.stored.clone(), data: self.data.clone() }
    }

    /// Whether labels vary along `axis`.
    pub fn varies(&self, axis: usize) -> bool {
        self.stored[axis] > 1
    }

    /// The axes along which labels vary.
    pub fn varying(&self) -> Vec<usize> {
        (0..self.shape.len()).filter(|&a| self.varies(a)).collect()
    }

    /// The distinct stored labels' slice; each occurs somewhere in the tensor.
    pub fn labels(&self) -> &[Label] {
        &self.data
    }

    /// The label of the element at `index`; an axis of size 1 may be indexed by anything.
    pub fn at(&self, index: &[usize]) -> Label {
        let mut flat = 0;
        for (axis, &size) in self.stored.iter().enumerate() {
            flat = flat * size + if size == 1 { 0 } else { index[axis] };
        }
        self.data[flat]
    }

    /// A label for each element, row-major.
    pub fn expand(&self) -> Vec<Label> {
        let mut all = Vec::with_capacity(elements(&self.shape).unwrap_or(0));
        for_each_index(&self.shape, |index| all.push(self.at(index)));
        all
    }

    /// For each index of `axis`, the stored labels that stand there.
    pub fn slices(&self, axis: usize) -> Vec<Vec<Label>> {
        let mut slices = vec![Vec::new(); self.stored[axis]];
        for_each_index(&self.stored, |index| slices[index[axis]].push(self.at(index)));
        if self.stored[axis] == 1 && self.shape[axis] != 1 {
            slices = vec![slices.swap_remove(0); self.shape[axis]];
        }
        slices
    }

    fn compressed(mut self) -> Self {
        for axis in 0..self.shape.len() {
            if self.stored[axis] < 2 || self.data.is_empty() {
                continue;
            }
            let inner: usize = self.stored[axis + 1..].iter().product();
            let size = self.stored[axis];
            let same = self
                .data
                .chunks(size * inner)
                .all(|block| block.chunks(inner).all(|slice| slice == &block[..inner]));
            if same {
                let kept = self.data.chunks(size * inner).flat_map(|b| b[..inner].iter().copied()).collect();
                self.data = Arc::new(kept);
                self.stored[axis] = 1;
            }
        }
        self
    }
}

/// Calls `f` with every index of a box, row-major.
pub(crate) fn for_each_index(shape: &[usize], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        f(&index);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// The union-find of labels, with the reason why a class may not go.
#[derive(Clone, Debug)]
pub struct Ties {
    parent: Vec<Label>,
    blocks: HashMap<Label, Block>,
}

impl Default for Ties {
    fn default() -> Self {
        let block = Block { node: String::new(), reason: "not a channel of a layer".to_owned() };
        Self { parent: vec![FROZEN], blocks: HashMap::from([(FROZEN, block)]) }
    }
}

impl Ties {
    /// `n` new labels, tied to nothing.
    pub fn fresh(&mut self, n: usize) -> Vec<Label> {
        let first = self.parent.len() as Label;
        let labels: Vec<Label> = (first..first + n as Label).collect();
        self.parent.extend_from_slice(&labels);
        labels
    }

    /// How many labels there are, [`FROZEN`] included.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Whether there is no label but [`FROZEN`].
    pub fn is_empty(&self) -> bool {
        self.parent.len() <= 1
    }

    /// The representative of a label's class.
    pub fn find(&self, mut label: Label) -> Label {
        while self.parent[label as usize] != label {
            label = self.parent[label as usize];
        }
        label
    }

    fn find_compress(&mut self, label: Label) -> Label {
        let root = self.find(label);
        let mut at = label;
        while self.parent[at as usize] != root {
            at = std::mem::replace(&mut self.parent[at as usize], root);
        }
        root
    }

    /// Ties two labels at `node`. Tied to a frozen one, a class is frozen for the same reason, or,
    /// where that is [`FROZEN`] itself, because of the node where they meet.
    pub fn tie(&mut self, a: Label, b: Label, node: &str) {
        let (a, b) = (self.find_compress(a), self.find_compress(b));
        if a == b {
            return;
        }
        if a == FROZEN || b == FROZEN {
            let other = if a == FROZEN { b } else { a };
            self.freeze(other, node, "meets a tensor whose shape may not change");
            return;
        }
        // The elder label is the root: its block, or the younger's, stays.
        let (root, child) = if a < b { (a, b) } else { (b, a) };
        self.parent[child as usize] = root;
        if let Some(block) = self.blocks.remove(&child) {
            self.blocks.entry(root).or_insert(block);
        }
    }

    /// Forbids the removal of a label's class. The first reason stays.
    pub fn freeze(&mut self, label: Label, node: &str, reason: &str) {
        let root = self.find_compress(label);
        self.blocks.entry(root).or_insert_with(|| Block { node: node.to_owned(), reason: reason.to_owned() });
    }

    /// Why a label may not go; `None` when it may.
    pub fn block(&self, label: Label) -> Option<&Block> {
        self.blocks.get(&self.find(label))
    }

    /// One label for each index of `axis`; labels that share an index are tied.
    pub fn along(&mut self, dyed: &Dyed, axis: usize, node: &str) -> Vec<Label> {
        dyed.slices(axis)
            .into_iter()
            .map(|slice| {
                let first = slice.first().copied().unwrap_or(FROZEN);
                for &label in &slice[1..] {
                    self.tie(first, label, node);
                }
                first
            })
            .collect()
    }

    /// Keeps a tensor a box: where labels vary along several axes, the axis that leaves the most
    /// knots shrinks, and labels that share an index of it are tied. Of equals it is the shortest, on which
    /// most indices are free (channels and not pixels after a pixel shuffle), then the innermost.
    pub fn keep_box(&mut self, dyed: &Dyed, node: &str) {
        let axes = dyed.varying();
        if axes.len() < 2 {
            return;
        }
        let key = |&axis: &usize| (self.classes_along(dyed, axis), Reverse(dyed.shape[axis]), axis);
        let best = axes.into_iter().max_by_key(key);
        if let Some(axis) = best {
            self.along(dyed, axis, node);
        }
    }

    /// How many classes would be left if labels that share an index of `axis` were tied.
    fn classes_along(&self, dyed: &Dyed, axis: usize) -> usize {
        let mut local: HashMap<Label, Label> = HashMap::new();
        fn find(local: &mut HashMap<Label, Label>, label: Label) -> Label {
            let parent = *local.entry(label).or_insert(label);
            if parent == label {
                return label;
            }
            let root = find(local, parent);
            local.insert(label, root);
            root
        }
        for slice in dyed.slices(axis) {
            let Some(&first) = slice.first() else { continue };
            for &label in &slice {
                let (a, b) = (self.find(first), self.find(label));
                let (a, b) = (find(&mut local, a), find(&mut local, b));
                local.insert(a.max(b), a.min(b));
            }
        }
        let labels: Vec<Label> = local.keys().copied().collect();
        labels.into_iter().filter(|&l| find(&mut local, l) == l && self.block(l).is_none()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_stored_only_where_they_vary() {
        let dyed = Dyed::full(&[2, 3, 2], vec![1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]);
        assert_eq!(dyed.varying(), [1]);
        assert_eq!(dyed.labels(), [1, 2, 3]);
        assert_eq!(dyed.expand(), [1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]);
        assert_eq!(dyed.slices(1), [[1], [2], [3]]);
        assert_eq!(dyed.slices(0), [[1, 2, 3], [1, 2, 3]]);
    }

    #[test]
    fn a_tie_with_a_frozen_class_freezes_it() {
        let mut ties = Ties::default();
        let labels = ties.fresh(4);
        ties.tie(labels[0], labels[1], "add");
        assert!(ties.block(labels[1]).is_none());
        ties.freeze(labels[2], "softmax", "mixes channels");
        ties.tie(labels[1], labels[2], "add2");
        assert_eq!(ties.block(labels[0]).map(|b| b.node.as_str()), Some("softmax"));
        assert!(ties.block(labels[3]).is_none());
        ties.tie(FROZEN, labels[3], "add3");
        assert_eq!(ties.block(labels[3]).map(|b| b.node.as_str()), Some("add3"));
        assert_ne!(ties.find(labels[3]), FROZEN, "frozen classes stay apart");
    }

    #[test]
    fn a_box_shrinks_along_the_axis_that_leaves_most_knots() {
        let mut ties = Ties::default();
        let l = ties.fresh(6);
        // 2 groups of 3: every group shrinks alike.
        ties.keep_box(&Dyed::full(&[1, 2, 3], l.clone()), "shuffle");
        assert_eq!(ties.find(l[0]), ties.find(l[3]));
        assert_eq!(ties.find(l[2]), ties.find(l[5]));
        assert_ne!(ties.find(l[0]), ties.find(l[1]));
    }
}
