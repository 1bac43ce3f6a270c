//! Export jobs: ordered, queued, run and kept for a while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{ORG_ID, USER_ID};
use super::options::JobOptions;
use crate::random::{Purpose, draw};

/// The fate of an export job.
///
/// As JSON: `"failed"` or `{"unknown_status": {"word": "PAUSED", "polls": 3}}`, or
/// `{"late": {"list": 2, "status": 3, "result": 1}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// It is done and its result can be read.
    #[default]
    Done,
    /// It ends as `FAILED`; when it was ordered with retries, the next attempt succeeds.
    Failed,
    /// It ends as `ABORTED`.
    Aborted,
    /// It ends as `CANCELLED` without ever running.
    Cancelled,
    /// When it would run, the service does not know it any more.
    Vanish,
    /// It is done and its result has expired already.
    Expired,
    /// It runs for ever.
    Stuck,
    /// Its status is another word for the first `polls` polls that would find it running or done.
    UnknownStatus {
        /// The word.
        word: String,
        /// How many polls.
        polls: u32,
    },
    /// It is done, and reports that rows or cells were left out.
    Truncated {
        /// `rowsTruncated`.
        rows: bool,
        /// `cellsTruncated`.
        cells: bool,
    },
    /// It is done, and its result is sent as `application/octet-stream`.
    WrongContentType,
    /// It is done, and shows late: read after write lags.
    Late {
        /// How many lists of the jobs lack it.
        list: u32,
        /// How many questions for its status find no such job.
        status: u32,
        /// How many questions for its result, once it is done, find none.
        result: u32,
    },
}

/// An export job that was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderedJob {
    /// The id.
    pub job_id: String,
    /// The path it was ordered with, without the version.
    pub path: String,
    /// The parameters it was ordered with.
    pub parameters: Value,
    /// Its status now.
    pub status: String,
    /// The number of polls of its status.
    pub polls: u64,
    /// The number of requests for its result while it existed.
    pub downloads: u64,
    /// The number of jobs with this path and these parameters, this one included.
    pub orders: u64,
}

/// The subject of a job, as the job object shows it.
#[derive(Clone, Debug)]
pub(crate) struct Title {
    pub(crate) title: String,
    pub(crate) module: &'static str,
    pub(crate) file_stem: String,
    pub(crate) file_type: &'static str,
    pub(crate) currency: &'static str,
}

/// An order.
#[derive(Clone, Debug)]
pub(crate) struct Order<W> {
    pub(crate) title: Title,
    pub(crate) path: String,
    pub(crate) parameters: Value,
    pub(crate) retries: u32,
    /// The inputs of the result.
    pub(crate) work: W,
}

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct Job<W> {
    pub(crate) id: String,
    pub(crate) order: Order<W>,
    pub(crate) outcome: JobOutcome,
    ordered: Instant,
    start_time: i64,
    /// The time of its cancellation, and its status since.
    cancelled: Option<(Instant, Status)>,
    polls: u64,
    unknown_polls: u32,
    /// The number of lists, statuses and results that lacked it.
    missed: Missed,
    pub(crate) downloads: u64,
}

/// Counts of requests that did not show a job yet.
#[derive(Clone, Copy, Debug, Default)]
struct Missed {
    lists: u32,
    statuses: u32,
    results: u32,
}

/// The status of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Scheduled,
    Started,
    Done,
    Failed,
    Cancelled,
    Aborted,
    Other(String),
    /// The service does not know the job any more.
    Gone,
}

impl Status {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::Started => "STARTED",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Aborted => "ABORTED",
            Self::Other(word) => word,
            Self::Gone => "",
        }
    }

    fn is_running(&self) -> bool {
        matches!(self, Self::Scheduled | Self::Started | Self::Other(_))
    }
}

impl<W> Job<W> {
    /// The status at a time, and the end of the job, if it has ended.
    fn status(&self, options: &JobOptions, now: Instant) -> (Status, Option<Duration>) {
        if let Some((at, status)) = &self.cancelled {
            return (status.clone(), Some(at.duration_since(self.ordered)));
        }
        let age = now.saturating_duration_since(self.ordered);
        let attempt = options.scheduled + options.running;
        let fails_first = self.outcome == JobOutcome::Failed && self.order.retries > 0;
        let (start, end) = match fails_first && age >= attempt {
            true => {
                let again = attempt + options.retry_delay;
                (again, again + options.running)
            }
            false => (options.scheduled, attempt),
        };
        if self.outcome == JobOutcome::Cancelled && age >= options.scheduled {
            return (Status::Cancelled, Some(options.scheduled));
        }
        if age < start {
            return (Status::Scheduled, None);
        }
        if self.outcome == JobOutcome::Vanish {
            return (Status::Gone, None);
        }
        if let JobOutcome::UnknownStatus { word, polls } = &self.outcome
            && self.unknown_polls < *polls
        {
            return (Status::Other(word.clone()), None);
        }
        if age < end || self.outcome == JobOutcome::Stuck {
            return (Status::Started, None);
        }
        let status = match self.outcome {
            JobOutcome::Failed if !fails_first => Status::Failed,
            JobOutcome::Aborted => Status::Aborted,
            _ => Status::Done,
        };
        (status, Some(end))
    }
}

/// The reason for a refused order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoQuota;

/// All jobs of the organization. `W` holds the inputs of a result.
#[derive(Debug)]
pub(crate) struct Jobs<W> {
    seed: u64,
    options: JobOptions,
    jobs: Vec<Job<W>>,
    /// The fates of the next jobs.
    script: VecDeque<JobOutcome>,
}

impl<W: Clone> Jobs<W> {
    pub(crate) fn new(seed: u64, options: JobOptions) -> Self {
        Self {
            seed,
            options,
            jobs: Vec::new(),
            script: VecDeque::new(),
        }
    }

    /// Sets the fates of the next jobs; later ones are done.
    pub(crate) fn script(&mut self, outcomes: impl IntoIterator<Item = JobOutcome>) {
        self.script.extend(outcomes);
    }

    pub(crate) fn scripted(&self) -> usize {
        self.script.len()
    }

    /// Orders a job and returns its id.
    pub(crate) fn order(&mut self, order: Order<W>, now: Instant) -> Result<String, NoQuota> {
        if self.free_slots(now) == 0 || self.free_quota(now) == 0 {
            return Err(NoQuota);
        }
        let start_time = Timestamp::now().as_millisecond();
        let number = self.jobs.len() as u64;
        let id = format!(
            "{:08x}{:016x}",
            start_time / 1_000,
            draw(self.seed, Purpose::ExportJob, number)
        );
        self.jobs.push(Job {
            id: id.clone(),
            order,
            outcome: self.script.pop_front().unwrap_or_default(),
            ordered: now,
            start_time,
            cancelled: None,
            polls: 0,
            unknown_polls: 0,
            missed: Missed::default(),
            downloads: 0,
        });
        Ok(id)
    }

    fn position(&self, id: &str, now: Instant) -> Option<usize> {
        self.jobs
            .iter()
            .position(|job| job.id == id && job.status(&self.options, now).0 != Status::Gone)
    }

    /// Counts the poll and returns the job object; `None` for an unknown job.
    pub(crate) fn poll(&mut self, id: &str, now: Instant) -> Option<Value> {
        let position = self.position(id, now)?;
        let job = self.jobs.get_mut(position)?;
        if let JobOutcome::Late { status, .. } = job.outcome
            && is_missed(&mut job.missed.statuses, status)
        {
            return None;
        }
        let object = self.object(self.jobs.get(position)?, now);
        let options = self.options;
        let job = self.jobs.get_mut(position)?;
        job.polls += 1;
        if matches!(job.status(&options, now).0, Status::Other(_)) {
            job.unknown_polls += 1;
        }
        Some(object)
    }

    /// Every job that the service knows, the newest first.
    pub(crate) fn list(&mut self, now: Instant) -> Vec<Value> {
        let shows = |job: &mut Job<W>| match job.outcome {
            JobOutcome::Late { list, .. } => !is_missed(&mut job.missed.lists, list),
            _ => true,
        };
        let shown: Vec<bool> = self.jobs.iter_mut().map(shows).collect();
        let known = self.jobs.iter().zip(shown).rev();
        let known = known.filter(|(_, is_shown)| *is_shown).map(|(job, _)| job);
        let known = known.filter(|job| job.status(&self.options, now).0 != Status::Gone);
        known.map(|job| self.object(job, now)).collect()
    }

    /// Cancels a job that has not ended; false when it has.
    pub(crate) fn cancel(&mut self, id: &str, now: Instant) -> Option<bool> {
        let position = self.position(id, now)?;
        let options = self.options;
        let job = self.jobs.get_mut(position)?;
        let status = match job.status(&options, now).0 {
            Status::Scheduled => Status::Cancelled,
            status if status.is_running() => Status::Aborted,
            _ => return Some(false),
        };
        job.cancelled = Some((now, status));
        Some(true)
    }

    /// The job, if its result can be read now.
    pub(crate) fn finished(&mut self, id: &str, now: Instant) -> Option<Job<W>> {
        let position = self.position(id, now)?;
        let options = self.options;
        let job = self.jobs.get_mut(position)?;
        let (status, end) = job.status(&options, now);
        let age = now.saturating_duration_since(job.ordered);
        let is_expired = job.outcome == JobOutcome::Expired || age >= end? + options.result_life;
        if status != Status::Done || is_expired {
            return None;
        }
        if let JobOutcome::Late { result, .. } = job.outcome
            && is_missed(&mut job.missed.results, result)
        {
            return None;
        }
        job.downloads += 1;
        Some(job.clone())
    }

    /// The answer of `GET /admin/limits`.
    pub(crate) fn limits(&self, now: Instant) -> Value {
        let mut limits = json!({
            "concurrentLimit": self.options.concurrent_limit,
            "monthlyQuota": self.options.monthly_quota,
            "submittedJobIds": self.counting(now).map(|job| &job.id).collect::<Vec<_>>(),
            "availableConcurrentLimit": self.free_slots(now),
            "availableMonthlyQuota": self.free_quota(now),
        });
        let running: Vec<&String> = self.running(now).map(|job| &job.id).collect();
        if !running.is_empty() {
            limits["runningJobIds"] = json!(running);
        }
        json!({ "jobs": limits })
    }

    /// Every job ever ordered, in their order.
    pub(crate) fn ordered(&self, now: Instant) -> Vec<OrderedJob> {
        let same = |job: &Job<W>| {
            let is_same = |other: &&Job<W>| {
                other.order.path == job.order.path && other.order.parameters == job.order.parameters
            };
            self.jobs.iter().filter(is_same).count() as u64
        };
        let ordered = self.jobs.iter().map(|job| OrderedJob {
            job_id: job.id.clone(),
            path: job.order.path.clone(),
            parameters: job.order.parameters.clone(),
            status: job.status(&self.options, now).0.name().to_owned(),
            polls: job.polls,
            downloads: job.downloads,
            orders: same(job),
        });
        ordered.collect()
    }

    fn running(&self, now: Instant) -> impl Iterator<Item = &Job<W>> {
        let options = &self.options;
        let jobs = self.jobs.iter();
        jobs.filter(move |job| job.status(options, now).0.is_running())
    }

    /// The jobs that count against the quota: cancelling one takes it out (vendor document).
    fn counting(&self, now: Instant) -> impl Iterator<Item = &Job<W>> {
        let window = self.options.quota_window;
        self.jobs.iter().filter(move |job| {
            job.cancelled.is_none() && now.saturating_duration_since(job.ordered) < window
        })
    }

    fn free_slots(&self, now: Instant) -> u64 {
        let running = self.running(now).count() as u64;
        self.options.concurrent_limit.saturating_sub(running)
    }

    fn free_quota(&self, now: Instant) -> u64 {
        let counting = self.counting(now).count() as u64;
        self.options.monthly_quota.saturating_sub(counting)
    }

    fn object(&self, job: &Job<W>, now: Instant) -> Value {
        let (status, end) = job.status(&self.options, now);
        let title = &job.order.title;
        let (rows, cells) = match job.outcome {
            JobOutcome::Truncated { rows, cells } => (rows, cells),
            _ => (false, false),
        };
        let day = Timestamp::from_millisecond(job.start_time).unwrap_or_default();
        let mut object = json!({
            "jobId": job.id,
            "userId": USER_ID,
            "orgId": ORG_ID,
            "title": title.title,
            "module": title.module,
            "startTime": job.start_time,
            "version": 1,
            "fileName": format!(
                "clari_export_{}_{}.{}",
                title.file_stem,
                day.strftime("%Y%m%d_%H%M%S"),
                title.file_type.to_lowercase()
            ),
            "fileType": title.file_type,
            "status": status.name(),
            "viewed": job.downloads > 0,
            "cellsTruncated": cells && status == Status::Done,
            "rowsTruncated": rows && status == Status::Done,
            "downloads": job.downloads,
            "deliveryStatusMap": {},
            "currency": title.currency,
        });
        if let Some(end) = end {
            let end_time = job.start_time + milliseconds(end);
            let life = match job.outcome {
                JobOutcome::Expired => Duration::ZERO,
                _ => self.options.result_life,
            };
            object["endTime"] = end_time.into();
            object["expiredTime"] = (end_time + milliseconds(life)).into();
        }
        object
    }
}

/// Counts one more request that does not find the job, up to `max`.
const fn is_missed(missed: &mut u32, max: u32) -> bool {
    let is_early = *missed < max;
    if is_early {
        *missed += 1;
    }
    is_early
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
