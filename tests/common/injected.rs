//! Code that an attacker injects into a running server: a thread of it makes system calls that are
//! not in the program.

use std::ffi::CString;

use nix::libc::{c_long, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{StoppedThread, wait_for};

/// A thread that makes system calls for the test. It goes on where it was when this is dropped.
pub(crate) struct Injected {
    stopped: StoppedThread,
    before: user_regs_struct,
}

impl Injected {
    /// Takes over a thread as soon as it sleeps in a system call.
    #[track_caller]
    pub(crate) fn into(process: Pid, thread: &str) -> Self {
        wait_for("a thread that sleeps", || {
            let stopped = StoppedThread::stop(process, thread);
            let id = stopped.id();
            let before = ptrace::getregs(id).expect("it is stopped");
            let last = (before.rip - SYSCALL_BYTES) as ptrace::AddressType;
            let last = ptrace::read(id, last).expect("the program");
            ptrace::setoptions(id, Options::PTRACE_O_TRACESYSGOOD).expect("it is stopped");
            (last & 0xFFFF == SYSCALL).then_some(Self { stopped, before })
        })
    }

    /// Makes the thread call the kernel. Returns the result: a negative error number if it failed,
    /// or `None` if the process was killed.
    #[track_caller]
    pub(crate) fn call(&self, number: c_long, arguments: &[u64]) -> Option<i64> {
        let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
        let registers = user_regs_struct {
            // The last instruction was the one that enters the kernel.
            rip: self.before.rip - SYSCALL_BYTES,
            rax: number.cast_unsigned(),
            // No system call that is to be restarted.
            orig_rax: u64::MAX,
            rdi: argument(0),
            rsi: argument(1),
            rdx: argument(2),
            r10: argument(3),
            r8: argument(4),
            r9: argument(5),
            ..self.before
        };
        let id = self.stopped.id();
        ptrace::setregs(id, registers).expect("it is stopped");
        let mut signal = None;
        let mut is_entry = true;
        loop {
            ptrace::syscall(id, signal).ok()?;
            signal = match waitpid(id, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
                Ok(WaitStatus::PtraceSyscall(_)) => {
                    let now = ptrace::getregs(id).expect("it is stopped");
                    let result = now.rax.cast_signed();
                    // A trap leaves the number of the call there, and the handler comes next.
                    let is_trap = result == number;
                    // The call returns, or the handler of SIGSYS does.
                    let is_back = now.rip == self.before.rip && now.rsp == self.before.rsp;
                    if is_back && !is_entry && !is_trap {
                        return Some(result);
                    }
                    is_entry = false;
                    None
                }
                Ok(WaitStatus::PtraceEvent(..)) => None,
                end => {
                    println!("the thread ended: {end:?}");
                    return None;
                }
            };
            assert!(
                signal.is_none() || signal == Some(Signal::SIGSYS),
                "{signal:?}"
            );
        }
    }

    /// Writes a text into the memory of the process, and returns its address. The next one
    /// overwrites it.
    pub(crate) fn write(&self, text: &str) -> u64 {
        let address = (self.before.rsp - SCRATCH_OFFSET) & !7;
        let bytes = CString::new(text).expect("a text").into_bytes_with_nul();
        for (index, word) in (0..).zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            let address = (address + index * 8) as ptrace::AddressType;
            let word = c_long::from_ne_bytes(padded);
            ptrace::write(self.stopped.id(), address, word).expect("its own stack");
        }
        address
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        let mut registers = self.before;
        // The kernel restarts a call only at the stop that interrupted it.
        if RESTART.contains(&registers.rax.cast_signed()) {
            registers.rip -= SYSCALL_BYTES;
            registers.rax = registers.orig_rax;
        }
        registers.orig_rax = u64::MAX;
        // Fails when the process has ended.
        let _ = ptrace::setregs(self.stopped.id(), registers);
    }
}

/// The instruction `syscall` as the beginning of a word.
const SYSCALL: c_long = 0x050F;
const SYSCALL_BYTES: u64 = 2;

/// The results of interrupted calls which the kernel would make again (`ERESTARTSYS` and others).
const RESTART: std::ops::RangeInclusive<i64> = -516..=-512;

/// Beyond the part of the stack that a function uses without moving its pointer.
const SCRATCH_OFFSET: u64 = 4096;
