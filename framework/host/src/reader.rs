//! The loop: fetch, write, commit, one stream after the other.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use headwater_core::{AnyStream, Kind, Meter, Note, Page, Position, Result, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    Redacted, Redaction, Redactor, Sink, State,
    state::{Pass, Progress},
};

/// What to read and how to remember it.
#[derive(Debug)]
pub struct ReadOptions {
    /// At most so many records of each stream.
    pub limit: Option<u64>,
    /// Where the state is kept; without it, it is forgotten at the end.
    pub state_path: Option<PathBuf>,
    /// The longest time between two commits. Zero commits after every page: for sinks that cannot be cut back.
    pub commit_every: Duration,
    /// Becomes true when the user wants to stop: the read commits and ends.
    pub stop: watch::Receiver<bool>,
    /// What the client counts.
    pub meter: Arc<Meter>,
    /// Whether and how personal data is replaced before it gets to the sink.
    pub redaction: Option<Redaction>,
}

/// What happens during a read, for progress.
#[derive(Debug)]
pub enum Event<'a> {
    /// A stream begins; `resumed` when an earlier run left it half way.
    Started {
        /// Its name.
        stream: &'a str,
        /// Whether an earlier run left it half way.
        resumed: bool,
    },
    /// A page was written.
    Progress(&'a StreamSummary),
    /// A stream ended.
    Ended(&'a StreamSummary),
}

/// How a stream ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Ending {
    /// Everything was read.
    Complete,
    /// `--limit` ended it.
    Limited,
    /// The user ended it.
    Stopped,
    /// An error ended it.
    Failed {
        /// What kind of error.
        kind: Kind,
        /// The sentence.
        message: String,
        /// Seconds until trying again makes sense, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
    /// The run that this one goes on with had read it.
    ReadBefore,
    /// An earlier stream's error made it pointless to begin.
    NotRead,
}

/// What was read of a stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamSummary {
    /// Its name.
    pub stream: String,
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// Records written.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pages that had records.
    pub pages: u64,
    /// What should not be silent: how often, and the sentence, by code.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<&'static str, (u64, String)>,
    /// What was done with personal data, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redacted>,
}

/// What was read.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Stream by stream, in the order they were read.
    pub streams: Vec<StreamSummary>,
    /// Requests sent, retries included.
    pub requests: u64,
    /// How many of them were retries.
    pub retries: u64,
    /// Seconds in all.
    pub seconds: f64,
    /// Seconds waited for the service's limit.
    pub limit_wait_seconds: f64,
    /// Seconds waited before retries.
    pub backoff_wait_seconds: f64,
}

impl Summary {
    /// The kind of error that decides the exit code: the first stream's that failed, or a stop by the user.
    pub fn failure(&self) -> Option<Kind> {
        let failed = self.streams.iter().find_map(|stream| match stream.ending {
            Ending::Failed { kind, .. } => Some(kind),
            _ => None,
        });
        let is_stopped = self
            .streams
            .iter()
            .any(|stream| matches!(stream.ending, Ending::Stopped));
        failed.or(is_stopped.then_some(Kind::Cancelled))
    }
}

/// Reads streams one after the other into a sink.
///
/// A stream's own trouble (no permission, a malformed answer) ends that stream; trouble with the service, the sink or
/// the state ends the read. Errors of a stream are in the summary; an error of this function comes from the state or the
/// sink, before the first record or while writing the last ones.
///
/// A limit may cut a page. What is left of it is written after everything else and the state stays before that page:
/// a later run without the limit reads it whole.
pub async fn read(
    streams: &[Arc<dyn AnyStream>],
    mut state: State,
    sink: &mut dyn Sink,
    mut options: ReadOptions,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Summary> {
    let names: Vec<&str> = streams.iter().map(|stream| stream.spec().name).collect();
    for stream in streams {
        state.verify(&**stream)?;
    }
    // A schema that cannot be followed is found now and not after the streams before it.
    let mut redactors = streams
        .iter()
        .map(|stream| redactor(&**stream, &options))
        .collect::<Result<Vec<_>>>()?;
    sink.restore(&names, &state)?;
    // A state that cannot be kept is found now and not after the first page.
    save(&state, &options)?;
    let started = Instant::now();
    let (before_limit, before_backoff) = (options.meter.limit_wait(), options.meter.backoff_wait());
    let (before_requests, before_retries) = (options.meter.requests(), options.meter.retries());
    let mut summaries: Vec<StreamSummary> = Vec::with_capacity(streams.len());
    let mut held_back = Vec::new();
    let (mut is_over, mut is_sink_broken) = (false, false);
    for (stream, redactor) in streams.iter().zip(&mut redactors) {
        let mut summary = StreamSummary::new(stream.spec().name);
        if !is_over && state.is_finished(&summary.stream) {
            summary.ending = Ending::ReadBefore;
        } else if !is_over {
            on_event(Event::Started {
                stream: &summary.stream,
                resumed: state.is_under_way(&summary.stream),
            });
            let mut reading = Reading {
                state: &mut state,
                sink,
                options: &mut options,
                held_back: &mut held_back,
                redactor,
                last_commit: Instant::now(),
            };
            let ended = reading.stream(&**stream, &mut summary, on_event).await;
            // Whatever ended it, what was written is kept; but a sink that failed half way through a page has nothing
            // more to say, and the next run begins where it last committed.
            is_sink_broken = matches!(&ended, Err(error) if is_sink_trouble(error.kind()));
            let kept = if is_sink_broken {
                Ok(())
            } else {
                reading.commit()
            };
            let ended = ended.and_then(|ending| kept.map(|()| ending));
            is_over = match &ended {
                Ok(ending) => matches!(ending, Ending::Stopped),
                Err(error) => !is_own_trouble(error.kind()),
            };
            summary.ending = ended.unwrap_or_else(|error| Ending::Failed {
                kind: error.kind(),
                retry_after_seconds: error.delay().map(|delay| delay.as_secs()),
                message: error.to_string(),
            });
            summary.tell(redactor.as_ref());
            on_event(Event::Ended(&summary));
        }
        summaries.push(summary);
    }
    // A stream that failed for a reason of its own does not hold the others back for ever.
    if !is_over {
        state.end_run();
        save(&state, &options)?;
    }
    for (stream, page, count) in held_back.into_iter().filter(|_| !is_sink_broken) {
        sink.write(&stream, &mut page.iter().take(count))?;
        sink.commit(&mut state.clone())?;
    }
    let meter = &options.meter;
    Ok(Summary {
        streams: summaries,
        requests: meter.requests() - before_requests,
        retries: meter.retries() - before_retries,
        seconds: started.elapsed().as_secs_f64(),
        limit_wait_seconds: (meter.limit_wait() - before_limit).as_secs_f64(),
        backoff_wait_seconds: (meter.backoff_wait() - before_backoff).as_secs_f64(),
    })
}

/// Whether an error says something about one stream only.
const fn is_own_trouble(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::PermissionDenied
            | Kind::NotFound
            | Kind::DataInvalid
            | Kind::Unsupported
            | Kind::ConfigInvalid
    )
}

/// Whether an error comes from where records go: a full disk, a pipe whose reader went away.
const fn is_sink_trouble(kind: Kind) -> bool {
    matches!(kind, Kind::OutputFailed | Kind::Cancelled)
}

fn redactor(stream: &dyn AnyStream, options: &ReadOptions) -> Result<Option<Redactor>> {
    let redaction = options.redaction.as_ref();
    redaction
        .map(|redaction| Redactor::new(stream.spec(), redaction))
        .transpose()
}

fn save(state: &State, options: &ReadOptions) -> Result<()> {
    options
        .state_path
        .as_deref()
        .map_or(Ok(()), |path| state.save(path))
}

impl StreamSummary {
    fn new(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            ending: Ending::NotRead,
            records: 0,
            bytes: 0,
            pages: 0,
            notes: BTreeMap::new(),
            redaction: None,
        }
    }

    fn tell(&mut self, redactor: Option<&Redactor>) {
        self.redaction = redactor.map(Redactor::report);
        if let Some(note) = redactor.and_then(Redactor::unclassed_email) {
            self.notes.insert("unclassed_email", note);
        }
    }

    fn count<T, B>(&mut self, page: &Page<T, B>, records: usize) {
        self.records += records as u64;
        self.bytes += page
            .iter()
            .take(records)
            .map(|record| record.len() as u64)
            .sum::<u64>();
        self.pages += u64::from(records > 0);
    }

    fn note(&mut self, notes: Vec<Note>) {
        for note in notes {
            self.notes
                .entry(note.code)
                .or_insert_with(|| (0, note.message))
                .0 += 1;
        }
    }
}

struct Reading<'a> {
    state: &'a mut State,
    sink: &'a mut dyn Sink,
    options: &'a mut ReadOptions,
    /// Pages that the limit cuts, with the number of records to write.
    held_back: &'a mut Vec<(String, Page<Position, Position>, usize)>,
    redactor: &'a mut Option<Redactor>,
    last_commit: Instant,
}

impl Reading<'_> {
    async fn stream(
        &mut self,
        stream: &dyn AnyStream,
        summary: &mut StreamSummary,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Ending> {
        let name = stream.spec().name;
        if self.state.stream(name).pass.is_none() {
            let partitions =
                stream.plan(self.state.stream(name).bookmark.clone(), Timestamp::now())?;
            let partitions = partitions
                .into_iter()
                .map(|partition| Progress {
                    partition,
                    token: None,
                })
                .collect();
            self.state.stream(name).pass = Some(Pass {
                partitions,
                bookmark: None,
            });
        }
        while let Some(Progress { partition, token }) = self.current(name) {
            let page = tokio::select! {
                biased;
                _ = self.options.stop.wait_for(|stop| *stop) => return Ok(Ending::Stopped),
                page = stream.fetch(partition, token) => page.map_err(|error| error.during(format!("read {name}")))?,
            };
            let wanted = self.wanted(&page, summary);
            let is_cut = wanted < page.records.len();
            let page = match self.redactor {
                Some(redactor) => redactor.page(page, wanted)?,
                None => page,
            };
            summary.count(&page, wanted);
            if is_cut {
                self.held_back.push((name.to_owned(), page, wanted));
                return Ok(Ending::Limited);
            }
            self.sink.write(name, &mut page.iter())?;
            self.advance(name, page, summary);
            on_event(Event::Progress(summary));
            if self.last_commit.elapsed() >= self.options.commit_every {
                self.commit()?;
            }
            let is_enough = self
                .options
                .limit
                .is_some_and(|limit| summary.records >= limit);
            if is_enough && self.current(name).is_some() {
                return Ok(Ending::Limited);
            }
        }
        let state = self.state.stream(name);
        if let Some(pass) = state.pass.take() {
            state.bookmark = pass.bookmark.or(state.bookmark.take());
        }
        self.state.finish(name);
        Ok(Ending::Complete)
    }

    fn current(&mut self, name: &str) -> Option<Progress> {
        self.state
            .stream(name)
            .pass
            .as_ref()?
            .partitions
            .front()
            .cloned()
    }

    /// How many records of a page the limit leaves.
    fn wanted(&self, page: &Page<Position, Position>, summary: &StreamSummary) -> usize {
        let left = self
            .options
            .limit
            .map_or(u64::MAX, |limit| limit.saturating_sub(summary.records));
        page.records
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn advance(&mut self, name: &str, page: Page<Position, Position>, summary: &mut StreamSummary) {
        summary.note(page.notes);
        let Some(pass) = &mut self.state.stream(name).pass else {
            return;
        };
        if let Some(bookmark) = page.bookmark {
            pass.bookmark = Some(bookmark);
        }
        match (page.next, pass.partitions.front_mut()) {
            (Some(next), Some(current)) => current.token = Some(next),
            _ => {
                pass.partitions.pop_front();
            }
        }
    }

    /// First the records, then the state.
    fn commit(&mut self) -> Result<()> {
        self.sink.commit(self.state)?;
        save(self.state, self.options)?;
        self.last_commit = Instant::now();
        Ok(())
    }
}
