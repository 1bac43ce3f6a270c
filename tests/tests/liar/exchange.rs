//! What a proxy sees of a request and of its answer.

use std::{fmt::Write as _, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A page of a stream's list.
    List(&'static str),
    /// One record of a stream.
    Detail(&'static str),
    /// The order of an export job.
    Order,
    /// The status of an export job.
    Job,
    /// The list of export jobs.
    Jobs,
    /// The result of an export job.
    Results,
    /// One object about the account.
    Snapshot,
    /// Anything else: logins, cancellations.
    Other,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub about: About,
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How often this target was asked for before.
    pub nth: u64,
    /// How many requests came before over the same connection.
    pub on_connection: u64,
    /// Where the proxy is: `http://127.0.0.1:PORT`.
    pub origin: String,
}

impl Ask {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Replaces a parameter, or adds it.
    pub fn set(&mut self, name: &str, value: &str) {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let others = query
            .split('&')
            .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name));
        let mut target = format!("{path}?");
        for pair in others {
            let _ = write!(target, "{pair}&");
        }
        let _ = write!(target, "{name}={value}");
        self.target = target;
    }

    pub fn is_list(&self) -> bool {
        matches!(self.about, About::List(_))
    }
}

/// What a connector asks for with a request.
pub fn about(connector: &str, method: &str, target: &str) -> About {
    let path = target.split('?').next().unwrap_or_default();
    match connector {
        "clari-copilot" => match path {
            "/users" => About::List("users"),
            "/calls" => About::List("calls"),
            "/v2/topics" => About::List("topics"),
            "/scorecard" => About::List("scorecards"),
            "/scorecard-template" => About::List("scorecard_templates"),
            "/call-details" => About::Detail("call_details"),
            "/get-account" => About::Detail("accounts"),
            "/get-contact" => About::Detail("contacts"),
            "/get-deal" => About::Detail("deals"),
            _ => About::Other,
        },
        "clari-revenue" => {
            let parts: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
            match (method, parts.as_slice()) {
                ("POST", ["export", ..]) => About::Order,
                ("GET", ["export", "jobs"]) => About::Jobs,
                ("GET", ["export", "jobs", _]) => About::Job,
                ("GET", ["export", "jobs", _, "results"]) => About::Results,
                ("GET", ["audit", "events"]) => About::List("audit_events"),
                ("GET", ["opportunity"]) => About::List("opportunities"),
                ("GET", ["admin", "limits"]) => About::Snapshot,
                _ => About::Other,
            }
        }
        _ => {
            let parts: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
            match parts.as_slice() {
                ["data-sources"] => About::List("data_sources"),
                ["reports"] => About::List("reports"),
                ["dashboards"] => About::List("dashboards"),
                ["data-sources", _] => About::Detail("data_sources"),
                ["reports", _] => About::Detail("reports"),
                ["dashboards", _] => About::Detail("dashboards"),
                ["auth", "status"] | ["billing", "usage"] => About::Snapshot,
                _ => About::Other,
            }
        }
    }
}

/// How a body is compressed, and what the header says.
#[derive(Clone, Copy, Debug)]
pub struct Gzip {
    pub spelling: &'static str,
    pub members: usize,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The body as JSON; lies change this one.
    pub json: Option<Value>,
    /// The body where it is not JSON.
    pub body: Vec<u8>,
    /// JSON texts are written with escapes that this number draws.
    pub escapes: Option<u64>,
    /// A byte order mark comes first.
    pub bom: bool,
    pub gzip: Option<Gzip>,
}

impl Answer {
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let json = serde_json::from_slice(&body).ok();
        Self {
            status,
            headers,
            json,
            body,
            escapes: None,
            bom: false,
            gzip: None,
        }
    }

    pub fn json(status: u16, json: Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self {
            json: Some(json),
            ..Self::new(status, headers, Vec::new())
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_header(name, value);
        self
    }

    pub fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The records of a list, in whichever envelope.
    pub fn records(&mut self) -> Option<&mut Vec<Value>> {
        const LISTS: [&str; 11] = [
            "users",
            "calls",
            "topics",
            "scorecards",
            "scorecardTemplates",
            "scoreCardTemplates",
            "items",
            "activities",
            "results",
            "data",
            "opportunities",
        ];
        if !self.is_success() {
            return None;
        }
        match self.json.as_mut()? {
            Value::Array(records) => Some(records),
            Value::Object(fields) => {
                let name = LISTS.into_iter().find(|name| fields.contains_key(*name))?;
                fields.get_mut(name)?.as_array_mut()
            }
            _ => None,
        }
    }

    /// The list itself, whatever it is.
    pub fn list(&mut self) -> Option<&mut Value> {
        self.records()?;
        match self.json.as_mut()? {
            Value::Object(fields) => fields.values_mut().find(|value| value.is_array()),
            list => Some(list),
        }
    }

    /// The total of a list, wherever it is said.
    pub fn total(&mut self) -> Option<&mut Value> {
        let json = self.json.as_mut()?;
        ["/pagination/matched", "/count", "/total"]
            .into_iter()
            .find(|pointer| json.pointer(pointer).is_some())
            .and_then(|pointer| json.pointer_mut(pointer))
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = match (&self.json, self.escapes) {
            (Some(json), Some(seed)) => escaped(&json.to_string(), seed).into_bytes(),
            (Some(json), None) => json.to_string().into_bytes(),
            (None, _) => self.body.clone(),
        };
        if self.bom {
            body.splice(..0, *b"\xef\xbb\xbf");
        }
        let has_body = self.status != 204;
        let mut head = format!("HTTP/1.1 {} X\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(gzip) = self.gzip.filter(|_| has_body) {
            body = compressed(&body, gzip.members);
            let _ = write!(head, "content-encoding: {}\r\n", gzip.spelling);
        }
        if has_body {
            let _ = write!(head, "content-length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if has_body {
            bytes.extend(body);
        }
        bytes
    }
}

fn compressed(body: &[u8], members: usize) -> Vec<u8> {
    let size = body.len().div_ceil(members.max(1)).max(1);
    let mut all = Vec::new();
    for part in body.chunks(size) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part).expect("memory takes everything");
        all.extend(encoder.finish().expect("memory takes everything"));
    }
    all
}

/// The same JSON with other escapes in its texts: `/` as `\/`, letters beyond ASCII and some others as `\u…`.
fn escaped(json: &str, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = String::with_capacity(json.len() * 2);
    let (mut is_inside, mut is_escaped) = (false, false);
    for letter in json.chars() {
        let is_plain = is_inside && !is_escaped && letter != '"' && letter != '\\';
        if is_plain && letter == '/' && random.bool() {
            text.push_str("\\/");
        } else if is_plain && (!letter.is_ascii() || random.u8(..16) == 0) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(letter);
        }
        is_inside ^= letter == '"' && !is_escaped;
        is_escaped = is_inside && letter == '\\' && !is_escaped;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_escapes_are_the_same_value() {
        let value =
            serde_json::json!({ "a/b": ["caf\u{e9}", "\u{1f600}\"\\", "line\n", 1.5], "c": null });
        for seed in 0..50 {
            let text = escaped(&value.to_string(), seed);
            assert_eq!(
                serde_json::from_str::<Value>(&text).unwrap(),
                value,
                "{text}"
            );
        }
    }

    #[test]
    fn a_parameter_is_replaced() {
        let mut ask = Ask {
            about: About::Other,
            method: "GET".to_owned(),
            target: "/calls?skip=0&limit=100".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            nth: 0,
            on_connection: 0,
            origin: String::new(),
        };
        ask.set("limit", "7");
        assert_eq!(ask.target, "/calls?skip=0&limit=7");
        assert_eq!(ask.parameter("limit"), Some("7"));
        ask.target = "/calls".to_owned();
        ask.set("limit", "7");
        assert_eq!(ask.target, "/calls?limit=7");
    }
}
