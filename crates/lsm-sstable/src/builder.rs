//! Writes a table, from its first entry to the sync of its file.
//!
//! Blocks go to a buffer of 1 MiB and from there to the file by positional writes. What stays in
//! memory until the end is small: a hash for each user key, and a separator for each block.
//!
//! Invariant: entries come in the order of internal keys, each larger than the one before. A table
//! that broke it would hide entries, so it is an assertion.

use std::sync::Arc;

use lsm_base::batch::MAX_VALUE_LEN;
use lsm_base::key::{MAX_KEY_LEN, hash_user_key};
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, File, InternalKey, InternalKeyRef, KeyspaceId, Kind, Result, Seq};

use crate::block::BlockBuilder;
use crate::fences::{self, FencesBuilder};
use crate::filter::{FilterBuilder, LINE_LEN};
use crate::format::{self, DATA, Directory, FENCES, FILTER, FOOTER_LEN, Footer};
use crate::format::{PROPERTIES, Section};
use crate::options::{Compression, MAX_BLOCK_SIZE, MAX_BLOOM_BITS_PER_KEY, TableOptions};
use crate::properties::TableProperties;

/// What a block may be longer than without compression: its padding.
const BLOCK_ROOM: u64 = 1 << 20;

/// How much is written at once.
const BUFFER_LEN: usize = 1 << 20;

/// Builds one table.
#[derive(Debug)]
pub struct TableBuilder {
    output: Output,
    keyspace: (KeyspaceId, String),
    options: TableOptions,
    block: BlockBuilder,
    fences: FencesBuilder,
    filter: FilterBuilder,
    sections: Vec<Section>,
    counts: Counts,
    first: Option<InternalKey>,
    /// The key added last; its buffer is used again.
    last: LastKey,
}

/// What a finished table is, for the MANIFEST.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSummary {
    /// The random id.
    pub id: u64,
    /// The length of the file in bytes.
    pub len: u64,
    /// How many entries it has.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// The first key.
    pub smallest: InternalKey,
    /// The last key.
    pub largest: InternalKey,
    /// The oldest write.
    pub min_seq: Seq,
    /// The newest write.
    pub max_seq: Seq,
    /// The length of all user keys in bytes, one for each entry.
    pub raw_key_bytes: u64,
    /// The length of all values in bytes.
    pub raw_value_bytes: u64,
    /// How the blocks were to be compressed.
    pub compression: Compression,
}

impl TableBuilder {
    /// A builder that writes to an empty file. `id` is random and names this table for ever;
    /// `keyspace` is what it belongs to.
    ///
    /// # Panics
    /// If an option exceeds its limit.
    #[must_use]
    pub fn new(
        file: Arc<dyn File>,
        id: u64,
        keyspace: (KeyspaceId, &str),
        options: TableOptions,
    ) -> TableBuilder {
        assert!(options.block_size <= MAX_BLOCK_SIZE, "blocks have at most {MAX_BLOCK_SIZE} bytes");
        assert!(
            options.bloom_bits_per_key <= MAX_BLOOM_BITS_PER_KEY,
            "filters have at most {MAX_BLOOM_BITS_PER_KEY} bits for each key"
        );
        TableBuilder {
            output: Output::new(file, id),
            keyspace: (keyspace.0, keyspace.1.to_owned()),
            options,
            block: BlockBuilder::default(),
            fences: FencesBuilder::default(),
            filter: FilterBuilder::new(options.bloom_bits_per_key),
            sections: Vec::new(),
            counts: Counts::default(),
            first: None,
            last: LastKey::default(),
        }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a key or value beyond the limits or a table beyond 32 GiB:
    /// nothing was added. [`Error::Io`] if the file cannot be written: the table is lost, and every
    /// later call fails too.
    ///
    /// # Panics
    /// If the key is not larger than the one before, or a tombstone has a value.
    pub fn add(&mut self, key: InternalKeyRef<'_>, value: &[u8]) -> Result<()> {
        self.output.check()?;
        check_limits(key, value)?;
        assert!(key.kind == Kind::Put || value.is_empty(), "a tombstone has no value");
        let is_new_user_key = match self.first {
            None => true,
            Some(_) => {
                assert!(self.last.as_ref() < key, "{key:?} behind {:?}", self.last.as_ref());
                self.last.user_key != key.user_key
            }
        };
        let len_with = self.block.raw_len_with(key, value);
        if !self.block.is_empty() && (self.options.block_size as usize) < len_with {
            let separator = fences::separator(&self.last.user_key, key.user_key);
            self.finish_block(&separator)?;
        }
        if fences::MAX_DATA_LEN - BLOCK_ROOM < self.output.len() + len_with as u64 {
            return Err(Error::invalid("a table of more than 32 GiB"));
        }
        let hash = hash_user_key(key.user_key);
        if is_new_user_key {
            self.filter.add(hash);
        }
        if self.first.is_none() {
            self.first = Some(key.to_owned());
        }
        self.block.push(key, hash, value);
        self.last.set(key);
        self.counts.add(key, value);
        Ok(())
    }

    /// About how long the file would be if it ended here.
    #[must_use]
    pub fn estimated_len(&self) -> u64 {
        let block = if self.block.is_empty() { 0 } else { self.block.raw_len() as u64 };
        self.output.len() + block + self.fences.estimated_len() + self.filter.estimated_len()
    }

    /// How many entries were added.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.counts.entries
    }

    /// Writes the rest of the table and syncs the file. (That the file has a name that survives a
    /// power loss is the caller's business: [`Fs::sync_dir`](lsm_base::Fs::sync_dir).)
    ///
    /// # Errors
    /// [`Error::Io`]; the table is lost then.
    ///
    /// # Panics
    /// If no entry was added: an empty table has no bounds.
    pub fn finish(mut self) -> Result<TableSummary> {
        self.output.check()?;
        let smallest = self.first.take().expect("a table has at least one entry");
        let largest = self.last.as_ref().to_owned();
        self.finish_block(&largest.user_key)?;
        let data_len = self.output.len();
        self.sections.push(required(DATA, 0, data_len));
        self.write_filter()?;
        self.write_fences(&smallest.user_key, &largest.user_key, data_len)?;
        let properties = self.properties(smallest, largest);
        self.write_section(PROPERTIES, Section::REQUIRED, 8, |out| {
            out.extend_from_slice(&properties.encode());
        })?;
        self.write_frame()?;
        self.output.sync()?;
        Ok(TableSummary {
            id: self.output.id,
            len: self.output.len(),
            entries: properties.entries,
            tombstones: properties.tombstones,
            smallest: properties.smallest,
            largest: properties.largest,
            min_seq: properties.min_seq,
            max_seq: properties.max_seq,
            raw_key_bytes: properties.raw_key_bytes,
            raw_value_bytes: properties.raw_value_bytes,
            compression: self.options.compression,
        })
    }

    fn finish_block(&mut self, separator: &[u8]) -> Result<()> {
        let offset = self.output.len();
        self.fences.add(separator, offset);
        let (id, compression) = (self.output.id, self.options.compression);
        self.block.finish(&mut self.output.buffer, compression, id, offset);
        self.output.write_if_full()
    }

    fn write_filter(&mut self) -> Result<()> {
        if !self.filter.is_wanted() {
            return Ok(());
        }
        let filter = std::mem::replace(&mut self.filter, FilterBuilder::new(0));
        // A reader without this section finds the same entries, only later.
        self.write_section(FILTER, 0, LINE_LEN as u64, |out| filter.finish(out))
    }

    fn write_fences(&mut self, smallest: &[u8], largest: &[u8], data_len: u64) -> Result<()> {
        let fences = std::mem::take(&mut self.fences);
        let common = smallest.iter().zip(largest).take_while(|(a, b)| a == b).count();
        self.write_section(FENCES, Section::REQUIRED, LINE_LEN as u64, |out| {
            fences.finish(&smallest[..common], data_len, out);
        })
    }

    fn write_section(
        &mut self,
        kind: u16,
        flags: u16,
        align: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let output = &mut self.output;
        let padding = output.len().next_multiple_of(align) - output.len();
        output.buffer.resize(output.buffer.len() + padding as usize, 0);
        let (offset, start) = (output.len(), output.buffer.len());
        write(&mut output.buffer);
        format::seal_region(&mut output.buffer, start, output.id, offset, kind);
        self.sections.push(Section { kind, flags, offset, len: output.len() - offset });
        output.write_if_full()
    }

    fn write_frame(&mut self) -> Result<()> {
        let directory = Directory { sections: std::mem::take(&mut self.sections) };
        let directory_offset = self.output.len();
        let bytes = directory.encode(self.output.id, directory_offset);
        let directory_len = bytes.len() as u64;
        let footer = Footer {
            directory_offset,
            directory_len,
            id: self.output.id,
            file_len: directory_offset + directory_len + FOOTER_LEN as u64,
        };
        self.output.buffer.extend_from_slice(&bytes);
        self.output.buffer.extend_from_slice(&footer.encode());
        self.output.write()
    }

    fn properties(&self, smallest: InternalKey, largest: InternalKey) -> TableProperties {
        TableProperties {
            keyspace: self.keyspace.0,
            keyspace_name: self.keyspace.1.clone(),
            entries: self.counts.entries,
            tombstones: self.counts.tombstones,
            raw_key_bytes: self.counts.raw_key_bytes,
            raw_value_bytes: self.counts.raw_value_bytes,
            min_seq: self.counts.min_seq,
            max_seq: self.counts.max_seq,
            smallest,
            largest,
            options: self.options,
        }
    }
}

fn required(kind: u16, offset: u64, len: u64) -> Section {
    Section { kind, flags: Section::REQUIRED, offset, len }
}

fn check_limits(key: InternalKeyRef<'_>, value: &[u8]) -> Result<()> {
    let key_len = key.user_key.len();
    if key_len == 0 || MAX_KEY_LEN < key_len {
        return Err(Error::invalid(format!("a key of {key_len} bytes")));
    }
    if MAX_VALUE_LEN < value.len() {
        return Err(Error::invalid(format!("a value of {} bytes", value.len())));
    }
    Ok(())
}

/// What is counted of the entries.
#[derive(Debug)]
struct Counts {
    entries: u64,
    tombstones: u64,
    raw_key_bytes: u64,
    raw_value_bytes: u64,
    min_seq: Seq,
    max_seq: Seq,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            entries: 0,
            tombstones: 0,
            raw_key_bytes: 0,
            raw_value_bytes: 0,
            min_seq: Seq::MAX,
            max_seq: Seq::ZERO,
        }
    }
}

impl Counts {
    fn add(&mut self, key: InternalKeyRef<'_>, value: &[u8]) {
        self.entries += 1;
        self.tombstones += u64::from(key.kind == Kind::Delete);
        self.raw_key_bytes += key.user_key.len() as u64;
        self.raw_value_bytes += value.len() as u64;
        self.min_seq = self.min_seq.min(key.seq);
        self.max_seq = self.max_seq.max(key.seq);
    }
}

/// An owned internal key whose buffer is used again.
#[derive(Debug)]
struct LastKey {
    user_key: Vec<u8>,
    seq: Seq,
    kind: Kind,
}

impl Default for LastKey {
    fn default() -> Self {
        LastKey { user_key: Vec::new(), seq: Seq::ZERO, kind: Kind::Put }
    }
}

impl LastKey {
    fn set(&mut self, key: InternalKeyRef<'_>) {
        self.user_key.clear();
        self.user_key.extend_from_slice(key.user_key);
        (self.seq, self.kind) = (key.seq, key.kind);
    }

    fn as_ref(&self) -> InternalKeyRef<'_> {
        InternalKeyRef::new(&self.user_key, self.seq, self.kind)
    }
}

/// The end of the file that is being written.
#[derive(Debug)]
struct Output {
    file: Arc<dyn File>,
    id: u64,
    /// What is in the file.
    written: u64,
    buffer: Vec<u8>,
    /// Why the file is lost.
    failure: Option<Error>,
}

impl Output {
    fn new(file: Arc<dyn File>, id: u64) -> Output {
        Output { file, id, written: 0, buffer: Vec::with_capacity(BUFFER_LEN), failure: None }
    }

    /// The length of the table so far.
    fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn check(&self) -> Result<()> {
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn write_if_full(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER_LEN { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<()> {
        let result = self.file.write_all_at(&self.buffer, self.written);
        self.note(result)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_LEN);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let result = plant::unless(Plant::TableNotSynced, || {
            plant::again(Plant::TableSyncTriedAgain, || self.file.sync_data())
        });
        self.note(result)
    }

    fn note(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        result
    }
}

#[cfg(test)]
mod tests;
