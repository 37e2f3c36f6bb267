//! How much memory the process may use: that of the machine, or of its control groups if less.
//!
//! A limit may stand at the group of the process or at any group above it. `/proc/self/cgroup` has
//! a line `hierarchy:controllers:path` for each hierarchy: `0::path` for the one of version 2, and
//! one whose controllers name `memory` for version 1. Inside a namespace, and in a container that
//! sees its own group alone, the path is not found, but what is mounted as the root is that group.
//!
//! Nothing here reads a file: what the files say is handed in.

/// The bytes of memory that may be used; `read` gives the text of a file, if there is one.
pub(super) fn usable(read: impl Fn(&str) -> Option<String>) -> Option<usize> {
    let total = total(&read("/proc/meminfo")?)?;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files).filter_map(|file| limit(&read(&file)?));
    // Where the groups of the process cannot be learned, the root may still be its own.
    let own_root = read("/sys/fs/cgroup/memory.max").and_then(|text| limit(&text));
    Some(limits.chain(own_root).fold(total, usize::min))
}

fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A limit in bytes; `max` is none.
fn limit(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

/// The files in which a limit may stand, for a line of `/proc/self/cgroup`.
fn limit_files(line: &str) -> Vec<String> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let is_memory = controllers.split(',').any(|controller| controller == "memory");
    let (mounts, name): (&[&str], _) = match controllers {
        "" => (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "memory.max"),
        _ if is_memory => (&["/sys/fs/cgroup/memory"], "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let groups = groups_upwards(path);
    let files = |mount: &&str| {
        let mount = (*mount).to_owned();
        groups.clone().map(move |group| format!("{mount}{group}/{name}"))
    };
    mounts.iter().flat_map(files).collect()
}

/// The path of a group and those of all above it, the root as the empty path.
fn groups_upwards(path: &str) -> impl Iterator<Item = &str> + Clone {
    // A group outside of the namespace, whose path leads upwards, cannot be looked at.
    let path = if path.split('/').any(|part| part == "..") { "" } else { path };
    let path = path.trim_end_matches('/');
    std::iter::successors(Some(path), |path| path.rfind('/').map(|end| &path[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) =
        ("/proc/meminfo", "MemFree:  100 kB\nMemTotal:       16384 kB\nBuffers:   5 kB\n");

    /// What is usable where these files are all that there is.
    fn usable_with(files: &[(&str, &str)]) -> Option<usize> {
        let text = |path: &str| {
            let found = files.iter().find(|(name, _)| *name == path)?;
            Some(found.1.to_owned())
        };
        usable(text)
    }

    #[test]
    fn without_groups_it_is_the_machine() {
        assert_eq!(usable_with(&[MEMINFO]), Some(16 << 20));
        assert_eq!(usable_with(&[]), None);
        assert_eq!(usable_with(&[("/proc/meminfo", "MemTotal: many")]), None);
        let huge = format!("MemTotal: {} kB", usize::MAX);
        assert_eq!(usable_with(&[("/proc/meminfo", &huge)]), None);
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let group = ("/proc/self/cgroup", "0::/system.slice/lsm.service\n");
        let own = "/sys/fs/cgroup/system.slice/lsm.service/memory.max";
        let above = "/sys/fs/cgroup/system.slice/memory.max";
        let root = "/sys/fs/cgroup/memory.max";
        let with = |limits: &[(&str, &str)]| usable_with(&[&[MEMINFO, group], limits].concat());
        assert_eq!(with(&[(own, "4096000\n")]), Some(4_096_000));
        assert_eq!(with(&[(own, "4096000\n"), (above, "max\n")]), Some(4_096_000));
        assert_eq!(with(&[(own, "max\n"), (above, "2048000\n")]), Some(2_048_000));
        assert_eq!(with(&[(own, "max\n"), (above, "max\n")]), Some(16 << 20));
        assert_eq!(with(&[(own, "99999999999\n")]), Some(16 << 20));
        // In a container without a namespace of its own.
        assert_eq!(with(&[(root, "1024000\n")]), Some(1_024_000));
    }

    #[test]
    fn the_older_hierarchies_are_known_too() {
        let groups = ("/proc/self/cgroup", "9:name=systemd:/x\n4:cpu,memory:/a/b\n0::/c\n");
        let own = "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes";
        let above = "/sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        let hybrid = "/sys/fs/cgroup/unified/c/memory.max";
        let with = |limits: &[(&str, &str)]| usable_with(&[&[MEMINFO, groups], limits].concat());
        assert_eq!(with(&[(own, "9223372036854771712\n")]), Some(16 << 20));
        assert_eq!(with(&[(own, "4096000\n"), (above, "8192000\n")]), Some(4_096_000));
        assert_eq!(with(&[(above, "8192000\n"), (hybrid, "1024000\n")]), Some(1_024_000));
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        let root = ("/sys/fs/cgroup/memory.max", "1024000");
        for text in
            ["", "0", "0:", "0::", "0::/", "0::/../..", "4:memory", "\n\n", "0::/a\u{fffd}/"]
        {
            let groups = ("/proc/self/cgroup", text);
            assert_eq!(usable_with(&[MEMINFO, groups]), Some(16 << 20), "{text:?}");
            assert_eq!(usable_with(&[MEMINFO, groups, root]), Some(1_024_000), "{text:?}");
        }
    }
}
