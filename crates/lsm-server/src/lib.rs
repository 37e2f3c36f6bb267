//! A REST server before the store.
//!
//! With the feature `server` (on by default) this is the whole server; without it, only the forms
//! of [`wire`], which the command line shares.
//!
//! ```
//! use lsm_server::wire::{ItemRef, KeyForm};
//! let mut json = Vec::new();
//! ItemRef { key: b"a", value: Some(b"b"), seq: Some(7) }.write(&mut json, KeyForm::Utf8);
//! assert_eq!(json, br#"{"key":"a","value":"b","seq":7}"#);
//! ```

#![forbid(unsafe_code)]

pub mod wire;

#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
mod etag;
#[cfg(feature = "server")]
mod page_cursor;
#[cfg(feature = "server")]
mod target;
