//! The engine from outside.

mod basics;
mod harness;
mod progress;
