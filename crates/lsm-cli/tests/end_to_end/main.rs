//! The main job from end to end, on data that was not made for the test: the Unicode character table.
//!
//! Both doors walk the same way, [`server`] over HTTP and [`library`] in a process of its own:
//!
//! 1. import, in batches and through `lsm import`; read every record back; scan by prefix;
//! 2. delete a third; end cleanly; start again;
//! 3. import the second edition; `kill -9` in the middle of it; start again: every acknowledged batch
//!    is there, every other one is whole or absent;
//! 4. complete the import; export through the server and from the directory.
//!
//! The oracle is a sorted map of what was acknowledged. It prints its own NDJSON, without any code of
//! the product, and the exports must equal that byte for byte.
//!
//! Beside the walk, [`care`] damages a store under a running server.
//!
//! Everything waits for an event with a limit in time, and every process is ended with its test.

mod care;
mod cli;
mod client;
mod data;
mod library;
mod oracle;
mod process;
mod server;
mod server_process;
