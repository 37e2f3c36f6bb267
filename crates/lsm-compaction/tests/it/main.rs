//! The crate as its users see it.

mod drawn_tree;
mod job;
mod picker;
mod simulation;
mod store;
