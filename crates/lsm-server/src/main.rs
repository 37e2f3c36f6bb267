//! The binary: everything is in [`lsm_server::main`].

fn main() -> std::process::ExitCode {
    lsm_server::main()
}
