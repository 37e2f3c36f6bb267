//! The server as its clients meet it: over real sockets, byte by byte where that matters.
//!
//! Modules are named by what they hold. Those about safety name the lines of the security checklist
//! (S-1 to S-26) that each test holds.

mod admin;
mod auth;
mod bad_directories;
mod bad_input;
mod bad_requests;
mod bare;
mod bounds;
mod client;
mod descriptors;
mod doors;
mod exposure;
mod harness;
mod linearizability;
mod memory;
mod metrics;
mod paths;
mod process;
mod races;
mod scans;
mod smuggling;
mod state;
mod streams;
