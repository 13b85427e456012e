//! The memory that the allocator keeps.

/// Makes all threads of the process share one arena of the allocator of glibc. Otherwise up to
/// 64 MB stay in each arena after a flood, as the kernel never gets back the end of one. Threads
/// that allocate at the same time wait for each other, but a worker allocates little. Call it
/// before the first thread starts. Other allocators decide by themselves.
pub fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` may be called at any time. It sets a number that only new threads read.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives free memory back to the kernel. The allocator of glibc keeps pages between those in use,
/// and after a flood of small allocations that is most of the memory. It is locked for up to 0.1 s
/// per 100 MB. Other allocators decide by themselves.
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called at any time, by any thread. It moves nothing.
    unsafe {
        libc::malloc_trim(0);
    }
}
