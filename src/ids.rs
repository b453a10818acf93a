//! Ids of the nodes and values of a graph, and vectors that one kind of id indexes.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Index, IndexMut};

/// An index that has a type of its own.
pub trait Id: Copy {
    /// Creates the id of the entry at a position.
    fn new(index: usize) -> Self;

    /// Returns the position of the entry.
    fn index(self) -> usize;
}

/// The index of a node in [`Graph::nodes`](crate::graph::Graph::nodes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// The index of a value in [`Graph::values`](crate::graph::Graph::values).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(usize);

impl Id for NodeId {
    fn new(index: usize) -> Self {
        Self(index)
    }

    fn index(self) -> usize {
        self.0
    }
}

impl Id for ValueId {
    fn new(index: usize) -> Self {
        Self(index)
    }

    fn index(self) -> usize {
        self.0
    }
}

/// A vector with one entry for each id, which only ids of type `K` index.
#[derive(Clone, Debug)]
pub struct IdVec<K, V> {
    entries: Vec<V>,
    key: PhantomData<K>,
}

impl<K: Id, V> IdVec<K, V> {
    /// Appends an entry and returns its id.
    pub fn push(&mut self, entry: V) -> K {
        self.entries.push(entry);
        K::new(self.entries.len() - 1)
    }

    /// Returns all ids in order.
    pub fn ids(&self) -> impl Iterator<Item = K> + use<K, V> {
        (0..self.entries.len()).map(K::new)
    }

    /// Returns all ids with their entries, in order.
    pub fn iter_enumerated(&self) -> impl Iterator<Item = (K, &V)> {
        self.ids().zip(&self.entries)
    }

    /// Returns the first id whose entry meets a condition.
    pub fn position(&self, condition: impl FnMut(&V) -> bool) -> Option<K> {
        self.entries.iter().position(condition).map(K::new)
    }

    /// Returns a vector that has copies of `entry` for the ids of this one.
    pub fn filled<W: Clone>(&self, entry: W) -> IdVec<K, W> {
        std::iter::repeat_n(entry, self.entries.len()).collect()
    }
}

impl<K, V> Default for IdVec<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new(), key: PhantomData }
    }
}

impl<K, V> FromIterator<V> for IdVec<K, V> {
    fn from_iter<I: IntoIterator<Item = V>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect(), key: PhantomData }
    }
}

impl<K, V> Deref for IdVec<K, V> {
    type Target = [V];

    fn deref(&self) -> &[V] {
        &self.entries
    }
}

impl<K, V> DerefMut for IdVec<K, V> {
    fn deref_mut(&mut self) -> &mut [V] {
        &mut self.entries
    }
}

impl<'a, K, V> IntoIterator for &'a IdVec<K, V> {
    type Item = &'a V;
    type IntoIter = std::slice::Iter<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

impl<K: Id, V> Index<K> for IdVec<K, V> {
    type Output = V;

    fn index(&self, id: K) -> &V {
        &self.entries[id.index()]
    }
}

impl<K: Id, V> IndexMut<K> for IdVec<K, V> {
    fn index_mut(&mut self, id: K) -> &mut V {
        &mut self.entries[id.index()]
    }
}
