//! A server in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::PATIENCE;

/// A running `ringhall`, ended with this value.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Program {
    pub(crate) fn start(cores: usize) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringhall"));
        Program::spawn(command.args(arguments(cores)))
    }

    /// With so many open files at most.
    pub(crate) fn start_with_files(cores: usize, files: usize) -> Program {
        let mut shell = Command::new("sh");
        let script = format!(r#"ulimit -n {files} && exec "$0" "$@""#);
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_ringhall")]);
        Program::spawn(shell.args(arguments(cores)))
    }

    fn spawn(command: &mut Command) -> Program {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let printed = child.stdout.take();
        let mut program = Program {
            child,
            address: SocketAddr::from(([0; 4], 0)),
        };
        let (said, heard) = mpsc::channel();
        // On a thread of its own, since reading from a pipe has no time limit.
        std::thread::spawn(move || {
            let lines = printed
                .into_iter()
                .flat_map(|out| BufReader::new(out).lines());
            for line in lines.map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        program.address = std::iter::from_fn(|| heard.recv_timeout(PATIENCE).ok())
            .find_map(|line| {
                line.split_once("http://")?
                    .1
                    .trim_end_matches('/')
                    .parse()
                    .ok()
            })
            .expect("it says where it listens");
        program
    }

    /// The most memory that it has used so far, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = self.proc("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = peak.and_then(|peak| peak.split_whitespace().next());
        number.expect("a peak").parse().unwrap()
    }

    /// Its open descriptors. Connections are not among them: they are in the ring's own table.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Processor time used so far, in ticks.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        // The name of the program, in parentheses, is the second field.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }
}

fn arguments(cores: usize) -> Vec<String> {
    ["--listen", "127.0.0.1:0", "--cores"]
        .map(str::to_owned)
        .into_iter()
        .chain([cores.to_string()])
        .collect()
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
