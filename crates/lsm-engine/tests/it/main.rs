//! The engine from outside.

mod basics;
mod concurrency;
mod death;
mod faults;
mod full_disk;
mod group_commit;
mod harness;
mod lost_sync;
mod model;
mod open;
mod power_loss;
mod progress;
mod settings;
mod snapshots;
mod support;
