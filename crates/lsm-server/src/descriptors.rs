//! File descriptors, which connections and the files of the store share.
//!
//! A connection that finds no place is turned away, and its client tries again. A file that finds no
//! descriptor fails the write that needs it. So the store has its part first: the process raises its
//! limit as far as it may, and where that is not enough there are fewer places for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What connections leave to the store, whose tables have a descriptor each, and to the rest of the
/// process. Of a limit that is less than twice this they leave half.
const RESERVE: u64 = 256;

/// Raises the limit, and returns how many of so many connections there is room for.
pub(crate) fn connections(wanted: u32) -> u32 {
    let Some(limit) = raise() else { return wanted };
    let room = room(limit);
    if u64::from(wanted) <= room {
        return wanted;
    }
    tracing::warn!(
        "--max-connections {wanted} is lowered to {room}: the limit of files is {limit}"
    );
    u32::try_from(room).expect("it is less than what was wanted")
}

/// Raises the soft limit to the hard one. Returns the limit that holds then; `None` is no limit.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // A system may have a lower limit than the one that it tells.
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// For how many connections there is room below a limit.
fn room(limit: u64) -> u64 {
    (limit - RESERVE.min(limit / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_has_its_part_first() {
        assert_eq!([0, 1, 40, 511, 512, 1024, 1280].map(room), [1, 1, 20, 256, 256, 768, 1024]);
    }
}
