//! Models of what is visible: loom runs publication, memtables and SuperVersions beside readers,
//! under every interleaving up to a bound on preemptions and every outcome of the orderings.
//!
//! Sequence *n* puts the key *n*. The log is two numbers: what was appended and what the disk has.
//! A model fails if a reader that sees a sequence misses a write up to it, if a sequence is taken
//! back, or if a write that asked for the disk is seen before the disk has it.

use loom::sync::atomic::{AtomicU64 as LoomU64, Ordering as LoomOrdering};
use loom::sync::{Arc as LoomArc, Mutex as LoomMutex};
use loom::thread;
use lsm_base::key::hash_user_key;
use lsm_base::{KeyspaceId, Kind};
use lsm_compaction::State;
use lsm_memtable::{Arena, ArenaWriter, Memtable};

use super::super::request::{Outcome, Turn};
use super::*;
use crate::generation::{Generation, GenerationView};
use crate::open_tree::OpenVersion;
use crate::options::Durability;
use crate::super_version::{SuperVersion, SuperVersions};

/// A store of one keyspace without a disk.
struct Store {
    publication: Publication,
    super_versions: SuperVersions,
    commit: LoomMutex<Committing>,
    appended: LoomU64,
    synced: LoomU64,
    /// Bit *n* is set when write *n* has asked for the disk.
    asked: LoomU64,
}

/// What the commit lock guards.
struct Committing {
    next: u64,
    active: GenerationView,
    writer: ArenaWriter,
}

impl Store {
    fn new() -> LoomArc<Store> {
        let (active, writer) = generation(1);
        let state = Arc::new(State::new(1));
        let version = OpenVersion::new(state, None, |_| unreachable!("there are no tables"));
        let first =
            SuperVersion { active: active.clone(), sealed: Vec::new(), version: Arc::new(version) };
        LoomArc::new(Store {
            publication: Publication::new(Seq::ZERO),
            super_versions: SuperVersions::new(first),
            commit: LoomMutex::new(Committing { next: 1, active, writer }),
            appended: LoomU64::new(0),
            synced: LoomU64::new(0),
            asked: LoomU64::new(0),
        })
    }

    /// A write of a thread, as a leader does it, and the sync if that falls to it.
    fn write(&self, durability: Durability) {
        let request = Arc::new(Request::of_thread(Arc::default(), durability, None, None));
        let mut commit = self.commit.lock().unwrap();
        let seq = commit.next;
        commit.next += 1;
        if durability == Durability::Sync {
            self.asked.fetch_or(1 << seq, LoomOrdering::AcqRel);
        }
        self.appended.store(seq, LoomOrdering::Release);
        request.set_last_seq(Seq::new(seq));
        request.set_end(lsn(seq));
        let Committing { active, writer, .. } = &mut *commit;
        let memtable = active.memtable(KeyspaceId::DEFAULT).unwrap();
        let key = key(seq);
        memtable.insert(writer, &key, hash_user_key(&key), Seq::new(seq), Kind::Put, b"").unwrap();
        let synced = lsn(self.synced.load(LoomOrdering::Acquire));
        self.publication.push(vec![Arc::clone(&request)], synced);
        drop(commit);
        loop {
            match request.wait(None) {
                Turn::Done => break,
                Turn::Sync => self.sync(),
                Turn::Lead | Turn::Wait => unreachable!("nobody passes on a lead"),
            }
        }
        let outcome = request.take_outcome();
        assert!(matches!(outcome, Outcome::Answered(Ok(found)) if found == Seq::new(seq)));
    }

    fn sync(&self) {
        let appended = self.appended.load(LoomOrdering::Acquire);
        self.synced.fetch_max(appended, LoomOrdering::AcqRel);
        let synced = self.synced.load(LoomOrdering::Acquire);
        self.publication.sync_finished(Ok(lsn(synced)));
    }

    /// Begins a generation, as a leader does that finds no room.
    fn rotate(&self) {
        let mut commit = self.commit.lock().unwrap();
        let last = Seq::new(commit.next - 1);
        commit.active.generation.seal(last, 0);
        (commit.active, commit.writer) = generation(commit.active.generation.number + 1);
        self.super_versions.begin_generation(commit.active.clone());
    }

    /// Reads every key up to the sequence that is visible. Returns that.
    fn read(&self) -> u64 {
        let look = || Ok::<_, std::convert::Infallible>(self.publication.visible());
        let Ok((super_version, seq)) = self.super_versions.pin_exactly(look);
        for number in 1..=seq.get() {
            let key = key(number);
            let found =
                super_version.newest_in_memory(KeyspaceId::DEFAULT, &key, hash_user_key(&key));
            assert_eq!(found, Some((Seq::new(number), Kind::Put)), "at {seq:?}");
        }
        seq.get()
    }

    /// Nobody sees a write before the disk has it that asked for that.
    fn check_disk(&self, seq: u64) {
        let (asked, synced) = (&self.asked, self.synced.load(LoomOrdering::Acquire));
        let asked = asked.load(LoomOrdering::Acquire);
        let is_on_disk = |number: u64| number <= synced || asked & 1 << number == 0;
        assert!((1..=seq).all(is_on_disk), "{seq} is visible, {synced} is on disk");
    }
}

/// A generation with a memtable of the one keyspace.
fn generation(number: u64) -> (GenerationView, ArenaWriter) {
    let arena = Arena::new(1 << 10);
    let writer = arena.writer().unwrap();
    let memtable = Arc::new(Memtable::new(&arena, b""));
    let view = GenerationView::empty(Generation::new(number, number, 0, arena));
    (view.with_memtable(KeyspaceId::DEFAULT, memtable), writer)
}

fn key(number: u64) -> [u8; 1] {
    [number as u8]
}

fn lsn(number: u64) -> Lsn {
    Lsn { segment: 1, offset: number }
}

fn explore(scenario: fn(&LoomArc<Store>)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 20_000;
    builder.check(move || scenario(&Store::new()));
}

fn spawn(store: &LoomArc<Store>, work: impl FnOnce(&Store) + 'static) -> thread::JoinHandle<()> {
    let store = LoomArc::clone(store);
    thread::spawn(move || work(&store))
}

#[test]
fn loom_a_reader_sees_every_write_up_to_its_sequence() {
    explore(|store| {
        let synced = spawn(store, |store| store.write(Durability::Sync));
        let buffered = spawn(store, |store| store.write(Durability::Buffered));
        let first = store.read();
        store.check_disk(first);
        let second = store.read();
        store.check_disk(second);
        assert!(first <= second, "{second} after {first}");
        synced.join().unwrap();
        buffered.join().unwrap();
        assert_eq!(store.read(), 2);
    });
}

#[test]
fn loom_a_cursor_has_every_write_up_to_its_sequence() {
    explore(|store| {
        let writer = spawn(store, |store| {
            store.write(Durability::Buffered);
            store.rotate();
            store.write(Durability::Buffered);
        });
        store.read();
        writer.join().unwrap();
        assert_eq!(store.read(), 2);
    });
}
