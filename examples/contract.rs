//! One program that uses all of the API, so that it can be tried from outside: by the official client, by the official suites, and by the tests
//! in `tests/interop/contract*`. Several servers run in it, each a *profile* with settings of its own, on ports beside each other.
//!
//! ```text
//! cargo run --release --example contract -- --base-port 3000
//! ```
//!
//! It prints `ready` when all of them accept connections. The same program on Node's packages is `tests/interop/node-contract.mjs`; both answer
//! alike, as `tests/interop/compare.test.mjs` finds.
//!
//! | file | what is in it |
//! |---|---|
//! | `contract/profiles.rs` | the settings of each profile, and what runs on it |
//! | `contract/program.rs` | namespaces and middlewares, what is remembered of sockets |
//! | `contract/standard.rs` | the events that all namespaces have |
//! | `contract/operations.rs` | whom messages reach, and what a server can do to its sockets |
//! | `contract/suites.rs` | the programs that the official suites want |
//! | `contract/values.rs` | values of which nothing is known before |

use std::error::Error;

mod contract {
    mod operations;
    pub(super) mod profiles;
    mod program;
    mod standard;
    mod suites;
    mod values;
}

use contract::profiles::profiles;

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let mut servers = Vec::new();
    for (offset, builder) in profiles(options.cores) {
        let address = format!("127.0.0.1:{}", options.base_port + offset);
        servers.push(builder.listen(address).start()?);
    }
    println!("ready");
    for server in servers {
        server.wait()?;
    }
    Ok(())
}

struct Options {
    base_port: u16,
    /// Of each server.
    cores: usize,
}

/// `--base-port PORT` (default: 3000), `--cores N` (default: 1).
fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        base_port: 3000,
        cores: 1,
    };
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--base-port" => options.base_port = value.parse()?,
            "--cores" => options.cores = value.parse()?,
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    Ok(options)
}
