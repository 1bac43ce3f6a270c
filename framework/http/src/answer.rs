//! Cutting a whole answer: its status counts as well as its body.

use headwater_core::Result;
use serde::de::DeserializeOwned;

use crate::{
    client::{Client, Response},
    envelope::{Records, Split},
};

/// Bytes of an answer that is parsed as a whole: a tree takes many times its text.
const LONGEST_DOCUMENT: usize = 1 << 20;

/// Parses an answer that is a small document, such as an account; none where it is another one, or longer than 1 MiB.
pub fn document<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let is_small = body.len() <= LONGEST_DOCUMENT;
    is_small.then(|| serde_json::from_slice(body).ok())?
}

/// No Content and Reset Content, which have no body.
const WITHOUT_CONTENT: [u16; 2] = [204, 205];

impl Client {
    /// [`split_with`](crate::split_with) for an answer. One that says that it has no content is an empty list where a list
    /// is looked for; an empty body alone is an error.
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
    /// Whether the service says that there is nothing in this answer.
    pub fn has_no_content(&self) -> bool {
        WITHOUT_CONTENT.contains(&self.status.as_u16()) && self.body.trim_ascii().is_empty()
    }
}
