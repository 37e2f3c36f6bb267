//! The program as its users meet it: the built binary, its streams and its exit codes.

mod bulk;
mod care;
mod data;
mod descriptors;
mod inspect;
mod lsm;
mod place;
mod repair;
mod scripted;
mod server;
mod streams;
mod terminal;
mod transcripts;
