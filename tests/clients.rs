//! The programs of this repository against real clients: the official Socket.IO client, our own script and `ws` (under
//! Node), Chromium, and the Autobahn test suite. Each suite is a test here, so that `cargo test` runs them all.
//!
//! `tests/setup` installs what is missing. What cannot be installed is a failure that says so: nothing is skipped.
//! `cargo test --test clients` alone does not rebuild the examples: add `--examples`.
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

#[test]
fn lobby() {
    node_suite("lobby");
}

#[test]
fn features() {
    node_suite("features");
}

#[test]
fn reconnect() {
    node_suite("reconnect");
}

#[test]
fn cores() {
    node_suite("cores");
}

#[test]
fn websocket() {
    node_suite("websocket");
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
}

#[test]
fn script_in_a_browser() {
    set_up("browser");
    node_suite("script-browser");
}

/// Our client in the place of the official one.
#[test]
fn suites_with_our_script() {
    for name in ["lobby", "features", "reconnect", "cores"] {
        node_suite_with(name, &[("RINGHALL_CLIENT", "own")]);
    }
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

/// `settings` are environment variables that tests/interop/harness.mjs explains.
fn node_suite_with(name: &str, settings: &[(&str, &str)]) {
    set_up("interop");
    let file = format!("{name}.test.mjs");
    let mut node = command("node");
    node.args(["--test", "--test-reporter=tap", "--test-concurrency=1"])
        .args(["--test-timeout=120000", "--test-force-exit"])
        .arg(Path::new("tests/interop").join(&file))
        .env("RINGHALL_BIN", binary())
        .env("RINGHALL_INTEROP_BIN", example("interop"))
        .envs(settings.iter().copied());
    let printed = expect_success(&file, &finished(&mut node));
    // A suite that ran nothing, or left something out, must not look like one that passed.
    let [tests, passed] = ["tests", "pass"].map(|key| summary(&printed, key));
    assert!(
        tests > 0 && passed == tests,
        "{file}: {passed} of {tests} passed\n{printed}"
    );
    announce(&format!("{file} {settings:?}: {passed} passed"));
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
        "{} is not built: run `cargo test`, or `cargo test --examples --test clients`",
        path.display()
    );
    path
}

/// Cargo runs tests in the package's root, so paths of the repository hold.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    // The programs and clients under test, whatever the surroundings ask for.
    for setting in [
        "RINGHALL_REFERENCE",
        "RINGHALL_CLIENT",
        "RINGHALL_TRANSPORTS",
    ] {
        command.env_remove(setting);
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
