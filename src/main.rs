//! The command line.

mod demo;
mod start;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use keepsafe::check::Report;
use keepsafe::parser::{self, STACK_BYTES};

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
    /// Verify a store that no server uses now
    Check {
        /// The store's directory
        #[arg(long, default_value = "./keepsafe-data")]
        store: PathBuf,
    },
    /// Print the version
    Version,
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = match command {
        Command::Start(arguments) => runtime.block_on(start::run(arguments)),
        Command::Demo => runtime.block_on(demo::run()),
        Command::Parse { show_secrets } => in_deep_stack(move || parse(show_secrets)),
        Command::Check { store } => runtime.block_on(check(&store)),
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

/// Prints what a check found.
async fn check(store: &Path) -> Result<(), String> {
    let report = keepsafe::check::check(store).await.map_err(|error| error.to_string())?;
    let Report { descriptors, rows, index_entries, versions, findings, more } = &report;
    println!("{descriptors} descriptors, {rows} rows, {index_entries} index entries, {versions} versions");
    if findings.is_empty() {
        println!("The store is sound.");
        return Ok(());
    }
    let rest = if *more > 0 { format!("\nand {more} findings more") } else { String::new() };
    Err(format!("{}{rest}", findings.join("\n")))
}

/// Runs `work` on a thread with room for the deepest statement.
fn in_deep_stack(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
    let done = thread.map_err(|error| format!("cannot start a thread: {error}"))?.join();
    done.unwrap_or_else(|_| Err("the parser stopped working: this is a bug".into()))
}

/// Prints statements up to the first that cannot be read.
fn parse(show_secrets: bool) -> Result<(), String> {
    let mut sql = String::new();
    std::io::stdin().read_to_string(&mut sql).map_err(|error| format!("cannot read standard input: {error}"))?;
    let show = |error: parser::Error| {
        let (line, column) = error.location.unwrap_or((1, 1));
        let hint = error.hint.as_ref().map_or(String::new(), |hint| format!("\nHINT: {hint}"));
        format!("{line}:{column}: {}{hint}", error.message)
    };
    let mut out = std::io::stdout().lock();
    for parsed in parser::statements(&sql).map_err(show)? {
        let statement = parsed.map_err(show)?.statement;
        let text = if show_secrets { statement.exposed() } else { statement.to_string() };
        writeln!(out, "{text};").map_err(|error| format!("cannot write: {error}"))?;
    }
    Ok(())
}
