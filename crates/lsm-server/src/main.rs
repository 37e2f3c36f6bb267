//! The binary: everything is in [`lsm_server::main`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    lsm_server::main()
}
