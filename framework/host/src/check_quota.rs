//! The quota check before a read.

use std::time::Duration;

use headwater_core::{Error, Kind, Result, Source, Timestamp};

use crate::{
    receipt::Event,
    stream_run::{StreamRun, is_stream_scoped},
};

/// Compares the export jobs of the coming stream runs with the allowance that the service reports, before any order.
pub(crate) async fn check_quota(
    source: &dyn Source,
    runs: &[StreamRun],
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<()> {
    let mut jobs = 0;
    for run in runs.iter().filter(|run| run.is_to_come()) {
        jobs += run.jobs()?;
    }
    if jobs == 0 {
        return Ok(());
    }
    let allowances = match source.allowances().await {
        Ok(allowances) => allowances,
        // An account that may not see the limits meets them when it orders.
        Err(error) if is_stream_scoped(error.kind()) => Vec::new(),
        Err(error) => return Err(error.during("read the allowance")),
    };
    for allowance in allowances.iter().filter(|allowance| allowance.counts_jobs) {
        let left = allowance.left();
        if (jobs as f64) <= left {
            on_event(Event::Jobs { jobs, allowance });
            continue;
        }
        let mut text = format!(
            "this read orders {jobs} export jobs, and {left} of {} {} are left; nothing was ordered. Read fewer streams",
            allowance.limit, allowance.title
        );
        let Some(back) = allowance.resets_at else {
            return Err(Error::new(Kind::QuotaExhausted, text));
        };
        text.push_str(&format!(
            ", or come back on {}",
            back.strftime("%Y-%m-%d at %H:%M UTC")
        ));
        let delay = Duration::try_from(back.duration_since(Timestamp::now())).unwrap_or_default();
        return Err(Error::new(Kind::QuotaExhausted, text).retry_after(delay));
    }
    Ok(())
}
