//! The engine from outside.

mod basics;
mod concurrency;
mod settings;
mod snapshots;
mod support;
