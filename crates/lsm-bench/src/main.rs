//! The benchmark of this store by itself.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lsm_bench::cli::main(&[lsm_bench::lsm::FACTORY])
}
