//! A server process: its address, its CPU time, its memory.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server that says `listening on [http[s]://]ADDRESS` first. It is killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    /// Kept open, so that a server that goes on talking does not break its pipe.
    _output: BufReader<ChildStdout>,
}

/// CPU time used so far.
#[derive(Clone, Copy)]
pub(crate) struct CpuTime {
    pub(crate) total_ns: u64,
    /// Of it in user space, in ticks of 10 ms: only good over seconds.
    pub(crate) user_ticks: u64,
}

/// The number after `name` in lines like `Anonymous:   12 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child =
            started.map_err(|e| io::Error::other(format!("{:?}: {e}", command.get_program())))?;
        let Some(output) = child.stdout.take() else {
            return Err(io::Error::other("no pipe from the server"));
        };
        let mut server = Self {
            child,
            address: String::new(),
            _output: BufReader::new(output),
        };
        let mut line = String::new();
        server._output.read_line(&mut line)?;
        let address = line.split_whitespace().next_back().unwrap_or_default();
        server.address = address
            .trim_start_matches("https://")
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        if server.address.parse::<std::net::SocketAddr>().is_err() {
            return Err(io::Error::other(format!(
                "the server said {line:?} and no address"
            )));
        }
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The CPU time of all its threads.
    pub(crate) fn cpu_time(&self) -> io::Result<CpuTime> {
        let mut total_ns = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            total_ns += text
                .split_whitespace()
                .next()
                .and_then(|ns| ns.parse::<u64>().ok())
                .unwrap_or(0);
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // After the name in brackets, which may hold blanks, user time is the twelfth field.
        let user = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(11)?.parse().ok());
        Ok(CpuTime {
            total_ns,
            user_ticks: user.unwrap_or(0),
        })
    }

    /// Bytes resident that are no file's. From `smaps_rollup`, which walks the page tables: the counters in `status`
    /// lag by up to some hundred KiB.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()))?;
        let anonymous = kib(&text, "Anonymous:")
            .ok_or_else(|| io::Error::other("smaps_rollup lacks Anonymous"))?;
        Ok((anonymous + kib(&text, "Pss_Shmem:").unwrap_or(0)) * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; the reason to drop it is then on its way to the user already.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_number_by_its_name() {
        let text = "Rss:   900 kB\nPss_Shmem:  0 kB\nAnonymous:     88 kB\n";
        assert_eq!(kib(text, "Anonymous:"), Some(88));
        assert_eq!(kib(text, "Swap:"), None);
    }
}
