//! The benchmark end to end: its figures, its checks, its command line.

#![forbid(unsafe_code)]

#[path = "../../examples/btree_map/store.rs"]
mod btree_map;
mod checks;
mod command_line;
mod keys;
mod support;
mod workloads;
