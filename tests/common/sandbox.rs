//! Servers in the process of the test, whose threads are in a sandbox, while those of the test are
//! not.

use std::fs;
use std::panic::resume_unwind;
use std::sync::{Once, OnceLock};
use std::thread;

use bullhorn::net::{RefusedCalls, share_one_arena};
use bullhorn::server::clock::Clock;
use bullhorn::server::ops::sandbox::{Sandbox, SandboxConfig, SandboxMode, Threads};
use bullhorn::{Server, ServerConfig, StartError};

/// Starts a server from a thread of its own, which enters the sandbox. The threads of the server
/// inherit it.
pub(crate) fn start_in_sandbox(config: ServerConfig, clock: Clock) -> Result<Server, StartError> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        shrink_a_heap();
        // As the program does. With more arenas, glibc reads files when threads start.
        share_one_arena();
    });
    let start = move || {
        let features = config.features();
        let sandbox = Sandbox::enter(&SandboxConfig::default(), features).expect("not strict");
        Server::start_confined(config, clock, |log| {
            Ok(sandbox.close(Threads::Calling, log)?)
        })
    };
    thread::spawn(start)
        .join()
        .unwrap_or_else(|panic| resume_unwind(panic))
}

/// Its drop fails the test if the sandbox has refused a system call of a server.
pub(crate) struct NoRefusedCalls;

impl Drop for NoRefusedCalls {
    fn drop(&mut self) {
        let refused = RefusedCalls::default().take();
        if !thread::panicking() {
            assert!(refused.is_empty(), "refused system calls: {refused:?}");
        }
    }
}

/// Makes glibc read `vm.overcommit_memory`, which it does once in a process, when it shrinks the heap of an
/// arena that is not the first. The threads of a test may have such heaps, and a thread in the sandbox may
/// shrink them at its end, when its signals are blocked and a refused call ends the process. The program
/// has one arena, and no such heaps.
fn shrink_a_heap() {
    let fill_and_free = || {
        // Below the size from which each block is a mapping of its own, 128 KiB.
        let blocks: Vec<_> = (0..64).map(|_| vec![1_u8; 64 << 10]).collect();
        drop(std::hint::black_box(blocks));
    };
    // A new thread has a new arena while there are few.
    thread::spawn(fill_and_free).join().expect("it has memory");
}

/// Returns `true` if the kernel has both parts of the sandbox.
pub(crate) fn has_sandbox() -> bool {
    static HAS_SANDBOX: OnceLock<bool> = OnceLock::new();
    *HAS_SANDBOX.get_or_init(|| {
        let strict = SandboxConfig {
            mode: SandboxMode::Strict,
            ..SandboxConfig::default()
        };
        let enter = move || Sandbox::enter(&strict, Vec::new()).is_ok();
        let has_landlock = thread::spawn(enter).join().expect("it reports errors");
        let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
        has_landlock && actions.is_ok_and(|actions| actions.contains("kill_process"))
    })
}
