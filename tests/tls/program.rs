//! The program with certificates from files.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustls::version::TLS13;

use crate::client::{Client, Identity};
use crate::reload::Folder;

/// Ended with this value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(folder: &Folder, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringhall"));
    command
        .args(["--listen", listen, "--cores", "1", "--tls-cert"])
        .arg(folder.file("cert.pem"))
        .arg("--tls-key")
        .arg(folder.file("key.pem"));
    command
}

#[test]
fn files_are_given_by_options() {
    let folder = Folder::new("options");
    let identity = Identity::new();
    folder.put(&identity);
    let mut command = program(&folder, "https://127.0.0.1:0");
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut program = Program(child);
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let address = line.strip_prefix("listening on https://").expect(&line);
    let mut client = Client::open(address.parse().unwrap(), &identity.trust(&TLS13), "/echo");
    client.echoes(b"hello");
}

#[test]
fn an_address_must_want_the_certificate() {
    let folder = Folder::new("unwanted");
    folder.put(&Identity::new());
    let output = program(&folder, "127.0.0.1:0").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("https://"),
        "{text}"
    );
    std::fs::write(folder.file("key.pem"), "nothing").unwrap();
    let output = program(&folder, "https://127.0.0.1:0").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("key.pem"),
        "{text}"
    );
}
