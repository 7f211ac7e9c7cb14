//! What setting a ring up needs of the kernel, and what the kernel may answer.

#![forbid(unsafe_code)]

use io_uring::{IoUring, Probe, opcode};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::errno_of;

/// The smallest table of direct descriptors worth having.
const FILES_MIN: u32 = 4;

/// What could not be set up, and the kernel's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetupError {
    /// The step that failed.
    pub(crate) step: Step,
    /// Why.
    pub(crate) errno: Errno,
}

/// The steps of setting up a ring, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// io_uring itself, with the flags that want Linux 6.1.
    Setup,
    /// Asking which operations there are.
    Probe,
    /// An operation of this name is missing.
    Operation(&'static str),
    /// A table of direct descriptors.
    Files,
    /// A ring of provided buffers.
    Buffers,
}

/// Whether every operation exists that there is no doing without. Gives whether installing a direct descriptor does.
pub(super) fn check_operations(uring: &IoUring) -> Result<bool, SetupError> {
    const NEEDED: [(u8, &str); 8] = [
        (opcode::AcceptMulti::CODE, "ACCEPT"),
        (opcode::RecvMulti::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::Shutdown::CODE, "SHUTDOWN"),
        (opcode::Close::CODE, "CLOSE"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::FilesUpdate::CODE, "FILES_UPDATE"),
    ];
    let mut probe = Probe::new();
    let probed = uring.submitter().register_probe(&mut probe);
    probed.map_err(|error| SetupError {
        step: Step::Probe,
        errno: errno_of(&error),
    })?;
    match NEEDED.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(SetupError {
            step: Step::Operation(name),
            errno: Errno::OPNOTSUPP,
        }),
        None => Ok(probe.is_supported(opcode::FixedFdInstall::CODE)),
    }
}

/// Makes the table of direct descriptors as large as asked for, or as `RLIMIT_NOFILE` and memory allow; gives its size.
pub(super) fn register_files(uring: &IoUring, wanted: u32) -> std::io::Result<u32> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let mut files = wanted
        .min(u32::try_from(limit).unwrap_or(u32::MAX))
        .max(FILES_MIN);
    loop {
        match uring.submitter().register_files_sparse(files) {
            Err(error)
                if matches!(errno_of(&error), Errno::MFILE | Errno::NOMEM) && files > FILES_MIN =>
            {
                files /= 2
            }
            result => return result.map(|()| files),
        }
    }
}
