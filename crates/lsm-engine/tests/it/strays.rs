//! What stands under the name of a file of ours and is none: something that is no file at all, or a
//! file that somebody has put there. (What a pipe does to whoever opens it is tried where the real
//! file system is the subject; here a directory stands for it.)

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::{Keep, MemFs};
use lsm_base::{FileName, Fs};
use lsm_engine::{Db, ErrorKind, Read, Repair};

use crate::harness::specimen::{Specimen, open, open_read_only, options};
use crate::harness::{DIR, names, write_file};

fn specimens() -> [Specimen; 2] {
    [true, false].map(|is_closed| Specimen { owner: 'a', is_closed })
}

/// The specimen is whole, and says so.
#[track_caller]
fn assert_whole(image: &MemFs, specimen: Specimen, context: &str) {
    for is_writer in [false, true] {
        let opened = if is_writer { open(image) } else { open_read_only(image) };
        let db = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
        let report = db.verify().unwrap();
        assert!(report.is_clean(), "{context}: {report:?}");
        let judged = specimen.judge(Ok(db.clone()), crate::harness::specimen::Loss::NONE);
        assert!(matches!(judged, Ok(None)), "{context}: {judged:?}");
        db.close().unwrap();
    }
}

fn repair(image: &MemFs) -> lsm_engine::Result<lsm_engine::RepairReport> {
    Repair::new(DIR, "repaired").options(options()).fs(Arc::new(image.clone())).run()
}

#[test]
fn what_is_no_file_is_refused_by_its_name() {
    for specimen in specimens() {
        let store = specimen.make();
        for name in names(&store, |_| true) {
            let image = store.crash(Keep::Everything);
            let path = Path::new(DIR).join(&name);
            image.remove(&path).unwrap();
            image.create_dir(&path).unwrap();
            let expected = format!("corrupt db/{name} at 0: not a regular file");
            for opened in [open(&image), open_read_only(&image)] {
                let error = opened.unwrap_err();
                assert_eq!(error.to_string(), expected);
                assert_eq!(error.kind(), ErrorKind::Corruption);
            }
            assert!(image.list(&path).unwrap().is_empty());
            match (repair(&image), FileName::parse(&name).unwrap()) {
                (made, FileName::Lock) => assert_eq!(made.unwrap_err().to_string(), expected),
                (made, FileName::Current) => {
                    assert_eq!(made.unwrap().damage, [expected]);
                }
                (made, _) => {
                    let report = made.unwrap();
                    let told = |lost: &lsm_engine::LostRange| {
                        lost.file.ends_with(&name) && lost.detail.contains("not a regular file")
                    };
                    assert!(report.lost.iter().any(told), "{name}: {report:#?}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_file_and_nothing_names_is_left_alone() {
    let strays = ["000099.sst", "000098.sst.tmp", "000099.log", "MANIFEST-000097"];
    for specimen in specimens() {
        let image = specimen.make();
        for name in strays {
            image.create_dir(&Path::new(DIR).join(name)).unwrap();
        }
        let report = repair(&image).unwrap();
        assert!(report.is_lossless(), "{report:#?}");
        assert_whole(&image, specimen, "with directories");
        let db = open(&image).unwrap();
        db.put("k", "v").unwrap();
        db.flush().unwrap();
        // No file of ours gets one of their numbers.
        let tables = names(&image, |name| matches!(name, FileName::Table(99..)));
        assert!(2 <= tables.len(), "{tables:?}");
        db.close().unwrap();
        for name in strays {
            assert!(image.list(&Path::new(DIR).join(name)).unwrap().is_empty());
        }
    }
}

/// Whoever moves a file elsewhere and leaves a link has two stores that unlink one file.
#[test]
fn a_link_to_a_file_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (db, elsewhere) = (dir.path().join("db"), dir.path().join("elsewhere"));
    let builder = || Db::builder(&db).options(options());
    let store = builder().open().unwrap();
    store.put("k", "v").unwrap();
    store.flush().unwrap();
    store.put("k", "w").unwrap();
    // The files of a store that is open are those of one that was killed.
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&db).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    drop(store);
    std::fs::remove_dir_all(&db).unwrap();
    std::fs::rename(&copy, &db).unwrap();
    let mut paths: Vec<_> =
        std::fs::read_dir(&db).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    // The flush may have left a segment that nothing needs any more.
    let is_log = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "log");
    let last_log = paths.iter().rfind(|path| is_log(path)).unwrap().clone();
    paths.retain(|path| !path.ends_with("LOCK") && (!is_log(path) || *path == last_log));
    assert_eq!(paths.len(), 4, "{paths:?}");
    for path in &paths {
        std::fs::rename(path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, path).unwrap();
        for opened in [builder().open_read_only(), builder().open()] {
            let error = opened.unwrap_err();
            let expected = format!("corrupt {} at 0: not a regular file", path.display());
            assert_eq!(error.to_string(), expected);
        }
        std::fs::rename(&elsewhere, path).unwrap();
    }
    assert_eq!(builder().open().unwrap().get("k").unwrap().unwrap(), b"w");
}

#[test]
fn a_new_database_is_not_begun_over_what_is_no_file() {
    for name in ["MANIFEST-000001", "CURRENT", "000001.log"] {
        let image = MemFs::new();
        let path = Path::new(DIR).join(name);
        image.create_dir(Path::new(DIR)).unwrap();
        image.create_dir(&path).unwrap();
        let error = open(&image).unwrap_err();
        assert_eq!(error.to_string(), format!("corrupt db/{name} at 0: not a regular file"));
        assert_eq!(names(&image, |name| name != FileName::Lock), [name]);
    }
}

/// A file that has no room for the header of a segment holds no record, and if it were a segment that
/// was used the MANIFEST would name it.
#[test]
fn an_empty_file_with_the_name_of_a_segment_is_an_orphan() {
    for specimen in specimens() {
        for content in [&b""[..], b"notes of a user"] {
            let image = specimen.make();
            write_file(&image, "000077.log", content);
            let report = repair(&image).unwrap();
            assert!(report.is_lossless(), "{report:#?}");
            drop(open_read_only(&image).unwrap());
            assert!(image.exists(&Path::new(DIR).join("000077.log")).unwrap());
            assert_whole(&image, specimen, "with a stray file");
            assert!(!image.exists(&Path::new(DIR).join("000077.log")).unwrap());
        }
    }
}

/// What may be a damaged segment is refused by its name, whoever has put it there.
#[test]
fn a_file_that_may_have_been_a_segment_is_refused_and_kept() {
    for specimen in specimens() {
        let image = specimen.make();
        write_file(&image, "000077.log", &[0; 80]);
        for opened in [open(&image), open_read_only(&image)] {
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption);
            assert!(error.to_string().contains("000077.log at 0"), "{error}");
        }
        assert!(image.exists(&Path::new(DIR).join("000077.log")).unwrap());
    }
}
