//! Signed media links: only on request, valid for four hours (vendor document).

use serde_json::Value;

use crate::random::{Purpose, draw, mix};

/// Four hours in seconds.
const VALIDITY: i64 = 4 * 3_600;

/// The links that a request wants, and the inputs of their signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MediaRequest<'a> {
    pub(crate) base_url: &'a str,
    pub(crate) seed: u64,
    /// Seconds since the Unix epoch.
    pub(crate) now: i64,
    pub(crate) audio: bool,
    pub(crate) video: bool,
}

impl MediaRequest<'_> {
    /// The audio link; null when the request does not want it or there is no recording.
    pub(crate) fn audio_url(&self, call_id: &str, has_recording: bool) -> Value {
        self.url(call_id, "mp3", self.audio && has_recording)
    }

    /// The video link; null when the request does not want it or there is no recording.
    pub(crate) fn video_url(&self, call_id: &str, has_recording: bool) -> Value {
        self.url(call_id, "mp4", self.video && has_recording)
    }

    fn url(&self, call_id: &str, extension: &str, wanted: bool) -> Value {
        if !wanted {
            return Value::Null;
        }
        let base_url = self.base_url;
        let expires = self.now + VALIDITY;
        let file = format!("{call_id}.{extension}");
        let signature = signature(self.seed, &file, expires);
        format!("{base_url}/media/{file}?expires={expires}&sig={signature}").into()
    }
}

/// Whether a link was signed by this sandbox and has not expired.
pub(crate) fn is_valid(seed: u64, file: &str, expires: i64, signed: &str, now: i64) -> bool {
    now < expires && signature(seed, file, expires) == signed
}

fn signature(seed: u64, file: &str, expires: i64) -> String {
    let start = draw(seed, Purpose::Media, expires.unsigned_abs());
    let digest = file
        .bytes()
        .fold(start, |digest, byte| mix(digest ^ u64::from(byte)));
    format!("{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_valid_for_four_hours_and_for_its_own_file_only() {
        let expires = 1_000 + VALIDITY;
        let good = signature(5, "a.mp3", expires);
        assert!(is_valid(5, "a.mp3", expires, &good, 1_000));
        assert!(!is_valid(5, "a.mp3", expires, &good, expires));
        assert!(!is_valid(5, "b.mp3", expires, &good, 1_000));
        assert!(!is_valid(6, "a.mp3", expires, &good, 1_000));
    }
}
