//! Failures of the disk, and deaths of the process, at a step that a test chooses.

use std::{cell::Cell, io, process};

/// What happens at the step.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// The call fails with this error of the operating system, and so does every later one.
    Error(i32),
    /// The process dies without any clean-up.
    Death,
}

thread_local! {
    static PLAN: Cell<Option<(u32, Fault)>> = const { Cell::new(None) };
}

/// Lets the fault happen after a number of steps of this thread.
pub(super) fn after(steps: u32, fault: Fault) {
    PLAN.set(Some((steps, fault)));
}

/// No fault any more; true when it had happened.
pub(super) fn end() -> bool {
    PLAN.take().is_none_or(|(left, _)| left == 0)
}

/// See [`super::folder`].
pub(super) fn step(_what: &str) -> io::Result<()> {
    match PLAN.get() {
        None => Ok(()),
        Some((0, Fault::Error(code))) => Err(io::Error::from_raw_os_error(code)),
        Some((0, Fault::Death)) => process::abort(),
        Some((left, fault)) => {
            PLAN.set(Some((left - 1, fault)));
            Ok(())
        }
    }
}
