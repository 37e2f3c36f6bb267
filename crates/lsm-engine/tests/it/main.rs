//! The engine from outside.

mod background;
mod bad_input;
mod basics;
mod close;
mod concurrency;
mod death;
mod descriptors;
mod faults;
mod flips;
mod full_disk;
mod golden;
mod group_commit;
mod harness;
mod keyspaces;
mod kill;
mod lost_sync;
mod manifest;
mod model;
mod open;
mod power_loss;
mod progress;
mod settings;
mod snapshots;
mod support;
mod verify;
