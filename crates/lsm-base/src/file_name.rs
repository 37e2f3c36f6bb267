//! What the files of a database directory are called.
//!
//! ```text
//! LOCK               held by the one process that has the database open
//! CURRENT            the name of the MANIFEST in force
//! MANIFEST-000007    the tree's shape, as a log of edits
//! 000042.log         a segment of the write-ahead log
//! 000017.sst         a table
//! <name>.tmp         one of the above before it is whole; begun anew after a crash
//! ```
//!
//! Numbers are decimal, below 2^56, with at least six digits and no more zeros than that takes.
//! Segments have numbers of their own, without gaps; tables and MANIFESTs share another counter.
//! Whatever does not parse is not ours: it is left alone.

use std::fmt;
use std::path::{Path, PathBuf};

/// File numbers stay below this.
pub const FILE_NUMBER_END: u64 = 1 << 56;

/// The name of a file of ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileName {
    /// `LOCK`
    Lock,
    /// `CURRENT`
    Current,
    /// `MANIFEST-000007`
    Manifest(u64),
    /// `000042.log`
    Log(u64),
    /// `000017.sst`
    Table(u64),
    /// `CURRENT.tmp`
    CurrentTemp,
    /// `MANIFEST-000007.tmp`
    ManifestTemp(u64),
    /// `000042.log.tmp`
    LogTemp(u64),
    /// `000017.sst.tmp`
    TableTemp(u64),
}

impl FileName {
    /// The path of this file in `dir`.
    #[must_use]
    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }

    /// The name, if it is one of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<FileName> {
        let (name, is_temp) = match name.strip_suffix(".tmp") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        let whole = match name {
            "LOCK" => FileName::Lock,
            "CURRENT" => FileName::Current,
            _ => {
                if let Some(digits) = name.strip_prefix("MANIFEST-") {
                    FileName::Manifest(parse_number(digits)?)
                } else if let Some(digits) = name.strip_suffix(".log") {
                    FileName::Log(parse_number(digits)?)
                } else {
                    FileName::Table(parse_number(name.strip_suffix(".sst")?)?)
                }
            }
        };
        if is_temp { whole.temp() } else { Some(whole) }
    }

    /// The name under which this file is written before it is whole; `None` for `LOCK`, which is
    /// never written, and for names that are temporary already.
    #[must_use]
    pub fn temp(self) -> Option<FileName> {
        match self {
            FileName::Current => Some(FileName::CurrentTemp),
            FileName::Manifest(number) => Some(FileName::ManifestTemp(number)),
            FileName::Log(number) => Some(FileName::LogTemp(number)),
            FileName::Table(number) => Some(FileName::TableTemp(number)),
            _ => None,
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileName::Lock => f.write_str("LOCK"),
            FileName::Current => f.write_str("CURRENT"),
            FileName::Manifest(number) => write!(f, "MANIFEST-{number:06}"),
            FileName::Log(number) => write!(f, "{number:06}.log"),
            FileName::Table(number) => write!(f, "{number:06}.sst"),
            FileName::CurrentTemp => f.write_str("CURRENT.tmp"),
            FileName::ManifestTemp(number) => write!(f, "MANIFEST-{number:06}.tmp"),
            FileName::LogTemp(number) => write!(f, "{number:06}.log.tmp"),
            FileName::TableTemp(number) => write!(f, "{number:06}.sst.tmp"),
        }
    }
}

fn parse_number(digits: &str) -> Option<u64> {
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() == 6 || (6 < digits.len() && !digits.starts_with('0')));
    let number = if is_canonical { digits.parse().ok()? } else { return None };
    (number < FILE_NUMBER_END).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_name_parses_back() {
        for number in [0, 7, 999_999, 1_000_000, FILE_NUMBER_END - 1] {
            let wholes = [
                FileName::Lock,
                FileName::Current,
                FileName::Manifest(number),
                FileName::Log(number),
                FileName::Table(number),
            ];
            for name in wholes.into_iter().chain(wholes.into_iter().filter_map(FileName::temp)) {
                assert_eq!(FileName::parse(&name.to_string()), Some(name));
            }
        }
    }

    #[test]
    fn foreign_names_are_left_alone() {
        let foreign = [
            "",
            ".DS_Store",
            "._000001.sst",
            "lost+found",
            "1.sst",
            "0000001.sst",
            "00001a.sst",
            "+00001.sst",
            "000001.SST",
            "000001.sst.bak",
            "MANIFEST-",
            "MANIFEST-1",
            "LOCK.tmp",
            "CURRENT.tmp.tmp",
            "72057594037927936.sst",
            "99999999999999999999999.log",
        ];
        for name in foreign {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_has_one_spelling(name in "[0-9MANIFEST.logsttmp-]{0,20}") {
            if let Some(parsed) = FileName::parse(&name) {
                prop_assert_eq!(parsed.to_string(), name);
            }
        }
    }
}
