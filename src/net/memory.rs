//! The memory that the allocator keeps.

/// Gives free memory back to the kernel. The allocator of glibc keeps pages between those in use,
/// and after a flood of small allocations that is most of the memory. Each of its arenas is locked
/// for up to 0.1 s per 100 MB. Other allocators decide by themselves.
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called at any time, by any thread. It moves nothing.
    unsafe {
        libc::malloc_trim(0);
    }
}
