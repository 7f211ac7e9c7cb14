//! A system that has no io_uring, or no descriptors left.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::client::{Client, request};
use crate::program::Program;
use crate::until;

/// A program that runs another one without io_uring: `no_io_uring ERRNO PROGRAM ...`. A filter of system calls is what containers
/// forbid it with. Rust programs are linked by a C compiler, so there is one.
const NO_IO_URING: &str = r#"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    unsigned answer = SECCOMP_RET_ERRNO | (unsigned)atoi(argv[1]);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 425, 0, 2), /* io_uring_setup */
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 427, 1, 0), /* io_uring_register */
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof code / sizeof *code, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
        perror("seccomp");
        return 2;
    }
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 2;
}
"#;

fn no_io_uring() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join("no_io_uring.c"), folder.join("no_io_uring"));
    std::fs::write(&source, NO_IO_URING).unwrap();
    let compiled = Command::new("cc")
        .arg("-o")
        .args([&program, &source])
        .status();
    assert!(compiled.expect("a C compiler, cc").success());
    program
}

#[test]
fn h4_without_io_uring_it_says_so_and_ends() {
    let wrapper = no_io_uring();
    let errors = [
        (
            rustix::io::Errno::NOSYS,
            ["io_uring is not available (ENOSYS)", "Run on Linux"],
        ),
        (
            rustix::io::Errno::PERM,
            ["io_uring is forbidden (EPERM)", "--security-opt seccomp"],
        ),
    ];
    for (errno, parts) in errors {
        let mut child = Command::new(&wrapper)
            .arg(errno.raw_os_error().to_string())
            .args([env!("CARGO_BIN_EXE_ringhall"), "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut status = None;
        until("it ends by itself", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let (mut said, mut announced) = (String::new(), String::new());
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut announced)
            .unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{said}");
        assert_eq!(announced, "", "it does not say that it listens");
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
        assert!(
            said.contains("io_uring_setup"),
            "it names the system call: {said}"
        );
    }
}

/// Which of the waiting clients have been answered by now; they move over.
fn collect_answered(waiting: &mut Vec<Client>, served: &mut Vec<Client>) {
    let mut index = 0;
    while index < waiting.len() {
        let client = &mut waiting[index];
        client.stream.set_nonblocking(true).unwrap();
        let looked = client.stream.peek(&mut [0]);
        client.stream.set_nonblocking(false).unwrap();
        match looked {
            Ok(1) => {
                let mut client = waiting.swap_remove(index);
                assert!(client.read_head().starts_with("HTTP/1.1 101 "));
                served.push(client);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => index += 1,
            ended => panic!("a client was sent away: {ended:?}"),
        }
    }
}

#[test]
fn h5_out_of_descriptors_it_serves_whom_it_has_and_accepts_again_later() {
    let mut program = Program::start_with_files(1, 64);
    let all = 120;
    let mut waiting: Vec<Client> = (0..all)
        .map(|_| {
            let mut client = Client::connect(program.address);
            client.send(request("/echo").as_bytes());
            client
        })
        .collect();
    let mut served = Vec::new();
    until("some are served", || {
        collect_answered(&mut waiting, &mut served);
        served.len() >= 32
    });
    let before = program.ticks();
    for _ in 0..20 {
        served.iter_mut().for_each(|client| client.echo("served"));
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "full with {}: {} ticks of processor time for {} echoes and a second",
        served.len(),
        program.ticks() - before,
        20 * served.len()
    );
    collect_answered(&mut waiting, &mut served);
    assert!(
        served.len() <= 64 && !waiting.is_empty(),
        "{} are in",
        served.len()
    );
    // Those who were never accepted get in when others leave.
    let mut answered = served.len();
    served.clear();
    until("all the others are served", || {
        let mut more = Vec::new();
        collect_answered(&mut waiting, &mut more);
        for client in &mut more {
            client.echo("at last");
        }
        answered += more.len();
        answered == all
    });
    assert!(program.is_alive());
}
