//! The engine from outside.

mod bad_input;
mod basics;
mod death;
mod faults;
mod flips;
mod full_disk;
mod golden;
mod harness;
mod kill;
mod lost_sync;
mod manifest;
mod open;
mod power_loss;
mod progress;
mod verify;
