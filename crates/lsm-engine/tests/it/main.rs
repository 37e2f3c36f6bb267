//! The engine from outside.

mod basics;
mod concurrency;
mod snapshots;
mod support;
