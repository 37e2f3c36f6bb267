//! What work that takes a while shows where stderr is a terminal. (That it shows nothing elsewhere,
//! every other test holds that allows nothing on stderr.)

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::lsm::{Lsm, items};

/// Runs a command whose stderr is a terminal of 100 columns; returns what came there.
fn shown_by(command: &mut Command) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let name = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let stderr = OpenOptions::new().read(true).write(true).open(name).unwrap();
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut child = command.spawn().unwrap();
    // Our own handle of that end would keep the terminal from ending.
    command.stderr(Stdio::null());
    let (mut shown, mut terminal) = (Vec::new(), File::from(terminal));
    let mut part = [0; 4096];
    // It ends in an error, of whatever kind the system calls it.
    while let Ok(count @ 1..) = terminal.read(&mut part) {
        shown.extend_from_slice(&part[..count]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8(shown).unwrap()
}

#[track_caller]
fn assert_shows(shown: &str, parts: &[&str]) {
    for part in parts {
        assert!(shown.contains(part), "{part:?} is not in {shown:?}");
    }
    // The bar goes when the work is done: the last that comes clears its line.
    assert!(shown.ends_with("\r\x1b[2K"), "{shown:?}");
}

#[test]
fn import_and_export_show_their_rate_and_the_time_that_is_left() {
    let lsm = Lsm::new();
    let file = lsm.file("items.ndjson", items(20_000).as_bytes());
    let shown = shown_by(&mut lsm.command(&["import".as_ref(), file.as_os_str()]));
    assert_shows(&shown, &["iB/s, ", "s left, ", " items"]);
    let shown = shown_by(&mut lsm.command(&["export"]));
    assert_shows(&shown, &[" of about 20,000, ", "/s, ", "s left"]);
}

#[test]
fn long_work_shows_what_it_does() {
    let lsm = Lsm::new();
    lsm.run_with(&["import"], items(20_000).as_bytes()).ok();
    for (command, part) in [("verify", "s left, verifying"), ("compact", "compacting")] {
        assert_shows(&shown_by(&mut lsm.command(&[command])), &[part]);
    }
}
