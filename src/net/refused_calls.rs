//! The system calls that a filter of this process (seccomp) refuses.
//!
//! The filter returns `SECCOMP_RET_TRAP`, and the kernel sends SIGSYS to the calling thread. The
//! handler makes the call return `EPERM`, and notes its number in a bitmap, as a signal handler may
//! do little more. Any thread reads the notes later.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::socket::in_call;

/// The numbers of the refused calls that have been read.
#[derive(Debug, Default)]
pub struct RefusedCalls {
    read: [u64; WORDS],
}

impl RefusedCalls {
    /// Returns the numbers of the calls that have been refused, without those that an earlier call
    /// of this returned. All numbers from [`RefusedCalls::UNKNOWN`] on are one.
    pub fn take(&mut self) -> Vec<u32> {
        let mut numbers = Vec::new();
        for (index, (read, noted)) in (0..).zip(self.read.iter_mut().zip(&NOTED)) {
            let noted = noted.load(Ordering::Relaxed);
            let new = noted & !*read;
            *read = noted;
            let bits = (0..u64::BITS).filter(|bit| new >> bit & 1 == 1);
            numbers.extend(bits.map(|bit| index * u64::BITS + bit));
        }
        numbers
    }

    /// The number that stands for all calls with a number that is not in the kernel's table.
    pub const UNKNOWN: u32 = WORDS as u32 * u64::BITS - 1;
}

/// Returns the number of calls of this process that have been refused.
pub fn count_refused_calls() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Makes a call that a filter refuses by a trap fail with `EPERM`, in all threads that have not
/// blocked SIGSYS.
///
/// # Errors
/// The system does not permit a handler.
pub fn handle_refused_calls() -> io::Result<()> {
    // SAFETY: all fields are numbers or null, and zero is valid for them.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_sigsys as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler has the signature of SA_SIGINFO. It uses atomics and its arguments only.
    let result = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    match result {
        0 => Ok(()),
        _ => Err(in_call("sigaction")(io::Error::last_os_error())),
    }
}

extern "C" fn on_sigsys(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a `siginfo_t`, which begins with these fields for SIGSYS.
    let info = unsafe { &*info.cast::<SigsysInfo>() };
    // Another process may send the signal, too.
    if info.code != SYS_SECCOMP {
        return;
    }
    note(info.number);
    // SAFETY: the kernel passes a `ucontext_t`, whose registers the thread gets back. Nothing else
    // refers to it.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    set_result(context, -libc::EPERM);
}

fn note(number: libc::c_int) {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let number = number.min(RefusedCalls::UNKNOWN);
    let word = &NOTED[(number / u64::BITS) as usize];
    word.fetch_or(1 << (number % u64::BITS), Ordering::Relaxed);
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// Sets the result that the thread receives from its system call.
#[cfg(target_arch = "x86_64")]
fn set_result(context: &mut libc::ucontext_t, result: i32) {
    context.uc_mcontext.gregs[libc::REG_RAX as usize] = result.into();
}

/// Sets the result that the thread receives from its system call.
#[cfg(target_arch = "aarch64")]
fn set_result(context: &mut libc::ucontext_t, result: i32) {
    context.uc_mcontext.regs[0] = i64::from(result).cast_unsigned();
}

/// Without a way to set it, the call seems to have succeeded with a result by chance. So there are
/// no filters on such processors.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set_result(_: &mut libc::ucontext_t, _: i32) {}

/// The beginning of a `siginfo_t` of SIGSYS, which libc does not declare.
#[repr(C)]
struct SigsysInfo {
    signal: libc::c_int,
    error: libc::c_int,
    code: libc::c_int,
    address: *const libc::c_void,
    number: libc::c_int,
}

/// The code of a SIGSYS that a filter causes.
const SYS_SECCOMP: libc::c_int = 1;

/// The newest kernels have fewer than 500 calls.
const WORDS: usize = 10;

static NOTED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static COUNT: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_taken_once_and_each_time_counted() {
        let before = count_refused_calls();
        let (mut one, mut other) = (RefusedCalls::default(), RefusedCalls::default());
        for number in [59, 0, 59, 447, 0x4000_0001, -1] {
            note(number);
        }
        assert_eq!(count_refused_calls() - before, 6);
        let expected = [0, 59, 447, RefusedCalls::UNKNOWN];
        assert_eq!(one.take(), expected);
        note(59);
        note(63);
        assert_eq!(one.take(), [63]);
        assert_eq!(one.take(), [0; 0]);
        assert_eq!(other.take(), [0, 59, 63, 447, RefusedCalls::UNKNOWN]);
    }
}
