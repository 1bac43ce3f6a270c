//! Export jobs: order, find, watch, fetch, cancel.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use async_trait::async_trait;
use headwater::{
    http::{Client, JobPolicy, JobStatus, Jobs, OrderOutcome, Records, Request, Response},
    prelude::*,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Config,
    limits::{self, Limits},
};

/// A bare list in the vendor's document, a wrapped list in the observations of others.
pub(crate) const JOBS: Records = Records::Lists(&["", "/jobs"]);

/// The relevant fields of a job.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    #[serde(default)]
    pub(crate) job_id: String,
    #[serde(default)]
    pub(crate) status: Option<String>,
    #[serde(default)]
    pub(crate) module: Option<String>,
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) file_name: Option<String>,
    /// Milliseconds.
    #[serde(default)]
    pub(crate) start_time: Option<i64>,
    /// Milliseconds; the end of the result's retention.
    #[serde(default)]
    expired_time: Option<i64>,
    #[serde(default)]
    rows_truncated: Option<bool>,
    #[serde(default)]
    cells_truncated: Option<bool>,
}

impl Job {
    /// A waiting job may have no start time yet. An ended job without a start time was cancelled long ago.
    fn is_newer_than(&self, mark: i64) -> bool {
        self.start_time.map_or_else(
            || matches!(judge(&self.job_id, self), JobStatus::Running),
            |start| start > mark,
        )
    }
}

impl Job {
    /// Returns whether its result has expired. The time is the service's `Date`, which omits fractions of a second.
    fn is_expired(&self, now: Timestamp) -> bool {
        let now = now.as_millisecond() + 999;
        self.expired_time
            .is_some_and(|expired| expired > 0 && expired <= now)
    }
}

/// Returns all jobs of the key's user.
pub(crate) async fn list(client: &Client) -> Result<Vec<Job>> {
    let response = client.send(&Request::get("/export/jobs")).await?;
    let split = client.cut(&response, JOBS, &[], &[])?;
    // An empty list leads to an order, so the response has to contain a list.
    if split.taken_as_empty {
        let text = "Clari's response has no list of export jobs";
        return Err(Error::new(Kind::DataInvalid, text));
    }
    split
        .records
        .into_iter()
        .map(|span| parse(&response.body[span]))
        .collect()
}

/// Returns the users who started the jobs of the key's user: one, if there is a job.
pub(crate) async fn users(client: &Client) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct JobOwner {
        #[serde(rename = "userId")]
        user: Option<Value>,
    }
    let response = client.send(&Request::get("/export/jobs")).await?;
    let split = client.split(&response.body, JOBS, &[])?;
    let user = |span: Range<usize>| {
        let job: JobOwner = serde_json::from_slice(&response.body[span]).ok()?;
        let user = job.user?;
        (user.is_number() || user.is_string()).then(|| user.to_string())
    };
    Ok(split.records.into_iter().filter_map(user).collect())
}

fn parse(record: &[u8]) -> Result<Job> {
    serde_json::from_slice(record).map_err(|_| {
        let text = "Clari returned an export job in an unknown form";
        Error::new(Kind::DataInvalid, text)
    })
}

/// Returns the code of an application error.
pub(crate) fn code(response: &Response) -> String {
    #[derive(Deserialize)]
    struct ErrorCode {
        code: Option<String>,
    }
    serde_json::from_slice::<ErrorCode>(&response.body)
        .ok()
        .and_then(|coded| coded.code)
        .unwrap_or_default()
}

/// Returns whether a code means an unknown job or a missing result: the documented `invalid_jobId`, in any spelling.
fn names_no_job(code: &str) -> bool {
    let letters: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    matches!(
        &*letters,
        "invalidjobid" | "invalidjob" | "jobnotfound" | "nosuchjob" | "unknownjob"
    )
}

/// The jobs of one kind of export.
pub(crate) struct ExportJobs<Order> {
    pub(crate) client: Client,
    policy: JobPolicy,
    request: fn(&Order, &Config) -> Request,
    is_ours: fn(&Order, &Job) -> bool,
    refusal: fn(&Order, &Client, &Request, &Response) -> Error,
    config: Config,
}

impl<Order> ExportJobs<Order> {
    pub(crate) fn new(
        client: &Client,
        config: &Config,
        request: fn(&Order, &Config) -> Request,
        is_ours: fn(&Order, &Job) -> bool,
        refusal: fn(&Order, &Client, &Request, &Response) -> Error,
    ) -> Self {
        Self {
            client: client.clone(),
            policy: JobPolicy {
                attempts: config.job_attempts,
                patience: Duration::from_secs(u64::from(config.job_minutes) * 60),
            },
            request,
            is_ours,
            refusal,
            config: config.clone(),
        }
    }

    /// Handles HTTP 400, which Clari sends for both limits instead of 429; the remaining jobs show which limit it is.
    async fn full(&self) -> Result<OrderOutcome> {
        let limits = match Limits::ask(&self.client).await {
            Ok(limits) => limits,
            // A user without access to the limits waits for either.
            Err(error) if matches!(error.kind(), Kind::PermissionDenied | Kind::NotFound) => {
                return Ok(OrderOutcome::Busy);
            }
            Err(error) => return Err(error),
        };
        if limits.available_monthly_quota == 0 {
            return Err(limits::used_up(&self.client, &limits).await);
        }
        Ok(OrderOutcome::Busy)
    }
}

#[async_trait]
impl<Order: Send + Sync + 'static> Jobs<Order> for ExportJobs<Order> {
    fn policy(&self) -> JobPolicy {
        self.policy
    }

    async fn mark(&self) -> Result<i64> {
        let jobs = list(&self.client).await?;
        Ok(jobs
            .iter()
            .filter_map(|job| job.start_time)
            .max()
            .unwrap_or(0))
    }

    async fn find(&self, order: &Order, mark: i64, taken: &[String]) -> Result<Option<String>> {
        let jobs = list(&self.client).await?;
        let ours = jobs
            .into_iter()
            .filter(|job| job.is_newer_than(mark))
            .filter(|job| (self.is_ours)(order, job) && !taken.contains(&job.job_id))
            .min_by_key(|job| job.start_time.unwrap_or(i64::MAX));
        Ok(ours.map(|job| job.job_id))
    }

    async fn order(&self, order: &Order) -> Result<OrderOutcome> {
        let request = (self.request)(order, &self.config).accept(&[400, 401, 404, 503]);
        let response = self.client.send(&request).await?;
        // A proxy may send 503 for an order that arrived. A retry by the client would order twice.
        if response.status.as_u16() == 503 {
            return Err(self.client.refusal(&request, &response));
        }
        if !response.status.is_success() {
            if code(&response) == "export_monthly_quota_reached" {
                return self.full().await;
            }
            return Err((self.refusal)(order, &self.client, &request, &response));
        }
        let job = parse(&response.body)?;
        // The id becomes a part of paths.
        let is_an_id = job
            .job_id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if job.job_id.is_empty() || !is_an_id {
            let text = "Clari accepted the order of an export without a job id";
            return Err(Error::new(Kind::DataInvalid, text));
        }
        Ok(OrderOutcome::Job(job.job_id))
    }

    async fn status(&self, job: &str) -> Result<JobStatus> {
        let request = Request::get(format!("/export/jobs/{job}")).accept(&[400, 404]);
        let response = self.client.send(&request).await?;
        if !response.status.is_success() {
            return if self.is_gone(&response) {
                Ok(JobStatus::Gone)
            } else {
                Err(self.client.refusal(&request, &response))
            };
        }
        let wrapped = self.client.split(&response.body, Records::One("/job"), &[]);
        let found =
            wrapped.or_else(|_| self.client.split(&response.body, Records::One(""), &[]))?;
        let span = found.records.into_iter().next().unwrap_or_default();
        let found = parse(&response.body[span])?;
        if found.status.is_none() {
            let text = format!("Clari reports no status for the export job {job}");
            return Err(Error::new(Kind::DataInvalid, text));
        }
        Ok(match judge(job, &found) {
            JobStatus::Done(_) if found.is_expired(response.at) => JobStatus::Expired,
            status => status,
        })
    }

    fn result(&self, job: &str) -> Request {
        Request::get(format!("/export/jobs/{job}/results")).accept(&[400, 404])
    }

    fn is_gone(&self, response: &Response) -> bool {
        response.status.as_u16() == 404 || names_no_job(&code(response))
    }

    async fn cancel(&self, job: &str) -> Result<bool> {
        let body = json!({ "type": "CANCEL" });
        let request = Request::patch(format!("/export/jobs/{job}"), &body).accept(&[400, 404]);
        let response = self.client.send(&request).await?;
        Ok(response.status.is_success())
    }
}

/// Maps the documented states and those that others have observed.
fn judge(id: &str, job: &Job) -> JobStatus {
    let ended = |by: &str| {
        let text = format!(
            "the export job {id} was {by} at Clari before it finished; the next run orders it again"
        );
        JobStatus::Ended(Error::new(Kind::Unavailable, text))
    };
    let word = job.status.as_deref().unwrap_or_default();
    match word.to_ascii_uppercase().as_str() {
        "SCHEDULED" | "STARTED" | "PENDING" | "QUEUED" | "RUNNING" | "IN_PROGRESS" => {
            JobStatus::Running
        }
        "DONE" | "COMPLETED" | "SUCCESS" => JobStatus::Done(whole(id, job)),
        "FAILED" => {
            let text = format!("the export job {id} failed at Clari");
            JobStatus::Failed(Error::new(Kind::Unavailable, text))
        }
        "CANCELLED" => ended("cancelled"),
        "ABORTED" => ended("aborted"),
        "EXPIRED" => JobStatus::Expired,
        _ => JobStatus::Unknown(word.chars().take(40).collect()),
    }
}

fn whole(id: &str, job: &Job) -> Result<()> {
    let is_cut = |flag: Option<bool>| flag == Some(true);
    if !is_cut(job.rows_truncated) && !is_cut(job.cells_truncated) {
        return Ok(());
    }
    let what = if is_cut(job.rows_truncated) {
        "rows"
    } else {
        "cells"
    };
    let text = format!(
        "Clari cut {what} off the result of the export job {id}, which is too large; the remaining records were read. \
         Choose fewer export types or the current week only"
    );
    Err(Error::new(Kind::DataInvalid, text))
}
