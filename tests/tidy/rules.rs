//! The rules, each a function of a file's path and text.

use std::collections::BTreeSet;
use std::path::Path;

use crate::reading::{
    Named, code_of, last_line_of_item, lines_of_tests, paths, production, tokens,
};

/// A line number and what is wrong there.
pub(crate) type Violations = Vec<(usize, String)>;

/// The longest file, tests not counted, in lines.
pub(crate) const FILE_LINES_MAX: usize = 600;
/// The longest function, in lines.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
/// Files that may be longer, each with the reason.
pub(crate) const LONG_FILES: &[(&str, &str)] = &[(
    "src/server/socket.rs",
    "the methods of `Socket` belong together, and a good half of the lines are their documentation",
)];

/// Public types without an example, each with the reason.
pub(crate) const NO_EXAMPLE: &[(&str, &str)] = &[
    ("Async", MARKER),
    ("ByName", MARKER),
    ("ByPattern", MARKER),
    ("ByRequest", MARKER),
    ("Concurrently", MARKER),
    ("Deferred", MARKER),
    ("Immediate", MARKER),
    ("Sync_", MARKER),
    ("Call", BEHIND),
    ("CallAsync", BEHIND),
    ("Handle", BEHIND),
    ("Outcome", BEHIND),
    ("Passage", BEHIND),
];
const MARKER: &str = "it tells implementations of a trait apart, and nobody can name it";
const BEHIND: &str = "it is in hidden methods of a trait, and nobody can name it";
/// What is public there is for the program or the benches, not for users.
const NOT_API: &[&str] = &[
    "src/main.rs",
    "src/gateway/",
    "src/internals.rs",
    "src/server/exchange.rs",
];

/// Which modules of the crate each part may name, besides itself. `pages` is a table, as `Vec` is, and nobody's layer.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("pages", &[]),
    ("wire", &[]),
    ("proto", &["wire"]),
    ("room", &["pages"]),
    ("ring", &[]),
    ("reactor", &["ring", "pages"]),
    ("tls", &[]),
    (
        "shard",
        &["wire", "proto", "room", "ring", "reactor", "tls", "pages"],
    ),
];

/// What the parts without a kernel may not name: clocks, threads, files, sockets, runtimes, the log.
const OUTSIDE: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::thread",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::env",
    "io_uring",
    "tokio_uring",
    "tokio",
    "libc",
    "rustix",
    "log",
    "crossbeam_channel",
    "getrandom",
];
/// Addresses are data, wherever they come from.
const DATA: &[&str] = &[
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
];
const PURE: &[&str] = &["pages", "wire", "proto", "room"];

/// Who may know whom, and who may know the world outside.
pub(crate) fn layers(path: &str, text: &str) -> Violations {
    let Some(part) = part_of(path) else {
        return Vec::new();
    };
    let Some((_, others)) = MAY_NAME.iter().find(|(name, _)| *name == part) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for named in paths(path, &production(text)) {
        if let [root, module, ..] = &*named.segments
            && root == "crate"
            && module != part
            && !others.contains(&module.as_str())
        {
            found.push((
                named.line,
                format!("`{part}` may not name `crate::{module}`"),
            ));
        }
        let whole_crate = named.segments == ["crate"] && named.imported;
        let outside = PURE.contains(&part) && is_outside(&named);
        if whole_crate || outside {
            let name = named.segments.join("::");
            found.push((named.line, format!("`{part}` may not name `{name}`")));
        }
    }
    found
}

fn is_outside(named: &Named) -> bool {
    let path = named.segments.join("::");
    if DATA.iter().any(|data| is_within(&path, data)) {
        return false;
    }
    OUTSIDE.iter().any(|outside| {
        let inside = is_within(&path, outside) && (named.imported || named.segments.len() > 1);
        // `use std::time;` brings `time::Instant` with it.
        inside || (named.imported && is_within(outside, &path))
    })
}

/// The program and the examples are strangers: they know the public API, and nothing else of the sources.
pub(crate) fn strangers(path: &str, text: &str) -> Violations {
    let of_program = path == "src/main.rs" || path.starts_with("src/gateway/");
    if !of_program && !path.starts_with("examples/") {
        return Vec::new();
    }
    let code = code_of(text);
    let mut found = matches_of(&code, &["#[path", "#![path", "include!"]);
    for named in paths(path, &code) {
        // `pub(crate)` is a path of one name, and no harm.
        let inside = match &*named.segments {
            [root] => root == "crate" && named.imported,
            [root, module, ..] => root == "crate" && !(of_program && module == "gateway"),
            [] => false,
        };
        if inside {
            let name = named.segments.join("::");
            found.push((named.line, format!("`{name}` is not the public API")));
        }
    }
    found
}

/// The measuring programs talk to the engine over TCP, and share no code with it.
pub(crate) fn measuring(path: &str, text: &str) -> Violations {
    if !path.starts_with("perf/") {
        return Vec::new();
    }
    let engine = paths(path, &code_of(text)).into_iter().filter(|named| {
        named
            .segments
            .first()
            .is_some_and(|root| root == "ringhall")
            && (named.imported || named.segments.len() > 1)
    });
    engine
        .map(|named| (named.line, "`perf` may not know the engine".to_owned()))
        .collect()
}

/// One place reads the time; all others are given it.
pub(crate) fn clock(path: &str, text: &str) -> Violations {
    if !path.starts_with("src/") || path == "src/reactor/clock.rs" {
        return Vec::new();
    }
    let reads = paths(path, &production(text)).into_iter().filter(|named| {
        matches!(&*named.segments, [.., clock, now] if (clock == "Instant" || clock == "SystemTime") && now == "now")
    });
    reads
        .map(|named| {
            (
                named.line,
                "only `reactor::clock` reads the time".to_owned(),
            )
        })
        .collect()
}

/// Unsafe code is in the ring, and each block says why it is sound.
pub(crate) fn unsafe_code(path: &str, text: &str) -> Violations {
    let mut found = Vec::new();
    let allowed = path.starts_with("src/ring/") || path.starts_with("perf/");
    let tokens = tokens(&code_of(text));
    for (index, token) in tokens.iter().enumerate() {
        if token.text != "unsafe" {
            continue;
        }
        if !allowed {
            found.push((token.line, "unsafe code outside of src/ring".to_owned()));
        }
        let next = tokens.get(index + 1).map(|next| next.text.as_str());
        if matches!(next, Some("{" | "impl")) && !has_safety_comment(text, token.line) {
            found.push((token.line, "no `// SAFETY:` above it".to_owned()));
        }
    }
    found
}

/// Is there a comment with the word above this line, with at most two lines of the same statement in between?
fn has_safety_comment(text: &str, line: usize) -> bool {
    let above: Vec<&str> = text.lines().take(line - 1).map(str::trim).collect();
    let mut above = above.iter().rev().peekable();
    for _ in 0..2 {
        if above.peek().is_some_and(|line| !line.starts_with("//")) {
            above.next();
        }
    }
    above
        .take_while(|line| line.starts_with("//"))
        .any(|line| line.contains("SAFETY:"))
}

/// Where unsafe code has no business, the compiler is told so: in each file's own module or in one above it.
pub(crate) fn forbidding(path: &str, forbidding: &BTreeSet<String>) -> Violations {
    let exempt = path == "src/lib.rs" || path.starts_with("src/ring/");
    if !path.starts_with("src/") || exempt || forbidding.contains(path) {
        return Vec::new();
    }
    let mut folder = Path::new(path).parent();
    while let Some(above) = folder {
        let name = above.display();
        let of_program = path.starts_with("src/gateway/") && forbidding.contains("src/main.rs");
        if of_program
            || forbidding.contains(&format!("{name}/mod.rs"))
            || forbidding.contains(&format!("{name}.rs"))
        {
            return Vec::new();
        }
        folder = above.parent();
    }
    vec![(1, "no #![forbid(unsafe_code)] here or above".to_owned())]
}

/// A file that does not fit into a head is cut by noun.
pub(crate) fn file_length(path: &str, text: &str) -> Violations {
    let lines = text.lines().count() - lines_of_tests(&code_of(text)).len();
    let known = LONG_FILES.iter().any(|(file, _)| *file == path);
    if lines <= FILE_LINES_MAX || known {
        return Vec::new();
    }
    vec![(
        1,
        format!("{lines} lines (without tests), and at most {FILE_LINES_MAX} are allowed"),
    )]
}

/// A function fits onto a screen or so.
pub(crate) fn function_length(_: &str, text: &str) -> Violations {
    let tokens = tokens(&production(text));
    let mut found = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        let [keyword, name] = pair else { continue };
        if keyword.text != "fn" || !name.is_name() {
            continue;
        }
        let lines = match last_line_of_item(&tokens[index..]) {
            Some(last) => last - keyword.line + 1,
            None => continue,
        };
        if lines > FUNCTION_LINES_MAX {
            let name = &name.text;
            found.push((
                keyword.line,
                format!("`{name}` has {lines} lines, and at most {FUNCTION_LINES_MAX} are allowed"),
            ));
        }
    }
    found
}

/// Each function and type of the API shows in its documentation how it is used. What is public is reachable for users: the compiler sees to that
/// (`unreachable_pub`).
pub(crate) fn examples(path: &str, text: &str) -> Violations {
    let is_api = path.starts_with("src/") && !NOT_API.iter().any(|part| path.starts_with(part));
    if !is_api {
        return Vec::new();
    }
    let (code, lines) = (production(text), text.lines().collect::<Vec<_>>());
    let mut found = Vec::new();
    for (index, content) in code.lines().enumerate() {
        let Some(name) = public_item(content) else {
            continue;
        };
        let excepted = NO_EXAMPLE.iter().any(|(known, _)| *known == name);
        if !excepted && !has_example(&lines[..index]) {
            found.push((index + 1, format!("`{name}` has no example")));
        }
    }
    found
}

/// The name of the public function or type that this line begins.
pub(crate) fn public_item(line: &str) -> Option<&str> {
    const KINDS: &[&str] = &["fn", "struct", "enum", "trait", "type", "union"];
    let mut words = line.trim_start().strip_prefix("pub ")?.split(' ');
    let kind = words.find(|word| !matches!(*word, "const" | "async" | "unsafe"))?;
    let name = words.next().filter(|_| KINDS.contains(&kind))?;
    name.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
}

/// Do these lines end with documentation that has an example, or with an attribute that hides the item?
fn has_example(above: &[&str]) -> bool {
    let is_doc = |line: &&str| line.starts_with("///");
    let above = above.iter().rev().map(|line| line.trim());
    let item: Vec<&str> = above
        .take_while(|line| is_doc(line) || !(line.is_empty() || line.ends_with(['{', '}', ';'])))
        .collect();
    let docs = item.iter().rev().copied().filter(is_doc);
    let fences = docs.filter_map(|line| line.strip_prefix("/// ```"));
    let mut opening = fences.step_by(2);
    opening.any(|kind| matches!(kind, "" | "no_run")) || item.contains(&"#[doc(hidden)]")
}

/// What is to be done is done, or is in an issue.
pub(crate) fn leftovers(_: &str, text: &str) -> Violations {
    matches_of(text, &[concat!("TO", "DO"), concat!("FIX", "ME")])
}

/// Tabs, white space at the end of a line, foreign line ends, no line end at the end.
pub(crate) fn hygiene(_: &str, text: &str) -> Violations {
    let mut found = Vec::new();
    for (line, content) in (1..).zip(text.split('\n')) {
        let wrong = [
            (content.contains('\t'), "a tab"),
            (content.contains('\r'), "a carriage return"),
            (content.ends_with(' '), "white space at the end"),
        ];
        let wrong = wrong.iter().filter(|(is_wrong, _)| *is_wrong);
        found.extend(wrong.map(|(_, what)| (line, (*what).to_owned())));
    }
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        let last = text.split('\n').count();
        found.push((last, "the file does not end with one line end".to_owned()));
    }
    found
}

fn part_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    Some(
        inside
            .split_once('/')
            .map_or(inside.trim_end_matches(".rs"), |(part, _)| part),
    )
}

fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The lines that hold one of these words.
fn matches_of(text: &str, words: &[&str]) -> Violations {
    let mut found = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let held = words.iter().filter(|word| content.contains(**word));
        found.extend(held.map(|word| (line, format!("`{word}`"))));
    }
    found
}
