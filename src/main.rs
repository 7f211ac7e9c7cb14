//! The `ringhall` program: flags, then settings, then run.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ringhall::{Config, Server};

mod gateway;

/// The allocator of the program. A library must leave this choice to its user.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// WebSocket and Socket.IO at the edge.
#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Serve: this is also what happens without a command.
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    listen: gateway::listen::Listen,
    /// Serve on so many cores (1 to 256) [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cores: Option<usize>,
    /// The longest message on /echo, in bytes.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, default_value_t = Config::default().max_message)]
    max_message: usize,
    /// Serve the official client's bundles from this folder, such as node_modules/socket.io/client-dist, instead of our own script.
    #[arg(long, value_name = "DIR")]
    client_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let cli = Cli::parse();
    let serve = match cli.command {
        Some(Command::Serve(serve)) => serve,
        None => cli.serve,
    };
    match run(&serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringhall: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(serve: &Serve) -> Result<(), Box<dyn std::error::Error>> {
    let defaults = Config::default();
    let config = Config {
        max_message: serve.max_message,
        cores: serve.cores.unwrap_or(defaults.cores),
        ..defaults
    };
    let mut builder = gateway::lobby::development(Server::builder().config(config));
    if let Some(dir) = &serve.client_dir {
        builder = builder.client_dir(dir);
    }
    let builder = serve.listen.apply(builder)?;
    let signals = gateway::signals::Signals::catch()?;
    let server = builder.start()?;
    // Nobody needs to read it: a closed standard output (`ringhall | head -1`) is no reason to end.
    let _ = gateway::announce(&server, &serve.listen);
    signals.shut_down_on_first(&server);
    server.wait()?;
    Ok(())
}
