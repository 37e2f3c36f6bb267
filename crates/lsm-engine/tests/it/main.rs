//! The engine from outside.

mod basics;
mod harness;
mod open;
mod progress;
