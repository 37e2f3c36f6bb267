//! What the tree knows of a table without opening it.
//!
//! Invariant: a [`TableMeta`] describes bytes that never change, so it never changes either; a
//! move to another level leaves it as it is, but for the mark that asks for recompression.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lsm_base::file_name::FILE_NUMBER_END;
use lsm_base::key::MAX_KEY_LEN;
use lsm_base::{Error, FileName, Fs, InternalKey, KeyspaceId, Result, Seq};
use lsm_sstable::{Compression, TableProperties, TableSource};

use crate::item::Item;

/// No table is as long: its blocks end at 32 GiB. A MANIFEST has less than 2^32 bytes, and so names
/// less than 2^27 tables: what all of them hold can be added up in 64 bits.
const TABLE_LEN_END: u64 = 1 << 36;

/// A table: which file it is, what it holds, and where it ends.
#[derive(Clone, PartialEq, Eq)]
pub struct TableMeta {
    /// The number in its file's name.
    pub number: u64,
    /// The random id in its footer, which its checksums are seeded with.
    pub id: u64,
    /// The keyspace whose keys it holds.
    pub keyspace: KeyspaceId,
    /// Length of the file in bytes.
    pub len: u64,
    /// How many versions it holds, tombstones included; at least one.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// The first entry.
    pub smallest: InternalKey,
    /// The last entry.
    pub largest: InternalKey,
    /// The oldest sequence in it.
    pub min_seq: Seq,
    /// The newest sequence in it.
    pub max_seq: Seq,
    /// The codec it was written with.
    pub compression: Compression,
    /// What is to be done with it when its level is idle.
    pub mark: Mark,
    /// Attributes that this build does not know and may ignore. Tags 1 to 7 are reserved, in this
    /// order: bounds narrower than the file, an exclusive end, bounds of range tombstones, a
    /// global sequence, smallest and largest expiry, the oldest tombstone's time, blob references.
    pub unknown: Vec<Item>,
}

/// What is to be done with a table when its level is idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// It was moved, bytes and all, to a level with another codec: write it anew.
    Recompress,
}

impl TableMeta {
    /// The user keys of its first and last entry.
    #[must_use]
    pub fn bounds(&self) -> (&[u8], &[u8]) {
        (&self.smallest.user_key, &self.largest.user_key)
    }

    /// Whether the user key lies between the bounds.
    #[must_use]
    pub fn covers(&self, user_key: &[u8]) -> bool {
        *self.smallest.user_key <= *user_key && *user_key <= *self.largest.user_key
    }

    /// Whether a user key lies within the bounds of both.
    #[must_use]
    pub fn overlaps(&self, other: &TableMeta) -> bool {
        self.smallest.user_key <= other.largest.user_key
            && other.smallest.user_key <= self.largest.user_key
    }

    /// Where it is, for who opens it: the file of its number in `dir`.
    #[must_use]
    pub fn source(&self, fs: &Arc<dyn Fs>, dir: &Path) -> TableSource {
        TableSource {
            fs: Arc::clone(fs),
            path: FileName::Table(self.number).path(dir),
            number: self.number,
            id: self.id,
            len: self.len,
        }
    }

    /// Fails if the table, whose file is at `path`, says something else of itself: the MANIFEST is
    /// believed about where a key is looked for, and about what stands in which order.
    ///
    /// # Errors
    /// `Corruption` of the file at `path`.
    pub fn check_against(&self, said: &TableProperties, path: &Path) -> Result<()> {
        let contradictions = [
            ("keyspace", self.keyspace == said.keyspace),
            ("number of entries", self.entries == said.entries),
            ("number of tombstones", self.tombstones == said.tombstones),
            ("first key", self.smallest == said.smallest),
            ("last key", self.largest == said.largest),
            ("oldest sequence", self.min_seq == said.min_seq),
            ("newest sequence", self.max_seq == said.max_seq),
        ];
        match contradictions.iter().find(|(_, agrees)| !agrees) {
            Some((what, _)) => {
                let detail = format!("its {what} is not the one that the MANIFEST tells");
                Err(Error::corruption(path, 0, detail))
            }
            None => Ok(()),
        }
    }

    /// What is wrong with it on its own.
    pub(crate) fn check(&self) -> Result<(), String> {
        let fails = |detail: &str| Err(format!("table {}: {detail}", self.number));
        for key in [&self.smallest, &self.largest] {
            if key.user_key.is_empty() || MAX_KEY_LEN < key.user_key.len() {
                return fails("a bound of a forbidden length");
            }
            if key.seq < self.min_seq || self.max_seq < key.seq {
                return fails("a bound outside its sequences");
            }
        }
        if self.largest < self.smallest {
            return fails("its last key is before its first");
        }
        if FILE_NUMBER_END <= self.number {
            return fails("a number that no file has");
        }
        if TABLE_LEN_END <= self.len {
            return fails("an impossible length");
        }
        // Of each entry a tag and an offset stand in the file as they are, whatever the codec.
        if self.entries == 0 || self.entries < self.tombstones || self.len < self.entries {
            return fails("an impossible count of entries");
        }
        Ok(())
    }
}

impl fmt::Debug for TableMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:06}.sst [{:?}..{:?}] {} bytes, {} entries, {} tombstones, {:?}..{:?}, {:?}",
            self.number,
            self.smallest,
            self.largest,
            self.len,
            self.entries,
            self.tombstones,
            self.min_seq,
            self.max_seq,
            self.compression,
        )?;
        match self.mark {
            Mark::None => Ok(()),
            Mark::Recompress => f.write_str(", to be recompressed"),
        }
    }
}

/// The bytes of these tables, each of which was checked.
pub(crate) fn total_len<'a>(tables: impl IntoIterator<Item = &'a Arc<TableMeta>>) -> u64 {
    tables.into_iter().map(|table| table.len).sum()
}

/// The part of a sorted run of disjoint tables that may hold keys from `smallest` to `largest`.
pub(crate) fn overlapping<'a>(
    run: &'a [Arc<TableMeta>],
    smallest: &[u8],
    largest: &[u8],
) -> &'a [Arc<TableMeta>] {
    let start = run.partition_point(|table| *table.largest.user_key < *smallest);
    let len = run[start..].partition_point(|table| *table.smallest.user_key <= *largest);
    &run[start..start + len]
}

#[cfg(test)]
mod tests {
    use lsm_sstable::TableOptions;

    use super::*;
    use crate::testing::table;

    #[test]
    fn what_no_table_can_be_is_refused() {
        let good = table(1, "b", "m", 5, 9);
        assert_eq!(good.check(), Ok(()));
        let changes: [fn(&mut TableMeta); 13] = [
            |table| table.number = FILE_NUMBER_END,
            |table| table.len = TABLE_LEN_END,
            |table| table.len = u64::MAX,
            |table| table.len = 99,
            |table| table.entries = 0,
            |table| table.entries = u64::MAX,
            |table| table.tombstones = 101,
            |table| table.smallest.seq = Seq::new(4),
            |table| table.largest.seq = Seq::new(10),
            |table| table.smallest.user_key = b"".as_slice().into(),
            |table| table.largest.user_key = b"".as_slice().into(),
            |table| table.largest.user_key = vec![b'x'; MAX_KEY_LEN + 1].into(),
            |table| table.largest.user_key = b"a".as_slice().into(),
        ];
        for change in changes {
            let mut table = good.clone();
            change(&mut table);
            assert!(table.check().is_err(), "{table:?}");
        }
    }

    #[test]
    fn what_a_table_can_just_be_is_not_refused() {
        let changes: [fn(&mut TableMeta); 5] = [
            |table| table.number = FILE_NUMBER_END - 1,
            |table| table.len = TABLE_LEN_END - 1,
            |table| table.len = 100,
            |table| table.tombstones = 100,
            |table| table.largest.user_key = vec![b'x'; MAX_KEY_LEN].into(),
        ];
        for change in changes {
            let mut table = table(1, "a", "m", 5, 9);
            change(&mut table);
            assert_eq!(table.check(), Ok(()), "{table:?}");
        }
        // One entry alone.
        assert_eq!(TableMeta { entries: 1, ..table(1, "a", "a", 5, 5) }.check(), Ok(()));
    }

    #[test]
    fn bounds_belong_to_the_table() {
        let table_of = |smallest, largest| Arc::new(table(1, smallest, largest, 1, 2));
        let middle = table_of("d", "f");
        assert_eq!(middle.bounds(), (&b"d"[..], &b"f"[..]));
        for (key, is_covered) in [("c", false), ("d", true), ("e", true), ("f", true), ("g", false)]
        {
            assert_eq!(middle.covers(key.as_bytes()), is_covered, "{key}");
        }
        for ((smallest, largest), overlaps) in [
            (("a", "c"), false),
            (("a", "d"), true),
            (("e", "e"), true),
            (("a", "z"), true),
            (("f", "z"), true),
            (("g", "z"), false),
        ] {
            let other = table_of(smallest, largest);
            assert_eq!(middle.overlaps(&other), overlaps, "{smallest}-{largest}");
            assert_eq!(other.overlaps(&middle), overlaps, "{smallest}-{largest}");
        }
        let run = [table_of("a", "c"), Arc::clone(&middle), table_of("h", "k")];
        let places = |smallest: &str, largest: &str| {
            let part = overlapping(&run, smallest.as_bytes(), largest.as_bytes());
            part.iter().map(|table| table.bounds().0[0]).collect::<Vec<_>>()
        };
        assert_eq!(places("c", "d"), b"ad");
        assert_eq!(places("b", "k"), b"adh");
        assert_eq!(places("f", "g"), b"d");
        assert_eq!(places("g", "g"), b"");
        assert_eq!(places("l", "z"), b"");
        assert_eq!(total_len(&run), 3 << 20);
    }

    #[test]
    fn a_table_must_say_what_the_manifest_says() {
        let meta = table(1, "a", "m", 5, 9);
        let said = TableProperties {
            keyspace: meta.keyspace,
            keyspace_name: "default".into(),
            entries: meta.entries,
            tombstones: meta.tombstones,
            raw_key_bytes: 0,
            raw_value_bytes: 0,
            min_seq: meta.min_seq,
            max_seq: meta.max_seq,
            smallest: meta.smallest.clone(),
            largest: meta.largest.clone(),
            options: TableOptions::default(),
        };
        let path = Path::new("000001.sst");
        assert!(meta.check_against(&said, path).is_ok());
        type Change = fn(&mut TableProperties);
        let changes: [(&str, Change); 7] = [
            ("keyspace", |said| said.keyspace = KeyspaceId(7)),
            ("number of entries", |said| said.entries += 1),
            ("number of tombstones", |said| said.tombstones += 1),
            ("first key", |said| said.smallest.seq = Seq::new(8)),
            ("last key", |said| said.largest.user_key = b"l".as_slice().into()),
            ("oldest sequence", |said| said.min_seq = Seq::new(4)),
            ("newest sequence", |said| said.max_seq = Seq::new(10)),
        ];
        for (what, change) in changes {
            let mut said = said.clone();
            change(&mut said);
            let error = meta.check_against(&said, path).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
