//! Two processes that open the same store at once: one gets it, and is killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::child;
use super::oracle::Numbers;

/// Far beyond what anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the process is killed, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// After so many acknowledgements.
    pub(super) acks: u64,
    /// When a thread comes to this change of the disk, counted from the start of the process.
    pub(super) change: Option<u64>,
}

/// What a process says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Refused,
    Open {
        changes: u64,
        served: Numbers,
    },
    Acked {
        writer: usize,
        number: u64,
        seq: u64,
    },
    Stopped,
    /// Nothing any more.
    Ended,
}

impl Said {
    fn parse(line: &str) -> Option<Said> {
        let mut words = line.strip_suffix(';')?.split(' ');
        let verb = words.next()?;
        let mut numbers = words.map(|word| word.parse::<u64>().expect("a number"));
        let mut number = || numbers.next().expect("another number");
        match verb {
            "refused" => Some(Said::Refused),
            "stop" => Some(Said::Stopped),
            "open" => {
                let changes = number();
                Some(Said::Open { changes, served: std::array::from_fn(|_| number()) })
            }
            "ack" => {
                let writer = number() as usize;
                Some(Said::Acked { writer, number: number(), seq: number() })
            }
            _ => None,
        }
    }
}

/// The life of the process that got the store.
#[derive(Debug)]
pub(super) struct Life {
    /// All that it said, but `Stopped` and `Ended`.
    pub(super) said: Vec<Said>,
    /// Whether the other was refused. If both stopped before either had the lock, none was.
    pub(super) has_refused: bool,
    /// Whether it was killed at a change, and not after acknowledgements.
    pub(super) has_stopped: bool,
}

/// The two processes; they do not outlive this.
struct Rivals {
    children: [Child; 2],
    /// While these are open: a wait for a child would close its own.
    _stdins: [ChildStdin; 2],
    lines: Receiver<(usize, Said)>,
}

impl Drop for Rivals {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Lets two processes open the store, and kills the one that got it.
///
/// It is killed once the other was refused, however late that begins: else it would find the store
/// without an owner.
pub(super) fn live(dir: &Path, moment: Moment) -> Life {
    let mut rivals = Rivals::start(dir, moment);
    let (mut said, mut acks) = ([Vec::new(), Vec::new()], 0);
    let (mut stopped, mut refused) = ([false; 2], [false; 2]);
    let mut is_due = false;
    while !(is_due && (refused.contains(&true) || stopped == [true; 2])) {
        let (who, word) = rivals.next();
        match word {
            Said::Refused => refused[who] = true,
            Said::Stopped => stopped[who] = true,
            Said::Acked { .. } => acks += 1,
            Said::Open { .. } => {}
            Said::Ended => {
                assert!(refused[who], "{who} ended by itself after {:?}", said[who].last());
            }
        }
        assert_ne!(refused, [true; 2], "both were refused");
        said[who].push(word);
        is_due = stopped.contains(&true) || moment.acks <= acks;
    }
    let loser = refused.iter().position(|&is_refused| is_refused);
    if let Some(loser) = loser {
        assert!(rivals.children[loser].wait().unwrap().success(), "it was refused as it should be");
    }
    rivals.kill(&mut said);
    // Of two that came to nothing each is as good as the other.
    let winner = loser.map_or(0, |loser| 1 - loser);
    let [mut first, second] = said;
    let rest = if winner == 0 { second } else { std::mem::replace(&mut first, second) };
    let is_open = |said: &Said| matches!(said, Said::Open { .. } | Said::Acked { .. });
    assert!(!rest.iter().any(is_open), "two processes had the store");
    first.retain(is_open);
    Life { said: first, has_refused: loser.is_some(), has_stopped: stopped.contains(&true) }
}

impl Rivals {
    fn start(dir: &Path, moment: Moment) -> Rivals {
        let (sender, lines) = channel();
        let mut children = [0, 1].map(|who| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["kill::child::child", "--exact", "--nocapture", "--test-threads=1"]);
            command.env(child::DIR, dir).env_remove(child::STOP);
            if let Some(change) = moment.change {
                command.env(child::STOP, change.to_string());
            }
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let (stdout, sender) = (child.stdout.take().unwrap(), sender.clone());
            thread::spawn(move || listen(who, stdout, &sender));
            child
        });
        let stdins = children.each_mut().map(|child| child.stdin.take().unwrap());
        Rivals { children, _stdins: stdins, lines }
    }

    fn next(&self) -> (usize, Said) {
        self.lines.recv_timeout(PATIENCE).expect("neither process says anything")
    }

    /// Kills what still runs, and hears the rest of what was said: it counts too.
    fn kill(&mut self, said: &mut [Vec<Said>; 2]) {
        for child in &mut self.children {
            // Whoever was refused has ended.
            let _ = child.kill();
            child.wait().unwrap();
        }
        while let Ok((who, word)) = self.lines.recv() {
            said[who].push(word);
        }
    }
}

fn listen(who: usize, stdout: ChildStdout, sender: &Sender<(usize, Said)>) {
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    for word in lines.filter_map(|line| Said::parse(&line)) {
        // Nobody listens any more if the test has failed.
        let _ = sender.send((who, word));
    }
    let _ = sender.send((who, Said::Ended));
}
