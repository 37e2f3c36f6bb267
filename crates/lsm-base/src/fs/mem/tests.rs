//! What a power loss leaves, and that it leaves all that it may.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::content::SECTOR_LEN;
use super::*;

const SECTOR: usize = SECTOR_LEN as usize;

fn path(name: &str) -> PathBuf {
    Path::new("/").join(name)
}

fn write(fs: &MemFs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.create(&path(name)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn content(fs: &MemFs, name: &str) -> Option<Vec<u8>> {
    let file = fs.open(&path(name)).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

fn names(fs: &MemFs) -> Vec<String> {
    let mut names: Vec<_> =
        fs.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

/// What `look` sees in the images of many seeds.
fn outcomes<T: Ord>(fs: &MemFs, look: impl Fn(&MemFs) -> T) -> BTreeSet<T> {
    (0..600).map(|seed| look(&fs.crash(Keep::Subset { seed }))).collect()
}

#[test]
fn each_name_of_a_file_is_durable_for_itself_and_its_content_for_all() {
    let fs = MemFs::new();
    fs.create_dir(&path("dir")).unwrap();
    write(&fs, "one", b"synced").sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.link(&path("one"), &path("dir/other")).unwrap();
    fs.remove(&path("one")).unwrap();
    let seen = |fs: &MemFs| (content(fs, "one").is_some(), content(fs, "dir/other").is_some());
    let all = [(false, false), (false, true), (true, false), (true, true)];
    assert_eq!(outcomes(&fs, seen), BTreeSet::from(all));
    fs.sync_dir(&path("dir")).unwrap();
    assert_eq!(outcomes(&fs, seen), BTreeSet::from([(false, true), (true, true)]));
    // What is written by one name is read, and may be lost, by both.
    let both = fs.crash(Keep::SyncedOnly);
    both.open_writable(&path("one")).unwrap().write_all_at(b"S", 0).unwrap();
    assert_eq!(content(&both, "dir/other").unwrap(), b"Synced");
    assert_eq!(content(&both.crash(Keep::SyncedOnly), "dir/other").unwrap(), b"synced");
}

#[test]
fn a_file_takes_its_space_once_until_its_last_name_is_gone() {
    let fs = MemFs::new();
    fs.set_capacity(100);
    drop(write(&fs, "one", &[1; 60]));
    fs.link(&path("one"), &path("other")).unwrap();
    assert_eq!(fs.space(Path::new("/")).unwrap().free, 40);
    assert_eq!(fs.crash(Keep::Everything).space(Path::new("/")).unwrap().free, 40);
    fs.remove(&path("one")).unwrap();
    assert_eq!(fs.space(Path::new("/")).unwrap().free, 40);
    fs.remove(&path("other")).unwrap();
    assert_eq!(fs.space(Path::new("/")).unwrap().free, 100);
}

#[test]
fn only_what_was_synced_is_left_at_least() {
    let fs = MemFs::new();
    let file = write(&fs, "file", b"synced");
    file.sync_data().unwrap();
    assert_eq!(names(&fs.crash(Keep::SyncedOnly)), [""; 0], "a synced file is not a synced name");
    fs.sync_dir(Path::new("/")).unwrap();
    write(&fs, "unsynced", b"x");
    file.write_all_at(b"SYNCED and more", 0).unwrap();
    let least = fs.crash(Keep::SyncedOnly);
    assert_eq!(
        (names(&least), content(&least, "file").unwrap()),
        (vec!["file".into()], b"synced".to_vec())
    );
    let most = fs.crash(Keep::Everything);
    assert_eq!(names(&most), ["file", "unsynced"]);
    assert_eq!(content(&most, "file").unwrap(), b"SYNCED and more");
    // The image is durable as it stands.
    assert_eq!(names(&most.crash(Keep::SyncedOnly)), ["file", "unsynced"]);
    assert_eq!(content(&most.crash(Keep::SyncedOnly), "file").unwrap(), b"SYNCED and more");
}

#[test]
fn a_synced_sector_is_old_or_new_and_whole() {
    let fs = MemFs::new();
    let file = write(&fs, "file", &[1; 2 * SECTOR]);
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(&[2; 2 * SECTOR], 0).unwrap();
    file.write_all_at(&[3; SECTOR], 0).unwrap();
    let seen = outcomes(&fs, |image| {
        let bytes = content(image, "file").unwrap();
        assert_eq!(bytes.len(), 2 * SECTOR);
        let sectors = [&bytes[..SECTOR], &bytes[SECTOR..]];
        sectors.map(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a torn sector");
            sector[0]
        })
    });
    // The first may be as the sync or either write left it, the second as the sync or the one
    // write did; whichever the other is.
    assert_eq!(seen, BTreeSet::from([[1, 1], [1, 2], [2, 1], [2, 2], [3, 1], [3, 2]]));
}

#[test]
fn a_new_sector_may_hold_zeros_garbage_stale_or_new_bytes() {
    let fs = MemFs::new();
    write(&fs, "removed", &[9; 3 * SECTOR]).sync_data().unwrap();
    fs.remove(&path("removed")).unwrap();
    let file = write(&fs, "file", b"");
    fs.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(&[2; 2 * SECTOR], 0).unwrap();
    let seen = outcomes(&fs, |image| {
        let bytes = content(image, "file").unwrap();
        assert!(bytes.len() <= 2 * SECTOR);
        let Some(sector) = bytes.get(SECTOR..) else { return "short" };
        match sector.first() {
            None => "cut",
            Some(&byte) if sector.iter().all(|other| *other == byte) => match byte {
                0 => "zeros",
                2 => "new",
                9 => "stale",
                _ => panic!("bytes that nobody wrote"),
            },
            Some(_) => "garbage",
        }
    });
    assert_eq!(seen, BTreeSet::from(["short", "cut", "zeros", "new", "stale", "garbage"]));
}

#[test]
fn the_length_runs_ahead_of_the_data_or_behind_it() {
    let fs = MemFs::new();
    let file = write(&fs, "file", &[1; 100]);
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(&[1; 5 * SECTOR], 100).unwrap();
    let lens = outcomes(&fs, |image| {
        let bytes = content(image, "file").unwrap();
        assert_eq!(bytes[..100], [1; 100]);
        let is_whole = bytes.iter().all(|byte| *byte == 1);
        (bytes.len(), is_whole)
    });
    assert!(lens.contains(&(100, true)) && lens.contains(&(100 + 5 * SECTOR, true)));
    assert!(lens.contains(&(100 + 5 * SECTOR, false)), "the length alone");
    assert!(lens.contains(&(3 * SECTOR, true)), "a part that is whole");
    assert!(lens.contains(&(3 * SECTOR, false)), "a part with holes");
    assert!(lens.iter().all(|(len, _)| (100..=100 + 5 * SECTOR).contains(len)));
}

#[test]
fn each_change_of_a_name_is_lost_or_kept() {
    let fs = MemFs::new();
    write(&fs, "removed", b"");
    write(&fs, "old", b"old").sync_data().unwrap();
    write(&fs, "new", b"replaced").sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.remove(&path("removed")).unwrap();
    write(&fs, "created", b"");
    let unrelated = outcomes(&fs, |image| {
        (image.exists(&path("removed")).unwrap(), image.exists(&path("created")).unwrap())
    });
    assert_eq!(unrelated.len(), 4, "{unrelated:?}");
    fs.rename(&path("old"), &path("new")).unwrap();
    let renamed = outcomes(&fs, |image| (content(image, "old"), content(image, "new").unwrap()));
    let old = Some(b"old".to_vec());
    assert_eq!(
        renamed,
        BTreeSet::from([
            (old.clone(), b"replaced".to_vec()),
            (None, b"old".to_vec()),
            (old, b"old".to_vec()),
            (None, b"replaced".to_vec()),
        ])
    );
}

#[test]
fn what_is_in_a_lost_directory_is_lost() {
    let fs = MemFs::new();
    fs.create_dir(&path("db")).unwrap();
    write(&fs, "db/file", b"x").sync_all().unwrap();
    fs.sync_dir(&path("db")).unwrap();
    assert!(!fs.crash(Keep::SyncedOnly).exists(&path("db/file")).unwrap());
    fs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(content(&fs.crash(Keep::SyncedOnly), "db/file").unwrap(), b"x");
}

#[test]
fn image_and_original_go_on_apart() {
    let fs = MemFs::new();
    let file = write(&fs, "file", b"before");
    let lock = fs.lock(&path("LOCK")).unwrap();
    let image = fs.crash(Keep::Everything);
    let _own = image.lock(&path("LOCK")).expect("the holder is gone with the power");
    file.write_all_at(b"behind", 0).unwrap();
    let other = image.open_writable(&path("file")).unwrap();
    other.write_all_at(b"!", 6).unwrap();
    drop(lock);
    assert!(matches!(image.lock(&path("LOCK")), Err(Error::Locked(_))));
    assert_eq!(content(&fs, "file").unwrap(), b"behind");
    assert_eq!(content(&image, "file").unwrap(), b"before!");
    assert_eq!(content(&image.crash(Keep::SyncedOnly), "file").unwrap(), b"before");
}

#[test]
fn two_names_of_one_file_stay_one_file() {
    let fs = MemFs::new();
    write(&fs, "old", b"one").sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.rename(&path("old"), &path("new")).unwrap();
    let image = (0..)
        .map(|seed| fs.crash(Keep::Subset { seed }))
        .find(|image| names(image) == ["new", "old"])
        .expect("seeds without end");
    assert_eq!(image.space(Path::new("/")).unwrap().free, DEFAULT_CAPACITY - 3);
    image.open_writable(&path("old")).unwrap().write_all_at(b"O", 0).unwrap();
    assert_eq!(content(&image, "new").unwrap(), b"One");
    image.remove(&path("new")).unwrap();
    assert_eq!(image.space(Path::new("/")).unwrap().free, DEFAULT_CAPACITY - 3);
    image.remove(&path("old")).unwrap();
    assert_eq!(image.space(Path::new("/")).unwrap().free, DEFAULT_CAPACITY);
}

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing() {
    let fs = MemFs::new();
    fs.set_capacity(1000);
    let file = write(&fs, "file", &[1; 600]);
    assert_eq!(file.write_at(&[2; 600], 500).unwrap(), 500);
    assert_eq!(fs.space(Path::new("/")).unwrap().free, 0);
    assert_eq!(file.write_at(&[3; 1], 1000).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[3; 9], 996).unwrap(), 4, "the place that it has");
    assert!(file.write_all_at(&[3; 9], 996).unwrap_err().is_no_space());
    assert!(file.allocate(1001).unwrap_err().is_no_space());
    assert_eq!(file.len().unwrap(), 1000);
    fs.remove(&path("file")).unwrap();
    drop(file);
    let next = write(&fs, "next", b"");
    next.allocate(1000).unwrap();
    assert_eq!(fs.crash(Keep::Everything).space(Path::new("/")).unwrap().free, 0);
    next.write_all_at(&[4; 1000], 0).expect("allocated space is there");
    fs.set_capacity(1200);
    next.write_all_at(&[5; 200], 1000).unwrap();
}

#[test]
fn a_removed_file_keeps_its_space_until_its_last_handle() {
    let fs = MemFs::new();
    fs.set_capacity(1000);
    let free = || fs.space(Path::new("/")).unwrap().free;
    let file = write(&fs, "file", &[1; 600]);
    let reader = fs.open(&path("file")).unwrap();
    fs.remove(&path("file")).unwrap();
    assert_eq!(free(), 400);
    // What has no name can still grow, and takes space for it.
    file.write_all_at(&[2; 100], 600).unwrap();
    assert!(file.allocate(1001).unwrap_err().is_no_space());
    drop(file);
    assert_eq!(free(), 300);
    assert_eq!(fs.crash(Keep::Everything).space(Path::new("/")).unwrap().free, 1000);
    drop(reader);
    assert_eq!(free(), 1000);

    // The same for a file that another one has replaced, and for one that is locked.
    let old = write(&fs, "old", &[1; 300]);
    let lock = fs.lock(&path("old")).unwrap();
    write(&fs, "new", &[2; 200]);
    fs.rename(&path("new"), &path("old")).unwrap();
    drop(old);
    assert_eq!(free(), 500);
    drop(lock);
    assert_eq!(free(), 800);
    fs.remove(&path("old")).unwrap();
    assert_eq!(free(), 1000);
}

#[test]
fn handles_are_counted_until_they_end() {
    let fs = MemFs::new();
    let file = write(&fs, "a", b"1");
    let other = fs.open(&path("a")).unwrap();
    let lock = fs.lock(&path("LOCK")).unwrap();
    fs.lock(&path("LOCK")).unwrap_err();
    assert_eq!((fs.handle_count(), fs.crash(Keep::Everything).handle_count()), (3, 0));
    fs.remove(&path("a")).unwrap();
    drop((file, lock));
    assert_eq!(fs.handle_count(), 1);
    drop(other);
    assert_eq!(fs.handle_count(), 0);
}

#[test]
fn listings_come_in_an_order_that_the_seed_decides() {
    let listing = |seed| {
        let fs = MemFs::new();
        for name in ["a", "b", "c", "d", "e", "f"] {
            write(&fs, name, b"");
        }
        fs.set_list_seed(seed);
        let names = || fs.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name);
        (names().collect::<Vec<_>>(), names().collect::<Vec<_>>())
    };
    assert_eq!(listing(1), listing(1));
    assert_ne!(listing(1), listing(2));
    assert_ne!(listing(1).0, listing(1).1);
}

#[test]
fn paths_have_one_root() {
    let fs = MemFs::new();
    write(&fs, "file", b"x");
    assert!(fs.exists(Path::new("file")).unwrap() && fs.exists(Path::new("./file")).unwrap());
    assert!(fs.exists(Path::new("/../file")).is_err());
    assert!(fs.open(Path::new("/")).is_err());
}

#[test]
fn a_crash_falls_between_the_operations_of_all_threads() {
    let fs = MemFs::new();
    let (first, second) = (write(&fs, "first", &[0]), write(&fs, "second", &[0]));
    for file in [&first, &second] {
        file.sync_data().unwrap();
    }
    fs.sync_dir(Path::new("/")).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..=250 {
                for file in [&first, &second] {
                    file.write_all_at(&[round], 0).unwrap();
                    file.sync_data().unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let image = fs.crash(Keep::SyncedOnly);
            let round = |name| content(&image, name).unwrap()[0];
            let (first, second) = (round("first"), round("second"));
            assert!(first == second || first == second + 1, "{first} and then {second}");
        }
    });
}

/// An operation on one of three files.
#[derive(Clone, Debug)]
enum Op {
    Write { file: usize, offset: u64, len: usize },
    Allocate { file: usize, len: u64 },
    Sync { file: usize },
    Recreate { file: usize },
    Rename { from: usize, to: usize },
    SyncDir,
}

fn any_op() -> impl Strategy<Value = Op> {
    let file = || 0..3_usize;
    prop_oneof![
        6 => (file(), 0..3000_u64, 1..2000_usize)
            .prop_map(|(file, offset, len)| Op::Write { file, offset, len }),
        1 => (file(), 0..4000_u64).prop_map(|(file, len)| Op::Allocate { file, len }),
        2 => file().prop_map(|file| Op::Sync { file }),
        1 => file().prop_map(|file| Op::Recreate { file }),
        1 => (file(), file()).prop_map(|(from, to)| Op::Rename { from, to }),
        2 => Just(Op::SyncDir),
    ]
}

fn apply(fs: &MemFs, op: &Op, fill: u8) {
    let name = |file: usize| path(["a", "b", "c"][file]);
    match *op {
        Op::Write { file, offset, len } => {
            let Ok(file) = fs.open_writable(&name(file)) else { return };
            file.write_all_at(&vec![fill; len], offset).unwrap();
        }
        Op::Allocate { file, len } => {
            let Ok(file) = fs.open_writable(&name(file)) else { return };
            file.allocate(len).unwrap();
        }
        Op::Sync { file } => {
            let Ok(file) = fs.open(&name(file)) else { return };
            file.sync_data().unwrap();
        }
        Op::Recreate { file } => {
            // An error says that there was none.
            let _ = fs.remove(&name(file));
            fs.create(&name(file)).unwrap();
        }
        Op::Rename { from, to } => {
            // An error says that there was none.
            let _ = fs.rename(&name(from), &name(to));
        }
        Op::SyncDir => fs.sync_dir(Path::new("/")).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_synced_last_survives_every_crash(
        ops in prop::collection::vec(any_op(), 0..30),
        seed: u64,
    ) {
        let fs = MemFs::new();
        for (index, op) in ops.iter().enumerate() {
            apply(&fs, op, index as u8 + 1);
        }
        let all = |fs: &MemFs| -> Vec<_> {
            names(fs).into_iter().map(|name| (content(fs, &name), name)).collect()
        };
        // The same seed is the same image, and a crash changes nothing where it happens.
        let before = all(&fs);
        let image = fs.crash(Keep::Subset { seed });
        prop_assert_eq!(all(&image), all(&fs.crash(Keep::Subset { seed })));
        prop_assert_eq!(&all(&fs), &before);
        // An image is durable, so every crash of it is the image.
        prop_assert_eq!(all(&image), all(&image.crash(Keep::Subset { seed: seed ^ 1 })));
        // With all of it synced nothing can be lost.
        for name in names(&fs) {
            fs.open(&path(&name)).unwrap().sync_data().unwrap();
        }
        fs.sync_dir(Path::new("/")).unwrap();
        for keep in [Keep::SyncedOnly, Keep::Everything, Keep::Subset { seed }] {
            prop_assert_eq!(&all(&fs.crash(keep)), &before);
        }
    }
}
