//! The receipt of a run, for people and for machines.

use std::collections::BTreeSet;

use headwater_core::{DataClass, Kind};
use headwater_host::{Action, Deletes, Ending, Flag, Receipt, UnseenRows};

use crate::{
    Outcome,
    args::Run,
    terminal::{Terminal, count, duration, say, table, thousands},
};

/// Reports a finished run: as JSON, on standard output if that is free, or as a table on standard error.
pub(crate) fn report(
    receipt: &Receipt,
    options: &Run,
    is_output_free: bool,
    terminal: &Terminal,
) -> Outcome {
    if terminal.json && is_output_free {
        return terminal.print_json(receipt);
    }
    if terminal.json {
        say(&serde_json::to_string(receipt).unwrap_or_default());
    } else if !options.quiet {
        show(receipt);
    } else {
        show_failures(receipt);
    }
    Ok(())
}

/// The receipt as a table on standard error.
fn show(receipt: &Receipt) {
    let mut rows = vec![
        ["stream", "records", "bytes", "pages", "result"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(receipt.streams.iter().map(|stream| {
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
    show_failures(receipt);
    for stream in &receipt.streams {
        for (records, text) in [
            (stream.deduplicated, "already existed, by their key"),
            (stream.overflowed, "have a value in the overflow column"),
            (stream.rejected, "went to the dead letters"),
        ] {
            if records > 0 {
                let records = usize::try_from(records).unwrap_or(usize::MAX);
                say(&format!(
                    "note: {}: {} {text}",
                    stream.stream,
                    count(records, "record")
                ));
            }
        }
    }
    for stream in &receipt.streams {
        if let Some(UnseenRows { rows, deletes }) = stream.unseen
            && rows > 0
        {
            let rows = count(usize::try_from(rows).unwrap_or(usize::MAX), "row");
            let text = match deletes {
                Deletes::Keep => "that the service has deleted; they are kept (?deletes=keep)",
                Deletes::Mark => "that the service has deleted; they are marked in _deleted_at",
                Deletes::Remove => "that the service has deleted; they were removed",
            };
            say(&format!("note: {}: {rows} {text}", stream.stream));
        }
    }
    for stream in &receipt.streams {
        for event in &stream.drift {
            let times = usize::try_from(event.count).unwrap_or(usize::MAX);
            let known = if event.is_known { ", as before" } else { "" };
            say(&format!(
                "drift: {}: {event} ({}{known})",
                stream.stream,
                count(times, "time")
            ));
        }
    }
    if let Some(line) = redacted(receipt) {
        say(&line);
    }
    let retries = usize::try_from(receipt.retries).unwrap_or(usize::MAX);
    let requests = usize::try_from(receipt.requests).unwrap_or(usize::MAX);
    say(&format!(
        "{} in {:.1} s, {}; during {:.1} s some of them waited for the limit, and during {:.1} s for a retry",
        count(requests, "request"),
        receipt.seconds,
        if retries == 1 {
            "1 retry".to_owned()
        } else {
            format!("{} retries", thousands(receipt.retries))
        },
        receipt.limit_wait_seconds,
        receipt.backoff_wait_seconds,
    ));
    if receipt.cancelled_jobs > 0 {
        let jobs = usize::try_from(receipt.cancelled_jobs).unwrap_or(usize::MAX);
        say(&format!("cancelled {}", count(jobs, "export job")));
    }
}

/// The redaction of all streams: the number of values of each class.
fn redacted(receipt: &Receipt) -> Option<String> {
    let reports: Vec<_> = receipt
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

/// The streams with the same flag; streams that are read together share theirs.
fn flagged(receipt: &Receipt, flag: &Flag) -> String {
    let names = receipt.streams.iter().filter_map(|stream| {
        let has_flag = stream
            .flags
            .iter()
            .any(|other| other.message == flag.message);
        has_flag.then_some(stream.stream.as_str())
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Shows the lines that `--quiet` keeps.
fn show_failures(receipt: &Receipt) {
    // Streams that are read together fail together, and with the same words.
    let mut shown = BTreeSet::new();
    let mut show_once = |line: String| {
        if !shown.contains(&line) {
            say(&line);
            shown.insert(line);
        }
    };
    for stream in &receipt.streams {
        for (times, message) in stream.notes.values() {
            show_once(format!(
                "note: {}: {message} ({})",
                stream.stream,
                count(usize::try_from(*times).unwrap_or(usize::MAX), "time")
            ));
        }
        if let Ending::Suspended {
            message,
            until,
            retry_after_seconds,
            ..
        } = &stream.ending
        {
            let wait = duration(*retry_after_seconds);
            show_once(format!(
                "suspended until {until}: {message}; try again in {wait}"
            ));
        }
        for flag in &stream.flags {
            show_once(format!(
                "note: {}: {}",
                flagged(receipt, flag),
                flag.message
            ));
        }
        if let Ending::Failed {
            message,
            retry_after_seconds,
            kind,
        } = &stream.ending
            // A reader that closed its end needs no message.
            && *kind != Kind::Cancelled
        {
            let wait =
                retry_after_seconds.map(|seconds| format!("; try again in {}", duration(seconds)));
            show_once(format!("error: {message}{}", wait.unwrap_or_default()));
        }
    }
}

fn result(ending: &Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::Partial => "partial",
        Ending::Suspended { .. } => "suspended",
        Ending::Limited => "stopped at the limit",
        Ending::Stopped => "stopped",
        Ending::Failed { .. } => "failed",
        Ending::ReadBefore => "read before the interruption",
        // `NotRead`, and endings of a later version.
        _ => "not read",
    }
}
