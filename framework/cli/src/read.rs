//! `read`: records as JSON lines, with progress and a summary.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::{Duration, Instant},
};

use headwater_core::{Context, DataClass, Error, Kind, Meter, Registry};
use headwater_host::{
    Action, Ending, Event, JsonLinesFolder, JsonLinesWriter, ReadOptions, Redaction, Sink, State,
    StreamSummary, Summary, references::EnvFile,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{runtime::Runtime, signal, sync::watch};

use crate::{
    Failure, Outcome,
    answers::{env_file, gather},
    args::{Fate, Read, Redact, Treatment},
    terminal::{Terminal, count, duration, say, table, thousands, until_stopped},
};

/// A folder can be cut back after a crash, so it is made durable once a second. A pipe cannot: after every page.
const FOLDER_COMMIT: Duration = Duration::from_secs(1);

pub(crate) fn runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Unexpected, "the runtime cannot start").caused_by(error))
}

pub(crate) fn read(
    registry: &Registry,
    options: &Read,
    context: fn() -> headwater_core::Result<Context>,
    terminal: &Terminal,
) -> Outcome {
    let (connector, config) = gather(registry, &options.config)?;
    let redaction = redaction(
        &options.redact,
        &env_file(options.config.env_file.as_deref())?,
    )?;
    let context = context()?;
    let source = connector.open(&config, &context)?;
    let known = connector.catalog();
    let names: Vec<&str> = known.iter().map(|stream| stream.name).collect();
    let is_one = match options.streams.as_slice() {
        [] => names.len() == 1,
        [first, rest @ ..] => rest.iter().all(|name| name == first),
    };
    let state = match &options.state {
        Some(path) => State::load(path, connector.about().id, &names)?,
        None => State::new(connector.about().id),
    };
    let mut sink: Box<dyn Sink> = match &options.out {
        Some(folder) => Box::new(JsonLinesFolder::new(folder)?),
        None => Box::new(JsonLinesWriter::new(io::stdout(), !is_one)),
    };
    let mut progress = Progress::new(options.quiet, Arc::clone(&context.meter));
    let summary = runtime()?.block_on(async {
        let read_options = ReadOptions {
            limit: options.limit,
            state_path: options.state.clone(),
            commit_every: if options.out.is_some() {
                FOLDER_COMMIT
            } else {
                Duration::ZERO
            },
            stop: on_signal(),
            release: options.cancel_jobs,
            meter: Arc::clone(&context.meter),
            redaction,
        };
        let mut on_event = |event: Event<'_>| progress.on(&event);
        headwater_host::read(
            &*source,
            &options.streams,
            state,
            &mut *sink,
            read_options,
            &mut on_event,
        )
        .await
    });
    progress.bar.finish_and_clear();
    let summary = summary?;
    if terminal.json && options.out.is_some() {
        terminal.print_json(&summary)?;
    } else if terminal.json {
        say(&serde_json::to_string(&summary).unwrap_or_default());
    } else if !options.quiet {
        show(&summary);
    } else {
        show_failures(&summary);
    }
    match summary.failure() {
        Some(kind) => Err(Failure::Said(kind)),
        None => Ok(()),
    }
}

fn redaction(options: &Redact, env_file: &EnvFile) -> Result<Option<Redaction>, Error> {
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

/// True after the first Ctrl-C or SIGTERM; the second one ends the process at once.
fn on_signal() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        // Without a handler the signal keeps its usual effect, which is a stop as well.
        let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) else {
            return;
        };
        let Ok(mut interrupt) = signal::unix::signal(signal::unix::SignalKind::interrupt()) else {
            return;
        };
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        let _ = stop.send(true);
        next().await;
        std::process::exit(i32::from(Kind::Cancelled.exit_code()));
    });
    stopped
}

/// One line on standard error while reading, if it is a terminal.
struct Progress {
    bar: ProgressBar,
    quiet: bool,
    meter: Arc<Meter>,
    started: Instant,
}

impl Progress {
    fn new(quiet: bool, meter: Arc<Meter>) -> Self {
        let is_shown = !quiet && io::stderr().is_terminal();
        let target = if is_shown {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            quiet,
            meter,
            started: Instant::now(),
        }
    }

    fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { stream, resumed } => {
                self.started = Instant::now();
                if !self.bar.is_hidden() {
                    self.bar.enable_steady_tick(Duration::from_millis(200));
                }
                let verb = if *resumed { "going on" } else { "reading" };
                self.bar.set_message(format!("{stream}: {verb}"));
            }
            Event::Progress(summary) if !self.bar.is_hidden() => {
                self.bar.set_message(self.line(summary));
            }
            Event::Waiting { stream, reason } => {
                self.bar
                    .set_message(format!("{stream}: waiting for {reason}"));
            }
            Event::Jobs { jobs, allowance } if !self.quiet => {
                self.bar.suspend(|| {
                    say(&format!(
                        "this read orders {}; {} of {} {} are left",
                        count(usize::try_from(*jobs).unwrap_or(usize::MAX), "export job"),
                        allowance.left(),
                        allowance.limit,
                        allowance.title,
                    ));
                });
            }
            Event::Progress(_) | Event::Ended(_) | Event::Jobs { .. } => {}
        }
    }

    fn line(&self, summary: &StreamSummary) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = summary.records as f64 / seconds;
        let waited = self.meter.limit_wait() + self.meter.backoff_wait();
        format!(
            "{}: {} records, {} pages, {rate:.0}/s, waited {} for the limit",
            summary.stream,
            thousands(summary.records),
            thousands(summary.pages),
            duration(waited.as_secs()),
        )
    }
}

/// The summary as a table on standard error.
fn show(summary: &Summary) {
    let mut rows = vec![
        ["stream", "records", "bytes", "pages", "result"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(summary.streams.iter().map(|stream| {
        vec![
            stream.stream.clone(),
            thousands(stream.records),
            thousands(stream.bytes),
            thousands(stream.pages),
            result(&stream.ending).to_owned(),
        ]
    }));
    for line in table(&rows) {
        say(&line);
    }
    show_failures(summary);
    if let Some(line) = redacted(summary) {
        say(&line);
    }
    let retries = usize::try_from(summary.retries).unwrap_or(usize::MAX);
    let requests = usize::try_from(summary.requests).unwrap_or(usize::MAX);
    say(&format!(
        "{} in {:.1} s, {}, waited {:.1} s for the limit and {:.1} s before retries",
        count(requests, "request"),
        summary.seconds,
        if retries == 1 {
            "1 retry".to_owned()
        } else {
            format!("{} retries", thousands(summary.retries))
        },
        summary.limit_wait_seconds,
        summary.backoff_wait_seconds,
    ));
    if summary.cancelled_jobs > 0 {
        let jobs = usize::try_from(summary.cancelled_jobs).unwrap_or(usize::MAX);
        say(&format!("cancelled {}", count(jobs, "export job")));
    }
}

/// What redaction did, over all streams: how many values of each class.
fn redacted(summary: &Summary) -> Option<String> {
    let reports: Vec<_> = summary
        .streams
        .iter()
        .filter_map(|stream| stream.redaction.as_ref())
        .collect();
    let way = match reports.first()?.keyed {
        true => "with the key",
        false => "without a key",
    };
    let fields = || reports.iter().flat_map(|report| &report.fields);
    let mut parts = Vec::new();
    for class in DataClass::ALL {
        for (action, verb) in [
            (Action::Replaced, "replaced"),
            (Action::Cut, "cut"),
            (Action::Removed, "removed"),
            (Action::Kept, "kept"),
        ] {
            let of_these = fields().filter(|field| field.class == class && field.action == action);
            let values: u64 = of_these.map(|field| field.values).sum();
            if values > 0 {
                parts.push(format!("{} {class} {verb}", thousands(values)));
            }
        }
    }
    let unexpected: u64 = reports
        .iter()
        .flat_map(|report| report.unexpected.values())
        .sum();
    if unexpected > 0 {
        parts.push(format!(
            "{} removed for an unexpected type",
            thousands(unexpected)
        ));
    }
    if parts.is_empty() {
        parts.push("nothing was found".to_owned());
    }
    Some(format!("redacted {way}: {}", parts.join(", ")))
}

/// What must be told even when nothing else is.
fn show_failures(summary: &Summary) {
    for stream in &summary.streams {
        for (times, message) in stream.notes.values() {
            say(&format!(
                "note: {}: {message} ({})",
                stream.stream,
                count(usize::try_from(*times).unwrap_or(usize::MAX), "time")
            ));
        }
        if let Ending::Failed {
            message,
            retry_after_seconds,
            kind,
        } = &stream.ending
            // A reader that went away knows that it did.
            && *kind != Kind::Cancelled
        {
            let wait =
                retry_after_seconds.map(|seconds| format!("; try again in {}", duration(seconds)));
            say(&format!("error: {message}{}", wait.unwrap_or_default()));
        }
    }
}

fn result(ending: &Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::Limited => "stopped at the limit",
        Ending::Stopped => "stopped",
        Ending::Failed { .. } => "failed",
        Ending::ReadBefore => "read before the interruption",
        Ending::NotRead => "not read",
    }
}
