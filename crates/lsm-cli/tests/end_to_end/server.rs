//! The walk over HTTP: a server process, which is ended, restarted and killed on the way.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use crate::cli::{self, Place};
use crate::client::{Client, Durability};
use crate::data::{Batch, Records};
use crate::oracle::{self, Fate, Oracle};
use crate::process::say;
use crate::server_process::ServerProcess;

/// How many clients write at once while the server is killed.
const CLIENTS: usize = 3;

#[test]
fn a_server_keeps_what_it_acknowledged() {
    let start = Instant::now();
    let records = Records::load();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut oracle = Oracle::default();

    let server = ServerProcess::start(&data);
    import_first_edition(&server, dir.path(), &records, &mut oracle);
    assert_eq!(oracle.len(), records.len());
    read_back(&server.client(), &oracle);
    scan_prefixes(&server, &oracle);
    delete_a_third(&server.client(), &records, &mut oracle);
    server.stop();

    let mut server = ServerProcess::start(&data);
    cli::assert_export(Place::Server(&server.url), &oracle);
    let batches = records.second_edition();
    let unsettled = import_until_killed(&mut server, &batches, &mut oracle);
    server.wait_killed();

    let server = ServerProcess::start(&data);
    let fates = settle(&server.client(), &batches, &unsettled.in_flight, &mut oracle);
    cli::assert_export(Place::Server(&server.url), &oracle);
    read_back(&server.client(), &oracle);
    complete(&server.client(), &batches, &unsettled, &fates, &mut oracle);
    cli::assert_export(Place::Server(&server.url), &oracle);
    server.stop();
    cli::assert_export(Place::Directory(&data), &oracle);
    cli::lsm(Place::Directory(&data), &["verify"]);
    say(&format!(
        "server: {} records, {:?}; killed after {} of {} batches, in flight {fates:?}",
        records.len(),
        start.elapsed(),
        batches.len() - unsettled.in_flight.len() - unsettled.never_sent.len(),
        batches.len(),
    ));
}

/// Imports the first edition: three quarters over HTTP, the rest by `lsm import`.
fn import_first_edition(
    server: &ServerProcess,
    dir: &Path,
    records: &Records,
    oracle: &mut Oracle,
) {
    let batches = records.first_edition();
    let (by_http, by_cli) = batches.split_at(batches.len() / 4 * 3);
    let client = server.client();
    for (n, batch) in by_http.iter().enumerate() {
        client.batch(batch, durability(n)).expect("the server answers");
    }
    cli::import(Place::Server(&server.url), dir, by_cli);
    batches.iter().for_each(|batch| oracle.apply(batch));
}

/// Reads every record back by `/v1/mget`, and every sixteenth by its own route too.
fn read_back(client: &Client, oracle: &Oracle) {
    let items: Vec<_> = oracle.iter().collect();
    for items in items.chunks(1_000) {
        let found = client.mget(items.iter().map(|(key, _)| *key));
        assert_eq!(found.len(), items.len());
        for ((key, value), found) in items.iter().zip(found) {
            assert_eq!(found, oracle::item(key, value));
        }
    }
    for (key, value) in items.iter().step_by(16) {
        assert_eq!(client.get(key).as_ref(), Some(*value), "{}", key.escape_ascii());
    }
}

/// Scans by prefixes of text and of bytes, in pages and through `lsm`.
fn scan_prefixes(server: &ServerProcess, oracle: &Oracle) {
    for prefix in oracle.some_prefixes() {
        let expected: Vec<_> =
            oracle.prefix(&prefix).map(|(key, value)| oracle::item(key, value)).collect();
        assert_eq!(server.client().pages(&prefix, 7), expected);
        cli::assert_prefix(Place::Server(&server.url), oracle, &prefix);
    }
}

/// Deletes every third record: in batches, and those of the first batch one by one.
fn delete_a_third(client: &Client, records: &Records, oracle: &mut Oracle) {
    let before = oracle.len();
    let batches = records.deletion();
    batches[0].iter().for_each(|op| client.delete(&op.key));
    for (n, batch) in batches.iter().enumerate().skip(1) {
        client.batch(batch, durability(n)).expect("the server answers");
    }
    batches.iter().for_each(|batch| oracle.apply(batch));
    assert!((before - oracle.len()).abs_diff(before / 3) <= 1);
    let deleted = client.mget(batches.iter().flatten().take(1_000).map(|op| &op.key));
    assert!(deleted.iter().all(serde_json::Value::is_null));
}

/// The batches of an import that was not acknowledged whole, by their numbers.
struct Unsettled {
    in_flight: Vec<usize>,
    never_sent: Vec<usize>,
}

/// Imports with several clients, and kills the server at an acknowledgement in the middle, while the
/// other clients wait for theirs.
fn import_until_killed(
    server: &mut ServerProcess,
    batches: &[Batch],
    oracle: &mut Oracle,
) -> Unsettled {
    let kill_at = batches.len() * 2 / 5;
    let next = AtomicUsize::new(0);
    // Without room, so that no client runs ahead of the kill by more than one batch.
    let (acknowledge, acknowledged) = sync_channel(0);
    let (mut count, mut in_flight) = (0, Vec::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (client, next, acknowledge) = (server.client(), &next, acknowledge.clone());
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = batches.get(n) else { return };
                    let outcome = client.batch(batch, durability(n));
                    let is_gone = outcome.is_err();
                    acknowledge.send((n, outcome)).expect("somebody counts");
                    if is_gone {
                        return;
                    }
                }
            });
        }
        drop(acknowledge);
        for (n, outcome) in acknowledged {
            match outcome {
                Ok(()) => {
                    oracle.apply(&batches[n]);
                    count += 1;
                    if count == kill_at {
                        server.kill();
                    }
                }
                Err(_) => in_flight.push(n),
            }
        }
    });
    assert!(batches.len() <= count * 5 && count * 5 <= batches.len() * 4, "{count} acknowledged");
    assert_eq!(in_flight.len(), CLIENTS, "every client was left without an answer");
    let sent = next.into_inner();
    Unsettled { in_flight, never_sent: (sent..batches.len()).collect() }
}

/// Finds out what became of the batches in flight.
fn settle(
    client: &Client,
    batches: &[Batch],
    in_flight: &[usize],
    oracle: &mut Oracle,
) -> Vec<Fate> {
    let mut settle = |&n: &usize| {
        let found = client.mget(batches[n].iter().map(|op| &op.key));
        oracle.settle(&batches[n], &found)
    };
    in_flight.iter().map(&mut settle).collect()
}

/// Writes what is missing of the second edition.
fn complete(
    client: &Client,
    batches: &[Batch],
    unsettled: &Unsettled,
    fates: &[Fate],
    oracle: &mut Oracle,
) {
    let in_flight = unsettled.in_flight.iter().zip(fates);
    let absent = in_flight.filter(|(_, fate)| **fate == Fate::Absent).map(|(n, _)| n);
    for &n in absent.chain(&unsettled.never_sent) {
        client.batch(&batches[n], durability(n)).expect("the server answers");
        oracle.apply(&batches[n]);
    }
}

/// Every fourth batch is synced.
fn durability(n: usize) -> Durability {
    if n.is_multiple_of(4) { Durability::Sync } else { Durability::Buffered }
}
