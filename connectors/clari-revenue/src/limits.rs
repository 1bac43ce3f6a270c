//! `GET /admin/limits`: the limits of export jobs, concurrent and in 30 days.

use headwater::{
    Allowance,
    http::{Client, Records, Request},
    prelude::*,
};
use serde::Deserialize;

use crate::jobs;

pub(crate) const PATH: &str = "/admin/limits";
pub(crate) const RECORD: &str = "/jobs";

/// The period over which Clari counts exports.
const ROLLING: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The relevant part of the response.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limits {
    concurrent_limit: u32,
    monthly_quota: u32,
    pub(crate) available_concurrent_limit: u32,
    pub(crate) available_monthly_quota: u32,
    #[serde(default)]
    submitted_job_ids: Option<Vec<String>>,
}

impl Limits {
    /// Parses the response.
    pub(crate) fn parse(client: &Client, body: &[u8]) -> Result<Self> {
        let split = client.split(body, Records::One(RECORD), &[])?;
        let record = split
            .records
            .first()
            .map_or(&[][..], |span| &body[span.clone()]);
        serde_json::from_slice(record).map_err(|_| {
            let text = "Clari returned its limits in an unknown form";
            Error::new(Kind::DataInvalid, text).with("path", PATH)
        })
    }

    pub(crate) async fn ask(client: &Client) -> Result<Self> {
        let response = client.send(&Request::get(PATH)).await?;
        Self::parse(client, &response.body)
    }

    /// Returns the limits as allowances.
    pub(crate) fn allowances(&self, resets_at: Option<Timestamp>) -> Vec<Allowance> {
        let allowance =
            |name: &'static str, title: &'static str, limit: u32, left: u32, counts_jobs| {
                Allowance {
                    name: name.into(),
                    title: title.into(),
                    limit: f64::from(limit),
                    used: f64::from(limit.saturating_sub(left)),
                    resets_at: resets_at.filter(|_| counts_jobs),
                    counts_jobs,
                }
            };
        vec![
            allowance(
                "concurrent_export_jobs",
                "export jobs at once",
                self.concurrent_limit,
                self.available_concurrent_limit,
                false,
            ),
            allowance(
                "monthly_export_jobs",
                "export jobs in 30 days",
                self.monthly_quota,
                self.available_monthly_quota,
                true,
            ),
        ]
    }

    /// Returns the time when the oldest counted job leaves the 30 days; `None` where Clari does not report it.
    pub(crate) async fn next_back(&self, client: &Client) -> Option<Timestamp> {
        let counted = self.submitted_job_ids.as_deref().unwrap_or_default();
        if counted.is_empty() {
            return None;
        }
        let jobs = jobs::list(client).await.ok()?;
        let oldest = jobs
            .iter()
            .filter(|job| counted.contains(&job.job_id))
            .filter_map(|job| job.start_time)
            .min()?;
        Timestamp::from_millisecond(oldest)
            .ok()?
            .checked_add(ROLLING)
            .ok()
    }
}

pub(crate) async fn allowances(client: &Client) -> Result<Vec<Allowance>> {
    let limits = Limits::ask(client).await?;
    let back = limits.next_back(client).await;
    Ok(limits.allowances(back))
}

/// Returns the error for a used-up quota, with the date of the next free job.
pub(crate) async fn used_up(client: &Client, limits: &Limits) -> Error {
    let quota = limits.monthly_quota;
    let text =
        format!("all {quota} export jobs of 30 days are used up at Clari; nothing was ordered");
    let Some(back) = limits.next_back(client).await else {
        let text = format!("{text}. Ask Clari for a higher quota, or try again in a few days");
        return Error::new(Kind::QuotaExhausted, text);
    };
    let date = back.strftime("%Y-%m-%d at %H:%M UTC");
    let delay = back.duration_since(Timestamp::now());
    Error::new(
        Kind::QuotaExhausted,
        format!("{text}. The next job is available on {date}"),
    )
    .retry_after(delay.try_into().unwrap_or_default())
}
