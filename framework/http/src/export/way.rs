//! The steps to a job: the mark, the order, the job that appears late, the wait for its end.

use std::{
    collections::HashSet,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use headwater_core::{Error, Kind, Note, Page, Result, Status};

use super::{
    Export, ExportPage, ExportStream, ExportToken, Grace, JobStatus, OrderOutcome, TRIES, gone,
    next_run,
    token::{FIRST_POLL, poll},
    written,
};

/// The wait between two orders when the service has no free slot for a job.
const BUSY: Duration = Duration::from_secs(20);

impl<E: Export> ExportStream<E> {
    /// Requests the mark. The host commits it before the order.
    pub(super) async fn mark(
        &self,
        order: &E::Order,
        failed: u32,
        refused: u32,
    ) -> Result<ExportPage<E::Bookmark>> {
        let mark = Some(self.export.jobs().mark().await?);
        let next = ExportToken::Ordering {
            mark,
            failed,
            refused,
        };
        self.marked().insert(written(order));
        // A wait of zero: the host commits this position before the order.
        Ok(Page::wait(next, Duration::ZERO, "the order of an export"))
    }

    /// Finds the job of an interrupted order, or orders a new one. The job of an earlier order may appear late, so this
    /// searches for it during `grace` first.
    pub(super) async fn order(
        &self,
        order: &E::Order,
        (mark, failed, refused): (i64, u32, u32),
        grace: Option<Grace>,
    ) -> Result<ExportPage<E::Bookmark>> {
        let jobs = self.export.jobs();
        let turn = self.ordering.lock().await;
        let found = jobs.find(order, mark, &self.taken_by_others(order)).await?;
        let was_marked_here = self.marked().remove(&written(order));
        let ordered = match found {
            Some(job) => Ok(OrderOutcome::Job(job)),
            None if was_marked_here && grace.is_none() => jobs.order(order).await,
            None => {
                return Ok(match grace.unwrap_or_default().next() {
                    Some((grace, wait)) => {
                        let next = ExportToken::Looking {
                            mark,
                            failed,
                            refused,
                            grace,
                        };
                        Page::wait(next, wait, "the job of an earlier order")
                    }
                    // There is no such job. A new order needs a new mark, since a job may have followed the old one.
                    None => Page {
                        next: Some(ExportToken::Ordering {
                            mark: None,
                            failed,
                            refused,
                        }),
                        ..Page::empty()
                    },
                });
            }
        };
        if let Ok(OrderOutcome::Job(job)) = &ordered {
            self.take(order, job);
        }
        drop(turn);
        match ordered {
            Ok(OrderOutcome::Job(job)) => {
                let next = ExportToken::Waiting {
                    job,
                    failed,
                    polls: 0,
                    waited: 0,
                };
                Ok(Page::wait(next, FIRST_POLL, "an export job"))
            }
            Ok(OrderOutcome::Busy) => {
                let waited = BUSY.saturating_mul(refused);
                if waited < jobs.policy().patience {
                    // Certainly not ordered: jobs that others order during this wait are not ours.
                    let next = ExportToken::Ordering {
                        mark: None,
                        failed,
                        refused: refused + 1,
                    };
                    return Ok(Page::wait(next, BUSY, "a free slot for an export job"));
                }
                let text = format!(
                    "the service had no free slot for an export job for {} minutes; end the exports that run there, or \
                     try again later",
                    waited.as_secs() / 60
                );
                Ok(next_run(
                    ExportToken::BEGIN,
                    Error::new(Kind::QuotaExhausted, text).retry_after(BUSY * 15),
                ))
            }
            // The order may have arrived: the next step first searches for its job, for the whole grace period.
            Err(error) if error.kind() == Kind::Unavailable && refused + 1 < TRIES => {
                let next = ExportToken::Looking {
                    mark,
                    failed,
                    refused: refused + 1,
                    grace: Grace::default(),
                };
                let wait = FIRST_POLL * 2_u32.pow(refused + 1);
                Ok(Page::wait(next, wait, "a response to the order"))
            }
            Err(error) => Err(error),
        }
    }

    /// Assigns a job to an order.
    pub(super) fn take(&self, order: &E::Order, job: &str) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(job.to_owned(), written(order));
    }

    /// Marks a finished job, so that no order finds it again.
    fn spend(&self, job: &str) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(job.to_owned(), String::new());
    }

    /// Returns the orders whose mark this process requested and which it has not placed since.
    fn marked(&self) -> MutexGuard<'_, HashSet<String>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn taken_by_others(&self, order: &E::Order) -> Vec<String> {
        let own = written(order);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let others = taken.iter().filter(|(_, by)| **by != own);
        others.map(|(job, _)| job.clone()).collect()
    }

    /// Requests the status of a job; `grace` counts the polls of a job that does not appear.
    pub(super) async fn watch(
        &self,
        job: String,
        failed: u32,
        (polls, waited): (u32, u64),
        grace: Grace,
    ) -> Result<ExportPage<E::Bookmark>> {
        let jobs = self.export.jobs();
        let policy = jobs.policy();
        let mut notes = Vec::new();
        match jobs.status(&job).await? {
            JobStatus::Running => {}
            JobStatus::Unknown(word) => notes.push(Note {
                code: "unknown_job_status",
                message: format!(
                    "the export job {job} has the unknown status {word:?}; it counts as running"
                ),
            }),
            JobStatus::Done(whole) => {
                let next = ExportToken::Reading {
                    job: Some(job),
                    failed,
                    records: 0,
                    last: 0,
                    lacks: whole.err().map(|error| error.message().to_owned()),
                };
                return Ok(Page {
                    next: Some(next),
                    ..Page::empty()
                });
            }
            JobStatus::Failed(error) => {
                self.spend(&job);
                return Ok(self.failed(failed, error));
            }
            JobStatus::Ended(error) => {
                self.spend(&job);
                return Ok(next_run(ExportToken::BEGIN, error));
            }
            JobStatus::Expired => {
                self.spend(&job);
                return Ok(self.lost(failed, ExportToken::BEGIN, gone(&job)));
            }
            JobStatus::Gone if polls == 0 => return Ok(self.unseen(job, failed, grace)),
            JobStatus::Gone => return Ok(self.lost(failed, ExportToken::BEGIN, gone(&job))),
        }
        let patience = policy.patience.as_secs();
        if waited >= patience {
            let text = format!(
                "the export job {job} is not finished after {} minutes; the next run with this state continues to wait for \
                 it",
                patience / 60
            );
            let next = ExportToken::Waiting {
                job,
                failed,
                polls: 0,
                waited: 0,
            };
            let error = Error::new(Kind::Unavailable, text)
                .with_status(Status::Persistent)
                .retry_after(Duration::from_secs(600));
            return Ok(next_run(next, error));
        }
        let poll = poll(polls);
        let reason = format!("the export job {job}");
        let next = ExportToken::Waiting {
            job,
            failed,
            polls: polls + 1,
            waited: waited + poll.as_secs().max(1),
        };
        Ok(Page {
            notes,
            ..Page::wait(next, poll, reason)
        })
    }

    /// Waits for an ordered job that does not appear, up to the grace period.
    fn unseen(&self, job: String, failed: u32, grace: Grace) -> ExportPage<E::Bookmark> {
        if let Some((grace, wait)) = grace.next() {
            let reason = format!("the export job {job} to appear");
            let next = ExportToken::Unseen { job, failed, grace };
            return Page::wait(next, wait, reason);
        }
        let error = gone(&job);
        // The job used quota: the next run requests it once more before it orders another one.
        let position = ExportToken::Unseen {
            job,
            failed: 0,
            grace: Grace::default(),
        };
        self.lost(failed, position, error)
    }

    /// Replaces a lost job by another one, once in a run: the cause of the loss may affect the next job too. `position`
    /// is where the next run continues.
    pub(super) fn lost(
        &self,
        failed: u32,
        position: ExportToken,
        error: Error,
    ) -> ExportPage<E::Bookmark> {
        match self.export.jobs().policy().attempts {
            attempts @ 2.. if failed + 1 >= attempts.min(2) => next_run(position, error),
            _ => self.failed(failed, error),
        }
    }

    /// Orders another job, up to the policy's limit per run.
    fn failed(&self, failed: u32, error: Error) -> ExportPage<E::Bookmark> {
        let failed = failed + 1;
        if failed >= self.export.jobs().policy().attempts {
            return next_run(ExportToken::BEGIN, error);
        }
        let note = Note {
            code: "job_failed",
            message: format!("{}; it was ordered again", error.message()),
        };
        let next = ExportToken::Ordering {
            mark: None,
            failed,
            refused: 0,
        };
        Page {
            notes: vec![note],
            next: Some(next),
            ..Page::empty()
        }
    }
}
