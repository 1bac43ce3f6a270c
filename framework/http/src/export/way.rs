//! The way to a job: the mark, the order, the job that shows late, the wait for its end.

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

/// Between two tries to order when the service has no room for another job.
const BUSY: Duration = Duration::from_secs(20);

impl<E: Export> ExportStream<E> {
    /// Asks for the mark, which is kept before anything is ordered.
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
        // Nothing to wait for, but to be kept before anything is ordered.
        Ok(Page::wait(next, Duration::ZERO, "the order of an export"))
    }

    /// Finds the job of an interrupted order, or orders one. Where an order may have been made before, its job may show
    /// late: it is looked for during `grace` first.
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
                    // There is none. Nothing is ordered behind a mark behind which something may have been.
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
                    // Certainly not ordered: what others order while this one waits is not ours.
                    let next = ExportToken::Ordering {
                        mark: None,
                        failed,
                        refused: refused + 1,
                    };
                    return Ok(Page::wait(next, BUSY, "a free place for an export job"));
                }
                let text = format!(
                    "the service had no free place for an export job for {} minutes; end the exports that run there, or \
                     read again later",
                    waited.as_secs() / 60
                );
                Ok(next_run(
                    ExportToken::BEGIN,
                    Error::new(Kind::QuotaExhausted, text).retry_after(BUSY * 15),
                ))
            }
            // The order may have arrived: looked for first, the next time, and as long as it may take to show.
            Err(error) if error.kind() == Kind::Unavailable && refused + 1 < TRIES => {
                let next = ExportToken::Looking {
                    mark,
                    failed,
                    refused: refused + 1,
                    grace: Grace::default(),
                };
                let wait = FIRST_POLL * 2_u32.pow(refused + 1);
                Ok(Page::wait(next, wait, "an answer to the order"))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps a job for an order.
    pub(super) fn take(&self, order: &E::Order, job: &str) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(job.to_owned(), written(order));
    }

    /// Keeps a job that came to its end from being found again.
    fn spend(&self, job: &str) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(job.to_owned(), String::new());
    }

    /// The orders whose mark this process has made, and which it has not placed since.
    fn marked(&self) -> MutexGuard<'_, HashSet<String>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn taken_by_others(&self, order: &E::Order) -> Vec<String> {
        let own = written(order);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let others = taken.iter().filter(|(_, by)| **by != own);
        others.map(|(job, _)| job.clone()).collect()
    }

    /// Asks how a job is doing; `grace` is how long one was asked for that does not show.
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
                    "the export job {job} is {word:?}, which is not known here; it was taken for running"
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
                "the export job {job} is not finished after {} minutes; a later read with the same state goes on waiting \
                 for it",
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

    /// Waits for a job that was ordered and does not show, as long as the service may take to show it.
    fn unseen(&self, job: String, failed: u32, grace: Grace) -> ExportPage<E::Bookmark> {
        if let Some((grace, wait)) = grace.next() {
            let reason = format!("the export job {job} to show");
            let next = ExportToken::Unseen { job, failed, grace };
            return Page::wait(next, wait, reason);
        }
        let error = gone(&job);
        // It was paid for: the next run asks for it once more before it orders another one.
        let kept = ExportToken::Unseen {
            job,
            failed: 0,
            grace: Grace::default(),
        };
        self.lost(failed, kept, error)
    }

    /// Orders another job for one that is gone, once in a run: what makes jobs vanish may well take the next one. `kept` is
    /// where the next run goes on.
    pub(super) fn lost(
        &self,
        failed: u32,
        kept: ExportToken,
        error: Error,
    ) -> ExportPage<E::Bookmark> {
        match self.export.jobs().policy().attempts {
            attempts @ 2.. if failed + 1 >= attempts.min(2) => next_run(kept, error),
            _ => self.failed(failed, error),
        }
    }

    /// Orders another job, as often as the policy allows in one run.
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
