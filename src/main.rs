//! The command line.

mod demo;
mod start;

use std::io::{Read, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Postgres-wire server whose speciality is backup and restore as SQL.
#[derive(Parser)]
#[command(name = "keepsafe", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a store
    Start(start::Arguments),
    /// Show the main job on a throw-away store: back up, lose, restore
    Demo,
    /// Read SQL on standard input, print one canonical statement a line
    Parse {
        /// Print passphrases and keys
        #[arg(long)]
        show_secrets: bool,
    },
    /// Print the version
    Version,
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = match command {
        Command::Start(arguments) => runtime.block_on(start::run(arguments)),
        Command::Demo => runtime.block_on(demo::run()),
        Command::Parse { show_secrets } => parse(show_secrets),
        Command::Version => {
            println!("keepsafe {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    // A query that does not stop must not keep the process from ending.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Prints statements up to the first that cannot be read.
fn parse(show_secrets: bool) -> Result<(), String> {
    let mut sql = String::new();
    std::io::stdin().read_to_string(&mut sql).map_err(|error| format!("cannot read standard input: {error}"))?;
    let statements = keepsafe::parser::parse(&sql).map_err(|error| {
        let (line, column) = error.location.unwrap_or((1, 1));
        let hint = error.hint.as_ref().map_or(String::new(), |hint| format!("\nHINT: {hint}"));
        format!("{line}:{column}: {}{hint}", error.message)
    })?;
    let mut out = std::io::stdout().lock();
    for parsed in statements {
        let text = if show_secrets { parsed.statement.exposed() } else { parsed.statement.to_string() };
        writeln!(out, "{text};").map_err(|error| format!("cannot write: {error}"))?;
    }
    Ok(())
}
