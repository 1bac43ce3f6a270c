//! A stream with one record per pass: the current state at the service, with the time of the response.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Page, Part, Result, Stream, StreamSpec, Timestamp};

use crate::{
    client::{Client, Request},
    envelope::Records,
};

/// The field that a snapshot adds to the record: the time of the response, by the service's clock.
const FETCHED_AT: &str = "fetched_at";

/// One object, read by every pass. Each record begins with `fetched_at`, which is its key.
pub struct Snapshot {
    client: Client,
    spec: StreamSpec,
    path: &'static str,
    record: &'static str,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} at {})", self.spec.name, self.path)
    }
}

impl Snapshot {
    /// Makes the stream of the object at a path and this JSON Pointer in the response; the empty pointer is the whole
    /// response.
    pub fn new(
        client: &Client,
        spec: StreamSpec,
        path: &'static str,
        record: &'static str,
    ) -> Self {
        Self {
            client: client.clone(),
            spec,
            path,
            record,
        }
    }
}

#[async_trait]
impl Stream for Snapshot {
    type Partition = ();
    type Token = ();
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    /// A pass does not read earlier snapshots again.
    fn sees_all(&self) -> bool {
        false
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<()>> {
        Ok(vec![()])
    }

    async fn fetch(&self, (): (), _: Option<()>) -> Result<Page<(), ()>> {
        let response = self.client.send(&Request::get(self.path)).await?;
        let cut = self
            .client
            .split(&response.body, Records::One(self.record), &[])?;
        let mut body = Vec::new();
        for span in cut.records {
            let first = format!("\"{FETCHED_AT}\":\"{}\"", response.at);
            prepend(&mut body, first.as_bytes(), &response.body[span]);
        }
        let whole = 0..body.len();
        Ok(Page::new(Bytes::from(body), vec![whole]))
    }

    async fn survey(&self, (): ()) -> Result<Vec<Part<()>>> {
        Ok(vec![Part {
            partition: (),
            records: Some(1),
            requests: Some(1),
        }])
    }
}

/// Appends an object with one more field, `"name":value`, before its own fields, which stay byte for byte.
fn prepend(to: &mut Vec<u8>, field: &[u8], object: &[u8]) {
    let rest = &object[1..];
    to.push(b'{');
    to.extend_from_slice(field);
    if rest.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'}') {
        to.push(b',');
    }
    to.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_goes_before_the_others() {
        let with = |object: &[u8]| {
            let mut to = Vec::new();
            prepend(&mut to, b"\"at\":1", object);
            String::from_utf8(to).unwrap()
        };
        assert_eq!(with(b"{ \"n\": 1.0 }"), "{\"at\":1, \"n\": 1.0 }");
        assert_eq!(with(b"{ }"), "{\"at\":1 }");
        assert_eq!(with(b"{}"), "{\"at\":1}");
    }
}
