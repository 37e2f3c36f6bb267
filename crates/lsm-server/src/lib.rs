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
// These macros panic where a stream takes nothing.
#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod wire;

#[cfg(feature = "server")]
mod answer;
#[cfg(feature = "server")]
mod app;
#[cfg(feature = "server")]
mod body;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
mod connection;
#[cfg(feature = "server")]
mod descriptors;
#[cfg(feature = "server")]
mod engine_options;
#[cfg(feature = "server")]
mod etag;
#[cfg(all(feature = "server", any(test, feature = "testing")))]
pub mod fuzz;
#[cfg(feature = "server")]
mod guard;
#[cfg(feature = "server")]
mod handlers;
#[cfg(feature = "server")]
mod head;
#[cfg(feature = "server")]
mod http_metrics;
#[cfg(feature = "server")]
mod in_flight;
#[cfg(feature = "server")]
mod jobs;
#[cfg(feature = "server")]
mod log;
#[cfg(feature = "server")]
mod page_cursor;
#[cfg(feature = "server")]
mod pool;
#[cfg(feature = "server")]
mod prometheus;
#[cfg(feature = "server")]
mod route;
#[cfg(feature = "server")]
pub mod serve;
#[cfg(feature = "server")]
mod service;
#[cfg(feature = "server")]
mod start;
#[cfg(feature = "server")]
mod status;
#[cfg(feature = "server")]
mod target;

#[cfg(feature = "server")]
pub use start::main;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
