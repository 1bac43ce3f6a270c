//! `read`: records as JSON lines, with progress and a summary.

use std::{io, path::Path, sync::Arc, time::Duration};

use headwater_core::{Context, Egress, Error, Kind, Position, Registry, Source};
use headwater_files::open_trusted;
use headwater_host::{Event, Receipt, Redaction, RunOptions, Sink, State, references::EnvFile};
use headwater_output::{JsonLinesFolder, JsonLinesWriter};
use headwater_store::Lease;
use tokio::sync::watch;

use crate::{
    Failure, NewContext, Outcome,
    answers::env_file,
    args::{Fate, Read, Redact, Run, Treatment},
    progress::Progress,
    receipt::report,
    runtime::runtime,
    saved::{Target, choose},
    signals::StopSignals,
    terminal::{Terminal, until_stopped},
};

/// How long a stopped run may take to commit its records.
const LONGEST_STOP: Duration = Duration::from_secs(9);

pub(crate) fn read(
    registry: &Registry,
    options: &Read,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let Target {
        connector, config, ..
    } = choose(registry, &options.config, &options.store)?;
    let redaction = redaction(
        &options.run.redact,
        &env_file(options.config.env_file.as_deref())?,
    )?;
    let context = context(&Egress::Anywhere)?;
    let source = connector.open(&config, &context)?;
    let known = connector.catalog();
    let names: Vec<&str> = known.iter().map(|stream| stream.name).collect();
    let is_one = match options.run.streams.as_slice() {
        [] => names.len() == 1,
        [first, rest @ ..] => rest.iter().all(|name| name == first),
    };
    let state = match &options.state {
        Some(path) => State::load(path, connector.about().id, &names)?,
        None => State::new(connector.about().id),
    };
    let sink: Box<dyn Sink> = match &options.out {
        Some(folder) => Box::new(JsonLinesFolder::new(folder)?),
        None => Box::new(JsonLinesWriter::new(io::stdout(), !is_one)),
    };
    let mut run = run_options(&options.run, &context, redaction)?;
    run.limit = options.limit;
    run.state_path = options.state.clone();
    // A folder can be truncated after a crash, so it is made durable once a second. A pipe cannot: after every page.
    run.commit_every = options.out.is_none().then_some(Duration::ZERO);
    let receipt = carry_out(&*source, &options.run, state, sink, run, None)?;
    report(&receipt, &options.run, options.out.is_some(), terminal)?;
    match receipt.failure() {
        Some(kind) => Err(Failure::Reported(kind)),
        None if receipt.outcome == headwater_host::Outcome::Partial => Err(Failure::Partial),
        None => Ok(()),
    }
}

/// The common run options of `read` and `sync`.
pub(crate) fn run_options(
    options: &Run,
    context: &Context,
    redaction: Option<Redaction>,
) -> Result<RunOptions, Error> {
    let (_, never) = watch::channel(false);
    let mut run = RunOptions::new(Arc::clone(&context.meter), never);
    run.release = options.cancel_jobs;
    run.redaction = redaction;
    run.concurrency = usize::from(options.concurrency);
    run.memory = usize::from(options.memory) << 20;
    run.stay = options.stay;
    run.only = only(options)?;
    run.same_account = options.same_account;
    Ok(run)
}

/// The one partition to read.
fn only(options: &Run) -> Result<Option<Position>, Error> {
    let Some(text) = &options.partition else {
        return Ok(None);
    };
    let invalid =
        |problem: String| Error::new(Kind::ConfigInvalid, format!("--partition {problem}"));
    if options.streams.is_empty() {
        return Err(invalid(
            "needs the --stream of the partition, or several that are read together".to_owned(),
        ));
    }
    let read;
    let text = if text.trim_start().starts_with('{') {
        text
    } else {
        read = open_trusted(Path::new(text))
            .and_then(io::read_to_string)
            .map_err(|error| invalid(format!("is neither JSON nor a readable file: {error}")))?;
        &read
    };
    let position = serde_json::from_str(text).map_err(|_| {
        invalid("is not a partition as `headwater plan --json` shows it".to_owned())
    })?;
    Ok(Some(position))
}

/// Runs with progress; Ctrl-C stops the run.
pub(crate) fn carry_out(
    source: &dyn Source,
    options: &Run,
    state: State,
    sink: Box<dyn Sink>,
    mut run: RunOptions,
    lease: Option<&Lease>,
) -> Result<Receipt, Error> {
    let mut progress = Progress::new(options, Arc::clone(&run.meter));
    let receipt = runtime()?.block_on(async {
        let (stop, stopped) = watch::channel(false);
        if let Some(lease) = lease {
            let stop = stop.clone();
            lease.on_loss(move || {
                stop.send_replace(true);
            });
        }
        on_signal(stop);
        run.stop = stopped;
        let mut on_event = |event: Event<'_>| progress.on(&event);
        headwater_host::run(source, &options.streams, state, sink, run, &mut on_event).await
    });
    progress.end();
    receipt
}

pub(crate) fn redaction(options: &Redact, env_file: &EnvFile) -> Result<Option<Redaction>, Error> {
    let Some(mut redaction) = treatment(&options.treatment) else {
        return Ok(None);
    };
    if let Some(reference) = &options.redact_key {
        let key = until_stopped(Redaction::key(reference, env_file));
        redaction.key = Some(runtime()?.block_on(key)??);
    }
    Ok(Some(redaction))
}

/// How to redact, without a key.
pub(crate) fn treatment(options: &Treatment) -> Option<Redaction> {
    options.redact.then(|| Redaction {
        key: None,
        keep_text: options.redact_text == Fate::Keep,
        drop_money: options.redact_money == Fate::Drop,
    })
}

/// Stops after the first Ctrl-C, SIGTERM or SIGHUP; the second one, or too long a wait, ends the process at once.
pub(crate) fn on_signal(stop: watch::Sender<bool>) {
    // Before the task starts, because a signal may follow at once. Without a handler a signal keeps its usual effect, which
    // is a stop as well.
    let Ok(mut stops) = StopSignals::new() else {
        return;
    };
    tokio::spawn(async move {
        stops.next().await;
        let _ = stop.send(true);
        // A sink that hangs loses nothing: the next run reads uncommitted records again.
        let _ = tokio::time::timeout(LONGEST_STOP, stops.next()).await;
        std::process::exit(i32::from(Kind::Cancelled.exit_code()));
    });
}
