//! Which labels stay or go together, and which may not go.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::{ChannelLabels, FROZEN, Label};

/// Why a label may not go: the node that forbids it, and the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The node's name.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// The union-find of labels, with the reason why a class may not go.
#[derive(Clone, Debug)]
pub struct EquivalenceClasses {
    parent: Vec<Label>,
    /// For each label, why its class may not go; only a class' root knows.
    blocks: Vec<Option<Arc<Block>>>,
}

impl Default for EquivalenceClasses {
    fn default() -> Self {
        let block = Block { node: String::new(), reason: "not a channel of a layer".to_owned() };
        Self { parent: vec![FROZEN], blocks: vec![Some(Arc::new(block))] }
    }
}

impl EquivalenceClasses {
    /// `n` new labels, tied to nothing.
    pub fn fresh(&mut self, n: usize) -> Vec<Label> {
        let first = self.parent.len() as Label;
        let labels: Vec<Label> = (first..first + n as Label).collect();
        self.parent.extend_from_slice(&labels);
        self.blocks.resize(self.parent.len(), None);
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

    /// EquivalenceClasses two labels at `node`. Tied to a frozen one, a class is frozen for the same reason, or,
    /// where that is [`FROZEN`] itself, because of the node where they meet.
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
        // The elder label is the root: its block, or the younger's, stays.
        let (root, child) = if a < b { (a, b) } else { (b, a) };
        self.parent[child as usize] = root;
        if let Some(block) = self.blocks[child as usize].take() {
            self.blocks[root as usize].get_or_insert(block);
        }
    }

    /// Forbids the removal of the labels' classes. The first reason stays.
    pub fn freeze(&mut self, labels: &[Label], node: &str, reason: &str) {
        let block = Arc::new(Block { node: node.to_owned(), reason: reason.to_owned() });
        for &label in labels {
            let root = self.find_compress(label);
            self.blocks[root as usize].get_or_insert_with(|| block.clone());
        }
    }

    /// Why a label may not go; `None` when it may.
    pub fn block(&self, label: Label) -> Option<&Block> {
        self.blocks[self.find(label) as usize].as_deref()
    }

    /// One label for each index of `axis`; labels that share an index are tied.
    pub fn along(&mut self, labelled: &ChannelLabels, axis: usize, node: &str) -> Vec<Label> {
        labelled
            .slices(axis)
            .iter()
            .map(|slice| {
                let first = slice.first().copied().unwrap_or(FROZEN);
                // Of a tensor without elements, there is none.
                for &label in slice.iter().skip(1) {
                    self.unite(first, label, node);
                }
                first
            })
            .collect()
    }

    /// A label's class, [`FROZEN`] for all that may not go.
    pub fn free(&self, label: Label) -> Label {
        if self.block(label).is_some() { FROZEN } else { self.find(label) }
    }

    /// Whether all labels of a tensor are one class, that may go as far as is known.
    pub fn is_one(&self, labelled: &ChannelLabels) -> bool {
        let mut classes = labelled.labels().iter().map(|&l| self.free(l));
        classes.next().is_some_and(|first| first != FROZEN && classes.all(|class| class == first))
    }

    /// Whether a tensor has several classes, one of which may go as far as is known.
    pub fn varies(&self, labelled: &ChannelLabels) -> bool {
        let mut classes = labelled.labels().iter().map(|&l| self.free(l));
        classes.next().is_some_and(|first| classes.any(|class| class != first))
    }

    /// The axes along which a tensor can shrink: where classes vary, those that may not go being all alike.
    /// Where labels vary along one axis only, that axis.
    pub fn varying(&self, labelled: &ChannelLabels) -> Vec<usize> {
        let axes = labelled.varying();
        if axes.len() < 2 {
            return axes;
        }
        let classes: Vec<Label> = labelled.data.iter().map(|&l| self.free(l)).collect();
        let varies = |&axis: &usize| {
            let inner: usize = labelled.stored[axis + 1..].iter().product();
            let mut slabs = classes.chunks(inner * labelled.stored[axis]);
            slabs.any(|slab| slab[inner..].iter().zip(slab).any(|(next, this)| next != this))
        };
        axes.into_iter().filter(varies).collect()
    }

    /// Keeps a tensor a box: where classes vary along several axes, the axis that leaves the most
    /// coupled shrinks, and labels that share an index of it are tied. Of equals it is the shortest, on which
    /// most indices are free (channels and not pixels after a pixel shuffle), then the innermost.
    pub fn keep_rectangular(&mut self, labelled: &ChannelLabels, node: &str) {
        let axes = self.varying(labelled);
        if axes.len() < 2 {
            return;
        }
        let key = |&axis: &usize| (self.classes_along(labelled, axis), Reverse(labelled.shape[axis]), axis);
        let best = axes.into_iter().max_by_key(key);
        if let Some(axis) = best {
            self.along(labelled, axis, node);
        }
    }

    /// EquivalenceClasses, for each index of the axes but `axes`, all labels that stand there.
    pub fn unite_slices(&mut self, labelled: &ChannelLabels, axes: &[usize], node: &str) {
        let mut first: HashMap<usize, Label> = HashMap::new();
        labelled.each_slice(axes, |slice, label| {
            let first = *first.entry(slice).or_insert(label);
            self.unite(first, label, node);
        });
    }

    /// How many classes would be left if labels that share an index of `axis` were tied.
    fn classes_along(&self, labelled: &ChannelLabels, axis: usize) -> usize {
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
        for slice in labelled.slices(axis).iter() {
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
    fn a_tie_with_a_frozen_class_freezes_it() {
        let mut classes = EquivalenceClasses::default();
        let labels = classes.fresh(4);
        classes.unite(labels[0], labels[1], "add");
        assert!(classes.block(labels[1]).is_none());
        classes.freeze(&labels[2..3], "softmax", "mixes channels");
        classes.unite(labels[1], labels[2], "add2");
        assert_eq!(classes.block(labels[0]).map(|b| b.node.as_str()), Some("softmax"));
        assert!(classes.block(labels[3]).is_none());
        classes.unite(FROZEN, labels[3], "add3");
        assert_eq!(classes.block(labels[3]).map(|b| b.node.as_str()), Some("add3"));
        assert_ne!(classes.find(labels[3]), FROZEN, "frozen classes stay apart");
    }

    #[test]
    fn a_tensor_without_elements_ties_nothing() {
        let mut classes = EquivalenceClasses::default();
        assert_eq!(classes.along(&ChannelLabels::full(&[0, 3], vec![]), 1, "gemm"), [FROZEN; 3]);
    }

    #[test]
    fn a_box_shrinks_along_the_axis_that_leaves_most_knots() {
        let mut classes = EquivalenceClasses::default();
        let l = classes.fresh(6);
        // 2 groups of 3: every group shrinks alike.
        classes.keep_rectangular(&ChannelLabels::full(&[1, 2, 3], l.clone()), "shuffle");
        assert_eq!(classes.find(l[0]), classes.find(l[3]));
        assert_eq!(classes.find(l[2]), classes.find(l[5]));
        assert_ne!(classes.find(l[0]), classes.find(l[1]));
    }

    #[test]
    fn a_tensor_shrinks_where_classes_vary() {
        let mut classes = EquivalenceClasses::default();
        let l = classes.fresh(6);
        let labelled = ChannelLabels::full(&[1, 2, 3], l.clone());
        assert_eq!(classes.varying(&labelled), [1, 2]);
        classes.unite_slices(&labelled, &[2], "normalization");
        assert_eq!(classes.varying(&labelled), [1]);
        classes.keep_rectangular(&labelled, "reshape");
        assert_ne!(classes.find(l[0]), classes.find(l[3]), "nothing was left to choose");
        // What may not go is all alike: the second slice alone is left to go, whole.
        classes.freeze(&l[..1], "output", "stays");
        assert_eq!(classes.varying(&labelled), [1]);
        classes.freeze(&l[5..6], "output", "stays");
        assert!(classes.varying(&labelled).is_empty());
    }
}
