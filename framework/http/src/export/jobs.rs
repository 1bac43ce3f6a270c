//! What a connector says about a service's export jobs.

use std::time::Duration;

use async_trait::async_trait;
use headwater_core::{Error, Result};

use crate::client::{Request, Response};

/// Ordering, watching and fetching the jobs of a service.
#[async_trait]
pub trait Jobs<Order>: Send + Sync {
    /// How long and how often.
    fn policy(&self) -> JobPolicy;

    /// Something that every later job is newer than.
    async fn mark(&self) -> Result<i64>;

    /// The job that an order after the mark has made, if there is one; none of those that other orders have.
    async fn find(&self, order: &Order, mark: i64, taken: &[String]) -> Result<Option<String>>;

    /// Orders a job.
    async fn order(&self, order: &Order) -> Result<OrderOutcome>;

    /// How a job is doing.
    async fn status(&self, job: &str) -> Result<JobStatus>;

    /// The request for a job's result, which accepts the statuses that `is_gone` knows.
    fn result(&self, job: &str) -> Request;

    /// Whether this answer to [`Jobs::result`] means that there is no such result: not yet, or not any more.
    fn is_gone(&self, response: &Response) -> bool;

    /// Cancels a job. True when that was still possible.
    async fn cancel(&self, job: &str) -> Result<bool>;
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct JobPolicy {
    /// Jobs ordered in a run for one order, the first included.
    pub attempts: u32,
    /// How long one run waits for one job.
    pub patience: Duration,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderOutcome {
    /// A job with this id.
    Job(String),
    /// The service runs as many jobs as it allows.
    Busy,
}

/// How a job is doing.
#[derive(Debug)]
pub enum JobStatus {
    /// Not finished.
    Running,
    /// Not finished, in a state that nobody has heard of.
    Unknown(String),
    /// The result is there; an error where it lacks something.
    Done(Result<()>),
    /// The service could not do it. Another try may help.
    Failed(Error),
    /// Somebody ended it. Another try is not wanted by itself.
    Ended(Error),
    /// The service does not know it: not yet, or not any more.
    Gone,
    /// Its result was there and is not kept any longer.
    Expired,
}
