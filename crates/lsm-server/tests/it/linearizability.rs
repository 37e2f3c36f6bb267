//! Clients of the real server see one store that does one thing after another, although it is
//! killed while they ask.
//!
//! 1. Clients put, get, delete, with and without conditions, and write batches, all on the same
//!    few keys; what they asked and were answered is a [history](history).
//! 2. In the middle the process is killed. Two servers are started before its directory: one is
//!    refused. Sometimes the other is killed as well, before it has recovered the store.
//!    Some servers are stopped for a while before, as a busy machine does it, and another is refused
//!    meanwhile.
//! 3. Each history is checked: some order of its operations explains every answer. One that has
//!    none is kept in a file, and so is one of which a client has met what no server says.
//! 4. The directory stays the same. Now and then, and at the end, the library opens it after a
//!    kill, verifies all of it, and finds what the last reads of each history found.
//!
//! `LSM_SEED`, `LSM_HISTORIES` and `LSM_OPERATIONS` (of each client) say what is done.

mod clients;
mod history;
mod kept;
mod register;
mod server;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Instant;

use lsm_base::testing::SplitMix64;
use lsm_engine::{Db, Read as _};

use self::clients::{Client, KEYS, Setting};
use self::kept::Kept;
use self::server::Server;

const HISTORIES: u64 = 60;
/// How many clients ask at once.
const CLIENTS: u64 = 6;
/// How many operations each of them begins in a history.
const OPERATIONS: u64 = 150;
/// How many histories there are between two looks by the library.
const BETWEEN_LOOKS: u64 = 10;

/// All entries of a store.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

#[test]
fn every_history_has_an_order_although_the_server_is_killed() {
    let [seed, histories, operations] =
        [("LSM_SEED", 8), ("LSM_HISTORIES", HISTORIES), ("LSM_OPERATIONS", OPERATIONS)]
            .map(|(name, default)| from_env(name, default));
    // Not in memory, as the folder for temporary files may be; it stays if the test fails.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    println!("LSM_SEED={seed} LSM_HISTORIES={histories} in {}", dir.display());
    let (started, data) = (Instant::now(), dir.join("data"));
    let mut random = SplitMix64::new(seed);
    let server = Server::start(&data);
    let (mut all, mut open, mut entries) = (0, 0, Entries::new());
    for number in 0..histories {
        let kept = Kept::in_file(dir.join(format!("history-{number}.txt")));
        record(&server, number, operations, &kept, &mut random);
        let history = kept.history();
        if let Err(why) = history.check() {
            panic!("LSM_SEED={seed}, history {number}:\n{why}");
        }
        all += history.operations();
        open += history.open();
        if number % BETWEEN_LOOKS == BETWEEN_LOOKS - 1 || number == histories - 1 {
            server.kill();
            entries = look(&data, &entries);
            server.restart(0);
        }
    }
    let kills = server.kills();
    println!(
        "{histories} histories, {all} operations, {open} without an answer; {kills:?}; \
         {} entries in {:.1} s",
        entries.len(),
        started.elapsed().as_secs_f64()
    );
    assert!(histories <= kills.all - kills.in_recovery, "{kills:?}");
    assert!(histories / 20 <= kills.in_recovery, "{kills:?}");
    assert!(histories <= kills.refused, "{kills:?}");
    assert!(histories / 6 <= kills.paused, "{kills:?}");
    assert!(histories as usize <= open, "{open} answers were lost");
    assert!((histories * operations * CLIENTS) as usize <= all);
    drop(server);
    std::fs::remove_dir_all(dir).unwrap();
}

/// Lets clients work, with a kill in the middle, and reads every key at the end.
fn record(server: &Server<'_>, number: u64, operations: u64, kept: &Kept, random: &mut SplitMix64) {
    let all = CLIENTS * operations;
    let setting = Setting {
        server,
        name: &format!("{number:05}"),
        history: kept.shared(),
        begun: AtomicU64::new(0),
        kill_at: all / 4 + random.below(all / 2),
        cut_short: random.below(3) / 2 * (1 + random.below(2)),
        // Before the kill: nobody else kills or starts it then.
        pause_at: (random.below(3) == 0).then(|| random.below(all / 4)),
    };
    let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.next_u64()).collect();
    thread::scope(|scope| {
        for seed in seeds {
            let mut client = Client::new(&setting, seed);
            scope.spawn(move || client.work(operations));
        }
    });
    let mut reader = Client::new(&setting, 0);
    (0..KEYS).for_each(|key| reader.get(key));
}

/// Opens a store that was killed: it is sound, and has what it had, unless a history went on since.
fn look(data: &Path, before: &Entries) -> Entries {
    let db = Db::open(data).unwrap();
    assert!(db.verify().unwrap().is_clean());
    let entry = |item: lsm_engine::Result<(Vec<u8>, lsm_engine::Value)>| {
        let (key, value) = item.unwrap();
        (key, value.to_vec())
    };
    let entries: Entries = db.scan::<&[u8]>(..).map(entry).collect();
    // The keys of later histories come behind those of earlier ones.
    assert_eq!(entries[..before.len()], before[..], "a history that was over has changed");
    db.close().unwrap();
    entries
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
