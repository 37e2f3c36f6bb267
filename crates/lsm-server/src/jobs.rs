//! Work that takes longer than a request: it gets a number, and a route tells how it goes.
//!
//! A job of a kind that is already running is not begun twice; whoever asks is told the number of the
//! running one. The last few jobs that ended are remembered.

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
    /// So far.
    Running(Progress),
    /// With the report: a JSON value.
    Done(String),
    /// With what went wrong.
    Failed(Problem),
}

/// A job that somebody has to run.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Its number.
    pub(crate) id: u64,
    /// What the work is to tell how far it is, if it was begun by this call; else it runs already.
    pub(crate) progress: Option<Progress>,
}

impl Job {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }
}

impl Jobs {
    /// Begins a job, unless one of its kind is running.
    pub(crate) fn begin(&self, kind: JobKind) -> Begun {
        let mut list = self.lock();
        let running = list.jobs.iter().find(|job| job.kind == kind && job.is_running());
        if let Some(job) = running {
            return Begun { id: job.id, progress: None };
        }
        list.last_id += 1;
        let id = list.last_id;
        if list.jobs.len() == MOST_JOBS {
            // At most one job of each kind runs, so that the oldest of this many has ended.
            let ended = list.jobs.iter().position(|job| !job.is_running());
            list.jobs.remove(ended.expect("fewer jobs run than are remembered"));
        }
        let progress = Progress::new();
        list.jobs.push_back(Job { id, kind, state: State::Running(progress.clone()) });
        Begun { id, progress: Some(progress) }
    }

    /// Ends a job: with its report as a JSON value, or with what went wrong.
    pub(crate) fn end(&self, id: u64, outcome: Result<String, Problem>) {
        let state = match outcome {
            Ok(report) => State::Done(report),
            Err(problem) => State::Failed(problem),
        };
        if let Some(job) = self.lock().jobs.iter_mut().find(|job| job.id == id) {
            job.state = state;
        }
    }

    /// How a job goes, as JSON; `None` if its number is not known (any more).
    pub(crate) fn print(&self, id: u64) -> Option<Vec<u8>> {
        let job = self.lock().jobs.iter().find(|job| job.id == id)?.clone();
        let mut out = b"{\"job\":\"".to_vec();
        put_number(&mut out, job.id);
        out.extend_from_slice(b"\",\"kind\":");
        put_string(&mut out, job.kind.name());
        let (state, progress) = match &job.state {
            State::Running(progress) => ("running", printed(progress.fraction())),
            State::Done(_) => ("done", "1".into()),
            State::Failed(_) => ("failed", "null".into()),
        };
        out.extend_from_slice(format!(",\"state\":\"{state}\",\"progress\":{progress}").as_bytes());
        out.extend_from_slice(b",\"report\":");
        match &job.state {
            State::Done(report) => out.extend_from_slice(report.as_bytes()),
            State::Running(_) | State::Failed(_) => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"error\":");
        match &job.state {
            State::Failed(problem) => problem.write(&mut out),
            State::Running(_) | State::Done(_) => out.extend_from_slice(b"null"),
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
        let flush = jobs.begin(JobKind::Flush);
        assert!(flush.progress.is_some() && jobs.begin(JobKind::Compact).progress.is_some());
        let again = jobs.begin(JobKind::Flush);
        assert_eq!((again.id, again.progress.is_some()), (flush.id, false));
        assert_eq!(
            job(&jobs, flush.id),
            r#"{"job":"1","kind":"flush","state":"running","progress":0,"report":null,"error":null}"#
        );
        jobs.end(flush.id, Ok("{}".into()));
        assert!(job(&jobs, flush.id).contains(r#""state":"done","progress":1,"report":{}"#));
        let next = jobs.begin(JobKind::Flush);
        assert!(next.progress.is_some() && next.id != flush.id);
        jobs.end(next.id, Err(Problem::new(Code::NoSpace, "the disk is \"full\"")));
        let failed: serde_json::Value = serde_json::from_str(&job(&jobs, next.id)).unwrap();
        assert_eq!((&failed["state"], &failed["report"]), (&"failed".into(), &().into()));
        let error = &failed["error"];
        assert_eq!((&error["code"], &error["status"]), (&"no_space".into(), &507.into()));
        assert_eq!(error["detail"], "the disk is \"full\"");
        assert!(jobs.print(99).is_none());
    }

    #[test]
    fn old_jobs_are_forgotten_and_running_ones_are_not() {
        let jobs = Jobs::default();
        let running = jobs.begin(JobKind::Verify);
        for _ in 0..MOST_JOBS * 2 {
            let job = jobs.begin(JobKind::Flush);
            jobs.end(job.id, Ok("null".into()));
        }
        assert!(jobs.print(running.id).is_some());
        assert!(jobs.print(running.id + 1).is_none());
        assert_eq!(jobs.lock().jobs.len(), MOST_JOBS);
    }
}
