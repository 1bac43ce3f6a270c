//! Forms that open in a frame of another page. Each has a token of its own, which lasts minutes, opens one form of one
//! connector or connection, and is spent once that is saved.
//!
//! [`Embeds::admit`] alone decides the permissions of such a token: a short list of requests, compared letter by
//! letter. Later additions to the service are not on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use headwater_core::{Error, Kind};
use headwater_store::Scope;
use http::{Method, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{guard::Caller, origin::Origin, problem::Problem};

/// How long a token is valid.
pub(crate) const LIFE: Duration = Duration::from_secs(15 * 60);
/// How long it is kept, so that a late request learns the reason of its refusal.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
const MAX: usize = 10_000;
/// Tokens of the store have another prefix.
const PREFIX: &str = "hwe_";
const ID_BYTES: usize = 8;

/// The form that an embed opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EmbedTarget {
    /// A new connection of a connector.
    New { connector: String },
    /// A change of a saved connection.
    Saved {
        connection: String,
        connector: String,
        purpose: Purpose,
    },
}

/// The purpose of a change of a saved connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "EmbedPurpose")]
pub(crate) enum Purpose {
    /// Any part of it.
    Edit,
    /// The fields that failed the last test.
    Repair,
    /// Its secrets.
    Rotate,
}

/// One form in a frame of a page of one origin.
#[derive(Debug)]
pub(crate) struct Embed {
    /// Public: it names the frame and opens nothing.
    pub id: String,
    pub origin: Origin,
    pub target: EmbedTarget,
}

impl Embed {
    /// Refuses a new connection of another connector than the form's.
    pub(crate) fn adds(&self, connector: &str) -> Result<(), Problem> {
        match &self.target {
            EmbedTarget::New { connector: own } if own == connector => Ok(()),
            _ => Err(limited()),
        }
    }

    /// Whether the form adds a connection.
    pub(crate) const fn is_for_new(&self) -> bool {
        matches!(self.target, EmbedTarget::New { .. })
    }

    fn may_ask(&self, method: &Method, path: &str) -> bool {
        let form = format!("/embed/{}/form", self.id);
        let (judge, test, save) = match &self.target {
            EmbedTarget::New { connector } => (
                format!("/api/v1/connectors/{connector}/validate"),
                format!("/api/v1/connectors/{connector}/probe"),
                (Method::POST, "/api/v1/connections".to_owned()),
            ),
            EmbedTarget::Saved {
                connection,
                connector,
                ..
            } => (
                format!("/api/v1/connectors/{connector}/validate"),
                format!("/api/v1/connections/{connection}/probe-change"),
                (Method::PATCH, format!("/api/v1/connections/{connection}")),
            ),
        };
        let permitted = [
            (Method::GET, form),
            (Method::POST, judge),
            (Method::POST, test),
            save,
        ];
        permitted
            .iter()
            .any(|(known, at)| known == method && at == path)
    }
}

/// The progress of an embed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The form can be filled in.
    Open,
    /// The form is being saved.
    Saving,
    /// The form was saved.
    Spent,
    /// The embed has expired.
    Expired,
}

/// The embeds of this process. It stores no token: each is derived from the id and the key of this process.
pub(crate) struct Embeds {
    key: [u8; 32],
    held: Mutex<HashMap<String, EmbedEntry>>,
}

struct EmbedEntry {
    embed: Arc<Embed>,
    /// The name of the token that requested it.
    maker: String,
    made: Instant,
    progress: Progress,
}

impl EmbedEntry {
    fn progress(&self, now: Instant) -> Progress {
        let is_over = now.saturating_duration_since(self.made) >= LIFE;
        match self.progress {
            Progress::Open if is_over => Progress::Expired,
            known => known,
        }
    }
}

impl Embeds {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            key: random()?,
            held: Mutex::default(),
        })
    }

    /// Creates an embed for `maker` and returns its id.
    pub(crate) fn make(
        &self,
        origin: Origin,
        target: EmbedTarget,
        maker: &str,
        now: Instant,
    ) -> Result<String, Problem> {
        let id = hex(&random::<ID_BYTES>()?);
        let embed = Arc::new(Embed {
            id: id.clone(),
            origin,
            target,
        });
        let held = EmbedEntry {
            embed,
            maker: maker.to_owned(),
            made: now,
            progress: Progress::Open,
        };
        let mut all = self.all();
        all.retain(|_, held| now.saturating_duration_since(held.made) < REMEMBERED);
        if all.len() >= MAX {
            all.retain(|_, held| matches!(held.progress(now), Progress::Open | Progress::Saving));
        }
        if all.len() >= MAX {
            let text = format!("{MAX} embeds are open; try again in a minute");
            let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text);
            return Err(busy.retry_after(60));
        }
        all.insert(id.clone(), held);
        Ok(id)
    }

    /// The token of an embed; `None` once the embed is forgotten.
    pub(crate) fn token(&self, id: &str) -> Option<String> {
        self.all().contains_key(id).then(|| self.token_of(id))
    }

    fn token_of(&self, id: &str) -> String {
        let secret = Sha256::new_with_prefix(self.key).chain_update(id);
        format!("{PREFIX}{id}_{}", hex(&secret.finalize()))
    }

    /// The embed of an id, and its progress.
    pub(crate) fn find(&self, id: &str, now: Instant) -> Option<(Arc<Embed>, Progress)> {
        let all = self.all();
        let held = all.get(id)?;
        Some((Arc::clone(&held.embed), held.progress(now)))
    }

    /// The caller with the token of an embed, if the token permits this request.
    pub(crate) fn admit(
        &self,
        token: &str,
        method: &Method,
        address: &Uri,
        now: Instant,
    ) -> Result<Caller, Problem> {
        let id = token
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'));
        let all = self.all();
        let held = id.and_then(|(id, _)| all.get(id));
        let held = held.filter(|held| {
            let own = self.token_of(&held.embed.id);
            bool::from(own.as_bytes().ct_eq(token.as_bytes()))
        });
        let held = held.ok_or_else(unknown)?;
        let path = address.path_and_query().map_or("", |path| path.as_str());
        if !held.embed.may_ask(method, path) {
            return Err(limited());
        }
        // A repeated request gets the same answer from `once`; `claim` refuses any new one.
        let may_repeat = *method == Method::POST && path == "/api/v1/connections";
        match held.progress(now) {
            Progress::Expired => return Err(expired()),
            Progress::Spent if !may_repeat => return Err(spent()),
            _ => {}
        }
        Ok(Caller {
            name: format!("embed:{} by {}", held.embed.id, held.maker),
            scope: Scope::Admin,
            request_id: None,
            embed: Some(Arc::clone(&held.embed)),
        })
    }

    /// Takes the only right of an embed to save; `None` for a caller without embed.
    pub(crate) fn claim(self: &Arc<Self>, caller: &Caller) -> Result<Option<Claim>, Problem> {
        let Some(embed) = &caller.embed else {
            return Ok(None);
        };
        let mut all = self.all();
        let held = all.get_mut(&embed.id).ok_or_else(unknown)?;
        match held.progress {
            Progress::Open => held.progress = Progress::Saving,
            Progress::Saving => {
                let text = "this form is already being saved; wait for the answer";
                return Err(Problem::new(StatusCode::CONFLICT, "embed_saving", text));
            }
            Progress::Spent | Progress::Expired => return Err(spent()),
        }
        Ok(Some(Claim {
            embeds: Arc::clone(self),
            id: embed.id.clone(),
            after: Progress::Open,
        }))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, EmbedEntry>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to save; dropping it unused returns it.
pub(crate) struct Claim {
    embeds: Arc<Embeds>,
    id: String,
    after: Progress,
}

impl Claim {
    /// Uses the right up.
    pub(crate) fn spend(mut self) {
        self.after = Progress::Spent;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(held) = self.embeds.all().get_mut(&self.id) {
            held.progress = self.after;
        }
    }
}

/// Whether a token belongs to an embed.
pub(crate) fn is_token(token: &str) -> bool {
    token.starts_with(PREFIX)
}

pub(crate) fn limited() -> Problem {
    let text = "this token is for one embedded form and permits nothing else";
    Problem::new(StatusCode::FORBIDDEN, "embed_limited", text)
}

fn unknown() -> Problem {
    refused(
        "embed_unknown",
        "this form has expired; close it and open it again",
    )
}

fn expired() -> Problem {
    refused(
        "embed_expired",
        "the time for this form has run out; close it and open it again",
    )
}

/// The refusal after the form was saved.
pub(crate) fn spent() -> Problem {
    refused(
        "embed_spent",
        "this form has already been saved; close it and open it again to change more",
    )
}

fn refused(code: &'static str, text: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, text)
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(Kind::Unexpected, "the system cannot provide random numbers").caused_by(error)
    })?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embeds() -> Embeds {
        Embeds::new().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The token of a new embed.
    fn made(embeds: &Embeds, now: Instant) -> String {
        let target = EmbedTarget::New {
            connector: "calls".to_owned(),
        };
        let origin = "https://app.example".parse().unwrap();
        match embeds.make(origin, target, "backend", now) {
            Ok(id) => embeds.token(&id).unwrap_or_default(),
            Err(problem) => panic!("{problem:?}"),
        }
    }

    fn admit(embeds: &Embeds, token: &str, now: Instant) -> Result<Caller, (u16, &'static str)> {
        let address = Uri::from_static("/api/v1/connections");
        let admitted = embeds.admit(token, &Method::POST, &address, now);
        admitted.map_err(|problem| (problem.status().as_u16(), problem.code))
    }

    #[test]
    fn a_token_is_good_for_a_quarter_of_an_hour_and_told_for_an_hour_that_it_was() {
        let (embeds, start) = (embeds(), Instant::now());
        let token = made(&embeds, start);
        let nearly = start + LIFE - Duration::from_millis(1);
        let caller = admit(&embeds, &token, nearly).unwrap();
        assert!(caller.name.starts_with("embed:") && caller.name.ends_with(" by backend"));
        let late = admit(&embeds, &token, start + LIFE);
        assert_eq!(late.unwrap_err(), (401, "embed_expired"));
        made(&embeds, start + REMEMBERED);
        let later = admit(&embeds, &token, start + REMEMBERED);
        assert_eq!(later.unwrap_err(), (401, "embed_unknown"));
    }

    #[test]
    fn a_token_with_another_secret_or_id_is_not_known() {
        let (embeds, now) = (embeds(), Instant::now());
        let (one, other) = (made(&embeds, now), made(&embeds, now));
        let split = |token: &str| -> (String, String) {
            let (id, secret) = token.rsplit_once('_').unwrap();
            (id.to_owned(), secret.to_owned())
        };
        let ((id, secret), (_, other)) = (split(&one), split(&other));
        for wrong in [
            format!("{id}_{other}"),
            format!("{id}_"),
            id.clone(),
            format!("{id}_{secret}0"),
            format!("{PREFIX}_{secret}"),
            PREFIX.to_owned(),
        ] {
            assert_eq!(admit(&embeds, &wrong, now).unwrap_err().1, "embed_unknown");
        }
        assert!(admit(&embeds, &one, now).is_ok());
    }

    #[test]
    fn of_two_who_save_at_once_one_does_and_after_that_nobody() {
        let (embeds, now) = (Arc::new(embeds()), Instant::now());
        let token = made(&embeds, now);
        let caller = admit(&embeds, &token, now).unwrap();
        let refused = || embeds.claim(&caller).err().map(|problem| problem.code);
        let claim = embeds.claim(&caller).unwrap();
        assert_eq!(refused(), Some("embed_saving"));
        // A refused form can be corrected.
        drop(claim);
        let claim = embeds.claim(&caller).unwrap().unwrap();
        claim.spend();
        assert_eq!(refused(), Some("embed_spent"));
        assert_eq!(
            embeds.find(&caller.embed.unwrap().id, now).unwrap().1,
            Progress::Spent
        );
    }

    #[test]
    fn beyond_the_limit_new_ones_wait_for_old_ones_to_end() {
        let (embeds, start) = (embeds(), Instant::now());
        for _ in 0..MAX {
            made(&embeds, start);
        }
        let target = EmbedTarget::New {
            connector: "calls".to_owned(),
        };
        let origin: Origin = "https://app.example".parse().unwrap();
        let refused = embeds.make(origin, target, "backend", start).err();
        assert_eq!(refused.map(|problem| problem.status().as_u16()), Some(503));
        made(&embeds, start + LIFE);
    }
}
