//! Keeping the memory of this process, which holds keys, out of files and away from other processes.

use rlimit::Resource;

/// Lets no crash write the memory of this process, or of a program that it starts, into a file. On Linux no other process
/// of the same user can read it either.
pub(crate) fn forbid() {
    // A limit can always be lowered, and on a system without it the command still works.
    let _ = Resource::CORE.set(0, 0);
    // A limit of 0 does not keep the system from handing a dump to a program, as most distributions set it up.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
