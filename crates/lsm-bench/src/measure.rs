//! Measurement: two clock reads around every operation, and what the process used meanwhile.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::store::{Error, Result};

/// Latencies of one thread's operations.
#[derive(Debug)]
pub struct Recorder {
    nanos: Histogram<u64>,
}

impl Recorder {
    /// An empty one.
    ///
    /// # Errors
    /// Never; the bounds are valid.
    pub fn new() -> Result<Recorder> {
        Ok(Recorder { nanos: Histogram::new_with_bounds(1, 3_600_000_000_000, 3)? })
    }

    /// Runs an operation and records how long it took.
    ///
    /// # Errors
    /// What the operation reports.
    pub fn time<T>(&mut self, operation: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let result = operation();
        self.nanos.saturating_record(started.elapsed().as_nanos() as u64);
        result
    }

    /// Adds another thread's latencies.
    ///
    /// # Errors
    /// Never; all have the same bounds.
    pub fn merge(&mut self, other: &Recorder) -> Result<()> {
        Ok(self.nanos.add(&other.nanos)?)
    }

    /// How many operations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.nanos.len()
    }

    /// The latency that this part of the operations does not exceed, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.nanos.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The longest latency, in microseconds.
    #[must_use]
    pub fn max_us(&self) -> f64 {
        self.nanos.max() as f64 / 1e3
    }
}

/// What the process used up to a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds of processor time, user and system.
    pub cpu_seconds: f64,
    /// Bytes that it caused to be written to storage.
    pub written_bytes: u64,
}

impl Usage {
    /// The usage of this process so far.
    ///
    /// # Errors
    /// If `/proc` does not say.
    pub fn now() -> Result<Usage> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let fields: Vec<&str> =
            stat.rsplit_once(')').ok_or("no fields")?.1.split_whitespace().collect();
        let ticks = |index: usize| -> Result<f64> {
            Ok(fields.get(index).ok_or("too few fields in /proc/self/stat")?.parse::<f64>()?)
        };
        // Linux reports in ticks of 10 ms on every machine that this runs on.
        let cpu_seconds = (ticks(11)? + ticks(12)?) / 100.0;
        Ok(Usage { cpu_seconds, written_bytes: proc_number("/proc/self/io", "write_bytes:")? })
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            written_bytes: self.written_bytes - earlier.written_bytes,
        }
    }
}

/// Watches the resident memory of this process and keeps its peaks.
#[derive(Debug)]
pub struct MemoryWatch {
    shared: Arc<Peaks>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Peaks {
    anon: AtomicU64,
    file: AtomicU64,
    is_over: AtomicBool,
}

impl MemoryWatch {
    /// Begins to watch, every 20 ms.
    #[must_use]
    pub fn start() -> MemoryWatch {
        let shared = Arc::new(Peaks::default());
        let peaks = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !peaks.is_over.load(Ordering::Relaxed) {
                peaks.sample();
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        MemoryWatch { shared, thread: Some(thread) }
    }

    /// The peaks since the last call, in bytes: anonymous and shared memory, mapped files.
    #[must_use]
    pub fn take_peaks(&self) -> (u64, u64) {
        self.shared.sample();
        (self.shared.anon.swap(0, Ordering::Relaxed), self.shared.file.swap(0, Ordering::Relaxed))
    }
}

impl Peaks {
    fn sample(&self) {
        let status = "/proc/self/status";
        let kib = |name: &str| proc_number(status, name).unwrap_or(0) * 1024;
        self.anon.fetch_max(kib("RssAnon:") + kib("RssShmem:"), Ordering::Relaxed);
        self.file.fetch_max(kib("RssFile:"), Ordering::Relaxed);
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only samples; a panic there is reported by itself.
            let _ = thread.join();
        }
    }
}

/// The bytes of all files below a directory, as the disk holds them.
///
/// # Errors
/// If it cannot be read.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let bytes = entry.metadata().map_err(Into::into).and_then(|attributes| {
            let below = if attributes.is_dir() { disk_bytes(&entry.path())? } else { 0 };
            Ok(attributes.blocks() * 512 + below)
        });
        match bytes {
            Ok(bytes) => total += bytes,
            // A store may remove an old file at any moment.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

fn is_gone(error: &Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The type of the file system that holds a directory, as the kernel names it.
///
/// # Errors
/// If `/proc` does not say.
pub fn file_system_type(dir: &Path) -> Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let holding = mounts.filter(|(point, _)| dir.starts_with(point));
    let deepest = holding.max_by_key(|(point, _)| point.len());
    Ok(deepest.ok_or("no mount holds the directory")?.1.to_owned())
}

/// A number that stands behind its name on a line.
pub(crate) fn proc_number(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.ok_or_else(|| format!("no {name} in {path}"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_process_can_be_measured() {
        let (started, before) = (Instant::now(), Usage::now().unwrap());
        let watch = MemoryWatch::start();
        let (anon, file) = watch.take_peaks();
        assert!(0 < anon && 0 < file);
        // Work until it shows, which takes a tick of the system's clock.
        let cpu_seconds = loop {
            let used = Usage::now().unwrap().since(before).cpu_seconds;
            if 0.0 < used {
                break used;
            }
            assert!(started.elapsed() < Duration::from_secs(10));
        };
        // All threads of the process together, and a tick each of user and system time.
        let processors = std::thread::available_parallelism().unwrap().get() as f64;
        let most = processors * started.elapsed().as_secs_f64() + 0.02;
        assert!(cpu_seconds <= most, "{cpu_seconds} of {most}");
        assert!(!file_system_type(Path::new("/proc")).unwrap().is_empty());
    }

    #[test]
    fn files_in_folders_take_space_too() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let below = dir.path().join("a").join("b");
        fs::create_dir_all(&below).unwrap();
        let before = disk_bytes(dir.path()).unwrap();
        // Some file systems decide what a file takes only when they write it.
        let mut file = fs::File::create(below.join("file")).unwrap();
        file.write_all(&[1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let bytes = disk_bytes(dir.path()).unwrap() - before;
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
    }

    #[test]
    fn latencies_are_kept_to_a_thousandth() {
        let mut recorder = Recorder::new().unwrap();
        recorder.time(|| Ok(())).unwrap();
        assert_eq!(recorder.count(), 1);
        assert!(recorder.quantile_us(0.5) <= recorder.max_us() * 1.001);
    }
}
