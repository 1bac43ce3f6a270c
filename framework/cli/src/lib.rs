//! The command line, as a library.
//!
//! A binary with its own set of connectors is a few lines: link the connectors and pass the transport.
//!
//! ```no_run
//! # use std::process::ExitCode;
//! // use my_connectors as _;
//! fn main() -> ExitCode {
//!     headwater_cli::main(|_| unimplemented!("headwater_http::context"))
//! }
//! ```
//!
//! Standard output holds the result of the command alone; progress, summaries and errors go to standard error.
//! The exit codes are those of [`Kind`] and are listed by `headwater --help`.

mod answers;
mod args;
mod audit;
mod check;
mod connection;
mod demo;
mod dumps;
mod log;
mod patch;
mod plan;
mod progress;
mod read;
mod receipt;
mod runtime;
mod sandbox;
mod saved;
mod serve;
mod show;
mod signals;
mod state;
mod sync;
mod terminal;
mod token;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use headwater_core::{Context, Egress, Error, FieldError, Kind, Registry};
use headwater_files::create::Access;
use serde_json::json;

use args::{Args, Command};
use terminal::Terminal;

/// Why a command ended without doing its work.
pub(crate) enum Failure {
    /// An error.
    Error(Error),
    /// A refused form, with all of its errors.
    Form(Vec<FieldError>),
    /// The output is complete; only the exit code is missing.
    Reported(Kind),
    /// The same, for a run that ended with data missing.
    Partial,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The exit code of a run that ended with data missing.
const PARTIAL: u8 = 8;

/// Builds the transport for the egress rules.
pub type NewContext = fn(&Egress) -> headwater_core::Result<Context>;

/// Result of a command.
pub(crate) type Outcome = Result<(), Failure>;

/// Runs the command line. `context` builds the transport for the commands that need one.
pub fn main(context: NewContext) -> ExitCode {
    // Before anything is read: arguments, input and environment may hold secrets.
    dumps::forbid();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let json = args.json;
    match run(args, context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(report(&failure, json)),
    }
}

fn run(args: Args, context: NewContext) -> Outcome {
    log::start(
        args.verbose,
        args.json || matches!(args.command, Command::Serve(_)),
    )?;
    // Checked before a command does half of its work.
    Access::of_records().map_err(|error| Error::new(Kind::ConfigInvalid, error.to_string()))?;
    let registry = Registry::collect()?;
    let terminal = Terminal::new(args.json);
    if args.command.is_for_output() {
        terminal::require_output()?;
    }
    match args.command {
        Command::List => show::list(&registry, &terminal),
        Command::Spec(spec) => show::spec(&registry, &spec, &terminal),
        Command::Discover(discover) => show::discover(&registry, &discover, &terminal),
        Command::Check(options) => check::check(&registry, &options, context, &terminal),
        Command::Plan(options) => plan::plan(&registry, &options, context, &terminal),
        Command::Read(options) => read::read(&registry, &options, context, &terminal),
        Command::Sync(options) => sync::sync(&registry, &options, context, &terminal),
        Command::State(command) => state::state(&registry, &command, context, &terminal),
        Command::Connection(options) => {
            connection::connection(&registry, &options, context, &terminal)
        }
        Command::Serve(options) => serve::serve(registry, &options, context, &terminal),
        Command::Token(options) => token::token(&options, &terminal),
        Command::Audit(options) => audit::audit(&options, &terminal),
        Command::Sandbox(options) => sandbox::sandbox(&options, &terminal),
        Command::Demo(options) => demo::demo(registry, &options, context, &terminal),
    }
}

/// Prints clap's own text, with our exit code for a wrong call.
fn usage(error: &clap::Error) -> ExitCode {
    let code = if error.use_stderr() {
        Kind::ConfigInvalid.exit_code()
    } else {
        0
    };
    match error.print() {
        Err(_) if code == 0 => ExitCode::from(Kind::OutputFailed.exit_code()),
        // Nothing is left to do when even this cannot be written.
        _ => ExitCode::from(code),
    }
}

fn report(failure: &Failure, json: bool) -> u8 {
    let (kind, text, machine) = match failure {
        Failure::Reported(kind) => return kind.exit_code(),
        Failure::Partial => return PARTIAL,
        Failure::Error(error) => {
            let delay = error.delay().map(|delay| delay.as_secs());
            let machine = json!({ "error": {
                "kind": error.kind(),
                "status": error.status(),
                "message": error.to_string(),
                "retry_after_seconds": delay,
            }});
            let mut text = error.to_string();
            if let Some(seconds) = delay {
                text.push_str(&format!("; try again in {}", terminal::duration(seconds)));
            }
            (error.kind(), text, machine)
        }
        Failure::Form(errors) => {
            let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
            let text = format!(
                "the form has {}:\n{}",
                terminal::count(errors.len(), "error"),
                lines.join("\n")
            );
            (Kind::ConfigInvalid, text, json!({ "errors": errors }))
        }
    };
    // A reader that closed its end needs no message.
    let is_quiet = kind == Kind::Cancelled;
    if json {
        terminal::say(&machine.to_string());
    } else if !is_quiet {
        let mark = if io::stderr().is_terminal() {
            "\x1b[31merror:\x1b[0m"
        } else {
            "error:"
        };
        terminal::say(&format!("{mark} {text}"));
    }
    kind.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_and_the_document_have_the_same_exit_codes_with_the_same_words() {
        let failures = Kind::ALL.into_iter().map(Failure::Reported);
        let failures = failures.chain([Failure::Partial]);
        let codes = failures.map(|failure| report(&failure, true));
        let mut codes: Vec<u8> = codes.chain([0]).collect();
        codes.sort_unstable();
        codes.dedup();
        let read = |line: &str, part: char| -> Option<(u8, String)> {
            let line = line.trim_matches(['|', ' ']);
            let (code, meaning) = line.split_once(part)?;
            Some((code.trim().parse().ok()?, meaning.trim().to_owned()))
        };
        let document = include_str!("../../../docs/command-line.md");
        let table = document
            .lines()
            .skip_while(|line| !line.starts_with("| exit code"));
        let table = table.take_while(|line| line.starts_with('|'));
        let table: Vec<_> = table.filter_map(|line| read(line, '|')).collect();
        let help = args::EXIT_CODES.lines();
        let help: Vec<_> = help.filter_map(|line| read(line, ' ')).collect();
        assert_eq!(help, table);
        assert_eq!(table.iter().map(|one| one.0).collect::<Vec<_>>(), codes);
    }
}
