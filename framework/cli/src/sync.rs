//! `sync`: writes records to a destination that keeps the position with them.

use headwater_core::{Egress, Error, Kind, Registry};
use headwater_host::{
    DriftOptions, Outcome as Ended, State,
    references::{self, EnvFile},
};
use headwater_output::Destination;
use headwater_store::{Actor, Lease};
use serde_json::json;

use crate::{
    Failure, NewContext, Outcome,
    answers::env_file,
    args::Sync,
    read::{carry_out, redaction, run_options},
    receipt::report,
    runtime::runtime,
    saved::{Target, choose},
    terminal::{Terminal, require_output, until_stopped},
};

pub(crate) fn sync(
    registry: &Registry,
    options: &Sync,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let Target {
        connector,
        config,
        name,
        saved,
    } = choose(registry, &options.config, &options.store)?;
    let env_file = env_file(options.config.env_file.as_deref())?;
    let remembered = saved.as_ref().and_then(|(_, one)| one.destination.clone());
    let Some(to) = options.to.clone().or(remembered) else {
        let text = "set a destination with --to, as in --to sqlite:records.db";
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    };
    let destination = destination(&to, &env_file)?;
    if destination.is_output() {
        require_output()?;
    }
    let redaction = redaction(&options.run.redact, &env_file)?;
    let context = context(&Egress::Anywhere)?;
    let source = connector.open(&config, &context)?;
    let known = connector.catalog();
    let names: Vec<&str> = known.iter().map(|stream| stream.name).collect();
    let id = connector.about().id;
    let state_path = destination.state_file();
    let state = match &state_path {
        Some(path) => State::load(path, id, &names)?,
        None => State::new(id),
    };
    let sink = destination.open(&name)?;
    let mut run = run_options(&options.run, &context, redaction)?;
    run.state_path = state_path;
    run.guarantee = options.guarantee;
    run.drift = Some(DriftOptions::new(
        options.drift.clone(),
        options.dead_letters.clone(),
    ));
    let lease = saved
        .map(|(store, connection)| Lease::begin(store, &connection.name))
        .transpose()?;
    let receipt = match carry_out(&*source, &options.run, state, sink, run, lease.as_ref()) {
        Ok(receipt) => receipt,
        Err(error) => {
            // A refused run releases its connection. The refusal is the reported error.
            if let Some(lease) = lease {
                let receipt = json!({ "outcome": "failed", "kind": error.kind(), "message": error.to_string() });
                let _ = lease.end(&receipt, None, &Actor::local());
            }
            return Err(error.into());
        }
    };
    report(&receipt, &options.run, !destination.is_output(), terminal)?;
    if let Some(lease) = lease {
        lease.end(&json!(receipt), options.to.as_deref(), &Actor::local())?;
    }
    match (receipt.outcome, receipt.failure()) {
        (Ended::Complete, _) => Ok(()),
        (Ended::Partial, _) => Err(Failure::Partial),
        (_, kind) => Err(Failure::Reported(kind.unwrap_or(Kind::Unexpected))),
    }
}

/// The destination of a text or a reference. An argument must not hold a password.
pub(crate) fn destination(text: &str, env_file: &EnvFile) -> Result<Destination, Failure> {
    let resolved = references::resolve_text(text, env_file);
    let resolved = runtime()?.block_on(until_stopped(resolved))?;
    let Some(resolved) = resolved else {
        let destination = Destination::parse(text)?;
        if destination.has_password() {
            let text = "every user of this machine can see arguments; put the destination with its password into a \
                        variable, and write --to env:NAME";
            return Err(Error::new(Kind::ConfigInvalid, text).into());
        }
        return Ok(destination);
    };
    let resolved =
        resolved.map_err(|message| Error::new(Kind::ConfigInvalid, format!("--to {message}")))?;
    Ok(Destination::parse(&resolved)?)
}
