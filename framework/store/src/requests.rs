//! Requests with an idempotency key, which are carried out once however often they are sent.

use headwater_core::{Error, Kind, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::{
    database::{Database, first, table, transaction},
    key::{Key, hex},
    store::{Store, sealing_key},
};

/// How long the store keeps an answer.
const KEPT_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;
/// A request without an answer for longer was lost with its process.
const LONGEST_MILLISECONDS: i64 = 10 * 60 * 1000;

table! {
    /// Requests with a key.
    RequestsTable = "headwater_requests" {
        HASH: String = "hash",
        STATUS: Option<i64> = "status",
        BODY: String = "body",
    }
}

/// The state of a request by its key.
#[derive(Clone, Debug, PartialEq)]
pub enum IdempotencyState {
    /// New: carry it out, then keep its answer or forget it.
    New,
    /// Under way.
    UnderWay,
    /// Another request used the key.
    Another,
    /// A request used the key, and its digest is of an earlier key of the store or of an earlier version.
    Unknown,
    /// Carried out, with this answer.
    Answered(Reply),
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body. The store keeps it in clear, so it contains no secret.
    pub body: Value,
}

impl Store {
    /// Begins a request with a key, or returns its state. The parts of the request distinguish requests with the same
    /// key.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn begin_request(&mut self, key: &str, request: &[&[u8]]) -> Result<IdempotencyState> {
        let now = self.database.now()?;
        let own = sealing_key(&mut *self.database, &self.keyring)?;
        let hash = format!("{}:{}", own.id, digest(&own, key, request));
        let keyring = self.keyring.clone();
        transaction(&mut *self.database, |database| {
            let statement = "DELETE FROM headwater_requests WHERE began <= ?1 OR (status IS NULL AND began <= ?2)";
            let parameters = [
                now.saturating_sub(KEPT_MILLISECONDS).into(),
                now.saturating_sub(LONGEST_MILLISECONDS).into(),
            ];
            database.execute(statement, &parameters)?;
            let statement = "INSERT INTO headwater_requests (key, hash, began) VALUES (?1, ?2, ?3) \
                             ON CONFLICT (key) DO NOTHING";
            if database.execute(statement, &[key.into(), hash.as_str().into(), now.into()])? > 0 {
                return Ok(IdempotencyState::New);
            }
            let statement = format!(
                "SELECT {} FROM headwater_requests WHERE key = ?1",
                RequestsTable::ALL
            );
            let Some(row) = first(database.query(&statement, &[key.into()])?) else {
                // Another process has just forgotten it; the next try begins it.
                return Ok(IdempotencyState::UnderWay);
            };
            let known = row.get(RequestsTable::HASH)?;
            let known = known.split_once(':').and_then(|(id, known)| {
                let digest = digest(&keyring.get(id)?, key, request);
                Some(bool::from(digest.as_bytes().ct_eq(known.as_bytes())))
            });
            match known {
                Some(true) => {}
                Some(false) => return Ok(IdempotencyState::Another),
                None => return Ok(IdempotencyState::Unknown),
            }
            let Some(status) = row.get(RequestsTable::STATUS)? else {
                return Ok(IdempotencyState::UnderWay);
            };
            let damaged = || Error::new(Kind::DataInvalid, "the store contains an invalid answer");
            Ok(IdempotencyState::Answered(Reply {
                status: u16::try_from(status).map_err(|_| damaged())?,
                body: serde_json::from_str(&row.get(RequestsTable::BODY)?)
                    .map_err(|_| damaged())?,
            }))
        })
    }

    /// Keeps the answer to a request for a day. The first answer stays.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn keep_reply(&mut self, key: &str, reply: &Reply) -> Result<()> {
        keep(&mut *self.database, key, reply).map(drop)
    }

    /// Forgets a request without effect, so that it can be sent again with the same key.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn forget_request(&mut self, key: &str) -> Result<()> {
        let statement = "DELETE FROM headwater_requests WHERE key = ?1 AND status IS NULL";
        self.database.execute(statement, &[key.into()]).map(drop)
    }
}

/// The digest of a request. A request may hold a weak secret, so the digest is worth nothing without the store's key.
fn digest(own: &Key, key: &str, request: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&own.bytes[..]).unwrap_or_else(|_| unreachable!());
    for part in [&b"request"[..], key.as_bytes()].iter().chain(request) {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    hex(&mac.finalize().into_bytes())
}

/// Keeps the answer to a request; false if no request with this key is under way.
pub(crate) fn keep(database: &mut dyn Database, key: &str, reply: &Reply) -> Result<bool> {
    let statement =
        "UPDATE headwater_requests SET status = ?1, body = ?2 WHERE key = ?3 AND status IS NULL";
    let parameters = [
        i64::from(reply.status).into(),
        reply.body.to_string().as_str().into(),
        key.into(),
    ];
    Ok(database.execute(statement, &parameters)? > 0)
}
