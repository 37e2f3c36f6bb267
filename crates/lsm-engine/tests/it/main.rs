//! The engine from outside.

mod basics;
mod concurrency;
mod support;
