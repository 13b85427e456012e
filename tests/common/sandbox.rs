//! Servers in the process of the test, whose threads are in a sandbox, while those of the test are
//! not.

use std::fs;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread;

use bullhorn::net::{RefusedCalls, count_refused_calls, share_one_arena};
use bullhorn::server::clock::Clock;
use bullhorn::server::ops::sandbox::{Sandbox, SandboxConfig, SandboxMode, Threads};
use bullhorn::{Server, ServerConfig, StartError};
use nix::libc::SYS_openat;

/// Starts a server from a thread of its own, which enters the sandbox. The threads of the server
/// inherit it.
pub(crate) fn start_in_sandbox(config: ServerConfig, clock: Clock) -> Result<Server, StartError> {
    // As the program does. With more arenas, glibc reads files when threads start.
    share_one_arena();
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
            assert!(
                refused.is_empty() || is_heap_check(&refused),
                "refused system calls: {refused:?}"
            );
        }
    }
}

/// Returns `true` if these calls are the one by which glibc reads `vm.overcommit_memory`, once in a
/// process, when it shrinks a heap. The program has one arena, and no such heaps. The threads of a
/// test have made some before.
fn is_heap_check(refused: &[u32]) -> bool {
    refused
        .iter()
        .all(|number| i64::from(*number) == SYS_openat)
        && count_refused_calls() == 1
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
