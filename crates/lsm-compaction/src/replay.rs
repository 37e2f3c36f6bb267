//! Replay: from the records of a MANIFEST to the state.
//!
//! Invariant: a MANIFEST that another build, another key order or another checksum wrote is
//! refused at its first record, before anything that follows from it is believed.

use std::path::{Path, PathBuf};

use lsm_base::key::KEY_ORDER;
use lsm_base::{Error, Result};

use crate::edit::{CHECKSUM, Header, VersionEdit};
use crate::state::State;

/// The state so far, while the records of a MANIFEST are read.
#[derive(Debug)]
pub struct Replay {
    path: PathBuf,
    state: Option<State>,
}

impl Replay {
    /// A replay of the MANIFEST at `path`, which errors name.
    #[must_use]
    pub fn new(path: &Path) -> Replay {
        Replay { path: path.to_owned(), state: None }
    }

    /// Takes the next record, whose payload begins at `offset`.
    ///
    /// # Errors
    /// `Corruption` if the record is no edit or contradicts those before it; `UnsupportedFormat`
    /// if this build must not open the store. The replay is over then.
    pub fn record(&mut self, offset: u64, payload: &[u8]) -> Result<()> {
        let edit = VersionEdit::decode(payload, &self.path, offset)?;
        let next = match (&self.state, &edit.header) {
            (Some(state), _) => state.apply(&edit),
            (None, Some(header)) => {
                self.check_header(header)?;
                State::empty(header.clone()).change(&edit)
            }
            (None, None) => Err(Error::invalid("the first record has no header")),
        };
        match next {
            Ok(state) => {
                self.state = Some(state);
                Ok(())
            }
            Err(Error::InvalidArgument(detail)) => {
                Err(Error::corruption(&self.path, offset, detail))
            }
            Err(error) => Err(error),
        }
    }

    /// The state after the last record.
    ///
    /// # Errors
    /// `Corruption` if there was no record.
    pub fn finish(self) -> Result<State> {
        self.state.ok_or_else(|| Error::corruption(&self.path, 0, "a MANIFEST without a record"))
    }

    fn check_header(&self, header: &Header) -> Result<()> {
        for (what, theirs, ours) in
            [("key order", &header.key_order, KEY_ORDER), ("checksum", &header.checksum, CHECKSUM)]
        {
            if theirs != ours {
                let detail = format!("the {what} is `{theirs}`; this build knows `{ours}`");
                return Err(Error::unsupported(&self.path, detail));
            }
        }
        Ok(())
    }
}
