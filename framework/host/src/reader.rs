//! The loop: fetch, write, commit, one stream after the other.

use std::{mem, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use headwater_core::{Hold, Kind, Meter, Page, Position, Result, Source};
use tokio::{sync::watch, time::Instant};

use crate::{
    Redaction, Sink, State,
    afford::afford,
    lane::{Lane, Pause, Turn, select},
    pass::{Pass, Progress},
    summary::{Ending, Event, StreamSummary, Summary},
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
    /// Becomes true when the user wants to stop: the read commits and ends. Nobody stops it once the sender is gone.
    pub stop: watch::Receiver<bool>,
    /// Cancel the export jobs that a stopped read leaves running. Without it, a later read goes on with them.
    pub release: bool,
    /// What the client counts.
    pub meter: Arc<Meter>,
    /// Whether and how personal data is replaced before it gets to the sink.
    pub redaction: Option<Redaction>,
}

/// Reads streams one after the other into a sink. While one waits for the service, the next ones are read.
///
/// `wanted` names the streams; none means all. Companions that nobody wants are left out of the sink.
///
/// A stream's own trouble (no permission, a malformed answer, a partition that is over for this run) ends that stream;
/// trouble with the service, the sink or the state ends the read. Errors of a stream are in the summary; an error of
/// this function comes before the first record, or from the state or the sink while the last ones are written.
///
/// A limit may cut a page. What is left of it is written after everything else and the state stays before that page:
/// a later run without the limit reads it whole.
pub async fn read(
    source: &dyn Source,
    wanted: &[String],
    mut state: State,
    sink: &mut dyn Sink,
    mut options: ReadOptions,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Summary> {
    let streams = select(source, wanted)?;
    let mut summaries = Vec::new();
    let mut lanes = Vec::new();
    for stream in &streams {
        state.verify(&**stream)?;
        lanes.push(Lane::new(
            &**stream,
            wanted,
            &state,
            options.redaction.as_ref(),
            &mut summaries,
        )?);
    }
    afford(source, &lanes, &state, on_event).await?;
    let specs: Vec<_> = streams
        .iter()
        .flat_map(|stream| std::iter::once(stream.spec()).chain(stream.companions()))
        .filter(|spec| summaries.iter().any(|one| one.stream == spec.name))
        .cloned()
        .collect();
    sink.restore(&specs, &state)?;
    // A state that cannot be kept is found now and not after the first page.
    save(&state, &options)?;
    let started = Instant::now();
    let (before_limit, before_backoff) = (options.meter.limit_wait(), options.meter.backoff_wait());
    let (before_requests, before_retries) = (options.meter.requests(), options.meter.retries());
    let mut reading = Reading {
        state: &mut state,
        sink,
        options: &mut options,
        summaries: &mut summaries,
        held_back: Vec::new(),
        last_commit: Instant::now(),
        is_over: false,
        is_sink_broken: false,
    };
    reading.all(&mut lanes, on_event).await;
    let cancelled = reading.release(&lanes).await;
    let Reading {
        held_back,
        is_over,
        is_sink_broken,
        ..
    } = reading;
    // A stream that failed for a reason of its own does not hold the others back for ever.
    if !is_over {
        state.end_run();
        save(&state, &options)?;
    }
    for held in held_back.into_iter().filter(|_| !is_sink_broken) {
        let mut records = held.records.iter().map(|span| &held.body[span.clone()]);
        sink.write(&held.stream, &mut records)?;
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
        cancelled_jobs: cancelled?,
    })
}

/// Whether an error says something about one stream only.
pub(crate) const fn is_own_trouble(kind: Kind) -> bool {
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

fn save(state: &State, options: &ReadOptions) -> Result<()> {
    options
        .state_path
        .as_deref()
        .map_or(Ok(()), |path| state.save(path))
}

/// Records that wait for the end of the read because the state will not go past them.
struct HeldBack {
    stream: String,
    body: Bytes,
    records: Vec<Range<usize>>,
}

struct Reading<'a> {
    state: &'a mut State,
    sink: &'a mut dyn Sink,
    options: &'a mut ReadOptions,
    summaries: &'a mut Vec<StreamSummary>,
    held_back: Vec<HeldBack>,
    last_commit: Instant,
    is_over: bool,
    is_sink_broken: bool,
}

impl Reading<'_> {
    async fn all(&mut self, lanes: &mut [Lane<'_>], on_event: &mut dyn FnMut(Event<'_>)) {
        while let Some(turn) = self.next_turn(lanes, on_event) {
            match turn {
                (_, Turn::Wait(at)) => {
                    tokio::select! {
                        biased;
                        Ok(_) = self.options.stop.wait_for(|stop| *stop) => {
                            self.is_over = true;
                            break;
                        }
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                (index, Turn::Fetch(progress)) => {
                    let lane = &mut lanes[index];
                    let ended = self.step(lane, progress, on_event).await.transpose();
                    if let Some(ended) = ended {
                        self.is_over |=
                            matches!(&ended, Err(error) if !is_own_trouble(error.kind()));
                        self.end(lane, ended, on_event);
                    }
                }
                (index, Turn::Done) => {
                    let lane = &mut lanes[index];
                    let ending = self.conclude(lane);
                    self.end(lane, Ok(ending), on_event);
                }
            }
            if self.is_over {
                break;
            }
        }
        // What was half way when somebody else ended the read.
        for lane in lanes
            .iter_mut()
            .filter(|lane| lane.has_begun && !lane.has_ended)
        {
            self.end(lane, Ok(Ending::Stopped), on_event);
        }
    }

    /// The first lane that can go on, or else the shortest wait.
    fn next_turn(
        &mut self,
        lanes: &mut [Lane<'_>],
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Option<(usize, Turn)> {
        let mut shortest: Option<(usize, Instant)> = None;
        for (index, lane) in lanes
            .iter_mut()
            .enumerate()
            .filter(|(_, lane)| !lane.has_ended)
        {
            if self.state.is_finished(lane.name) {
                lane.has_ended = true;
                for outlet in &lane.outlets {
                    self.summaries[outlet.summary].ending = Ending::ReadBefore;
                }
                continue;
            }
            if !lane.has_begun {
                lane.has_begun = true;
                on_event(Event::Started {
                    stream: lane.outlets[0].name,
                    resumed: lane.plan.is_none(),
                });
                if let Some(plan) = lane.plan.take() {
                    self.state.stream(lane.name).pass = Some(Pass::new(plan));
                }
            }
            match lane.turn(self.state) {
                Turn::Wait(at) => {
                    if shortest.is_none_or(|(_, other)| at < other) {
                        shortest = Some((index, at));
                    }
                }
                turn => return Some((index, turn)),
            }
        }
        shortest.map(|(index, at)| (index, Turn::Wait(at)))
    }

    /// Fetches a page and hands it on; an ending when the lane is over for this run.
    async fn step(
        &mut self,
        lane: &mut Lane<'_>,
        progress: Progress,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Ending>> {
        let ahead = lane.ahead.take().map(|(_, token)| token);
        let token = ahead.or(progress.token);
        let mut page = tokio::select! {
            biased;
            Ok(_) = self.options.stop.wait_for(|stop| *stop) => return Ok(Some(Ending::Stopped)),
            page = lane.stream.fetch(progress.partition, token) => {
                page.map_err(|error| error.during(format!("read {}", lane.outlets[0].name)))?
            }
        };
        self.deliver(lane, &page)?;
        let notes = mem::take(&mut page.notes);
        self.summaries[lane.outlets[0].summary].note(notes);
        let filled = lane
            .outlets
            .iter()
            .find(|outlet| !outlet.records(&page, lane.name).is_empty());
        if let Some(outlet) = filled {
            on_event(Event::Progress(&self.summaries[outlet.summary]));
        }
        let is_enough = lane
            .outlets
            .iter()
            .all(|outlet| self.left(outlet.summary) == 0);
        if lane.is_ahead {
            lane.ahead = page.next.map(|next| (progress.number, next));
            let is_over = is_enough || lane.ahead.is_none() || page.hold.is_some();
            return Ok(is_over.then_some(Ending::Limited));
        }
        let hold = page.hold.take();
        self.advance(lane.name, progress.number, page);
        lane.waits.remove(&progress.number);
        match hold {
            Some(Hold::For { wait, reason }) => {
                // Whatever is waited for exists only once the state knows of it.
                self.commit()?;
                on_event(Event::Waiting {
                    stream: lane.outlets[0].name,
                    reason: &reason,
                });
                let until = Pause::Until(Instant::now() + wait);
                lane.waits.insert(progress.number, until);
            }
            Some(Hold::NextRun(error)) => {
                lane.waits.insert(progress.number, Pause::NextRun);
                let error = error.during(format!("read {}", lane.outlets[0].name));
                lane.failure.get_or_insert(error);
            }
            None => {}
        }
        if self.last_commit.elapsed() >= self.options.commit_every {
            self.commit()?;
        }
        let is_more = self
            .state
            .pass(lane.name)
            .is_some_and(|pass| !pass.partitions.is_empty());
        Ok((is_enough && is_more).then_some(Ending::Limited))
    }

    /// Writes what is wanted of a page, or keeps it for the end when a limit cuts it or has cut an earlier one.
    fn deliver(&mut self, lane: &mut Lane<'_>, page: &Page<Position, Position>) -> Result<()> {
        lane.is_ahead |= lane
            .outlets
            .iter()
            .any(|outlet| outlet.records(page, lane.name).len() as u64 > self.left(outlet.summary));
        for outlet in &mut lane.outlets {
            let records = outlet.records(page, lane.name);
            let left = usize::try_from(self.left(outlet.summary)).unwrap_or(usize::MAX);
            let records = &records[..records.len().min(left)];
            if records.is_empty() {
                continue;
            }
            let redacted;
            let (body, records) = match &mut outlet.redactor {
                Some(redactor) => {
                    redacted = redactor.records(&page.body, records)?;
                    (&redacted.0, redacted.1.as_slice())
                }
                None => (&page.body, records),
            };
            self.summaries[outlet.summary].count(records);
            if lane.is_ahead {
                self.held_back.push(HeldBack {
                    stream: outlet.name.to_owned(),
                    body: body.clone(),
                    records: records.to_vec(),
                });
            } else {
                let mut records = records.iter().map(|span| &body[span.clone()]);
                self.sink.write(outlet.name, &mut records)?;
            }
        }
        Ok(())
    }

    /// How many records the limit leaves.
    fn left(&self, summary: usize) -> u64 {
        let limit = self.options.limit.unwrap_or(u64::MAX);
        limit.saturating_sub(self.summaries[summary].records)
    }

    fn advance(&mut self, name: &str, number: usize, page: Page<Position, Position>) {
        let Some(pass) = &mut self.state.stream(name).pass else {
            return;
        };
        if let Some(bookmark) = page.bookmark
            && (pass.bookmark.is_none() || number >= pass.bookmark_from)
        {
            pass.bookmark = Some(bookmark);
            pass.bookmark_from = number;
        }
        match page.next {
            Some(next) => {
                let mut partitions = pass.partitions.iter_mut();
                if let Some(progress) = partitions.find(|one| one.number == number) {
                    progress.token = Some(next);
                }
            }
            None => pass.partitions.retain(|one| one.number != number),
        }
    }

    /// How a lane ended of which nothing can be fetched any more in this run. Whatever ended single partitions for this
    /// run, an export job that takes too long for example, is no reason to end the read.
    fn conclude(&mut self, lane: &mut Lane<'_>) -> Ending {
        if let Some(error) = lane.failure.take() {
            return Ending::failed(&error);
        }
        let state = self.state.stream(lane.name);
        if let Some(pass) = state.pass.take() {
            state.bookmark = pass.bookmark.or(state.bookmark.take());
        }
        self.state.finish(lane.name);
        Ending::Complete
    }

    /// Ends a lane. Whatever ended it, what was written is kept; but a sink that failed half way through a page has
    /// nothing more to say, and the next run begins where it last committed.
    fn end(
        &mut self,
        lane: &mut Lane<'_>,
        ended: Result<Ending>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        lane.has_ended = true;
        self.is_sink_broken |= matches!(&ended, Err(error) if is_sink_trouble(error.kind()));
        let kept = if self.is_sink_broken {
            Ok(())
        } else {
            self.commit()
        };
        let ended = ended.and_then(|ending| kept.map(|()| ending));
        self.is_over |= match &ended {
            Ok(ending) => matches!(ending, Ending::Stopped),
            Err(error) => !is_own_trouble(error.kind()),
        };
        let ending = ended.unwrap_or_else(|error| Ending::failed(&error));
        for outlet in &lane.outlets {
            let summary = &mut self.summaries[outlet.summary];
            summary.ending = ending.clone();
            summary.tell(outlet.redactor.as_ref());
            on_event(Event::Ended(summary));
        }
    }

    /// Cancels what a stopped read leaves running at the service.
    async fn release(&mut self, lanes: &[Lane<'_>]) -> Result<u64> {
        let mut released = 0;
        // What a broken sink has not kept must not get into the state, and a job that is let go of has to.
        if self.is_sink_broken || !self.options.release || !*self.options.stop.borrow() {
            return Ok(released);
        }
        for lane in lanes {
            let places: Vec<Progress> = self
                .state
                .pass(lane.name)
                .iter()
                .flat_map(|pass| pass.partitions.iter().cloned())
                .collect();
            for Progress {
                number,
                partition,
                token,
                ..
            } in places
            {
                let Some(token) = token else { continue };
                if !lane.stream.release(partition, token).await? {
                    continue;
                }
                released += 1;
                let pass = self.state.stream(lane.name).pass.as_mut();
                let mut partitions = pass.into_iter().flat_map(|pass| &mut pass.partitions);
                if let Some(progress) = partitions.find(|one| one.number == number) {
                    progress.token = None;
                }
                save(self.state, self.options)?;
            }
        }
        Ok(released)
    }

    /// First the records, then the state.
    fn commit(&mut self) -> Result<()> {
        self.sink.commit(self.state)?;
        save(self.state, self.options)?;
        self.last_commit = Instant::now();
        Ok(())
    }
}
