//! Work that takes longer than a request: it gets a number, and a route tells how it goes.
//!
//! Of a kind one job runs at a time, and one may wait for its end. Whoever asks for another is told the
//! number of the one that waits: it has not begun, so that it covers all that was written until now.
//! The one that runs may not. The last few jobs that ended are remembered.

use std::collections::VecDeque;
use std::sync::Mutex;

use lsm_engine::Progress;

use crate::wire::{Problem, put_number, put_string};

/// How many jobs are remembered.
const MOST_JOBS: usize = 64;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// Writes memtables to tables.
    Flush,
    /// Merges every table down.
    Compact,
    /// Reads and checks every byte.
    Verify,
}

impl JobKind {
    /// The word that is sent.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            JobKind::Flush => "flush",
            JobKind::Compact => "compact",
            JobKind::Verify => "verify",
        }
    }
}

/// The jobs of this process.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    last_id: u64,
    jobs: VecDeque<Job>,
}

#[derive(Clone, Debug)]
struct Job {
    id: u64,
    kind: JobKind,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Until the one of its kind that runs has ended.
    Waiting,
    /// So far.
    Running(Progress),
    /// With the report: a JSON value.
    Done(String),
    /// With what went wrong.
    Failed(Problem),
}

/// A job that was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its number.
    pub(crate) id: u64,
    /// If nothing of its kind runs: then whoever asked has to run it.
    pub(crate) turn: Option<Turn>,
}

/// A job whose turn it is to run.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Its number.
    pub(crate) id: u64,
    /// What the work is to tell how far it is.
    pub(crate) progress: Progress,
}

impl Job {
    fn has_ended(&self) -> bool {
        matches!(self.state, State::Done(_) | State::Failed(_))
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Begins it.
    fn run(&mut self) -> Turn {
        let progress = Progress::new();
        self.state = State::Running(progress.clone());
        Turn { id: self.id, progress }
    }
}

impl Jobs {
    /// Asks for a job.
    pub(crate) fn ask(&self, kind: JobKind) -> Asked {
        let mut list = self.lock();
        let of_kind = || list.jobs.iter().filter(|job| job.kind == kind);
        if let Some(job) = of_kind().find(|job| job.is_waiting()) {
            return Asked { id: job.id, turn: None };
        }
        let must_wait = of_kind().any(|job| !job.has_ended());
        list.last_id += 1;
        let id = list.last_id;
        if list.jobs.len() == MOST_JOBS {
            // Of each kind two have not ended at most, so that the oldest of this many has.
            let ended = list.jobs.iter().position(Job::has_ended);
            list.jobs.remove(ended.expect("fewer jobs run and wait than are remembered"));
        }
        let mut job = Job { id, kind, state: State::Waiting };
        let turn = (!must_wait).then(|| job.run());
        list.jobs.push_back(job);
        Asked { id, turn }
    }

    /// Ends a job that ran: with its report as a JSON value, or with what went wrong. If another of
    /// its kind waited for that, it is its turn.
    pub(crate) fn end(&self, id: u64, outcome: Result<String, Problem>) -> Option<Turn> {
        let mut list = self.lock();
        let job = list.jobs.iter_mut().find(|job| job.id == id)?;
        job.state = match outcome {
            Ok(report) => State::Done(report),
            Err(problem) => State::Failed(problem),
        };
        let kind = job.kind;
        let next = list.jobs.iter_mut().find(|job| job.kind == kind && job.is_waiting());
        next.map(Job::run)
    }

    /// How a job goes, as JSON; `None` if its number is not known (any more).
    pub(crate) fn print(&self, id: u64) -> Option<Vec<u8>> {
        let job = self.lock().jobs.iter().find(|job| job.id == id)?.clone();
        let mut out = b"{\"job\":\"".to_vec();
        put_number(&mut out, job.id);
        out.extend_from_slice(b"\",\"kind\":");
        put_string(&mut out, job.kind.name());
        let (state, progress) = match &job.state {
            State::Waiting => ("waiting", "0".into()),
            State::Running(progress) => ("running", printed(progress.fraction())),
            State::Done(_) => ("done", "1".into()),
            State::Failed(_) => ("failed", "null".into()),
        };
        out.extend_from_slice(format!(",\"state\":\"{state}\",\"progress\":{progress}").as_bytes());
        out.extend_from_slice(b",\"report\":");
        match &job.state {
            State::Done(report) => out.extend_from_slice(report.as_bytes()),
            State::Waiting | State::Running(_) | State::Failed(_) => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"error\":");
        match &job.state {
            State::Failed(problem) => problem.write(&mut out),
            State::Waiting | State::Running(_) | State::Done(_) => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
        Some(out)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, List> {
        self.list.lock().expect("no holder of this lock panics")
    }
}

/// A part of 1 as a number of at most four digits.
fn printed(fraction: f64) -> String {
    format!("{}", (fraction * 10_000.0).floor() / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Code;

    fn job(jobs: &Jobs, id: u64) -> String {
        String::from_utf8(jobs.print(id).unwrap()).unwrap()
    }

    #[test]
    fn a_part_is_never_rounded_up_to_the_whole() {
        let parts = [0.0, 0.25, 1.0 / 3.0, 0.99999, 1.0].map(printed);
        assert_eq!(parts, ["0", "0.25", "0.3333", "0.9999", "1"]);
    }

    #[test]
    fn a_job_of_a_kind_runs_once_at_a_time() {
        let jobs = Jobs::default();
        let flush = jobs.ask(JobKind::Flush);
        assert_eq!(flush.turn.unwrap().id, flush.id);
        assert!(jobs.ask(JobKind::Compact).turn.is_some());
        assert_eq!(
            job(&jobs, flush.id),
            r#"{"job":"1","kind":"flush","state":"running","progress":0,"report":null,"error":null}"#
        );
        // The next one waits, and whoever asks for a third waits for the same.
        let next = jobs.ask(JobKind::Flush);
        assert!(next.turn.is_none() && next.id != flush.id);
        assert_eq!(jobs.ask(JobKind::Flush).id, next.id);
        assert!(job(&jobs, next.id).contains(r#""state":"waiting","progress":0,"report":null"#));
        let turn = jobs.end(flush.id, Ok("{}".into())).unwrap();
        assert_eq!(turn.id, next.id);
        assert!(job(&jobs, flush.id).contains(r#""state":"done","progress":1,"report":{}"#));
        assert!(job(&jobs, next.id).contains(r#""state":"running""#));
        assert!(
            jobs.end(next.id, Err(Problem::new(Code::NoSpace, "the disk is \"full\""))).is_none()
        );
        let failed: serde_json::Value = serde_json::from_str(&job(&jobs, next.id)).unwrap();
        assert_eq!((&failed["state"], &failed["report"]), (&"failed".into(), &().into()));
        let error = &failed["error"];
        assert_eq!((&error["code"], &error["status"]), (&"no_space".into(), &507.into()));
        assert_eq!(error["detail"], "the disk is \"full\"");
        // None waits any more.
        assert!(jobs.ask(JobKind::Flush).turn.is_some());
        assert!(jobs.print(99).is_none());
    }

    #[test]
    fn old_jobs_are_forgotten_and_those_that_have_not_ended_are_not() {
        let jobs = Jobs::default();
        let [running, waiting] = [(); 2].map(|()| jobs.ask(JobKind::Verify).id);
        for _ in 0..MOST_JOBS * 2 {
            let job = jobs.ask(JobKind::Flush);
            assert!(jobs.end(job.id, Ok("null".into())).is_none());
        }
        assert!(jobs.print(running).is_some() && jobs.print(waiting).is_some());
        assert!(jobs.print(waiting + 1).is_none());
        assert_eq!(jobs.lock().jobs.len(), MOST_JOBS);
    }
}
