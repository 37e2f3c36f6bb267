//! The memtable: an AVL tree in an arena, with one writer and readers that never block.
//!
//! ```
//! use std::sync::Arc;
//!
//! use lsm_base::key::hash_user_key;
//! use lsm_base::{Cursor, Kind, Seq};
//! use lsm_memtable::{Arena, Memtable};
//!
//! let arena = Arena::new(1 << 20);
//! let mut writer = arena.writer().expect("the first to ask gets it");
//! let users = Arc::new(Memtable::new(&arena, b"user"));
//!
//! let hash = hash_user_key(b"user1");
//! users.insert(&mut writer, b"user1", hash, Seq::new(1), Kind::Put, b"Ada")?;
//! users.insert(&mut writer, b"user1", hash, Seq::new(2), Kind::Delete, b"")?;
//!
//! assert_eq!(users.get(b"user1", hash, Seq::new(1)).unwrap().value, b"Ada");
//! assert_eq!(users.get(b"user1", hash, Seq::MAX).unwrap().kind, Kind::Delete);
//!
//! let mut cursor = users.cursor();
//! cursor.seek_to_first().unwrap();
//! assert_eq!(cursor.key().seq, Seq::new(2));
//! # Ok::<(), lsm_memtable::ArenaFull>(())
//! ```
//!
//! # How it is built
//!
//! ```text
//!  Memtable ── Filter    which keys may be here: most misses end at it
//!     │
//!     ├─ Tree ── Node    24 bytes: key prefix, two links, key entry, balance
//!     │            │
//!     └─ List ── KeyEntry ⇄ KeyEntry ⇄ ..    in key order: what cursors walk
//!                  │
//!                Version → older version → ..    with jumps: O(log n) to any sequence
//! ```
//!
//! Everything but the filter lies in an [`Arena`]: memory of fixed size, where a link is a 32-bit
//! number and nothing is freed before the whole. The memtables of one generation share it, and
//! [`ArenaWriter`], the one token to write into it, makes "a single writer" a matter of types.
//!
//! Readers take no lock, count no reference, announce nothing and never retry. What lets them walk
//! a tree that is being rebalanced is that a rotation copies the nodes which move down, and never
//! takes a key away from below a node (`tree/rotation.rs`).
//!
//! # What readers can rely on
//!
//! Whoever learns by an `Acquire` load that the entries up to a sequence are inserted (published
//! by a `Release` store after the inserts) finds every one of them, by look-up and by cursor.
//! Newer entries may be met or missed; a look-up at that sequence skips them.
//!
//! Unsafe code is confined to `arena.rs` and `arena/`; the invariants it rests on stand there.

#[expect(unsafe_code, reason = "raw memory that threads share; its invariants stand in arena.rs")]
mod arena;
mod bloom;
mod cursor;
mod key_entry;
mod list;
mod memtable;
mod node;
mod sync;
mod tree;
mod version;

pub use arena::{Arena, ArenaFull, ArenaWriter};
pub use cursor::MemtableCursor;
pub use memtable::{Entry, Memtable};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = "```"]
#[doc = include_str!("../examples/generations.rs")]
#[doc = "```"]
struct Example;
