//! `sync`: records into a place that keeps the position with them.

use std::path::PathBuf;

use headwater_core::{Context, Kind, Registry};
use headwater_host::{DriftOptions, Outcome as Ended, RunOptions, State};
use headwater_output::Destination;

use crate::{
    Failure, Outcome,
    answers::{env_file, gather},
    args::Sync,
    read::{carry_out, redaction, run_options},
    receipt::tell,
    terminal::Terminal,
};

pub(crate) fn sync(
    registry: &Registry,
    options: &Sync,
    context: fn() -> headwater_core::Result<Context>,
    terminal: &Terminal,
) -> Outcome {
    let destination = Destination::parse(&options.to)?;
    let (connector, config) = gather(registry, &options.config)?;
    let redaction = redaction(&options.run.redact, &env_file(&options.config)?)?;
    let context = context()?;
    let source = connector.open(&config, &context)?;
    let known = connector.catalog();
    let names: Vec<&str> = known.iter().map(|stream| stream.name).collect();
    let id = connector.about().id;
    let state_path = state_file(&destination);
    let state = match &state_path {
        Some(path) => State::load(path, id, &names)?,
        None => State::new(id),
    };
    let sink = destination.open(&options.config.connector)?;
    let run = RunOptions {
        state_path,
        guarantee: options.guarantee,
        drift: Some(DriftOptions {
            rules: options.drift.clone(),
            dead_letters: options.dead_letters.clone(),
        }),
        ..run_options(&options.run, &context, redaction)?
    };
    let receipt = carry_out(&*source, &options.run, state, sink, run)?;
    tell(&receipt, &options.run, !destination.is_output(), terminal)?;
    match (receipt.outcome, receipt.failure()) {
        (Ended::Complete, _) => Ok(()),
        (Ended::Partial, _) => Err(Failure::Partial),
        (_, kind) => Err(Failure::Said(kind.unwrap_or(Kind::Unexpected))),
    }
}

/// Where the position is kept for a destination that does not keep it itself.
pub(crate) fn state_file(destination: &Destination) -> Option<PathBuf> {
    match destination {
        Destination::JsonLines { folder } => Some(folder.join("_headwater_state.json")),
        _ => None,
    }
}
