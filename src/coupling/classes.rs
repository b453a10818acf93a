//! Equivalence classes of labels, which are removed together, and the reasons that freeze classes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::labels::{ChannelLabels, FROZEN, Label};

/// The reason that a label may not be removed: a node, and a description for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The name of the node.
    pub node: String,
    /// The description of the reason.
    pub reason: String,
}

/// A union-find over labels, with the reason that freezes a class.
#[derive(Clone, Debug)]
pub struct EquivalenceClasses {
    parent: Vec<Label>,
    /// The reason that freezes the class of each label, stored at the root of the class.
    blocks: Vec<Option<Arc<Block>>>,
}

impl Default for EquivalenceClasses {
    fn default() -> Self {
        let block = Block { node: String::new(), reason: "not a channel of a layer".to_owned() };
        Self { parent: vec![FROZEN], blocks: vec![Some(Arc::new(block))] }
    }
}

impl EquivalenceClasses {
    /// Creates `n` labels, each in a class of its own.
    pub fn new_labels(&mut self, n: usize) -> Vec<Label> {
        let first = self.parent.len() as Label;
        let labels: Vec<Label> = (first..first + n as Label).collect();
        self.parent.extend_from_slice(&labels);
        self.blocks.resize(self.parent.len(), None);
        labels
    }

    /// Returns the number of labels, including [`FROZEN`].
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Returns whether there is no label except [`FROZEN`].
    pub fn is_empty(&self) -> bool {
        self.parent.len() <= 1
    }

    /// Returns the representative of a label's class.
    pub fn find(&self, mut label: Label) -> Label {
        while self.parent[label as usize] != label {
            label = self.parent[label as usize];
        }
        label
    }

    /// Returns the representative of a label's class, and compresses the path to it.
    fn find_compress(&mut self, label: Label) -> Label {
        let root = self.find(label);
        let mut at = label;
        while self.parent[at as usize] != root {
            at = std::mem::replace(&mut self.parent[at as usize], root);
        }
        root
    }

    /// Unites the classes of two labels that meet at `node`.
    ///
    /// If one class is frozen, the united class keeps that reason. United with [`FROZEN`] itself, a class is frozen
    /// because of `node`.
    pub fn unite(&mut self, a: Label, b: Label, node: &str) {
        let (a, b) = (self.find_compress(a), self.find_compress(b));
        if a == b {
            return;
        }
        if a == FROZEN || b == FROZEN {
            let other = if a == FROZEN { b } else { a };
            self.freeze(&[other], node, "meets a tensor whose shape may not change");
            return;
        }
        // The older label is the root. Its reason is kept if it has one, else that of the other class.
        let (root, child) = if a < b { (a, b) } else { (b, a) };
        self.parent[child as usize] = root;
        if let Some(block) = self.blocks[child as usize].take() {
            self.blocks[root as usize].get_or_insert(block);
        }
    }

    /// Forbids the removal of the labels' classes; a class keeps its first reason.
    pub fn freeze(&mut self, labels: &[Label], node: &str, reason: &str) {
        let block = Arc::new(Block { node: node.to_owned(), reason: reason.to_owned() });
        for &label in labels {
            let root = self.find_compress(label);
            self.blocks[root as usize].get_or_insert_with(|| block.clone());
        }
    }

    /// Returns the reason that a label may not be removed; `None` if it may.
    pub fn block(&self, label: Label) -> Option<&Block> {
        self.blocks[self.find(label) as usize].as_deref()
    }

    /// Returns one label for each index of `axis`, and unites labels that share an index.
    pub fn unite_along(&mut self, labels: &ChannelLabels, axis: usize, node: &str) -> Vec<Label> {
        labels
            .slices(axis)
            .iter()
            .map(|slice| {
                let first = slice.first().copied().unwrap_or(FROZEN);
                for &label in slice.iter().skip(1) {
                    self.unite(first, label, node);
                }
                first
            })
            .collect()
    }

    /// Returns the class of a label; [`FROZEN`] if it may not be removed.
    pub fn removable_class(&self, label: Label) -> Label {
        if self.block(label).is_some() { FROZEN } else { self.find(label) }
    }

    /// Returns whether all labels of a tensor are one class, which is not frozen yet.
    pub fn is_one(&self, labels: &ChannelLabels) -> bool {
        let mut classes = labels.labels().iter().map(|&l| self.removable_class(l));
        classes.next().is_some_and(|first| first != FROZEN && classes.all(|class| class == first))
    }

    /// Returns whether a tensor has several classes, at least one of which is not frozen yet.
    pub fn has_several(&self, labels: &ChannelLabels) -> bool {
        let mut classes = labels.labels().iter().map(|&l| self.removable_class(l));
        classes.next().is_some_and(|first| classes.any(|class| class != first))
    }

    /// Returns the axes along which a tensor can shrink: those along which classes vary.
    ///
    /// All frozen classes count as one. If labels vary along one axis only, returns that axis.
    pub fn varying(&self, labels: &ChannelLabels) -> Vec<usize> {
        let axes = labels.varying();
        if axes.len() < 2 {
            return axes;
        }
        let classes: Vec<Label> = labels.data.iter().map(|&l| self.removable_class(l)).collect();
        let varies = |&axis: &usize| {
            let inner: usize = labels.stored[axis + 1..].iter().product();
            let mut slabs = classes.chunks(inner * labels.stored[axis]);
            slabs.any(|slab| slab[inner..].iter().zip(slab).any(|(next, this)| next != this))
        };
        axes.into_iter().filter(varies).collect()
    }

    /// Chooses the axis along which a tensor shrinks, and unites labels that share an index of it.
    ///
    /// If classes vary along several axes, chooses the axis that leaves the most classes independent. Among equal axes
    /// it chooses the shortest, which is channels and not pixels after a pixel shuffle, then the innermost.
    pub fn keep_rectangular(&mut self, labels: &ChannelLabels, node: &str) {
        let axes = self.varying(labels);
        if axes.len() < 2 {
            return;
        }
        let key = |&axis: &usize| (self.classes_along(labels, axis), Reverse(labels.shape[axis]), axis);
        let best = axes.into_iter().max_by_key(key);
        if let Some(axis) = best {
            self.unite_along(labels, axis, node);
        }
    }

    /// Unites all labels within each slice, whose elements differ only in their indices along `axes`.
    pub fn unite_slices(&mut self, labels: &ChannelLabels, axes: &[usize], node: &str) {
        let mut first: HashMap<usize, Label> = HashMap::new();
        labels.for_each_slice(axes, |slice, label| {
            let first = *first.entry(slice).or_insert(label);
            self.unite(first, label, node);
        });
    }

    /// Returns the number of classes that would remain if labels that share an index of `axis` were united.
    fn classes_along(&self, labels: &ChannelLabels, axis: usize) -> usize {
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
        for slice in labels.slices(axis).iter() {
            let Some(&first) = slice.first() else { continue };
            for &label in slice {
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
    fn uniting_with_a_frozen_class_freezes() {
        let mut classes = EquivalenceClasses::default();
        let labels = classes.new_labels(4);
        classes.unite(labels[0], labels[1], "add");
        assert!(classes.block(labels[1]).is_none());
        classes.freeze(&labels[2..3], "softmax", "mixes channels");
        classes.unite(labels[1], labels[2], "add2");
        assert_eq!(classes.block(labels[0]).map(|b| b.node.as_str()), Some("softmax"));
        assert!(classes.block(labels[3]).is_none());
        classes.unite(FROZEN, labels[3], "add3");
        assert_eq!(classes.block(labels[3]).map(|b| b.node.as_str()), Some("add3"));
        assert_ne!(classes.find(labels[3]), FROZEN, "frozen classes are not merged");
    }

    #[test]
    fn a_tensor_without_elements_unites_nothing() {
        let mut classes = EquivalenceClasses::default();
        assert_eq!(classes.unite_along(&ChannelLabels::full(&[0, 3], vec![]), 1, "gemm"), [FROZEN; 3]);
    }

    #[test]
    fn a_tensor_shrinks_along_the_axis_that_leaves_most_classes() {
        let mut classes = EquivalenceClasses::default();
        let l = classes.new_labels(6);
        // Two groups of three channels lose the same indices.
        classes.keep_rectangular(&ChannelLabels::full(&[1, 2, 3], l.clone()), "shuffle");
        assert_eq!(classes.find(l[0]), classes.find(l[3]));
        assert_eq!(classes.find(l[2]), classes.find(l[5]));
        assert_ne!(classes.find(l[0]), classes.find(l[1]));
    }

    #[test]
    fn a_tensor_shrinks_along_axes_where_classes_vary() {
        let mut classes = EquivalenceClasses::default();
        let l = classes.new_labels(6);
        let labels = ChannelLabels::full(&[1, 2, 3], l.clone());
        assert_eq!(classes.varying(&labels), [1, 2]);
        classes.unite_slices(&labels, &[2], "normalization");
        assert_eq!(classes.varying(&labels), [1]);
        classes.keep_rectangular(&labels, "reshape");
        assert_ne!(classes.find(l[0]), classes.find(l[3]), "nothing was left to choose");
        // Frozen classes count as one, so that only the second slice can be removed, as a whole.
        classes.freeze(&l[..1], "output", "stays");
        assert_eq!(classes.varying(&labels), [1]);
        classes.freeze(&l[5..6], "output", "stays");
        assert!(classes.varying(&labels).is_empty());
    }
}
