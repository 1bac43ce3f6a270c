//! Cuts a whole response by its status and its body.

use headwater_core::Result;
use serde::de::DeserializeOwned;

use crate::{
    client::{Client, Response},
    envelope::{Records, Split, split_with},
};

/// The maximum size of a response that is parsed as a whole, in bytes: a tree takes many times the memory of its text.
const MAX_DOCUMENT: usize = 1 << 20;

/// Parses a small document, such as an account; `None` for another document or one longer than 1 MiB.
pub fn document<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let is_small = body.len() <= MAX_DOCUMENT;
    is_small.then(|| serde_json::from_slice(body).ok())?
}

/// No Content and Reset Content, which have no body.
const WITHOUT_CONTENT: [u16; 2] = [204, 205];

impl Client {
    /// Applies [`split`](crate::split) to a body of this service. Without records, the error contains the service's
    /// message, with our secrets removed.
    ///
    /// # Errors
    ///
    /// Fails if the body is not JSON, has no list of records where it should be, or has too many records.
    pub fn split(&self, body: &[u8], records: Records, wanted: &[&str]) -> Result<Split> {
        self.split_with(body, records, &[], wanted)
    }

    /// Applies [`split_with`](crate::split_with) in the same way.
    ///
    /// # Errors
    ///
    /// Fails as [`split_with`](crate::split_with).
    pub fn split_with(
        &self,
        body: &[u8],
        records: Records,
        companions: &[&str],
        wanted: &[&str],
    ) -> Result<Split> {
        split_with(body, records, companions, wanted).map_err(|error| match self.said(body) {
            Some(message) => error.with("it says", message),
            None => error,
        })
    }

    /// Applies [`split_with`](crate::split_with) to a response. Where a list is expected, a No Content status is an
    /// empty list.
    ///
    /// # Errors
    ///
    /// Fails as [`split_with`](crate::split_with), or if the body is empty and the status does not say so.
    pub fn cut(
        &self,
        response: &Response,
        records: Records,
        companions: &[&str],
        wanted: &[&str],
    ) -> Result<Split> {
        let is_list = matches!(records, Records::Lists(_));
        if is_list && response.has_no_content() {
            return Ok(Split {
                companions: vec![Vec::new(); companions.len()],
                found: vec![None; wanted.len()],
                taken_as_empty: true,
                ..Split::default()
            });
        }
        self.split_with(&response.body, records, companions, wanted)
    }
}

impl Response {
    /// Returns whether the status states that the response has no content.
    pub fn has_no_content(&self) -> bool {
        WITHOUT_CONTENT.contains(&self.status.as_u16()) && self.body.trim_ascii().is_empty()
    }
}
