//! The engine from outside.

mod basics;
mod concurrency;
mod model;
mod settings;
mod snapshots;
mod support;
