//! Whether this system can run the server at all, and what to tell the operator if not.

use std::fmt;
use std::fs;

use rustix::io::Errno;

use crate::ring::{Ring, SetupError, Sizes, Step};

/// io_uring, or a part of it that is needed, is not to be had here. Its `Display` is one message for an operator: what is missing, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsupported {
    /// The system call does not exist (`ENOSYS`).
    Missing,
    /// The system call is forbidden (`EPERM`, `EACCES`).
    Forbidden {
        /// The value of the sysctl `kernel.io_uring_disabled`, where it can be read.
        disabled: Option<u8>,
    },
    /// The kernel lacks this.
    TooOld {
        /// The feature's name.
        feature: String,
    },
    /// The kernel gave no memory (`ENOMEM`).
    Memory,
    /// Out of file descriptors (`EMFILE`, `ENFILE`).
    Files,
    /// Anything else.
    Other {
        /// What was attempted.
        attempt: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
}

/// Tries a small ring with everything that a core's ring needs.
///
/// # Errors
///
/// [`Unsupported`], to be shown to the operator as it is.
pub(crate) fn check_support() -> Result<(), Unsupported> {
    let sizes = Sizes {
        submissions: 4,
        completions: 8,
        files: 4,
        buffers: 1,
        buffers_posted: 1,
        ..Sizes::default()
    };
    Ring::<Vec<u8>>::new(&sizes)
        .map(drop)
        .map_err(Unsupported::from)
}

impl From<SetupError> for Unsupported {
    fn from(error: SetupError) -> Unsupported {
        Unsupported::of(error, disabled_sysctl())
    }
}

impl Unsupported {
    /// What an error in setting up means, given the sysctl.
    pub(super) fn of(SetupError { step, errno }: SetupError, disabled: Option<u8>) -> Unsupported {
        match (step, errno) {
            (_, Errno::NOSYS) => Unsupported::Missing,
            (_, Errno::PERM | Errno::ACCESS) => Unsupported::Forbidden { disabled },
            (_, Errno::NOMEM) => Unsupported::Memory,
            (_, Errno::MFILE | Errno::NFILE) => Unsupported::Files,
            (Step::Operation(name), _) => Unsupported::too_old(&format!("the operation {name}")),
            (Step::Setup, Errno::INVAL) => {
                Unsupported::too_old("deferred task work (IORING_SETUP_DEFER_TASKRUN)")
            }
            (Step::Probe, Errno::INVAL) => {
                Unsupported::too_old("the list of operations (IORING_REGISTER_PROBE)")
            }
            (Step::Files, Errno::INVAL) => {
                Unsupported::too_old("sparse file tables (IORING_REGISTER_FILES2)")
            }
            (Step::Buffers, Errno::INVAL) => {
                Unsupported::too_old("provided buffer rings (IORING_REGISTER_PBUF_RING)")
            }
            (Step::Setup, errno) => Unsupported::Other {
                attempt: "setting up io_uring",
                errno,
            },
            (Step::Probe, errno) => Unsupported::Other {
                attempt: "asking io_uring for its operations",
                errno,
            },
            (Step::Files, errno) => Unsupported::Other {
                attempt: "registering a file table",
                errno,
            },
            (Step::Buffers, errno) => Unsupported::Other {
                attempt: "registering a buffer ring",
                errno,
            },
        }
    }

    fn too_old(feature: &str) -> Unsupported {
        Unsupported::TooOld {
            feature: feature.to_owned(),
        }
    }
}

fn disabled_sysctl() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()?
        .trim()
        .parse()
        .ok()
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Missing => f.write_str(
                "io_uring is not available (ENOSYS): the kernel is older than Linux 6.1, was built without CONFIG_IO_URING, or a seccomp \
                 profile hides it. Run on Linux 6.1 or later; in a container allow the system calls io_uring_setup, io_uring_enter \
                 and io_uring_register.",
            ),
            Unsupported::Forbidden { disabled: Some(2) } => f.write_str(
                "io_uring is forbidden: kernel.io_uring_disabled is 2. Set it to 0 (sysctl -w kernel.io_uring_disabled=0).",
            ),
            Unsupported::Forbidden { disabled: Some(1) } => f.write_str(
                "io_uring is forbidden: kernel.io_uring_disabled is 1. Set it to 0 (sysctl -w kernel.io_uring_disabled=0), or make \
                 this user a member of the group named by kernel.io_uring_group.",
            ),
            Unsupported::Forbidden { .. } => f.write_str(
                "io_uring is forbidden (EPERM), most likely by a seccomp profile such as the default one of Docker or containerd. \
                 Give the container a profile that allows the system calls io_uring_setup, io_uring_enter and io_uring_register \
                 (docker run --security-opt seccomp=PROFILE.json), or check the security policy of this host.",
            ),
            Unsupported::TooOld { feature } => {
                write!(f, "this kernel is too old: its io_uring lacks {feature}. Run on Linux 6.1 or later.")
            }
            Unsupported::Memory => f.write_str(
                "the kernel gave no memory for io_uring (ENOMEM). Raise the limit of locked memory (ulimit -l, RLIMIT_MEMLOCK; \
                 LimitMEMLOCK= in systemd) or the memory limit of this control group.",
            ),
            Unsupported::Files => f.write_str(
                "no file descriptors are left for io_uring (EMFILE). Raise the limit of open files (ulimit -n, RLIMIT_NOFILE; \
                 LimitNOFILE= in systemd).",
            ),
            Unsupported::Other { attempt, errno } => write!(f, "{attempt} failed: {}", std::io::Error::from(*errno)),
        }
    }
}

impl std::error::Error for Unsupported {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(step: Step, errno: Errno, disabled: Option<u8>) -> String {
        Unsupported::of(SetupError { step, errno }, disabled).to_string()
    }

    #[test]
    fn this_kernel_will_do() {
        assert_eq!(check_support(), Ok(()));
    }

    #[test]
    fn each_answer_of_the_kernel_has_its_message() {
        let cases = [
            (
                text(Step::Setup, Errno::NOSYS, None),
                &["ENOSYS", "6.1", "seccomp", "io_uring_setup"][..],
            ),
            (
                text(Step::Setup, Errno::PERM, Some(2)),
                &["kernel.io_uring_disabled is 2", "sysctl"],
            ),
            (
                text(Step::Setup, Errno::PERM, Some(1)),
                &["kernel.io_uring_disabled is 1", "io_uring_group"],
            ),
            (
                text(Step::Setup, Errno::PERM, Some(0)),
                &[
                    "Docker",
                    "io_uring_setup",
                    "io_uring_enter",
                    "io_uring_register",
                ],
            ),
            (
                text(Step::Files, Errno::ACCESS, None),
                &["Docker", "seccomp"],
            ),
            (
                text(Step::Setup, Errno::INVAL, None),
                &["too old", "DEFER_TASKRUN", "6.1"],
            ),
            (
                text(Step::Buffers, Errno::INVAL, None),
                &["too old", "PBUF_RING", "6.1"],
            ),
            (
                text(Step::Operation("SHUTDOWN"), Errno::OPNOTSUPP, None),
                &["too old", "SHUTDOWN", "6.1"],
            ),
            (text(Step::Setup, Errno::NOMEM, None), &["RLIMIT_MEMLOCK"]),
            (text(Step::Files, Errno::MFILE, None), &["RLIMIT_NOFILE"]),
            (
                text(Step::Files, Errno::FAULT, None),
                &["registering a file table failed"],
            ),
        ];
        for (text, parts) in cases {
            assert!(!text.contains('\n'), "{text}");
            for part in parts {
                assert!(text.contains(part), "{part:?} is missing in {text:?}");
            }
        }
    }
}
