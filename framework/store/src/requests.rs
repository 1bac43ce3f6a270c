//! Requests with a key of their own, which are carried out once however often they are sent.

use headwater_core::{Error, Kind, Result};
use serde_json::Value;

use crate::{
    database::{Database, first, transaction},
    store::Store,
};

/// How long an answer is known.
const KEPT_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;
/// A request that was begun and not answered for longer was lost with its process.
const LONGEST_MILLISECONDS: i64 = 10 * 60 * 1000;

/// What is known of a request that wants to begin.
#[derive(Clone, Debug, PartialEq)]
pub enum IdempotencyState {
    /// It is new: carry it out, then keep its answer or forget it.
    New,
    /// It is being carried out.
    UnderWay,
    /// The key was used for another request.
    Another,
    /// It was carried out, with this answer.
    Answered(Reply),
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The body. It is kept as it is, so it holds no secret.
    pub body: Value,
}

impl Store {
    /// Begins a request with a key, or says what became of it. `hash` tells requests with the same key apart.
    pub fn begin_request(&mut self, key: &str, hash: &str) -> Result<IdempotencyState> {
        let now = self.database.now()?;
        transaction(&mut *self.database, |database| {
            let statement = "DELETE FROM headwater_requests WHERE began <= ?1 OR (status IS NULL AND began <= ?2)";
            let parameters = [
                now.saturating_sub(KEPT_MILLISECONDS).into(),
                now.saturating_sub(LONGEST_MILLISECONDS).into(),
            ];
            database.execute(statement, &parameters)?;
            let statement = "INSERT INTO headwater_requests (key, hash, began) VALUES (?1, ?2, ?3) \
                             ON CONFLICT (key) DO NOTHING";
            if database.execute(statement, &[key.into(), hash.into(), now.into()])? > 0 {
                return Ok(IdempotencyState::New);
            }
            let statement = "SELECT hash, status, body FROM headwater_requests WHERE key = ?1";
            let Some(row) = first(database.query(statement, &[key.into()])?) else {
                // Forgotten this very moment; the next try begins it.
                return Ok(IdempotencyState::UnderWay);
            };
            if row.text(0)? != hash {
                return Ok(IdempotencyState::Another);
            }
            let Some(status) = row.optional_integer(1)? else {
                return Ok(IdempotencyState::UnderWay);
            };
            let damaged =
                || Error::new(Kind::DataInvalid, "the store holds an answer that is none");
            Ok(IdempotencyState::Answered(Reply {
                status: u16::try_from(status).map_err(|_| damaged())?,
                body: serde_json::from_str(&row.text(2)?).map_err(|_| damaged())?,
            }))
        })
    }

    /// Keeps the answer to a request for a day. The first one stays.
    pub fn keep_reply(&mut self, key: &str, reply: &Reply) -> Result<()> {
        keep(&mut *self.database, key, reply).map(drop)
    }

    /// Forgets a request that did nothing, so that it can be sent again with the same key.
    pub fn forget_request(&mut self, key: &str) -> Result<()> {
        let statement = "DELETE FROM headwater_requests WHERE key = ?1 AND status IS NULL";
        self.database.execute(statement, &[key.into()]).map(drop)
    }
}

/// Keeps the answer to a request; false where no request with this key is under way.
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
