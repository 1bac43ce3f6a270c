//! The limit on tests of one credential: neither a form nor a script nor a second tab may use up the service's limit,
//! or make the service lock the credential out.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use headwater_core::{Error, Kind, Result};
use http::StatusCode;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// How many tests of one credential may begin within [`WINDOW`].
const MAX: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// How many starts are kept for all credentials together.
const REMEMBERED: usize = 10_000;

/// The identity of a credential: a digest of its config, worth nothing without the key of this process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credential([u8; 32]);

/// The credentials tested within [`WINDOW`].
pub(crate) struct Frequency {
    key: [u8; 32],
    /// The oldest first.
    begun: Mutex<VecDeque<(Instant, Credential)>>,
}

impl Frequency {
    pub(crate) fn new() -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| {
            Error::new(Kind::Unexpected, "the system cannot provide random numbers")
                .caused_by(error)
        })?;
        Ok(Self {
            key,
            begun: Mutex::default(),
        })
    }

    /// The credential of a config with its secrets. Any other difference makes another credential, so that correcting a
    /// form does not have to wait.
    pub(crate) fn credential(&self, connector: &str, config: &Value) -> Credential {
        let digest = Sha256::new_with_prefix(self.key)
            .chain_update(connector)
            // No id contains a zero byte, so the text is unambiguous.
            .chain_update([0])
            .chain_update(config.to_string());
        Credential(digest.finalize().into())
    }

    /// Counts a test that begins now; refuses it beyond the limit.
    pub(crate) fn begin(&self, credential: Credential, now: Instant) -> Result<(), Problem> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |(at, _): &(Instant, Credential)| now.duration_since(*at) >= WINDOW;
        while begun.front().is_some_and(is_over) {
            begun.pop_front();
        }
        let own = begun.iter().filter(|(_, tested)| *tested == credential);
        if let Some((at, _)) = own.rev().nth(MAX - 1) {
            let left = WINDOW.saturating_sub(now.duration_since(*at));
            return Err(too_often(left));
        }
        // The oldest is the next to expire anyway. Refusing new ones instead would let a caller with invented
        // credentials keep all others from testing theirs.
        if begun.len() >= REMEMBERED {
            begun.pop_front();
        }
        begun.push_back((now, credential));
        Ok(())
    }
}

fn too_often(left: Duration) -> Problem {
    // Rounded up, and at least one, so that a test after that time is permitted.
    let seconds = (left.as_secs() + u64::from(left.subsec_nanos() > 0)).max(1);
    let unit = if seconds == 1 { "second" } else { "seconds" };
    let text = format!(
        "this credential was tested {MAX} times within a minute; try again in {seconds} {unit}"
    );
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "tested_too_often", text).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::header::RETRY_AFTER;
    use serde_json::json;

    use super::*;

    fn frequency() -> Frequency {
        Frequency::new().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The waiting time in the header of a refusal; its sentence has to agree.
    fn wait(refused: Result<(), Problem>) -> String {
        let Err(problem) = refused else {
            panic!("it was not refused");
        };
        let detail = problem.detail.clone();
        let answer = problem.into_response();
        assert_eq!(answer.status(), 429);
        let seconds = answer.headers()[RETRY_AFTER].to_str().unwrap_or_default();
        assert!(
            detail.contains(&format!("in {seconds} second")),
            "{seconds}: {detail}"
        );
        seconds.to_owned()
    }

    #[test]
    fn a_credential_is_tested_five_times_in_any_minute() {
        let (frequency, start) = (frequency(), Instant::now());
        let credential = frequency.credential("calls", &json!({ "key": "a" }));
        let begin = |millis| frequency.begin(credential, start + Duration::from_millis(millis));
        for second in [0, 10, 20, 30, 40] {
            assert!(begin(second * 1_000).is_ok(), "at {second} s");
        }
        assert_eq!(wait(begin(40_000)), "20");
        assert_eq!(wait(begin(40_001)), "20");
        // Refused tests do not count, however many there are.
        assert_eq!(wait(begin(59_999)), "1");
        assert!(begin(60_000).is_ok());
        // The window slides: only the first of the five is out of it.
        assert_eq!(wait(begin(60_000)), "10");
        assert!(begin(70_000).is_ok());
    }

    #[test]
    fn another_credential_is_not_held_up() {
        let (frequency, now) = (frequency(), Instant::now());
        let one = json!({ "key": "a", "base_url": "https://a.example" });
        for _ in 0..MAX {
            let credential = frequency.credential("calls", &one);
            assert!(frequency.begin(credential, now).is_ok());
        }
        assert_eq!(
            wait(frequency.begin(frequency.credential("calls", &one), now)),
            "60"
        );
        let mut other = one.clone();
        other["key"] = "b".into();
        let others = [("calls", other), ("callst", one)];
        for (connector, config) in others {
            let credential = frequency.credential(connector, &config);
            assert!(frequency.begin(credential, now).is_ok(), "{connector}");
        }
    }

    #[test]
    fn a_config_is_the_same_in_any_order_and_another_in_another_process() {
        let here = frequency();
        let text = r#"{ "key": "a", "auth": { "by": "x", "user": "y" } }"#;
        let turned = r#"{ "auth": { "user": "y", "by": "x" }, "key": "a" }"#;
        let [config, turned] =
            [text, turned].map(|text| serde_json::from_str::<Value>(text).unwrap_or_default());
        let credential = here.credential("calls", &config);
        assert!(credential == here.credential("calls", &turned));
        assert!(credential != frequency().credential("calls", &config));
    }

    #[test]
    fn so_many_are_remembered_and_the_oldest_gives_way() {
        let (frequency, now) = (frequency(), Instant::now());
        let first = frequency.credential("calls", &json!("first"));
        for _ in 0..MAX {
            assert!(frequency.begin(first, now).is_ok());
        }
        let later = now + Duration::from_secs(1);
        let begin = |number: usize| {
            let credential = frequency.credential("calls", &json!(number));
            frequency.begin(credential, later).is_ok()
        };
        let held = || frequency.begun.lock().map_or(0, |begun| begun.len());
        assert!((MAX..REMEMBERED).all(begin));
        assert_eq!(held(), REMEMBERED);
        assert_eq!(wait(frequency.begin(first, later)), "59");
        // One more replaces the first.
        assert!(begin(REMEMBERED));
        assert_eq!(held(), REMEMBERED);
        assert!(frequency.begin(first, later).is_ok());
        // Nothing is kept longer than it counts.
        assert!(frequency.begin(first, later + WINDOW).is_ok());
        assert_eq!(held(), 1);
    }
}
