//! The engine from outside.

mod basics;
mod concurrency;
mod group_commit;
mod model;
mod settings;
mod snapshots;
mod support;
