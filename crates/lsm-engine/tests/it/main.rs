//! The engine from outside.

mod basics;
mod death;
mod faults;
mod full_disk;
mod harness;
mod lost_sync;
mod open;
mod power_loss;
mod progress;
