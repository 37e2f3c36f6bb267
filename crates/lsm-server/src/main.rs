//! The binary: everything is in [`lsm_server::main`], but for what is decided for a whole process.

fn main() -> std::process::ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    map_large_allocations();
    lsm_server::main()
}

/// Lets every large allocation have a map of its own, which goes back to the system when it is freed.
///
/// glibc begins like that. But when such a map is freed it takes its size, up to 32 MiB, for the new
/// threshold, and then cuts buffers of large values out of heaps, of which it has eight for each core
/// and shrinks none below its last byte in use. A threshold that was set stays where it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the settings of glibc's allocator are behind a call of C")]
fn map_large_allocations() {
    /// Where glibc begins, in bytes.
    const THRESHOLD: libc::c_int = 128 << 10;
    // SAFETY: the call takes two numbers and no memory of ours, and takes the allocator's own lock.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD) };
    assert_eq!(is_set, 1, "glibc takes every threshold up to 32 MiB");
}
