//! The table of the sandbox: the system calls and the paths that each part of the server needs.

use std::path::{Path, PathBuf};

use nix::libc;

use super::folders;

/// A part of the server, which needs system calls and paths. What no part needs is refused.
///
/// A new part is a variant here, and an arm in each of the three functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feature {
    /// Datagrams, threads, the log and the stop: every server.
    Core,
    /// New local addresses, and the watch over the sockets: every server.
    Sockets,
    /// Commands on standard input.
    Console,
    /// The files in the folder of `--state-dir`, which are replaced by renaming.
    StateDir(PathBuf),
    /// The file of `--config`, which is read again at SIGHUP.
    ConfigFile(PathBuf),
    /// The admin server, which listens on a TCP port.
    Admin {
        port: u16,
        token_file: Option<PathBuf>,
    },
    /// The cluster, which connects to the TCP ports of its bus, looks names up, and reads files for each
    /// connection.
    Cluster {
        ports: Vec<u16>,
        files: Vec<PathBuf>,
    },
}

/// The access to a path and all that is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Files may be read.
    Read,
    /// Files may be read, written, created, renamed and removed.
    Replace,
}

/// A system call that is permitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// Its number in the table of this processor.
    pub(super) number: libc::c_long,
    /// Its constant in libc, such as `SYS_read`.
    pub(super) name: &'static str,
    /// One of these rules must hold. Without any, the arguments don't matter. Then the kernel
    /// knows the verdict without running the filter, so the calls of the datagram path have none.
    pub(super) rules: &'static [Rule],
}

/// Conditions for arguments, all of which must hold.
pub(super) type Rule = &'static [Argument];

/// A condition for the lower 32 bits of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// The argument with this index is this value in the bits of the mask.
    Masked(u8, u32, u32),
    /// The argument with this index is the id of this process.
    OwnProcess(u8),
}

impl Feature {
    /// The system calls that it makes after the server's sockets are open.
    pub(super) fn calls(&self) -> &'static [&'static [Call]] {
        match self {
            Self::Core => &[DATAGRAMS, MEMORY, THREADS, TIME_AND_RANDOM],
            Self::Sockets => &[SOCKETS],
            Self::Console => &[CONSOLE],
            Self::StateDir(_) | Self::ConfigFile(_) => &[FILES],
            Self::Admin {
                token_file: Some(_),
                ..
            } => &[CONNECTIONS, FILES],
            Self::Admin { .. } => &[CONNECTIONS],
            Self::Cluster { .. } => &[FILES, LOOK_UPS],
        }
    }

    /// The TCP ports that it connects to.
    pub(super) fn remote_tcp_ports(&self) -> &[u16] {
        match self {
            Self::Cluster { ports, .. } => ports,
            _ => &[],
        }
    }

    /// The TCP port that it listens on.
    pub(super) fn tcp_port(&self) -> Option<u16> {
        match self {
            Self::Admin { port, .. } => Some(*port),
            _ => None,
        }
    }

    /// The paths that it opens, also while the server starts.
    pub(super) fn paths(&self) -> Vec<(PathBuf, Access)> {
        match self {
            // The kernel has no `getrandom`, or a filter refuses it.
            Self::Core => vec![
                ("/dev/random".into(), Access::Read),
                ("/dev/urandom".into(), Access::Read),
            ],
            // The numbers of open files, and the list of sockets.
            Self::Sockets => vec![("/proc/self".into(), Access::Read)],
            Self::Console => vec![],
            Self::StateDir(folder) => vec![(folder.clone(), Access::Replace)],
            Self::ConfigFile(file) => folders::of(file),
            Self::Admin { token_file, .. } => {
                token_file.as_deref().map_or_else(Vec::new, folders::of)
            }
            Self::Cluster { files, .. } => {
                let system = NETWORK_FILES.iter().map(|path| (path.into(), Access::Read));
                let resolver = folders::of_target(Path::new("/etc/resolv.conf"));
                let given = files.iter().flat_map(|file| folders::of(file));
                system.chain(resolver).chain(given).collect()
            }
        }
    }
}

/// Returns the name of a system call without its prefix, if it is one that this server makes or an
/// attacker would.
pub(super) fn name_of(number: u32) -> Option<&'static str> {
    let lists = PERMITTED.iter().chain(&[REFUSED, X86_REFUSED]);
    let mut calls = lists.copied().flatten();
    let call = calls.find(|call| call.number == libc::c_long::from(number))?;
    Some(call.name.trim_start_matches("SYS_"))
}

/// Declares calls, by their constants in libc.
macro_rules! calls {
    ($($(#[$attribute:meta])? $call:ident $(: $rules:expr)?,)*) => {
        &[$($(#[$attribute])? call!($call $(, $rules)?),)*]
    };
}

macro_rules! call {
    ($call:ident) => {
        call!($call, &[])
    };
    ($call:ident, $rules:expr) => {
        Call {
            number: libc::$call,
            name: stringify!($call),
            rules: $rules,
        }
    };
}

/// All calls that a server with every part may make.
pub(super) const PERMITTED: &[&[Call]] = &[
    DATAGRAMS,
    MEMORY,
    THREADS,
    TIME_AND_RANDOM,
    SOCKETS,
    CONSOLE,
    FILES,
    CONNECTIONS,
    LOOK_UPS,
];

/// Receiving, sending and sleeping, the log, and the end of the process.
const DATAGRAMS: &[Call] = calls![
    SYS_recvmmsg,
    SYS_recvmsg,
    // A signal arrives through a pair of sockets.
    SYS_recvfrom,
    SYS_sendmmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_epoll_pwait,
    SYS_epoll_ctl,
    SYS_getsockname,
    SYS_getsockopt,
    // The bytes that a bad path holds.
    SYS_ioctl: IOCTL,
    SYS_futex,
    SYS_read,
    SYS_write,
    SYS_writev,
    SYS_close,
    SYS_exit_group,
    SYS_restart_syscall,
    #[cfg(target_arch = "x86_64")]
    SYS_epoll_wait,
];

/// Memory that no code is loaded into.
const MEMORY: &[Call] = calls![
    SYS_brk,
    SYS_madvise,
    SYS_mmap: &[&[without(2, libc::PROT_EXEC)]],
    SYS_mprotect: &[&[without(2, libc::PROT_EXEC)]],
    SYS_mremap,
    SYS_munmap,
];

/// Threads of this process. There are no other processes.
const THREADS: &[Call] = calls![
    // Other filters refuse new processes, see `REFUSED_QUIETLY`.
    SYS_clone,
    SYS_clone3,
    SYS_exit,
    SYS_getpid,
    SYS_gettid,
    SYS_prctl: &[&[is(0, libc::PR_SET_NAME)]],
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_sigaltstack,
    // The C library ends a process that is broken by a signal.
    SYS_tgkill: &[&[Argument::OwnProcess(0)]],
];

/// Clocks of virtual machines that have them as system calls only, and random numbers.
const TIME_AND_RANDOM: &[Call] = calls![
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_getrandom,
    SYS_nanosleep,
];

/// UDP sockets as `net::guard` and `net::local` open them.
const SOCKETS: &[Call] = calls![
    SYS_socket: &[
        &[is(0, libc::AF_INET), masked(1, SOCKET_TYPE, libc::SOCK_DGRAM)],
        &[is(0, libc::AF_INET6), masked(1, SOCKET_TYPE, libc::SOCK_DGRAM)],
    ],
    SYS_bind,
    SYS_fcntl: FCNTL,
    SYS_lseek,
    SYS_setsockopt: &[
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_REUSEPORT)],
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_RCVBUF)],
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_RCVBUFFORCE)],
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_SNDBUF)],
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_SNDBUFFORCE)],
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_BINDTOIFINDEX)],
        &[is(1, libc::IPPROTO_IP), is(2, libc::IP_PKTINFO)],
        &[is(1, libc::IPPROTO_IP), is(2, libc::IP_MTU_DISCOVER)],
        &[is(1, libc::IPPROTO_IPV6), is(2, libc::IPV6_V6ONLY)],
        &[is(1, libc::IPPROTO_IPV6), is(2, libc::IPV6_RECVPKTINFO)],
        &[is(1, libc::IPPROTO_IPV6), is(2, libc::IPV6_MTU_DISCOVER)],
    ],
];

/// Standard input, which may be a terminal.
const CONSOLE: &[Call] = calls![
    SYS_fcntl: FCNTL,
    SYS_getpgid,
    SYS_ioctl: IOCTL,
    SYS_ppoll,
    SYS_pselect6,
    // A signal of the terminal arrives through a pair of sockets.
    SYS_socketpair: &[&[is(0, libc::AF_UNIX)]],
    #[cfg(target_arch = "x86_64")]
    SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    SYS_poll,
    #[cfg(target_arch = "x86_64")]
    SYS_select,
];

/// Files that are read at once, and replaced by new ones.
const FILES: &[Call] = calls![
    SYS_fstat,
    SYS_fsync,
    SYS_lseek,
    SYS_newfstatat,
    SYS_openat,
    SYS_renameat,
    SYS_renameat2,
    SYS_statx,
    #[cfg(target_arch = "x86_64")]
    SYS_open,
    #[cfg(target_arch = "x86_64")]
    SYS_rename,
    #[cfg(target_arch = "x86_64")]
    SYS_stat,
];

/// TCP connections that others open. The server opens none.
const CONNECTIONS: &[Call] = calls![SYS_accept4, SYS_shutdown,];

/// Connections to the bus of a cluster, and look-ups of its name by the C library. Landlock confines the
/// ports.
const LOOK_UPS: &[Call] = calls![
    SYS_connect,
    SYS_fcntl: FCNTL,
    SYS_getdents64,
    SYS_getpeername,
    SYS_ppoll,
    SYS_shutdown,
    SYS_socket: &[
        &[is(0, libc::AF_INET), masked(1, SOCKET_TYPE, libc::SOCK_STREAM)],
        &[is(0, libc::AF_INET6), masked(1, SOCKET_TYPE, libc::SOCK_STREAM)],
        // The addresses of this machine, and the look-ups of a service on it.
        &[is(0, libc::AF_NETLINK)],
        &[is(0, libc::AF_UNIX)],
    ],
    SYS_setsockopt: &[
        &[is(1, libc::IPPROTO_TCP), is(2, libc::TCP_NODELAY)],
        &[is(1, libc::IPPROTO_IP), is(2, libc::IP_RECVERR)],
        &[is(1, libc::IPPROTO_IPV6), is(2, libc::IPV6_RECVERR)],
    ],
    SYS_uname,
    #[cfg(target_arch = "x86_64")]
    SYS_poll,
    #[cfg(target_arch = "x86_64")]
    SYS_readlink,
    SYS_readlinkat,
];

/// The files by which the C library looks names up, and the certificates of the system.
const NETWORK_FILES: &[&str] = &[
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/resolv.conf",
    "/etc/ssl",
    "/usr/lib/ssl",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
];

/// Calls that fail although they are permitted above, and are not noted. The C library makes them
/// while signals are blocked, and a trap would then end the process.
pub(super) const REFUSED_QUIETLY: &[(Call, libc::c_int)] = &[
    // A new process, not a thread.
    (
        call!(SYS_clone, &[&[without(0, libc::CLONE_THREAD)]]),
        libc::EPERM,
    ),
    // Its arguments are in memory, where a filter cannot read them. The C library then calls `clone`.
    (call!(SYS_clone3), libc::ENOSYS),
];

/// Calls that an attacker would make, for their names in the log. None of them is permitted.
pub(super) const REFUSED: &[Call] = calls![
    SYS_accept,
    SYS_add_key,
    SYS_bpf,
    SYS_capset,
    SYS_chdir,
    SYS_chroot,
    SYS_delete_module,
    SYS_dup,
    SYS_dup3,
    SYS_execve,
    SYS_execveat,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_finit_module,
    SYS_ftruncate,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_setup,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_kill,
    SYS_linkat,
    SYS_listen,
    SYS_memfd_create,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_mount,
    SYS_open_by_handle_at,
    SYS_openat2,
    SYS_perf_event_open,
    SYS_personality,
    SYS_pidfd_getfd,
    SYS_pidfd_open,
    SYS_pipe2,
    SYS_pivot_root,
    SYS_pkey_mprotect,
    SYS_prlimit64,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_ptrace,
    SYS_reboot,
    SYS_seccomp,
    SYS_setgid,
    SYS_setns,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setuid,
    SYS_shmat,
    SYS_splice,
    SYS_symlinkat,
    SYS_tkill,
    SYS_umount2,
    SYS_unlinkat,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_wait4,
];

/// The same, of x86_64 alone.
#[cfg(target_arch = "x86_64")]
const X86_REFUSED: &[Call] = calls![
    SYS_access,
    SYS_chmod,
    SYS_chown,
    SYS_creat,
    SYS_dup2,
    SYS_fork,
    SYS_link,
    SYS_mkdir,
    SYS_pipe,
    SYS_symlink,
    SYS_unlink,
    SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const X86_REFUSED: &[Call] = &[];

/// Duplicates, and the flags of a descriptor. Not `F_SETOWN`, which sends signals.
const FCNTL: &[Rule] = &[
    &[is(1, libc::F_DUPFD_CLOEXEC)],
    &[is(1, libc::F_GETFD)],
    &[is(1, libc::F_SETFD)],
    &[is(1, libc::F_GETFL)],
    &[is(1, libc::F_SETFL)],
];

/// Bytes that wait in a socket, the state of a terminal, and sockets that don't wait. Not `TIOCSTI`, which
/// types into a terminal.
const IOCTL: &[Rule] = &[
    &[is(1, TIOCOUTQ)],
    &[is(1, TCGETS)],
    &[is(1, TCGETS2)],
    &[is(1, TCSETS)],
    &[is(1, TCSETSW)],
    &[is(1, FIONBIO)],
    &[is(1, TIOCGPGRP)],
    &[is(1, TIOCGWINSZ)],
];

/// The bits of a socket's type that are no flags.
const SOCKET_TYPE: i32 = 0xF;

/// The types of these constants differ between the C libraries.
const FIONBIO: i32 = libc::FIONBIO as i32;
const TCGETS: i32 = libc::TCGETS as i32;
const TCGETS2: i32 = libc::TCGETS2 as i32;
const TCSETS: i32 = libc::TCSETS as i32;
const TCSETSW: i32 = libc::TCSETSW as i32;
const TIOCGPGRP: i32 = libc::TIOCGPGRP as i32;
const TIOCOUTQ: i32 = libc::TIOCOUTQ as i32;
const TIOCGWINSZ: i32 = libc::TIOCGWINSZ as i32;

const fn is(index: u8, value: i32) -> Argument {
    masked(index, -1, value)
}

const fn without(index: u8, bits: i32) -> Argument {
    masked(index, bits, 0)
}

const fn masked(index: u8, mask: i32, value: i32) -> Argument {
    Argument::Masked(index, mask.cast_unsigned(), value.cast_unsigned())
}
