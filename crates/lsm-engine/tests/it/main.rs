//! The engine from outside.

mod basics;
mod death;
mod full_disk;
mod harness;
mod open;
mod progress;
