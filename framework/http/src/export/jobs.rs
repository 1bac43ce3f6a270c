//! The interface between a connector and a service's export jobs.

use std::time::Duration;

use async_trait::async_trait;
use headwater_core::{Error, Result};

use crate::client::{Request, Response};

/// Orders, watches and fetches the jobs of a service.
#[async_trait]
pub trait Jobs<Order>: Send + Sync {
    /// Returns the limits of attempts and waits.
    fn policy(&self) -> JobPolicy;

    /// Returns a mark that is older than every later job.
    async fn mark(&self) -> Result<i64>;

    /// Returns the job of an order after the mark, if it exists; never a job taken by another order.
    async fn find(&self, order: &Order, mark: i64, taken: &[String]) -> Result<Option<String>>;

    /// Orders a job.
    async fn order(&self, order: &Order) -> Result<OrderOutcome>;

    /// Returns the status of a job.
    async fn status(&self, job: &str) -> Result<JobStatus>;

    /// Returns the request for a job's result, which accepts the statuses that `is_gone` recognises.
    fn result(&self, job: &str) -> Request;

    /// Returns whether this response to [`Jobs::result`] means that the result does not exist yet or no longer exists.
    fn is_gone(&self, response: &Response) -> bool;

    /// Cancels a job. Returns true if that was still possible.
    async fn cancel(&self, job: &str) -> Result<bool>;
}

/// The limits of attempts and waits.
#[derive(Clone, Copy, Debug)]
pub struct JobPolicy {
    /// The maximum number of jobs per order in one run, including the first.
    pub attempts: u32,
    /// The maximum time that one run waits for one job.
    pub patience: Duration,
}

/// The outcome of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderOutcome {
    /// A job with this id.
    Job(String),
    /// The service has no free slot for a job.
    Busy,
}

/// The status of a job.
#[derive(Debug)]
pub enum JobStatus {
    /// Not finished.
    Running,
    /// Not finished, in an unknown state.
    Unknown(String),
    /// The result is ready; an error if it is incomplete.
    Done(Result<()>),
    /// The job failed. A new job may help.
    Failed(Error),
    /// A user or the service ended the job. A new job needs a new run.
    Ended(Error),
    /// The service does not know the job: not yet, or no longer.
    Gone,
    /// The result has expired.
    Expired,
}
