//! Nobody waits for ever.

use std::thread;
use std::time::{Duration, Instant};

use lsm_engine::{Durability, WriteOptions};

use crate::harness::{self, open};

#[test]
fn a_write_that_comes_while_others_look_at_the_commit_state_is_led() {
    let (_, fs) = harness::disk();
    let db = open(&fs, 1).unwrap();
    let buffered = WriteOptions::durability(Durability::Buffered);
    let started = Instant::now();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..20_000_u32 {
                db.put_with(i.to_be_bytes(), [1; 20], &buffered).unwrap();
            }
        });
        while !writer.is_finished() {
            db.keyspaces().unwrap();
            db.flush().unwrap();
            // Far more than it ever takes: a write that is left waiting waits for ever.
            if Duration::from_secs(60) < started.elapsed() {
                eprintln!("a write hangs");
                std::process::abort();
            }
        }
    });
}
