//! The loops that make reads and writes whole.

use super::*;

/// A file of ten bytes whose operations go wrong as planned.
fn file(plan: impl FnMut(&Op) -> Option<Fault> + Send + 'static) -> (FaultFs, Arc<dyn File>) {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let file = fs.create(Path::new("file")).unwrap();
    file.write_all_at(b"0123456789", 0).unwrap();
    fs.clear_trace();
    fs.set_plan(plan);
    (fs, file)
}

fn transfers(fs: &FaultFs) -> Vec<(u64, u64)> {
    fs.trace().iter().map(|op| (op.offset, op.len)).collect()
}

#[test]
fn short_transfers_go_on_where_they_ended() {
    let (fs, file) = file(|_| Some(Fault::Short(4)));
    file.write_all_at(b"abcdefghij", 0).unwrap();
    assert_eq!(transfers(&fs), [(0, 10), (4, 6), (8, 2)]);
    fs.clear_trace();
    let mut buf = [0; 9];
    file.read_exact_at(&mut buf, 1).unwrap();
    assert_eq!(&buf, b"bcdefghij");
    assert_eq!(transfers(&fs), [(1, 9), (5, 5), (9, 1)]);
}

#[test]
fn interrupted_transfers_are_tried_again() {
    let (fs, file) = file(|op| (op.index % 3 != 0).then_some(Fault::Eintr));
    file.write_all_at(b"ab", 0).unwrap();
    let mut buf = [0; 3];
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"ab2");
    assert!(2 <= fs.injected(), "{}", fs.injected());
}

#[test]
fn a_transfer_that_moves_nothing_ends() {
    let (_fs, file) = file(|_| Some(Fault::Short(0)));
    let kind = |result: Result<()>| match result.unwrap_err() {
        Error::Io { source, .. } => source.kind(),
        other => panic!("{other}"),
    };
    assert_eq!(kind(file.write_all_at(b"x", 0)), io::ErrorKind::WriteZero);
    assert_eq!(kind(file.read_exact_at(&mut [0], 0)), io::ErrorKind::UnexpectedEof);
}

#[test]
fn an_error_ends_a_transfer_after_its_first_part() {
    let (fs, file) = file(|_| None);
    let first = fs.next_index();
    fs.set_plan(move |op| match op.index - first {
        0 => Some(Fault::Short(3)),
        _ => Some(Fault::Enospc),
    });
    let error = file.write_all_at(b"abcdef", 0).unwrap_err();
    assert!(error.is_no_space());
    assert_eq!(error.to_string(), "cannot write file: no storage space");
    fs.clear_plan();
    let mut buf = [0; 6];
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"abc345");
}
