//! `report`: starts servers, has `load` drive them, and prints what a message or a connection cost the server.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use perf::options::{Options, pin, raise_file_limit};

#[path = "report/cases.rs"]
mod cases;
#[path = "report/cost.rs"]
mod cost;
#[path = "report/counters.rs"]
mod counters;
#[path = "report/memory.rs"]
mod memory;
#[path = "report/server.rs"]
mod server;

use cases::{Base, CASES, Case};
use cost::Cost;
use server::Server;

const USAGE: &str = "report compare CASE[,CASE…]|all … or report memory …; see perf/README.md";
const OPTIONS: [&str; 6] = [
    "subject",
    "rounds",
    "seconds",
    "server-cpu",
    "load-cpu",
    "connections",
];
const SUBJECT: &str = "target/release/examples/load_target --listen 127.0.0.1:0 --cores 1";

/// Where the programs are, on which CPUs they run, and for how long.
struct Bench {
    subject: Vec<String>,
    programs: PathBuf,
    rounds: usize,
    seconds: f64,
    server_cpu: usize,
    load_cpu: usize,
    connections: u64,
}

fn main() -> io::Result<ExitCode> {
    raise_file_limit()?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["compare", names, ..] => Bench::new(&words[2..])?.compare(names),
        ["memory", ..] => memory::report(&Bench::new(&words[1..])?),
        _ => Err(io::Error::other(USAGE)),
    }
}

impl Bench {
    fn new(words: &[String]) -> io::Result<Self> {
        let options = Options::parse(words.iter().cloned(), &OPTIONS)?;
        let here = std::env::current_exe()?;
        Ok(Self {
            subject: options
                .text("subject")
                .unwrap_or(SUBJECT)
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            programs: here.parent().map(PathBuf::from).unwrap_or_default(),
            rounds: options.value("rounds", 5)?.max(1),
            seconds: options.value("seconds", 3.0)?,
            server_cpu: options.value("server-cpu", 0)?,
            load_cpu: options.value("load-cpu", 1)?,
            connections: options.value("connections", 10_000)?,
        })
    }

    /// Starts the subject on the server's CPU, with these arguments beside its own.
    fn start_subject(&self, tls: bool, more: &[String]) -> io::Result<Server> {
        let Some((program, arguments)) = self.subject.split_first() else {
            return Err(io::Error::other("--subject names no program"));
        };
        let tls = tls.then_some("--tls");
        self.start(Command::new(program).args(arguments).args(tls).args(more))
    }

    fn start(&self, command: &mut Command) -> io::Result<Server> {
        pin(self.server_cpu)?;
        let server = Server::start(command);
        pin(self.load_cpu)?;
        server
    }

    /// `load` as a command; it inherits the load's CPU, on which this program stays after it started a server.
    fn load(&self, server: &Server, scenario: &str) -> Command {
        let mut command = Command::new(self.programs.join("load"));
        command.arg(scenario).args(["--to", &server.address]);
        command
    }

    fn compare(&self, names: &str) -> io::Result<ExitCode> {
        let wanted: Vec<&str> = names.split(',').collect();
        let known = |name: &str| name == "all" || CASES.iter().any(|case| case.name == name);
        if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
            let all: Vec<&str> = CASES.iter().map(|case| case.name).collect();
            return Err(io::Error::other(format!(
                "{unknown}: no such case; there are all {}",
                all.join(" ")
            )));
        }
        println!("{}", cost::HEADING);
        for case in CASES
            .iter()
            .filter(|case| wanted.contains(&"all") || wanted.contains(&case.name))
        {
            let (mut floor, mut subject) = (Vec::new(), Vec::new());
            for round in 0..self.rounds {
                // Who goes first alternates: neither side always gets the caches the other one left.
                for side in [round % 2, (round + 1) % 2] {
                    if side == 0 {
                        floor.push(self.base(case)?)
                    } else {
                        subject.push(self.subject(case)?)
                    }
                }
            }
            let base = match case.base {
                Base::Floor => "floor",
                Base::Echo => "echo",
            };
            cost::print(case.name, base, &floor, &subject);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn base(&self, case: &Case) -> io::Result<Cost> {
        match case.base {
            Base::Floor => self.floor(case),
            Base::Echo => {
                let server = self.start_subject(case.tls, &[])?;
                self.run(case, &server, "ws-echo", case.bytes)
            }
        }
    }

    fn floor(&self, case: &Case) -> io::Result<Cost> {
        let mode = if case.in_rooms() { "fanout" } else { "echo" };
        let server = if case.tls {
            self.start(&mut Command::new(self.programs.join("tls-floor")))?
        } else {
            let mut command = Command::new(self.programs.join("floor"));
            self.start(command.args(["--mode", mode, "--rooms", &case.rooms.to_string()]))?
        };
        let scenario = if case.in_rooms() {
            "raw-room"
        } else {
            "raw-echo"
        };
        self.run(case, &server, scenario, case.raw_bytes())
    }

    fn subject(&self, case: &Case) -> io::Result<Cost> {
        if case.scenario == cases::NULL {
            return self.floor(case);
        }
        self.run(
            case,
            &self.start_subject(case.tls, &[])?,
            case.scenario,
            case.bytes,
        )
    }

    fn run(&self, case: &Case, server: &Server, scenario: &str, bytes: usize) -> io::Result<Cost> {
        let mut load = self.load(server, scenario);
        let shape = [
            ("connections", case.connections),
            ("depth", case.depth),
            ("burst", case.burst),
        ];
        for (name, value) in [("bytes", bytes), ("rooms", case.rooms)]
            .into_iter()
            .chain(shape)
        {
            load.args([format!("--{name}"), value.to_string()]);
        }
        load.args(["--seconds", &self.seconds.to_string()]);
        load.args(["--tls", &case.tls.to_string()]);
        cost::measure(server, &mut load)
    }
}
