//! The engine from outside.

mod basics;
