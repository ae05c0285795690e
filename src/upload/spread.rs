//! A map by number whose clones share all that they have in common.

use std::{collections::BTreeMap, fmt::Debug, iter, sync::Arc};

use super::{part::PartId, units::ChunkIndex};

/// A node has room for 32 numbers, or for 32 nodes.
const BITS: u32 = 5;

/// What has a number. Keys are in its order.
pub(super) trait Numbered: Copy + Ord + Debug {
    /// Where it lies.
    fn number(self) -> u64;
}

impl Numbered for ChunkIndex {
    fn number(self) -> u64 {
        self.get()
    }
}

impl Numbered for PartId {
    fn number(self) -> u64 {
        self.first.get()
    }
}

/// A map by number. A clone costs nothing, and a change copies one path of nodes: neither costs
/// more where there are a hundred thousand entries.
#[derive(Debug, Clone)]
pub(super) struct Spread<K, V> {
    root: Arc<Node<K, V>>,
    /// Levels of branches above the leaves.
    height: u32,
}

#[derive(Debug, Clone)]
enum Node<K, V> {
    Leaf(BTreeMap<K, V>),
    Branch(BTreeMap<u64, Arc<Self>>),
}

impl<K, V> Default for Spread<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(BTreeMap::new())), height: 0 }
    }
}

/// One that has shrunk may have branches that a new one does not need.
impl<K: Numbered, V: Clone + Eq> PartialEq for Spread<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root) || self.iter().eq(other.iter())
    }
}

impl<K: Numbered, V: Clone + Eq> Eq for Spread<K, V> {}

impl<K: Numbered, V: Clone> Spread<K, V> {
    pub(super) fn get(&self, key: K) -> Option<&V> {
        let (mut node, mut height) = (&*self.root, self.height);
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.get(&key),
                Node::Branch(branch) => node = branch.get(&slot(key, height))?,
            }
            height = height.saturating_sub(1);
        }
    }

    /// Adds or replaces; gives what was there.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        while slot(key, self.height.saturating_add(1)) > 0 {
            let below =
                iter::once((0, Arc::clone(&self.root))).filter(|(_, node)| !node.is_empty());
            self.root = Arc::new(Node::Branch(below.collect()));
            self.height = self.height.saturating_add(1);
        }
        Arc::make_mut(&mut self.root).insert((key, value), self.height)
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        // Else a path would be copied for nothing.
        self.get(key)?;
        Arc::make_mut(&mut self.root).remove(key, self.height)
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.root.iter()
    }

    /// From `key` on, ascending.
    pub(super) fn iter_from(&self, key: K) -> impl Iterator<Item = (K, &V)> {
        self.root.iter_from(key, self.height)
    }

    /// From `key` on, descending.
    pub(super) fn back_from(&self, key: K) -> impl Iterator<Item = (K, &V)> {
        self.root.back_from(key, self.height)
    }

    /// The entry with the highest key.
    pub(super) fn last(&self) -> Option<(K, &V)> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.last_key_value().map(|(key, value)| (*key, value)),
                Node::Branch(branch) => node = branch.last_key_value()?.1,
            }
        }
    }
}

/// Which child of a node so many levels above the leaves.
fn slot(key: impl Numbered, height: u32) -> u64 {
    key.number().checked_shr(BITS.saturating_mul(height)).unwrap_or(0)
}

type Entries<'a, K, V> = Box<dyn Iterator<Item = (K, &'a V)> + 'a>;

impl<K: Numbered, V: Clone> Node<K, V> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.is_empty(),
            Self::Branch(branch) => branch.is_empty(),
        }
    }

    fn insert(&mut self, (key, value): (K, V), height: u32) -> Option<V> {
        match self {
            Self::Leaf(leaf) => leaf.insert(key, value),
            Self::Branch(branch) => {
                let child = branch.entry(slot(key, height)).or_insert_with(|| {
                    Arc::new(match height {
                        0 | 1 => Self::Leaf(BTreeMap::new()),
                        _ => Self::Branch(BTreeMap::new()),
                    })
                });
                Arc::make_mut(child).insert((key, value), height.saturating_sub(1))
            }
        }
    }

    fn remove(&mut self, key: K, height: u32) -> Option<V> {
        match self {
            Self::Leaf(leaf) => leaf.remove(&key),
            Self::Branch(branch) => {
                let slot = slot(key, height);
                let child = Arc::make_mut(branch.get_mut(&slot)?);
                let removed = child.remove(key, height.saturating_sub(1));
                if child.is_empty() {
                    branch.remove(&slot);
                }
                removed
            }
        }
    }

    fn iter(&self) -> Entries<'_, K, V> {
        match self {
            Self::Leaf(leaf) => Box::new(leaf.iter().map(|(key, value)| (*key, value))),
            Self::Branch(branch) => Box::new(branch.values().flat_map(|child| child.iter())),
        }
    }

    fn iter_from(&self, key: K, height: u32) -> Entries<'_, K, V> {
        match self {
            Self::Leaf(leaf) => Box::new(leaf.range(key..).map(|(key, value)| (*key, value))),
            Self::Branch(branch) => {
                let children = branch.range(slot(key, height)..);
                let below = height.saturating_sub(1);
                Box::new(children.flat_map(move |(_, child)| child.iter_from(key, below)))
            }
        }
    }

    fn back_from(&self, key: K, height: u32) -> Entries<'_, K, V> {
        match self {
            Self::Leaf(leaf) => {
                Box::new(leaf.range(..=key).rev().map(|(key, value)| (*key, value)))
            }
            Self::Branch(branch) => {
                let children = branch.range(..=slot(key, height)).rev();
                let below = height.saturating_sub(1);
                Box::new(children.flat_map(move |(_, child)| child.back_from(key, below)))
            }
        }
    }
}

#[cfg(test)]
impl<K: Numbered, V: Clone> Spread<K, V> {
    /// Entries of all nodes that `other` does not share: what was copied to make one of the other.
    pub(super) fn unshared(&self, other: &Self) -> usize {
        let mut shared = std::collections::BTreeSet::new();
        other.root.walk(&mut |node| shared.extend([std::ptr::from_ref(node).addr()]));
        let mut own = 0;
        self.root.walk(&mut |node| {
            let entries = match node {
                Node::Leaf(leaf) => leaf.len(),
                Node::Branch(branch) => branch.len(),
            };
            own += if shared.contains(&std::ptr::from_ref(node).addr()) { 0 } else { entries };
        });
        own
    }
}

#[cfg(test)]
impl<K, V> Node<K, V> {
    fn walk(&self, see: &mut dyn FnMut(&Self)) {
        see(self);
        if let Self::Branch(branch) = self {
            for child in branch.values() {
                child.walk(see);
            }
        }
    }
}
