//! Merging: many sorted sources as one.
//!
//! The sources meet in a *loser tree*: a knock-out tournament in which every inner node keeps the
//! source that lost there, and the root the one that won them all. After the winner has moved, only
//! the matches on its way to the root are played again, against the losers that wait there:
//! log2(k) comparisons, and no more than a plain comparison of the two when there are two.
//!
//! ```text
//!            winner            node 0: the source that the cursor stands on
//!              |
//!           [node 1]           the loser of each match
//!          /        \
//!      [node 2]   source 0     source i is leaf k + i; the parent of n is n / 2
//!      /      \
//!  source 1  source 2          (k = 3)
//! ```
//!
//! The first eight bytes of every source's key stand beside the tree as a number, so that most
//! matches touch no key.
//!
//! Invariant: going forward, every source but the winner stands on its first entry behind the
//! winner's, or beside all; going backward, on its last entry before it. A change of direction
//! seeks all of them anew, because a memtable may have grown since they were placed.

use std::mem;

use crate::cursor::Cursor;
use crate::error::Result;
use crate::key::{InternalKeyRef, Seq, key_prefix};
use crate::plant::{self, Plant};

/// The entries of many cursors in one order.
///
/// No two sources may hold the same user key with the same sequence. No step allocates.
#[derive(Debug)]
pub struct MergingCursor<C> {
    sources: Vec<C>,
    /// What each source is judged by first: smaller is nearer in the direction of motion.
    ranks: Vec<u64>,
    /// Node 0 holds the winner, every other node the loser of its match.
    tree: Vec<u32>,
    direction: Direction,
    /// Whether the tree says where the cursor stands; false before the first seek and after an
    /// error.
    is_placed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Forward,
    Backward,
}

/// The rank of a source that stands beside all; a key may have the same.
const BESIDE_ALL: u64 = u64::MAX;

impl<C: Cursor> MergingCursor<C> {
    /// A cursor over all entries of `sources`, standing on nothing.
    ///
    /// # Panics
    /// If there are 2^31 sources or more.
    #[must_use]
    pub fn new(sources: Vec<C>) -> MergingCursor<C> {
        assert!(sources.len() < 1 << 31, "the nodes of the tree are numbered by 32 bits");
        MergingCursor {
            ranks: vec![BESIDE_ALL; sources.len()],
            tree: vec![0; sources.len()],
            sources,
            direction: Direction::Forward,
            is_placed: false,
        }
    }

    /// Places every source by `seek` and finds the nearest one in `direction`.
    fn seek_all(
        &mut self,
        direction: Direction,
        seek: impl Fn(&mut C) -> Result<()>,
    ) -> Result<()> {
        self.is_placed = false;
        for source in &mut self.sources {
            seek(source)?;
        }
        self.play_all(direction);
        Ok(())
    }

    /// Moves the winner by `step`, and if it went the other way before, all others to the other
    /// side of it.
    fn step(
        &mut self,
        direction: Direction,
        step: impl Fn(&mut C) -> Result<()>,
        seek_beyond: impl Fn(&mut C, InternalKeyRef<'_>) -> Result<()>,
    ) -> Result<()> {
        assert!(self.valid(), "a cursor that stands on nothing has no neighbour");
        let winner = self.winner();
        // Until all has gone well the cursor stands on nothing.
        self.is_placed = false;
        if self.direction == direction {
            step(&mut self.sources[winner])?;
            // A source that has no rival needs no rank.
            if 1 < self.sources.len() {
                self.rank(winner);
                self.play_again(winner);
            }
            self.is_placed = true;
            return Ok(());
        }
        let (before, rest) = self.sources.split_at_mut(winner);
        let (current, behind) = rest.split_first_mut().expect("the winner is a source");
        if !plant::is_live(Plant::TurnWithoutSeek) {
            for other in before.iter_mut().chain(behind) {
                seek_beyond(other, current.key())?;
            }
        }
        step(current)?;
        self.play_all(direction);
        Ok(())
    }

    fn winner(&self) -> usize {
        self.tree[0] as usize
    }

    fn rank(&mut self, index: usize) {
        let prefix = self.sources[index].peek().map(|key| key_prefix(key.user_key));
        self.ranks[index] = match (prefix, self.direction) {
            (Some(prefix), Direction::Forward) => prefix,
            (Some(prefix), Direction::Backward) => !prefix,
            (None, _) => BESIDE_ALL,
        };
    }

    /// Whether source `a` comes before source `b` in the direction of motion.
    fn precedes(&self, a: usize, b: usize) -> bool {
        if self.ranks[a] != self.ranks[b] {
            return self.ranks[a] < self.ranks[b];
        }
        let (a, b) = (&self.sources[a], &self.sources[b]);
        if !a.valid() || !b.valid() {
            return a.valid();
        }
        match self.direction {
            Direction::Forward => a.key() < b.key(),
            Direction::Backward => b.key() < a.key(),
        }
    }

    /// Plays the whole tournament, after all sources have moved.
    fn play_all(&mut self, direction: Direction) {
        self.direction = direction;
        for index in 0..self.sources.len() {
            self.rank(index);
        }
        if !self.sources.is_empty() {
            self.tree[0] = self.play_below(1);
            self.is_placed = true;
        }
    }

    /// Plays all matches below `node` and its own, and returns who won it.
    fn play_below(&mut self, node: usize) -> u32 {
        if self.sources.len() <= node {
            return (node - self.sources.len()) as u32;
        }
        let mut winner = self.play_below(2 * node);
        let mut loser = self.play_below(2 * node + 1);
        if self.precedes(loser as usize, winner as usize) {
            mem::swap(&mut winner, &mut loser);
        }
        self.tree[node] = loser;
        winner
    }

    /// Plays the matches of the source `index`, the last winner, after it alone has moved.
    fn play_again(&mut self, index: usize) {
        let mut winner = index as u32;
        let mut node = (self.sources.len() + index) / 2;
        while 0 < node {
            let rival = self.tree[node];
            if self.precedes(rival as usize, winner as usize) {
                self.tree[node] = mem::replace(&mut winner, rival);
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }
}

impl<C: Cursor> Cursor for MergingCursor<C> {
    fn valid(&self) -> bool {
        self.is_placed && self.sources[self.winner()].valid()
    }

    fn key(&self) -> InternalKeyRef<'_> {
        debug_assert!(self.valid());
        self.sources[self.winner()].key()
    }

    fn peek(&self) -> Option<InternalKeyRef<'_>> {
        if self.is_placed { self.sources[self.winner()].peek() } else { None }
    }

    fn value(&self) -> &[u8] {
        debug_assert!(self.valid());
        self.sources[self.winner()].value()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.seek_all(Direction::Forward, C::seek_to_first)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.seek_all(Direction::Backward, C::seek_to_last)
    }

    fn seek(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        self.seek_all(Direction::Forward, |source| source.seek(user_key, seq))
    }

    fn seek_before(&mut self, user_key: &[u8], seq: Seq) -> Result<()> {
        self.seek_all(Direction::Backward, |source| source.seek_before(user_key, seq))
    }

    fn next(&mut self) -> Result<()> {
        // No other source holds the winner's own key, so "at or behind" it means behind it.
        self.step(Direction::Forward, C::next, |other, key| other.seek(key.user_key, key.seq))
    }

    fn prev(&mut self) -> Result<()> {
        self.step(Direction::Backward, C::prev, |other, key| {
            other.seek_before(key.user_key, key.seq)
        })
    }
}

#[cfg(test)]
mod tests;
