//! Two processes that open the same store at once: one gets it, and is killed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::oracle::Progress;
use super::{child, small_disk};

/// Far beyond what anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the process is killed, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// After so many acknowledgements.
    pub(super) acks: u64,
    /// When a thread comes to this change of the disk, counted from the start of the process.
    pub(super) change: Option<u64>,
    /// After so many acknowledgements it is stopped, for as long as a third process takes to be
    /// refused.
    pub(super) pause: Option<u64>,
    /// Once it has the store, so many bytes are left of the disk; it is killed after so many writes
    /// that find no space.
    pub(super) full: Option<(u64, u64)>,
}

/// What a process says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Refused,
    Open {
        changes: u64,
        served: Progress,
    },
    Acked {
        writer: usize,
        number: u64,
        seq: u64,
    },
    /// A step of the keyspaces that come and go.
    Stepped(u64),
    /// A copy is begun, of this name.
    Copying(u64, u64),
    /// It is whole.
    Copied(u64, u64),
    /// A write found no space.
    Full,
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
            "full" => Some(Said::Full),
            "open" => {
                let changes = number();
                let steps = number();
                let served = Progress { steps, numbers: std::array::from_fn(|_| number()) };
                Some(Said::Open { changes, served })
            }
            "ack" => {
                let writer = number() as usize;
                Some(Said::Acked { writer, number: number(), seq: number() })
            }
            "step" => Some(Said::Stepped(number())),
            "copying" => Some(Said::Copying(number(), number())),
            "copied" => Some(Said::Copied(number(), number())),
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
    /// Whether a third was refused while it was stopped.
    pub(super) has_paused: bool,
}

/// The processes, which do not outlive this: two, and a third for a while.
struct Rivals {
    dir: PathBuf,
    children: Vec<Child>,
    /// While these are open: a wait for a child would close its own.
    stdins: Vec<ChildStdin>,
    sender: Sender<(usize, Said)>,
    lines: Receiver<(usize, Said)>,
    /// What was said and not looked at, while a third was listened to.
    unheard: VecDeque<(usize, Said)>,
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
    let (mut is_due, mut has_paused, mut full) = (false, false, 0);
    while !(is_due && (refused.contains(&true) || stopped == [true; 2])) {
        let (who, word) = rivals.next();
        if who == 2 {
            assert_eq!(word, Said::Ended, "it was refused");
            continue;
        }
        match word {
            Said::Refused => refused[who] = true,
            Said::Stopped => stopped[who] = true,
            Said::Acked { .. } => acks += 1,
            Said::Full => full += 1,
            Said::Open { .. } => {
                let fill = |(left, _)| small_disk::fill(dir.parent().expect("a disk"), left);
                moment.full.into_iter().for_each(fill);
            }
            Said::Stepped(_) | Said::Copying(..) | Said::Copied(..) => {}
            Said::Ended => {
                assert!(refused[who], "{who} ended by itself after {:?}", said[who].last());
            }
        }
        assert_ne!(refused, [true; 2], "both were refused");
        said[who].push(word);
        is_due = stopped.contains(&true)
            || moment.acks <= acks
            || moment.full.is_some_and(|(_, limit)| limit <= full);
        if !has_paused && !is_due && moment.pause.is_some_and(|pause| pause <= acks) {
            has_paused = true;
            rivals.race_while_stopped(moment, who);
        }
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
    let is_word = |said: &Said| !matches!(said, Said::Refused | Said::Stopped | Said::Ended);
    assert!(!rest.iter().any(is_word), "two processes had the store");
    first.retain(is_word);
    let has_stopped = stopped.contains(&true);
    Life { said: first, has_refused: loser.is_some(), has_stopped, has_paused }
}

impl Rivals {
    fn start(dir: &Path, moment: Moment) -> Rivals {
        let (sender, lines) = channel();
        let (children, stdins) = (Vec::new(), Vec::new());
        let mut rivals =
            Rivals { dir: dir.into(), children, stdins, sender, lines, unheard: VecDeque::new() };
        rivals.add(moment);
        rivals.add(moment);
        rivals
    }

    /// Starts one more.
    fn add(&mut self, moment: Moment) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["kill::child::child", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(child::DIR, &self.dir).env_remove(child::STOP);
        if moment.full.is_some() {
            command.env(child::FULL, "1");
        }
        if let Some(change) = moment.change {
            command.env(child::STOP, change.to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdout, sender) = (child.stdout.take().unwrap(), self.sender.clone());
        let who = self.children.len();
        thread::spawn(move || listen(who, stdout, &sender));
        self.stdins.push(child.stdin.take().unwrap());
        self.children.push(child);
    }

    /// Stops the process that has the store, wherever it is, until another was refused.
    fn race_while_stopped(&mut self, moment: Moment, owner: usize) {
        let owner = Pid::from_child(&self.children[owner]);
        kill_process(owner, Signal::STOP).unwrap();
        let waited = waitpid(Some(owner), WaitOptions::UNTRACED).unwrap();
        assert!(waited.is_some_and(|(_, status)| status.stopped()), "it ended: {waited:?}");
        self.add(Moment { change: None, ..moment });
        loop {
            match self.listen() {
                (2, Said::Refused) => break,
                (2, word) => panic!("two processes had the store: {word:?}"),
                word => self.unheard.push_back(word),
            }
        }
        let third = self.children.pop().expect("it was added").wait();
        assert!(third.unwrap().success(), "it was refused as it should be");
        self.stdins.pop();
        kill_process(owner, Signal::CONT).unwrap();
    }

    fn next(&mut self) -> (usize, Said) {
        self.unheard.pop_front().unwrap_or_else(|| self.listen())
    }

    fn listen(&self) -> (usize, Said) {
        self.lines.recv_timeout(PATIENCE).expect("neither process says anything")
    }

    /// Kills what still runs, and hears the rest of what was said: it counts too.
    fn kill(&mut self, said: &mut [Vec<Said>; 2]) {
        for child in &mut self.children {
            // Whoever was refused has ended.
            let _ = child.kill();
            child.wait().unwrap();
        }
        let ended = |said: &[Vec<Said>; 2]| said.iter().all(|said| said.contains(&Said::Ended));
        while !ended(said) {
            let (who, word) = self.next();
            said.get_mut(who).into_iter().for_each(|said| said.push(word));
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
