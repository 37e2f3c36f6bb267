//! The engine from outside.

mod basics;
mod death;
mod harness;
mod open;
mod progress;
