//! The engine from outside.

mod basics;
mod concurrency;
mod group_commit;
mod harness;
mod model;
mod open;
mod progress;
mod settings;
mod snapshots;
mod support;
