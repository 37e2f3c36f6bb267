//! The versions of the peers, as the lock file had them when this was compiled.

const LOCK: &str = include_str!("../Cargo.lock");

/// The version of a package that the lock file names.
pub(crate) fn locked(package: &str) -> String {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = LOCK.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_version() {
        for factory in crate::ENGINES {
            let version = (factory.version)();
            assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
            assert!(!version.contains("unknown"), "{}: {version}", factory.name);
        }
        assert_eq!(locked("no-such-package"), "unknown");
    }
}
