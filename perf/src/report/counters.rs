//! Instructions, counted by `perf stat` between two moments. Where there is no `perf` or no counter, there is no figure.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

const ANSWER_WITHIN: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// A `perf stat` attached to a process, not counting yet.
pub(crate) struct Counters {
    perf: Child,
    control: File,
    answers: File,
    directory: PathBuf,
}

impl Counters {
    /// `None` where `perf` cannot be started or does not answer.
    pub(crate) fn attach(pid: u32) -> io::Result<Option<Self>> {
        let directory =
            std::env::temp_dir().join(format!("ringhall-perf-{}-{pid}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let [control, answers] = ["control", "answers"].map(|name| directory.join(name));
        for path in [&control, &answers] {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        let started = Command::new("perf")
            .args([
                "stat",
                "-x",
                ",",
                "-e",
                "instructions:u,instructions:k",
                "-D",
                "-1",
                "-p",
                &pid.to_string(),
            ])
            .arg("--control")
            .arg(format!("fifo:{},{}", control.display(), answers.display()))
            .arg("-o")
            .arg(directory.join("counts"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(perf) = started else {
            std::fs::remove_dir_all(&directory)?;
            return Ok(None);
        };
        // Both ways at once: opening does not wait for the other end then.
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        let mut counters = Self {
            perf,
            control: open(control)?,
            answers: open(answers)?,
            directory,
        };
        // A first answer tells that it is attached; without one it must not delay the meters later.
        if counters.tell("disable")? {
            return Ok(Some(counters));
        }
        Ok(None)
    }

    /// `enable` or `disable`; whether `perf` said that it is done.
    pub(crate) fn tell(&mut self, command: &str) -> io::Result<bool> {
        writeln!(self.control, "{command}")?;
        let mut ready = [PollFd::new(&self.answers, PollFlags::IN)];
        let answered = poll(&mut ready, Some(&ANSWER_WITHIN))? > 0;
        if answered {
            let _ack = self.answers.read(&mut [0; 64])?;
        }
        Ok(answered)
    }

    /// Ends `perf` and returns the instructions in user space and in the kernel; `None` where they are not counted.
    pub(crate) fn finish(mut self) -> io::Result<Option<[f64; 2]>> {
        if let Some(pid) = Pid::from_raw(self.perf.id() as i32) {
            // It may have ended by itself, for want of permission.
            let _ended = kill_process(pid, Signal::INT);
        }
        self.perf.wait()?;
        let text = std::fs::read_to_string(self.directory.join("counts")).unwrap_or_default();
        let count = |name: &str| -> Option<f64> {
            text.lines()
                .find(|line| line.contains(name))?
                .split(',')
                .next()?
                .parse()
                .ok()
        };
        Ok(count("instructions:u")
            .zip(count("instructions:k"))
            .map(|(user, kernel)| [user, kernel]))
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // After `finish` it is gone already; otherwise its figures are of no use.
        let _killed = self.perf.kill();
        let _status = self.perf.wait();
        let _removed = std::fs::remove_dir_all(&self.directory);
    }
}
