//! Each rule finds what was planted for it, and leaves alone what is allowed.

use std::collections::BTreeSet;

use crate::reading::code_of;
use crate::rules::*;
use crate::{Source, is_in, test_modules};

/// What a rule says of a planted text, by line.
fn lines(found: Violations) -> Vec<usize> {
    found.into_iter().map(|(line, _)| line).collect()
}

#[test]
fn layers_are_seen_through_every_way_to_name_them() {
    let planted: &[(&str, &str)] = &[
        ("src/wire/a.rs", "use crate::proto::client;"),
        (
            "src/wire/a.rs",
            "use crate::{wire::frame, proto::{self, client}};",
        ),
        ("src/wire/frame/head.rs", "use super::super::super::proto;"),
        ("src/wire/mod.rs", "fn f() -> super::room::Rooms {}"),
        ("src/wire/a.rs", "fn f(_: crate::Socket) {}"),
        ("src/wire/a.rs", "use crate::*;"),
        ("src/proto/a.rs", "use crate::room::Rooms;"),
        ("src/room/mod.rs", "use crate::wire::frame;"),
        ("src/ring/mod.rs", "use crate::reactor::ConnKey;"),
        ("src/reactor/kernel.rs", "use crate::shard::Shard;"),
        (
            "src/shard/hall.rs",
            "fn f() { crate::server::Config::default() }",
        ),
        ("src/pages.rs", "use crate::room::Rooms;"),
        ("src/proto/a.rs", "use std::time::Instant;"),
        ("src/proto/a.rs", "use std::time;"),
        (
            "src/proto/a.rs",
            "use std::{fmt, time::{Duration, SystemTime}};",
        ),
        ("src/room/mod.rs", "fn f() { std::thread::yield_now() }"),
        ("src/wire/a.rs", "use std::net::TcpStream as Stream;"),
        ("src/wire/a.rs", "fn f() { log::warn!(\"no\"); }"),
        ("src/wire/a.rs", "use tokio::sync::oneshot;"),
    ];
    for (path, text) in planted {
        assert!(!layers(path, text).is_empty(), "not seen in {path}: {text}");
    }
}

#[test]
fn layers_leave_alone_what_is_allowed() {
    let allowed: &[(&str, &str)] = &[
        (
            "src/wire/a.rs",
            "use super::frame; use crate::wire::Status; use std::net::Ipv6Addr;",
        ),
        (
            "src/wire/a.rs",
            "use std::time::Duration; fn log(log: u8) -> u8 { log }",
        ),
        (
            "src/wire/a.rs",
            "// crate::proto\nconst A: &str = \"use tokio::x\"; /* std::fs::read */",
        ),
        (
            "src/wire/a.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { use crate::proto::client; }",
        ),
        ("src/proto/a.rs", "use crate::wire::{frame, close};"),
        (
            "src/shard/mod.rs",
            "use crate::reactor::Reactor; use std::thread;",
        ),
        ("src/server/mod.rs", "use crate::shard::Shard;"),
        ("src/room/mod.rs", "use crate::pages::Pages;"),
        ("src/reactor/a.rs", "fn f() -> impl Sized + use<> {}"),
    ];
    for (path, text) in allowed {
        assert_eq!(layers(path, text), [], "in {path}: {text}");
    }
}

#[test]
fn strangers_are_caught() {
    assert_eq!(lines(strangers("examples/a.rs", "\nuse crate::x;")), [2]);
    assert_eq!(
        lines(strangers("src/gateway/a.rs", "use crate::wire::x;")),
        [1]
    );
    assert_eq!(
        lines(strangers("src/main.rs", "#[path = \"a.rs\"]\nmod a;")),
        [1]
    );
    assert_eq!(
        lines(strangers("examples/a.rs", "include!(\"a.rs\");")),
        [1]
    );
    let fine = "use crate::gateway::lobby; const P: &str = include_str!(\"page.html\");";
    assert_eq!(strangers("src/gateway/a.rs", fine), []);
    assert_eq!(
        lines(measuring("perf/src/a.rs", "use ringhall::Server;")),
        [1]
    );
    assert_eq!(measuring("perf/src/a.rs", "use ringhall_perf::client;"), []);
}

#[test]
fn a_second_clock_is_caught() {
    let text = "fn f() {\n    let now = std::time::Instant::now();\n}";
    assert_eq!(lines(clock("src/shard/mod.rs", text)), [2]);
    assert_eq!(
        lines(clock("src/server/a.rs", "fn f() { SystemTime::now(); }")),
        [1]
    );
    assert_eq!(clock("src/reactor/clock.rs", text), []);
    assert_eq!(
        clock("src/shard/a.rs", "#[cfg(test)]\nfn f() { Instant::now(); }"),
        []
    );
}

#[test]
fn unsafe_code_is_caught() {
    let bare = "fn f() {\n    unsafe { g() }\n}";
    assert_eq!(lines(unsafe_code("src/wire/a.rs", bare)), [2, 2]);
    assert_eq!(lines(unsafe_code("src/ring/a.rs", bare)), [2]);
    let said =
        "fn f() {\n    // SAFETY: g asks for nothing.\n    let a =\n        unsafe { g() };\n}";
    assert_eq!(unsafe_code("src/ring/a.rs", said), []);
    assert_eq!(
        unsafe_code("src/wire/a.rs", "// unsafe\nconst A: &str = \"unsafe {\";"),
        []
    );
}

#[test]
fn a_module_that_does_not_forbid_unsafe_code_is_caught() {
    let marked: BTreeSet<String> = ["src/wire/mod.rs", "src/main.rs", "src/reactor/kernel.rs"]
        .map(str::to_owned)
        .into();
    for covered in [
        "src/wire/mod.rs",
        "src/wire/socket/x.rs",
        "src/gateway/lobby.rs",
        "src/reactor/kernel/waker.rs",
        "src/ring/mod.rs",
    ] {
        assert_eq!(forbidding(covered, &marked), [], "{covered}");
    }
    for bare in ["src/error.rs", "src/reactor/listen.rs", "src/shard/mod.rs"] {
        assert_eq!(lines(forbidding(bare, &marked)), [1], "{bare}");
    }
}

#[test]
fn long_files_and_functions_are_caught() {
    let file = "const A: u8 = 1;\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(lines(file_length("src/a.rs", &file)), [1]);
    let tests = format!("const A: u8 = 1;\n#[cfg(test)]\nmod tests {{\n{file}}}\n");
    assert_eq!(file_length("src/a.rs", &tests), []);

    let body = "    g();\n".repeat(FUNCTION_LINES_MAX - 2);
    let fits = format!("\nfn f(a: [u8; 2]) {{\n{body}}}\n");
    assert_eq!(function_length("src/a.rs", &fits), []);
    let long = format!("\nfn f(a: [u8; 2]) {{\n    let s = \"}}\";\n{body}}}\n");
    assert_eq!(lines(function_length("src/a.rs", &long)), [2]);
    let declared = format!(
        "trait T {{\n    fn f();\n{}}}\n",
        "    fn g();\n".repeat(100)
    );
    assert_eq!(function_length("src/a.rs", &declared), []);
}

#[test]
fn an_api_without_examples_is_caught() {
    for bare in [
        "\npub fn f() {}",
        "/// Does it.\npub async fn f() {}",
        "/// ```text\n/// no code\n/// ```\npub struct S;",
        "/// ```\n/// f();\n/// ```\npub fn f() {}\n/// Does it.\n    pub const fn g() {}",
        "/// ```\n/// s\n/// ```\npub struct S {\n    a: u8,\n}\nimpl S {\n    pub fn g() {}\n}",
    ] {
        assert_eq!(examples("src/server/a.rs", bare).len(), 1, "{bare}");
    }
    for fine in [
        "/// ```\n/// f();\n/// ```\n#[must_use = \"a {\"]\n#[note(\n    a,\n)]\npub fn f() {}",
        "/// ```no_run\n/// f();\n/// ```\npub fn f() {}",
        "#[doc(hidden)]\npub enum E {}",
        "pub(crate) fn f() {}\nfn g() {}\npub const C: u8 = 1;\npub mod m;",
        "const S: &str = \"\npub fn f() {}\";\n#[cfg(test)]\npub fn g() {}",
    ] {
        assert_eq!(examples("src/server/a.rs", fine), [], "{fine}");
    }
    assert_eq!(examples("src/gateway/a.rs", "pub fn f() {}"), []);
}

#[test]
fn leftovers_and_dirt_are_caught() {
    let note = format!("fn f() {{}}\n// {}{}: the rest\n", "TO", "DO");
    assert_eq!(lines(leftovers("src/a.rs", &note)), [2]);
    assert_eq!(lines(hygiene("a", "a\tb\nb \nc\r\n")), [1, 2, 3]);
    assert_eq!(lines(hygiene("a", "a\nb")), [2]);
    assert_eq!(hygiene("a", "a\n\nb\n"), []);
}

#[test]
fn code_is_told_from_comments_and_strings() {
    let text = "a /* b /* c */ d */ e // f\n'\"' g r#\"h\"i\"# j \"k\\\"l\" m<'n> b'\\'' o r\"p\" br\"q\" r#s";
    let code = code_of(text);
    let left: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(left, ["a", "e", "g", "j", "m<'n>", "b", "o", "b", "r#s"]);
    assert_eq!(code.matches('\n').count(), 1);
}

#[test]
fn modules_for_tests_are_known() {
    let source = Source {
        path: "src/room/mod.rs".to_owned(),
        text: "#[cfg(test)]\npub(crate) mod property;\nmod crowd;\n#[cfg(test)]\nmod tests;"
            .to_owned(),
        is_test: false,
    };
    assert_eq!(
        test_modules(&source),
        ["src/room/property", "src/room/tests"]
    );
    assert!(is_in("src/room/property.rs", "src/room/property"));
    assert!(is_in("src/room/property/model.rs", "src/room/property"));
    assert!(!is_in("src/room/property_of.rs", "src/room/property"));
}
