//! The sets of options, from usual to absurd.
//!
//! What is refused as too small stands here with the smallest that is taken: 16 KiB for a memtable,
//! whose arena each keyspace shares, and two of them for the budget.

use std::time::Duration;

use lsm_engine::{Compression, Durability, Options, ReadMode, Recheck};

use crate::support::tiny;

/// Options by name; with several, each open takes the next.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) options: Vec<Options>,
}

fn set(name: &'static str, options: Options) -> Set {
    Set { name, options: vec![options] }
}

fn medium() -> Options {
    Options { memtable_size: Some(128 << 10), ..tiny() }
}

/// The one that all groups of sets are compared with, and so with each other: it takes little time.
pub(crate) fn shared() -> Set {
    let alone = Options { background_threads: 0, ..medium() };
    set("medium memtables, without threads", Options { max_log_bytes: Some(u64::MAX), ..alone })
}

/// Busy in the background all the time.
pub(crate) fn small_memtables() -> Vec<Set> {
    let tables = Options { table_size: 4 << 10, block_cache_size: Some(8 << 10), ..tiny() };
    let long_filters =
        Options { bloom_bits_per_key: 32, read_mode: Some(ReadMode::Pread), ..tables };
    vec![
        set("small memtables", tiny()),
        set("small memtables and small tables", long_filters),
        set("eight threads", Options { background_threads: 8, ..tiny() }),
        set("one generation that waits", Options { memory_budget: Some(32 << 10), ..tiny() }),
        set("every table read back", Options { recheck: Recheck::Full, ..tiny() }),
    ]
}

/// The same without threads: writes that find no room do the work.
pub(crate) fn small_memtables_without_threads() -> Vec<Set> {
    let alone = || Options { background_threads: 0, ..tiny() };
    let short = Options {
        block_size: 128,
        table_size: 2 << 10,
        max_log_bytes: Some(8 << 10),
        recheck: Recheck::Full,
        ..alone()
    };
    let never = Options { compaction_interval: Duration::MAX, table_size: 4 << 10, ..alone() };
    vec![
        set("no threads and a short log", short),
        set("no threads and three generations that wait", alone()),
        set("no threads and no interval", never),
        set("no threads and one generation", Options { memory_budget: Some(32 << 10), ..alone() }),
    ]
}

/// The same with a block for each entry.
pub(crate) fn small_memtables_with_a_block_for_each_entry() -> Vec<Set> {
    let bytes = || Options {
        block_size: 1,
        block_cache_size: Some(1),
        bloom_bits_per_key: 0,
        compression: Compression::None,
        read_mode: Some(ReadMode::Pread),
        background_threads: 1,
        ..tiny()
    };
    let maps = Options { read_mode: Some(ReadMode::Map), bloom_bits_per_key: 1, ..bytes() };
    vec![
        set("a block for each entry", bytes()),
        set("a block for each entry in maps", maps),
        set(
            "a block for each entry with LZ4",
            Options { compression: Compression::Lz4, ..bytes() },
        ),
    ]
}

/// Tables of a few entries, blocks and tables that never end, caches of nothing and of all.
pub(crate) fn blocks_tables_and_caches() -> Vec<Set> {
    let pread = || Options { read_mode: Some(ReadMode::Pread), ..tiny() };
    vec![
        set("tables of a few entries", Options { table_size: 512, ..medium() }),
        set("one table", Options { table_size: 8 << 30, ..tiny() }),
        set("one block", Options { block_size: 16 << 20, ..pread() }),
        set("no cache", Options { block_cache_size: Some(0), ..pread() }),
        set("an endless cache", Options { block_cache_size: Some(usize::MAX), ..pread() }),
        set(
            "maps without filters",
            Options {
                bloom_bits_per_key: 0,
                compression: Compression::None,
                read_mode: Some(ReadMode::Map),
                ..tiny()
            },
        ),
    ]
}

/// Logs of every length, memtables of some, and what users have.
pub(crate) fn logs_and_memory() -> Vec<Set> {
    let logs = |bytes| Options { max_log_bytes: Some(bytes), ..medium() };
    let medium_alone = Options {
        table_size: 8 << 10,
        bloom_bits_per_key: 1,
        compression: Compression::None,
        background_threads: 0,
        ..medium()
    };
    vec![
        set("default options", Options::default()),
        set("medium memtables without threads", medium_alone),
        set("a short log", logs(8 << 10)),
        set("no log to speak of", logs(0)),
        set("an endless log", logs(u64::MAX)),
        set("a memory for everything", Options { memtable_size: Some(16 << 20), ..tiny() }),
        set("buffered by default", Options { durability: Durability::Buffered, ..medium() }),
    ]
}

/// Threads without end, looks without pause, and other options at each open.
pub(crate) fn threads_and_changes() -> Vec<Set> {
    let hasty = Options { compaction_interval: Duration::from_millis(1), ..tiny() };
    let changes = [
        small_memtables(),
        small_memtables_without_threads(),
        small_memtables_with_a_block_for_each_entry(),
        blocks_tables_and_caches(),
        logs_and_memory(),
    ];
    let changing = changes.into_iter().flatten().flat_map(|set| set.options).collect();
    vec![
        set("a thread", Options { background_threads: 1, ..tiny() }),
        set("sixty-four threads", Options { background_threads: 64, ..tiny() }),
        set("no pause", hasty),
        Set { name: "other options at each open", options: changing },
    ]
}

/// With syncs that take their time.
pub(crate) fn a_real_directory() -> Options {
    Options { memtable_size: Some(32 << 10), table_size: 32 << 10, ..tiny() }
}
