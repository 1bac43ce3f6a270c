//! `cargo dev COMMAND`
#![allow(
    clippy::print_stdout,
    reason = "a generator reports on standard output"
)]

use std::{env, path::PathBuf, process::ExitCode};

use headwater_core::{Error, Kind, Registry, Result};
use headwater_dev::{preview, schemas, tidy, workspace};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                println!("{problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(arguments: &[&str]) -> Result<Vec<String>> {
    match arguments {
        ["schemas"] => schemas::write(&Registry::collect()?, &workspace()).map(|()| Vec::new()),
        ["schemas", "--check"] => schemas::check(&Registry::collect()?, &workspace()),
        ["preview"] => preview::serve(Registry::collect()?, None, announce).map(|()| Vec::new()),
        ["preview", file] => {
            let file = Some(PathBuf::from(file));
            preview::serve(Registry::collect()?, file, announce).map(|()| Vec::new())
        }
        ["tidy"] => tidy::check(&workspace()),
        _ => Err(Error::new(
            Kind::ConfigInvalid,
            "usage: cargo dev schemas | schemas --check | preview [FILE] | tidy",
        )),
    }
}

fn announce(address: &str) {
    println!("The preview is at {address}, until it is stopped with Ctrl+C.");
}
