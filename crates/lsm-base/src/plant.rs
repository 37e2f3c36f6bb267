//! Plants: mistakes that real stores made, sown into this one to see which tests reap them.
//!
//! A harness that catches nothing looks like one that has nothing to catch. So each mistake of a
//! catalogue stands in the code beside what is right, and a build with `--cfg plants` can be told
//! by the variable `LSM_PLANT`, a number, to make it; `cargo xtask plants` runs the harness that is
//! to notice, once for each. Every other build has none of this: there [`is_live`] is the
//! constant `false`, and what stands behind it is gone.
//!
//! Invariant: a number means the same mistake for ever; the catalogue of `xtask` has one line for
//! each.

/// A mistake, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Plant {
    /// An open unlinks the old MANIFEST before CURRENT names the new one.
    UnlinkedBeforeRename = 1,
    /// A sync of the log covers its newest segment alone, and leaves a hole before it.
    HoleInLog = 2,
    /// An append that met a full disk halfway is followed by others behind its remains.
    AppendedBehindRemains = 3,
    /// A sync that failed is tried again, and believed.
    SyncTriedAgain = 4,
    /// An open unlinks the log before what it made of it counts.
    LogUnlinkedInRecovery = 5,
    /// After a crash sequences go on where they were seen to end.
    SequenceHandedOutTwice = 6,
    /// The newest log segment is replayed first.
    ReplayedInWrongOrder = 7,
    /// The drop of a keyspace is not written to the MANIFEST.
    DropNotLogged = 8,
    /// A tombstone goes although an older version lies deeper.
    TombstoneElidedTooEarly = 9,
    /// A table ends between two versions of a key.
    VersionsSplit = 10,
    /// Who compacts looks at the snapshots first and at the visible sequence then.
    SnapshotOverlooked = 11,
    /// A batch becomes visible before all of it is applied.
    PublishedBeforeApplied = 12,
    /// A filter lacks some of the keys.
    FilterLacksKeys = 13,
    /// A merge that turns round leaves its other sources where they are.
    TurnWithoutSeek = 14,
    /// The newest sealed generation is flushed first.
    FlushedOutOfOrder = 15,
    /// A read that fails counts as the end of the data.
    ReadErrorIsEnd = 16,
    /// A table is unlinked while somebody may still open it.
    UnlinkedUnderReader = 17,
    /// A full disk ends the store.
    FullDiskPoisons = 18,
    /// The length of a record is believed before its checksum was.
    LengthTrusted = 19,
    /// An open does not look whether another has the lock.
    LockIgnored = 20,
    /// A rotation in the memtable publishes from the top down.
    RotatedTopDown = 21,
    /// Log segments that are no longer needed stay.
    LogNeverReleased = 22,
    /// A condition is judged by what was there before the write queued.
    ConditionJudgedTooEarly = 23,
    /// A close removes the log before the MANIFEST says that nothing of it is needed.
    LogRemovedBeforeManifest = 24,
    /// A log segment takes records before the MANIFEST says that it is there.
    SegmentUnnamed = 25,
    /// A read loads the visible sequence before it pins what holds it.
    VisibleBeforePinned = 26,
    /// A cursor does not look whether what it pinned was still in force when it took its sequence.
    PinnedOnce = 27,
    /// What is visible is stored without an order to what was applied.
    PublishedUnordered = 28,
    /// What stands behind a write that waits for the disk becomes visible before it.
    PublishedPastWaiting = 29,
    /// Puts are taken when nothing but the reserve is left of the disk.
    PutsTakeReserve = 30,
    /// What is written through the map of a log segment stays in the process.
    LogMapPrivate = 31,
    /// A new log segment is used before its header and length are on disk.
    SegmentNotSynced = 101,
    /// A new log segment is used before its name is on disk.
    SegmentNameNotSynced = 102,
    /// A synced write is acknowledged before its log record is on disk.
    LogNotSynced = 103,
    /// A MANIFEST record counts before it is on disk.
    ManifestNotSynced = 104,
    /// CURRENT names a MANIFEST whose own name is not on disk.
    ManifestNameNotSynced = 105,
    /// CURRENT is renamed before its content is on disk.
    CurrentNotSynced = 106,
    /// The old MANIFEST goes before the name of the new CURRENT is on disk.
    CurrentNameNotSynced = 107,
    /// A first open returns before the name of the directory is on disk.
    ParentNotSynced = 108,
    /// A table is named by the MANIFEST before its content is on disk.
    TableNotSynced = 109,
    /// A table is named by the MANIFEST before its own name is on disk.
    TableNameNotSynced = 110,
    /// A sync of the MANIFEST that failed is tried again, and believed.
    ManifestSyncTriedAgain = 201,
    /// A sync of a table that failed is tried again, and believed.
    TableSyncTriedAgain = 202,
    /// A sync of the log segment to be used next that failed is tried again, and believed.
    SegmentSyncTriedAgain = 203,
    /// A sync of the directory that failed is told to one thread alone.
    DirSyncTriedAgain = 204,
    /// A repair does not tell a range that is lost.
    RepairLossUntold = 301,
    /// A repair brings back a keyspace that was dropped.
    RepairRevivesDropped = 302,
    /// A repair reads tables that the MANIFEST no longer names.
    RepairReadsObsolete = 303,
    /// A repair leaves a tombstone out before it has hidden what is older.
    RepairForgetsTombstone = 304,
    /// A repair lets CURRENT name a MANIFEST before the tables are there.
    RepairNamedTooEarly = 305,
    /// A repair creates the LOCK that its source has lost.
    RepairChangesSource = 306,
    /// What a repair cannot read counts as zeros.
    RepairReadsZeros = 307,
}

/// Whether this process is to make the mistake.
#[cfg(plants)]
#[must_use]
pub fn is_live(plant: Plant) -> bool {
    use std::sync::OnceLock;
    static LIVE: OnceLock<Option<u16>> = OnceLock::new();
    let number = LIVE.get_or_init(|| {
        let text = std::env::var("LSM_PLANT").ok()?;
        Some(text.parse().expect("LSM_PLANT is the number of a plant"))
    });
    *number == Some(plant as u16)
}

/// Whether this process is to make the mistake: this build makes none.
#[cfg(not(plants))]
#[must_use]
#[inline(always)]
pub const fn is_live(_: Plant) -> bool {
    false
}

/// Does a step, and does it again if it failed and to believe the second answer is the mistake.
///
/// # Errors
/// Those of the step.
#[inline(always)]
pub fn again<E>(plant: Plant, step: impl Fn() -> Result<(), E>) -> Result<(), E> {
    step().or_else(|error| if is_live(plant) { step() } else { Err(error) })
}

/// Does a step, unless leaving it out is the mistake to make.
///
/// # Errors
/// Those of the step.
#[inline(always)]
pub fn unless<E>(plant: Plant, step: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    if is_live(plant) { Ok(()) } else { step() }
}
