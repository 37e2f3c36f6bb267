//! What the crate promises, through its public face.

mod against_model;
mod threads;
