//! Is every sync of this code needed, and are they enough?
//!
//! The code under test replaces the text of a file so that a power loss leaves the old text or the
//! new one, and the new one once `replace` has returned. It does what every store does for such a
//! pointer: write under another name, sync, rename, sync the directory.
//!
//! The experiment runs it on a disk in memory and pulls the plug after every single operation, in
//! many ways each. Then it takes one sync away, tells the code that all went well, and shows that
//! the text can now be lost: once for every sync.
//!
//! ```text
//! cargo run --features testing --example lost_sync
//! ```

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lsm_base::fs::{Fault, FaultFs, Fs, Keep, MemFs};
use lsm_base::{FileName, Result};

const DIR: &str = "/db";
const OLD: &str = "MANIFEST-000001\n";
const NEW: &str = "MANIFEST-000002, which is quite a bit longer\n";
const IMAGES_PER_OPERATION: u64 = 64;

fn main() -> Result<()> {
    let intact = experiment(None)?;
    println!("with every sync: {} images, {}", intact.images, verdict(&intact));
    assert_eq!(intact.loss, None, "the code under test is right");
    for lost in 0..intact.syncs.len() {
        let report = experiment(Some(lost))?;
        println!("without `{}`: {}", intact.syncs[lost], verdict(&report));
        assert!(report.loss.is_some(), "a sync that nothing needs");
    }
    Ok(())
}

/// The code under test.
fn replace(fs: &dyn Fs, dir: &Path, text: &str) -> Result<()> {
    let temp = FileName::CurrentTemp.path(dir);
    if fs.exists(&temp)? {
        fs.remove(&temp)?;
    }
    let file = fs.create(&temp)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    fs.rename(&temp, &FileName::Current.path(dir))?;
    fs.sync_dir(dir)
}

fn read(fs: &dyn Fs, dir: &Path) -> Result<String> {
    let file = fs.open(&FileName::Current.path(dir))?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Report {
    images: usize,
    /// The syncs that the code asked for.
    syncs: Vec<String>,
    /// The first operation after which the text could be lost.
    loss: Option<String>,
}

fn verdict(report: &Report) -> String {
    match &report.loss {
        None => "nothing is ever lost".into(),
        Some(op) => format!("lost by a power loss after `{op}`"),
    }
}

/// Replaces the text on a disk that holds the old one, with the power failing after each operation,
/// and with the sync of this number doing nothing.
fn experiment(lost_sync: Option<usize>) -> Result<Report> {
    let dir = Path::new(DIR);
    let disk = MemFs::new();
    disk.create_dir(dir)?;
    disk.sync_dir(Path::new("/"))?;
    replace(&disk, dir, OLD)?;

    let fs = FaultFs::new(Arc::new(disk.clone()));
    let mut syncs_seen = 0;
    fs.set_plan(move |op| {
        if !op.kind.is_sync() {
            return None;
        }
        syncs_seen += 1;
        (lost_sync == Some(syncs_seen - 1)).then_some(Fault::LostSync)
    });
    let loss = Arc::new(Mutex::new(None));
    let images = Arc::new(AtomicUsize::new(0));
    let (observed_loss, observed_images, observed_disk) =
        (Arc::clone(&loss), Arc::clone(&images), disk.clone());
    fs.after_each(move |op| {
        observed_images.fetch_add(IMAGES_PER_OPERATION as usize, Ordering::Relaxed);
        if (0..IMAGES_PER_OPERATION).any(|seed| !holds(&observed_disk, seed, &[OLD, NEW])) {
            let mut loss = observed_loss.lock().expect("no observer panics");
            loss.get_or_insert(op.to_string());
        }
    });
    replace(&fs, dir, NEW)?;
    fs.clear_hooks();

    let is_durable = (0..IMAGES_PER_OPERATION).all(|seed| holds(&disk, seed, &[NEW]));
    let mut loss = loss.lock().expect("no observer panics").take();
    if !is_durable {
        loss.get_or_insert("the return".into());
    }
    let syncs = fs.trace().iter().filter(|op| op.kind.is_sync()).map(ToString::to_string).collect();
    Ok(Report { images: images.load(Ordering::Relaxed), syncs, loss })
}

/// Whether a disk that lost its power now would hold one of these texts.
fn holds(disk: &MemFs, seed: u64, texts: &[&str]) -> bool {
    let image = disk.crash(Keep::Subset { seed });
    read(&image, Path::new(DIR)).is_ok_and(|found| texts.contains(&found.as_str()))
}
