//! The programs of this repository against real clients: the official Socket.IO client, our own script and `ws` (under
//! Node), Chromium, and the Autobahn test suite. Each suite is a test here, so that `cargo test` runs them all.
//!
//! `tests/setup` installs what is missing. What cannot be installed is a failure that says so: nothing is skipped.
//! `cargo test --test clients` alone does not rebuild the examples: run `cargo build --examples` before it.
#![cfg(feature = "cli")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// The suites load the machine and measure patience in seconds: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn program() {
    node_suite("program");
}

/// The suites that say what a Socket.IO client sees, whatever it is and whatever carries it.
const COMMON: [&str; 6] = [
    "features",
    "operators",
    "namespaces",
    "lobby",
    "reconnect",
    "cores",
];

/// How a client is told to talk.
#[derive(Clone, Copy)]
struct Mode {
    transports: &'static str,
    base64: bool,
    cores: &'static str,
}

const fn mode(transports: &'static str, base64: bool, cores: &'static str) -> Mode {
    Mode {
        transports,
        base64,
        cores,
    }
}

/// Each transport alone and the upgrade from one to the other, with and without binary frames, on one core and on several.
const MODES: [Mode; 12] = [
    mode("polling,websocket", false, "1"),
    mode("polling,websocket", false, "4"),
    mode("polling,websocket", true, "1"),
    mode("polling,websocket", true, "4"),
    mode("polling", false, "1"),
    mode("polling", false, "4"),
    mode("polling", true, "1"),
    mode("polling", true, "4"),
    mode("websocket", false, "1"),
    mode("websocket", false, "4"),
    mode("websocket", true, "1"),
    mode("websocket", true, "4"),
];

/// The official client with `socket.io-msgpack-parser`: each transport on one core and on several.
#[test]
fn msgpack() {
    for transports in ["polling,websocket", "polling", "websocket"] {
        for cores in ["1", "4"] {
            let set = [
                ("RINGHALL_PARSER", "msgpack"),
                ("RINGHALL_TRANSPORTS", transports),
                ("RINGHALL_CORES", cores),
            ];
            node_suite_with("features", &set);
        }
    }
}

/// Connection state recovery: on each transport, on one core and on several, with each parser.
#[test]
fn recovered_clients() {
    for transports in ["polling,websocket", "polling", "websocket"] {
        for (cores, parser) in [("1", "default"), ("4", "default"), ("4", "msgpack")] {
            let set = [
                ("RINGHALL_PARSER", parser),
                ("RINGHALL_TRANSPORTS", transports),
                ("RINGHALL_CORES", cores),
            ];
            node_suite_with("csr", &set);
        }
    }
}

/// What the Socket.IO Admin UI asks and is told.
#[test]
fn admin() {
    for (transports, cores) in [("websocket", "2"), ("polling", "1")] {
        let set = [
            ("RINGHALL_TRANSPORTS", transports),
            ("RINGHALL_CORES", cores),
        ];
        node_suite_with("admin", &set);
    }
}

#[test]
fn admin_in_a_browser() {
    node_suite("admin-browser");
}

/// The modes in which our own script is tried, too.
const OWN_MODES: [Mode; 3] = [
    mode("polling,websocket", false, "2"),
    mode("polling", true, "2"),
    mode("websocket", false, "2"),
];

#[test]
fn official_client() {
    for mode in MODES {
        in_mode("official", mode);
    }
}

#[test]
fn own_client() {
    for mode in OWN_MODES {
        in_mode("own", mode);
    }
}

/// Each profile and each event of the contract program, `examples/contract.rs`.
const CONTRACT: [&str; 6] = [
    "contract-http",
    "contract-namespaces",
    "contract-events",
    "contract-operators",
    "contract-recovery",
    "contract-suites",
];

const CONTRACT_MODES: [Mode; 4] = [
    mode("websocket", false, "1"),
    mode("websocket", false, "2"),
    mode("polling", false, "2"),
    mode("polling,websocket", false, "2"),
];

#[test]
fn contract() {
    for mode in CONTRACT_MODES {
        for suite in CONTRACT {
            node_suite_with(suite, &settings("official", mode));
        }
    }
}

/// One scripted client with the contract program on Node's packages, and on ours.
#[test]
fn comparison() {
    for cores in ["1", "2"] {
        node_suite_with("compare", &[("RINGHALL_CORES", cores)]);
    }
}

#[test]
fn order() {
    for mode in CONTRACT_MODES {
        node_suite_with("order", &settings("official", mode));
    }
}

/// Connections that are cut at random.
#[test]
fn recovery() {
    for mode in CONTRACT_MODES {
        node_suite_with("recovery", &settings("official", mode));
    }
}

#[test]
fn engine() {
    node_suite("engine");
}

/// Listeners, middlewares, errors, order.
#[test]
fn events() {
    for transports in ["polling", "websocket"] {
        for cores in ["1", "4"] {
            let set = [
                ("RINGHALL_TRANSPORTS", transports),
                ("RINGHALL_CORES", cores),
            ];
            node_suite_with("events", &set);
        }
    }
}

/// Clients of Socket.IO 2 and Engine.IO 3.
#[test]
fn eio3() {
    node_suite("eio3");
}

#[test]
fn eio3_in_a_browser() {
    set_up("browser");
    node_suite("eio3-browser");
}

#[test]
fn upgrade() {
    node_suite("upgrade");
}

#[test]
fn axum() {
    let folders = ["with_axum", "inside_axum"].map(|name| example(name).with_file_name(""));
    let [folder, _] = folders.map(|folder| folder.display().to_string());
    node_suite_with("axum", &[("RINGHALL_EXAMPLES", &folder)]);
}

/// The same inside of an application that owns the port, whose connections are handed over, or bridged.
#[test]
fn inside_axum() {
    for port in ["axum", "buffers"] {
        for transports in ["polling,websocket", "polling"] {
            let set = [("RINGHALL_TRANSPORTS", transports), ("RINGHALL_PORT", port)];
            node_suite_with("features", &set);
        }
        let set = [("RINGHALL_PORT", port), ("RINGHALL_ROUNDS", "1")];
        node_suite_with("upgrade", &set);
    }
}

fn settings(client: &'static str, mode: Mode) -> Vec<(&'static str, &'static str)> {
    let mut set = vec![
        ("RINGHALL_CLIENT", client),
        ("RINGHALL_TRANSPORTS", mode.transports),
        ("RINGHALL_CORES", mode.cores),
    ];
    if mode.base64 {
        set.push(("RINGHALL_BASE64", "1"));
    }
    set
}

fn in_mode(client: &'static str, mode: Mode) {
    for suite in COMMON {
        node_suite_with(suite, &settings(client, mode));
    }
}

#[test]
fn websocket() {
    node_suite("websocket");
}

#[test]
fn tls() {
    node_suite("tls");
}

#[test]
fn browser() {
    set_up("browser");
    node_suite("browser");
}

/// What is served is what the source builds, and not larger than promised.
#[test]
fn script_is_built() {
    set_up("interop");
    let what = "src/client/build --check";
    let output = finished(command("node").args(["src/client/build", "--check"]));
    announce(expect_success(what, &output).trim_end());
}

/// Our client beside the official one, with Node's server.
#[test]
fn script() {
    node_suite("script");
    node_suite("script-events");
    node_suite("script-ends");
}

#[test]
fn script_in_a_browser() {
    set_up("browser");
    node_suite("script-browser");
}

#[test]
fn autobahn() {
    set_up("autobahn");
    let mut run = command("tests/autobahn/run");
    let output = finished(run.env("RINGHALL_BIN", binary()));
    let printed = expect_success("tests/autobahn/run", &output);
    announce(printed.lines().last().unwrap_or_default());
}

fn node_suite(name: &str) {
    node_suite_with(name, &[]);
}

fn node_suite_with(name: &str, set: &[(&str, &str)]) {
    set_up("interop");
    let file = format!("{name}.test.mjs");
    let mut node = command("node");
    node.args(["--test", "--test-reporter=tap", "--test-concurrency=1"])
        .args(["--test-timeout=120000", "--test-force-exit"])
        .arg(Path::new("tests/interop").join(&file))
        .env("RINGHALL_BIN", binary())
        .env("RINGHALL_INTEROP_BIN", example("interop"))
        .env("RINGHALL_ENGINE_BIN", example("engine_echo"))
        .env("RINGHALL_CONTRACT_BIN", example("contract"))
        .envs(set.iter().copied());
    let printed = expect_success(&file, &finished(&mut node));
    // A suite that ran nothing, or left something out, must not look like one that passed. What needs a transport that the mode does not have
    // is skipped in it, and in no other.
    let [tests, passed, skipped] = ["tests", "pass", "skipped"].map(|key| summary(&printed, key));
    let may_skip = set.iter().any(|(name, value)| {
        (*name == "RINGHALL_TRANSPORTS" && *value == "polling")
            || (*name == "RINGHALL_CORES" && *value == "1")
    });
    assert!(
        passed > 0 && passed + skipped == tests && (skipped == 0 || may_skip),
        "{file}: {passed} of {tests} passed, {skipped} skipped\n{printed}"
    );
    let how: Vec<&str> = set.iter().map(|(_, value)| *value).collect();
    announce(&format!("{file}: {passed} passed {}", how.join(" ")));
}

/// The number in node's closing line `# key N`.
fn summary(tap: &str, key: &str) -> u32 {
    let prefix = format!("# {key} ");
    tap.lines()
        .rev()
        .find_map(|line| line.strip_prefix(&prefix)?.parse().ok())
        .unwrap_or_else(|| panic!("no line \"{prefix}N\" in\n{tap}"))
}

fn set_up(part: &str) {
    let output = finished(command("tests/setup").arg(part));
    expect_success(&format!("tests/setup {part}"), &output);
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ringhall"))
}

/// Cargo builds the examples beside the binary.
fn example(name: &str) -> PathBuf {
    let path = binary().with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo test`, or `cargo build --examples` before `cargo test --test clients`",
        path.display()
    );
    path
}

/// Cargo runs tests in the package's root, so paths of the repository hold.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    // The programs and clients under test, whatever the surroundings ask for.
    for setting in [
        "REFERENCE",
        "CLIENT",
        "TRANSPORTS",
        "BASE64",
        "CORES",
        "PARSER",
    ] {
        command.env_remove(format!("RINGHALL_{setting}"));
    }
    command
}

fn finished(command: &mut Command) -> Output {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

fn expect_success(what: &str, output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what} failed ({}):\n{printed}\n{complaints}",
        output.status
    );
    printed
}

/// Past the test harness's capture: the counts of the suites belong to the output of a run that passes.
fn announce(line: &str) {
    let _ = writeln!(std::io::stdout(), "    {line}");
}
