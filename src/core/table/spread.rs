//! Knows how to keep a hash table of a million entries without a moment in which all of them move.
//! Never: what an entry is.

use hashbrown::HashTable;

/// How many parts a table has: with a million entries one has 4,000, which move within half a millisecond.
const PARTS: usize = 256;

/// A hash table in parts, each of which grows by itself. A table in one piece moves all that it has when it
/// grows, which takes 100 ms for a million, and everything else waits.
#[derive(Debug)]
pub(crate) struct Spread<T> {
    parts: Box<[HashTable<T>]>,
    len: usize,
}

impl<T> Default for Spread<T> {
    fn default() -> Spread<T> {
        Spread { parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0 }
    }
}

impl<T> Spread<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[part(hash)].find(hash, is_it)
    }

    /// Puts in an entry that is not there yet. `hash_of` gives the hash of any entry.
    pub(crate) fn insert_unique(&mut self, hash: u64, entry: T, hash_of: impl Fn(&T) -> u64) {
        self.parts[part(hash)].insert_unique(hash, entry, hash_of);
        self.len += 1;
    }

    /// Takes out an entry, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) {
        if let Ok(found) = self.parts[part(hash)].find_entry(hash, is_it) {
            found.remove();
            self.len -= 1;
        }
    }
}

/// The part that a hash belongs to, by bits that the part itself looks at last.
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}
