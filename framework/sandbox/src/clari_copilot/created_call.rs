//! Calls made by `/create-call`: checking the request (fields and rules of the vendor document)
//! and keeping the call. The form of the created call in `/calls` is proposed.

use serde_json::{Map, Value, json};

use super::people::User;
use super::population::Population;
use super::query::Invalid;
use super::words::API_CALL_TYPES;
use crate::ids;
use crate::instant::{iso, parse_instant};
use crate::query::Query;
use crate::random::Purpose;

/// A call made by `/create-call`.
#[derive(Clone, Debug)]
pub(crate) struct CreatedCall {
    pub(crate) id: String,
    /// Counts the created calls from 0.
    pub(crate) number: u64,
    pub(crate) source_id: String,
    pub(crate) call_type: String,
    title: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) time: i64,
    /// Milliseconds since the Unix epoch.
    pub(crate) modified: i64,
    users: Vec<User>,
    guests: Vec<Value>,
    transcript: Option<Value>,
}

/// Why a call is not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CreateCallError {
    Invalid(Invalid),
    /// No user in the request records; the vendor document names this error.
    NoRecordingUser,
}

impl From<Invalid> for CreateCallError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// A checked request, not yet numbered.
#[derive(Clone, Debug)]
pub(crate) struct NewCall {
    pub(crate) source_id: String,
    pub(crate) overwrite: bool,
    call_type: String,
    title: Option<String>,
    time: i64,
    users: Vec<User>,
    guests: Vec<Value>,
    transcript: Option<Value>,
}

impl NewCall {
    pub(crate) fn parse(body: &Value, population: &Population) -> Result<Self, CreateCallError> {
        if !body.is_object() {
            return Err(Invalid::new("body").into());
        }
        let source_id = required_text(body, "source_id")?;
        let call_time = required_text(body, "call_time")?;
        let time = parse_instant(call_time)
            .ok_or_else(|| Invalid::new("call_time"))?
            .as_millisecond();
        let call_type = required_text(body, "type")?;
        if !API_CALL_TYPES.contains(&call_type) {
            return Err(Invalid::new("type").into());
        }
        required_text(body, "audio_url")?;
        let title = optional(body, "title", Value::as_str)?.map(str::to_owned);
        let overwrite = optional(body, "force_overwrite_old_call", Value::as_bool)?;
        optional(body, "stereo_to_mono", Value::as_bool)?;
        optional(body, "audio_format", Value::as_str)?;
        if texts(body, "header_key")?.len() != texts(body, "header_value")?.len() {
            return Err(Invalid::new("header_value").into());
        }
        let guests = guests(body)?;
        let users = users(body, population)?;
        if !users.iter().any(|user| user.is_recording) {
            return Err(CreateCallError::NoRecordingUser);
        }
        Ok(Self {
            source_id: source_id.to_owned(),
            overwrite: overwrite.unwrap_or(false),
            call_type: call_type.to_owned(),
            title,
            time,
            users,
            guests,
            transcript: transcript(body)?,
        })
    }

    /// The call, as the `number`-th created one.
    pub(crate) fn into_call(self, seed: u64, number: u64, now: i64) -> CreatedCall {
        let title = self.title.unwrap_or_else(|| {
            let user = self.users.first().map_or("", |user| user.name.as_str());
            let guest = self.guests.first().and_then(|guest| guest["name"].as_str());
            format!("{user} / {}", guest.unwrap_or_default())
        });
        CreatedCall {
            id: ids::uuid(seed, Purpose::Created, number),
            number,
            source_id: self.source_id,
            call_type: self.call_type,
            title,
            time: self.time,
            modified: now,
            users: self.users,
            guests: self.guests,
            transcript: self.transcript,
        }
    }
}

impl CreatedCall {
    /// An uploaded call waits to be transcribed for as long as the sandbox lives.
    pub(crate) const STATUS: &'static str = "WAITING_IN_QUEUE";

    pub(crate) fn has_user(&self, emails: &[String]) -> bool {
        self.users.iter().any(|user| emails.contains(&user.email))
    }

    pub(crate) fn has_attendee(&self, emails: &[String]) -> bool {
        self.guests
            .iter()
            .filter_map(|guest| guest["email"].as_str())
            .any(|email| emails.iter().any(|wanted| wanted == email))
    }

    pub(crate) fn record(&self) -> Map<String, Value> {
        let users: Vec<Value> = self
            .users
            .iter()
            .zip(0_u32..)
            .map(|(user, person_id)| {
                json!({
                    "userId": user.id,
                    "userEmail": user.email,
                    "isOrganizer": person_id == 0,
                    "personId": person_id,
                })
            })
            .collect();
        let record = json!({
            "id": self.id,
            "source_id": self.source_id,
            "title": self.title,
            "users": users,
            "externalParticipants": self.guests,
            "joinedParticipants": [],
            "status": Self::STATUS,
            "bot_not_join_reason": [],
            "type": self.call_type,
            "time": iso(self.time),
            "last_modified_time": iso(self.modified),
            "audio_url": null,
            "video_url": null,
            "disposition": "UNKNOWN_CALL_DISPOSITION",
            "call_review_page_url": format!("https://copilot.clari.com/call/{}", self.id),
        });
        match record {
            Value::Object(record) => record,
            _ => Map::new(),
        }
    }

    pub(crate) fn add_details(&self, record: &mut Map<String, Value>) {
        if let Some(transcript) = &self.transcript {
            record.insert("transcript".into(), transcript.clone());
        }
    }
}

/// The query parameters of a create request as a body; the vendor's own example sends the values
/// this way.
pub(crate) fn body_from_query(query: &Query) -> Value {
    const LISTS: &[&str] = &[
        "user_emails",
        "source_user_ids",
        "other_phone",
        "other_email",
        "other_name",
        "header_key",
        "header_value",
    ];
    const TEXTS: &[&str] = &[
        "source_id",
        "call_time",
        "type",
        "audio_url",
        "title",
        "audio_format",
    ];
    const BOOLEANS: &[&str] = &["force_overwrite_old_call", "stereo_to_mono"];
    let mut body = Map::new();
    for name in LISTS {
        body.insert((*name).to_owned(), query.all(name).into());
    }
    for name in TEXTS {
        if let Some(value) = query.first(name) {
            body.insert((*name).to_owned(), value.into());
        }
    }
    for name in BOOLEANS {
        if let Some(value) = query.first(name) {
            let value = value.parse::<bool>().map_or(value.into(), Value::Bool);
            body.insert((*name).to_owned(), value);
        }
    }
    Value::Object(body)
}

fn required_text<'a>(body: &'a Value, name: &str) -> Result<&'a str, Invalid> {
    body[name]
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Invalid::new(name))
}

/// A field that may be left out or null, and must have the right type otherwise.
fn optional<'a, T>(
    body: &'a Value,
    name: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, Invalid> {
    match &body[name] {
        Value::Null => Ok(None),
        value => read(value).map(Some).ok_or_else(|| Invalid::new(name)),
    }
}

fn texts<'a>(body: &'a Value, name: &str) -> Result<Vec<&'a str>, Invalid> {
    let Some(entries) = optional(body, name, Value::as_array)? else {
        return Ok(Vec::new());
    };
    entries
        .iter()
        .map(|entry| entry.as_str().ok_or_else(|| Invalid::new(name)))
        .collect()
}

/// The users named by e-mail address or by id.
fn users(body: &Value, population: &Population) -> Result<Vec<User>, Invalid> {
    let emails = texts(body, "user_emails")?;
    let ids = texts(body, "source_user_ids")?;
    let is_named =
        |user: &&User| emails.contains(&user.email.as_str()) || ids.contains(&user.id.as_str());
    Ok(population.users.iter().filter(is_named).cloned().collect())
}

/// The participants from outside; their three lists must have the same length.
fn guests(body: &Value) -> Result<Vec<Value>, Invalid> {
    let names = texts(body, "other_name")?;
    let emails = texts(body, "other_email")?;
    let phones = texts(body, "other_phone")?;
    if emails.len() != names.len() {
        return Err(Invalid::new("other_email"));
    }
    if phones.len() != names.len() {
        return Err(Invalid::new("other_phone"));
    }
    let guests = names.iter().zip(emails).zip(phones).zip(10_u32..);
    Ok(guests
        .map(|(((name, email), phone), person_id)| {
            let mut guest = json!({"name": name, "personId": person_id});
            if !email.is_empty() {
                guest["email"] = email.into();
            }
            if !phone.is_empty() {
                guest["phone"] = phone.into();
            }
            guest
        })
        .collect())
}

/// An external transcript in the form of `/call-details`. Speakers, whose ids are texts there,
/// are numbered in the order in which they are listed.
fn transcript(body: &Value) -> Result<Option<Value>, Invalid> {
    const NAME: &str = "external_transcript";
    let Some(transcript) = optional(body, NAME, Value::as_object)? else {
        return Ok(None);
    };
    let list = |key: &str| transcript.get(key).and_then(Value::as_array);
    let (Some(speakers), Some(turns)) = (list("external_speakers"), list("ext_conversation_turns"))
    else {
        return Err(Invalid::new(NAME));
    };
    let turns: Result<Vec<Value>, Invalid> = turns
        .iter()
        .map(|turn| {
            let speaker = speakers
                .iter()
                .position(|speaker| speaker["person_id"] == turn["person_id"]);
            let (Some(text), Some(start), Some(end), Some(person_id)) = (
                turn["text"].as_str(),
                turn["start"].as_f64(),
                turn["end"].as_f64(),
                speaker,
            ) else {
                return Err(Invalid::new(NAME));
            };
            Ok(json!({
                "text": text,
                "start": start,
                "end": end,
                "personId": person_id,
                "annotations": [],
            }))
        })
        .collect();
    turns.map(Value::Array).map(Some)
}
