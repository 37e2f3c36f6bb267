//! What the next processes find: after a death, after a power loss behind the fault, and after one
//! behind a recovery that met a fault itself.

use lsm_base::fs::{Fault, Keep, MemFs};
use lsm_base::testing::SplitMix64;
use lsm_engine::Db;

use super::how::ROOM;
use super::run::{Cut, Run, check_open_error};
use super::untouched::check_untouched;
use crate::harness::script::{Bounds, probe};
use crate::harness::{kill, on, open_in_turn, orphans};

/// How a recovery is broken.
const FAULTS: [Fault; 7] = [
    Fault::Eio,
    Fault::EioAfter,
    Fault::Enospc,
    Fault::Emfile,
    Fault::Short(1),
    Fault::Torn(40),
    Fault::ForgettingSync,
];

/// Among how many operations of a recovery the one is that goes wrong.
const RECOVERY_LEN: u64 = 60;

impl Run<'_> {
    /// Recovers every disk that the run has left. Returns how many recoveries met a fault of their
    /// own.
    pub(super) fn recover_all(&self, random: &mut SplitMix64) -> u64 {
        let mut broken = 0;
        for cut in self.cuts.lock().unwrap().drain(..) {
            cut.image.set_capacity(ROOM);
            broken += self.recover_twice(&cut, random);
        }
        // What a recovery finds is on disk since, whatever a failed sync has left in the page cache.
        let all = Bounds { durable: self.acked, ..self.progress.bounds() };
        let turn = random.next_u64();
        if random.below(2) == 0 {
            let synced = self.memory.crash(Keep::SyncedOnly);
            self.recover(&synced, self.progress.bounds(), ("synced at the end", turn));
        } else {
            self.recover(&self.memory, all, ("after a death", turn));
        }
        broken
    }

    /// Recovers from a power loss by an open that meets a fault, another power loss, and an open
    /// that does not. Returns how many faults there were: 1 or, if it came too late, 0.
    fn recover_twice(&self, cut: &Cut, random: &mut SplitMix64) -> u64 {
        let fault = FAULTS[random.below(FAULTS.len() as u64) as usize];
        let (at, seed) = (random.below(RECOVERY_LEN), random.next_u64());
        let fs = on(&cut.image);
        fs.fail_at(at, fault);
        let served = match open_in_turn(&fs, 0, seed >> 1) {
            Ok(db) => {
                let served = self.try_judge(&db, cut.bounds);
                check_untouched(&fs.trace(), 0);
                kill(&fs, db);
                served
                    .inspect_err(|why| {
                        assert!(why.starts_with("a read failed: cannot"), "{}: {why}", cut.at);
                    })
                    .ok()
            }
            Err(error) => {
                check_open_error(&error);
                check_untouched(&fs.trace(), 0);
                None
            }
        };
        let keep = if seed.is_multiple_of(2) { Keep::SyncedOnly } else { Keep::Subset { seed } };
        let at = format!("{}; then {fault:?} at {at} of the recovery, keeping {keep:?}", cut.at);
        let found = self.recover(&cut.image.crash(keep), cut.bounds, (&at, seed >> 2));
        assert!(served.is_none_or(|served| served == found), "{at}: {served:?} became {found}");
        fs.injected().min(1)
    }

    /// Opens a disk, compares it, writes to it, and lets the power fail. Returns how many steps it
    /// holds.
    fn recover(&self, memory: &MemFs, bounds: Bounds, (at, turn): (&str, u64)) -> usize {
        let fs = on(memory);
        let open =
            |fs, turn| open_in_turn(fs, 0, turn).unwrap_or_else(|error| panic!("{at}: {error}"));
        let db: Db = open(&fs, turn);
        let found = self.try_judge(&db, bounds).unwrap_or_else(|why| panic!("{at}: {why}"));
        assert_eq!(orphans(&fs, &db), [""; 0], "{at}");
        let seq = probe(&db, "reopened").unwrap();
        assert!(bounds.max_seq < seq.get(), "{at}: {seq} was handed out before");
        kill(&fs, db);
        let db = open(&on(&memory.crash(Keep::SyncedOnly)), !turn);
        let again = self.judge(&db, Bounds { durable: found, ..bounds });
        assert_eq!(again, found, "{at}");
        found
    }
}
