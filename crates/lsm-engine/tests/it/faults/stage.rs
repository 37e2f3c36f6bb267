//! Stages: a script in parts, each with the disk on which it begins.
//!
//! Only the part in which the fault strikes is done anew for each fault: what was before it is an
//! image of the disk, which shares its bytes with all others of it. The disks differ in how the
//! process before ended, so that the open with which a stage begins is a different one as well.

use std::ops::Range;
use std::sync::Arc;

use lsm_base::fs::{FaultFs, Keep, MemFs};
use lsm_engine::{Db, Recheck};

use crate::harness::script::{Progress, Script, Step};
use crate::harness::{self, kill, on};

/// How many steps a stage has. The process of a script ends within a stage, not between two.
const STAGE_LEN: usize = 45;

/// A part of a script.
pub(super) struct Stage {
    /// Which one it is of its script.
    pub(super) number: usize,
    pub(super) script: Arc<Script>,
    pub(super) steps: Range<usize>,
    image: MemFs,
}

impl Stage {
    /// The parts of a script.
    pub(super) fn all(script: Script) -> Vec<Arc<Stage>> {
        let script = Arc::new(script);
        let (memory, fs) = harness::disk();
        let (mut db, progress) = (None, Progress::default());
        let mut stages = Vec::new();
        for start in (0..script.steps.len()).step_by(STAGE_LEN) {
            let number = stages.len();
            let image = image(number, &memory, &mut db);
            let steps = start..script.steps.len().min(start + STAGE_LEN);
            for index in steps.clone() {
                let open = db.take().unwrap_or_else(|| harness::open(&fs, 0).unwrap());
                match script.steps[index] {
                    Step::Close => open.close().unwrap(),
                    Step::Kill => kill(&fs, open),
                    _ => {
                        script.run_step(index, &open, &progress).unwrap();
                        db = Some(open);
                    }
                }
            }
            stages.push(Arc::new(Stage { number, script: Arc::clone(&script), steps, image }));
        }
        stages
    }

    /// How new tables are read back: whole in every sixth stage, for each read is another operation to
    /// break.
    pub(super) fn recheck(&self) -> Recheck {
        if self.number % 6 == 1 { Recheck::Full } else { Recheck::Sample }
    }

    /// The disk on which it begins, for one run.
    pub(super) fn disk(&self) -> (MemFs, FaultFs) {
        let memory = self.image.crash(Keep::Everything);
        let fs = on(&memory);
        (memory, fs)
    }
}

/// The disk between two stages, with all that was acknowledged on it.
fn image(number: usize, memory: &MemFs, db: &mut Option<Db>) -> MemFs {
    match number % 3 {
        // The process has died.
        0 => memory.crash(Keep::Everything),
        // It has ended.
        1 => {
            db.take().into_iter().for_each(|db| db.close().unwrap());
            memory.crash(Keep::Everything)
        }
        // The power has failed, and left what was synced.
        _ => {
            db.iter().for_each(|db| db.sync().unwrap());
            memory.crash(Keep::SyncedOnly)
        }
    }
}
