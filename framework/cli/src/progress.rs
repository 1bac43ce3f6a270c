//! Progress on standard error: a bar per stream on a terminal, or one JSON object per event for machines.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    sync::Arc,
    time::{Duration, Instant},
};

use headwater_core::Meter;
use headwater_host::{Event, StreamReceipt};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    args::{ProgressMode, Run},
    terminal::{count, duration, say, thousands},
};

/// Between two JSON events of one stream's progress.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// The display of a running run.
pub(crate) struct Progress {
    bars: MultiProgress,
    streams: BTreeMap<String, StreamBar>,
    quiet: bool,
    is_json: bool,
    meter: Arc<Meter>,
}

/// The display of one stream.
struct StreamBar {
    bar: ProgressBar,
    started: Instant,
    last_event: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(options: &Run, meter: Arc<Meter>) -> Self {
        let is_shown =
            !options.quiet && options.progress == ProgressMode::Bars && io::stderr().is_terminal();
        let target = if is_shown {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            streams: BTreeMap::new(),
            quiet: options.quiet,
            is_json: options.progress == ProgressMode::Json,
            meter,
        }
    }

    pub(crate) fn on(&mut self, event: &Event<'_>) {
        if self.is_json {
            return self.machine(event);
        }
        match event {
            Event::Started { stream, resumed } => {
                let verb = if *resumed { "resuming" } else { "reading" };
                self.start(stream, &format!("{stream}: {verb}"));
            }
            Event::Progress(receipt) => {
                let line = self.line(receipt);
                self.start(&receipt.stream, &line);
            }
            Event::Waiting { stream, reason } => {
                self.start(stream, &format!("{stream}: waiting for {reason}"));
            }
            Event::Ended(receipt) => {
                if let Some(shown) = self.streams.remove(&receipt.stream) {
                    shown.bar.finish_and_clear();
                    self.bars.remove(&shown.bar);
                }
            }
            Event::Jobs { jobs, allowance } if !self.quiet => self.bars.suspend(|| {
                say(&format!(
                    "this read orders {}; {} of {} {} are left",
                    count(usize::try_from(*jobs).unwrap_or(usize::MAX), "export job"),
                    allowance.left(),
                    allowance.limit,
                    allowance.title,
                ));
            }),
            _ => {}
        }
    }

    /// Removes the bars.
    pub(crate) fn end(&self) {
        let _ = self.bars.clear();
    }

    /// Shows this text for a stream, which gets a bar of its own the first time.
    fn start(&mut self, stream: &str, text: &str) {
        let shown = self.shown(stream);
        shown.bar.set_message(text.to_owned());
    }

    fn shown(&mut self, stream: &str) -> &mut StreamBar {
        let bars = &self.bars;
        self.streams.entry(stream.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::no_length());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            if !bars.is_hidden() {
                bar.enable_steady_tick(Duration::from_millis(200));
            }
            StreamBar {
                bar,
                started: Instant::now(),
                last_event: None,
            }
        })
    }

    fn line(&mut self, receipt: &StreamReceipt) -> String {
        let seconds = self
            .shown(&receipt.stream)
            .started
            .elapsed()
            .as_secs_f64()
            .max(0.001);
        let rate = receipt.records as f64 / seconds;
        let left = receipt
            .expected()
            .filter(|expected| *expected > receipt.read && rate > 0.0)
            .map(|expected| {
                let seconds = (expected - receipt.read) as f64 / rate;
                format!(", about {} left", duration(seconds as u64))
            })
            .unwrap_or_default();
        let waited = self.meter.limit_pause() + self.meter.backoff_pause();
        format!(
            "{}: {} records, {} pages, {rate:.0}/s{left}, requests waited {} for the limit",
            receipt.stream,
            thousands(receipt.records),
            thousands(receipt.pages),
            duration(waited.as_secs()),
        )
    }

    /// One JSON object per event; progress at most once a second for each stream.
    fn machine(&mut self, event: &Event<'_>) {
        if let Event::Progress(receipt) = event {
            let now = Instant::now();
            let shown = self.shown(&receipt.stream);
            let last = shown.last_event;
            if last.is_some_and(|last| now.duration_since(last) < EVENT_EVERY) {
                return;
            }
            shown.last_event = Some(now);
        }
        say(&event.to_json(&self.meter).to_string());
    }
}
