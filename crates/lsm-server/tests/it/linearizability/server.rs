//! A server process that is killed and started again, each time before a rival.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::process::command;

/// Far beyond what anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another process has the store.
const LOCKED: i32 = 5;

/// What became of the kills.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kills {
    pub(super) all: u64,
    /// Kills before the server had said that it listens.
    pub(super) in_recovery: u64,
    /// Second servers that were refused.
    pub(super) refused: u64,
    /// Servers that were stopped for as long as another took to be refused.
    pub(super) paused: u64,
}

/// The server that has the store, over its many lives.
pub(super) struct Server<'a> {
    data: &'a Path,
    life: Mutex<Life>,
    begun: Condvar,
}

struct Life {
    /// Counted from 1.
    number: u64,
    process: Option<Process>,
    kills: Kills,
}

/// A server process that does not outlive this.
struct Process {
    child: Child,
    address: Option<SocketAddr>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server<'_> {
    pub(super) fn start(data: &Path) -> Server<'_> {
        let mut kills = Kills::default();
        let process = Some(start_two(data, false, &mut kills));
        let life = Mutex::new(Life { number: 1, process, kills });
        Server { data, life, begun: Condvar::new() }
    }

    pub(super) fn kills(&self) -> Kills {
        self.life.lock().unwrap().kills
    }

    /// Kills the server. Then nobody has the store.
    pub(super) fn kill(&self) {
        let mut life = self.life.lock().unwrap();
        drop(life.process.take().expect("it runs"));
        life.kills.all += 1;
    }

    /// Stops the server wherever it is, until another was refused, and lets it go on.
    pub(super) fn pause(&self) {
        let mut life = self.life.lock().unwrap();
        // The client that came to this may be late, and the server killed.
        let Some(process) = &life.process else { return };
        let owner = Pid::from_child(&process.child);
        kill_process(owner, Signal::STOP).unwrap();
        let waited = waitpid(Some(owner), WaitOptions::UNTRACED).unwrap();
        assert!(waited.is_some_and(|(_, status)| status.stopped()), "it ended: {waited:?}");
        let (says, heard) = channel();
        let mut rival = start(self.data, 0, &says);
        let (_, address) = heard.recv_timeout(PATIENCE).expect("it says nothing");
        assert_eq!(address, None, "two servers have the store");
        let code = rival.child.wait().unwrap().code();
        assert_eq!(code, Some(LOCKED), "how a server ends that is refused");
        kill_process(owner, Signal::CONT).unwrap();
        life.kills.paused += 1;
    }

    /// Starts the server, after so many whose recovery is cut short.
    pub(super) fn restart(&self, cut_short: u64) {
        // Clients wait for this life and meet no other.
        let mut life = self.life.lock().unwrap();
        for _ in 0..cut_short {
            let process = start_two(self.data, true, &mut life.kills);
            life.kills.all += 1;
            life.kills.in_recovery += u64::from(process.address.is_none());
        }
        life.process = Some(start_two(self.data, false, &mut life.kills));
        life.number += 1;
        drop(life);
        self.begun.notify_all();
    }

    /// Waits for a life after this one. Returns its number and where it listens.
    pub(super) fn life_after(&self, number: u64) -> (u64, SocketAddr) {
        // A client that has failed says so itself.
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let is_older = |life: &mut Life| life.number <= number || life.process.is_none();
        let (life, waited) = self.begun.wait_timeout_while(life, PATIENCE, is_older).unwrap();
        assert!(!waited.timed_out(), "the server closed a connection and lives on");
        let address = life.process.as_ref().and_then(|process| process.address);
        (life.number, address.expect("it listens"))
    }
}

/// Starts two servers before the same store. One is refused, which shows that the other has the
/// lock; that one is returned, at once if it is to be cut short, or else when it listens.
fn start_two(data: &Path, at_once: bool, kills: &mut Kills) -> Process {
    let (says, heard) = channel();
    let mut processes = [0, 1].map(|who| start(data, who, &says));
    let (mut loser, mut winner) = (None, None);
    while loser.is_none() || (winner.is_none() && !at_once) {
        match heard.recv_timeout(PATIENCE).expect("neither server says anything") {
            (who, Some(address)) => {
                assert_eq!(winner.replace(who), None, "two servers have the store");
                processes[who].address = Some(address);
            }
            (who, None) => {
                let code = processes[who].child.wait().unwrap().code();
                assert_eq!(code, Some(LOCKED), "how a server ends that is refused");
                assert_eq!(loser.replace(who), None, "both were refused");
            }
        }
    }
    kills.refused += 1;
    let [first, second] = processes;
    if loser == Some(0) { second } else { first }
}

/// Starts a server, which says where it listens, or nothing if it ends before.
fn start(data: &Path, who: usize, says: &Sender<(usize, Option<SocketAddr>)>) -> Process {
    let mut command = command();
    command.args(["--listen", "127.0.0.1:0", "--memtable-size", "64KiB", "--data-dir"]).arg(data);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let (mut stdout, says) = (BufReader::new(child.stdout.take().unwrap()), says.clone());
    thread::spawn(move || {
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split(' ').next());
        // Whoever cuts it short does not wait for it.
        let _ = says.send((who, address.and_then(|address| address.parse().ok())));
    });
    Process { child, address: None }
}
