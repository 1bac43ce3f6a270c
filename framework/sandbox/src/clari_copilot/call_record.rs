//! Building the whole record of a generated call, as `/calls` lists it (shape of the vendor
//! document). Values that are not known are left out, except the two media URLs, which are null
//! when they were not asked for (both observed live).

use serde_json::{Map, Value, json};

use super::call::Call;
use super::crm;
use super::media::MediaRequest;
use super::people::Guest;
use super::population::{Population, is_finished};
use super::topics::{Topic, TopicKind};
use super::words::{BOT_ABSENT_STATUSES, BOT_NOT_JOIN_REASONS, SENTENCES, TITLES};
use crate::instant::iso;
use crate::random::{Purpose, Rolls};

/// Builds the record of generated call `index`.
pub(crate) fn call_record(
    population: &Population,
    index: u64,
    call: &Call<'_>,
    media: &MediaRequest<'_>,
) -> Map<String, Value> {
    let mut rolls = Rolls::new(population.seed, Purpose::CallText, index);
    let id = population.call_id(index);
    let guests = population.guests(index);
    let status = call.status();
    let finished = is_finished(status);
    let time = population.time(index);

    let mut record = Map::new();
    let mut put = |key: &str, value: Value| record.insert(key.to_owned(), value);
    put("id", id.as_str().into());
    put("title", title(population, index, &mut rolls).into());
    put("users", users(population, index));
    put("externalParticipants", external_participants(&guests));
    put(
        "joinedParticipants",
        joined_participants(&guests, finished, &mut rolls),
    );
    put("status", status.into());
    put(
        "bot_not_join_reason",
        bot_not_join_reason(status, &mut rolls),
    );
    put("type", population.call_type(index).into());
    put("time", iso(time).into());
    put("last_modified_time", iso(call.modified()).into());
    put("disposition", disposition(status, &mut rolls).into());
    put(
        "call_review_page_url",
        format!("https://copilot.clari.com/call/{id}").into(),
    );
    put("audio_url", media.audio_url(&id, finished));
    put("video_url", media.video_url(&id, finished));
    if let Some(source_id) = population.source_id(index) {
        put("source_id", source_id.into());
    }
    if rolls.chance(60) {
        put("calendar_id", format!("{:x}", rolls.next()).into());
        put("icaluid", format!("{:x}@example.com", rolls.next()).into());
        put("original_start_time", iso(time).into());
        if rolls.chance(30) {
            put("recurring_event_id", format!("{:x}", rolls.next()).into());
        }
    }
    if finished {
        put("metrics", metrics(population, index, &mut rolls));
    }
    if finished && rolls.chance(10) {
        let seconds = rolls.below(population.duration(index));
        let bookmark = time + 1_000 * i64::try_from(seconds).unwrap_or_default();
        put("bookmark_timestamps", json!([iso(bookmark)]));
    }
    put_crm_fields(population, index, &guests, &mut record);
    record
}

fn title(population: &Population, index: u64, rolls: &mut Rolls) -> String {
    let pattern = rolls.pick(TITLES);
    pattern.replace("{}", &company(population, index))
}

/// The company of a call, for its texts.
pub(crate) fn company(population: &Population, index: u64) -> String {
    match population.crm_reference(index) {
        Some(reference) => crm::account_name(population.seed, reference.account),
        // A company that the CRM does not know either: named by a number no account has.
        None => crm::account_name(population.seed, (1 << 41) + index),
    }
}

fn users(population: &Population, index: u64) -> Value {
    population
        .call_users(index)
        .zip(0_u32..)
        .map(|(user, person_id)| {
            json!({
                "userId": user.id,
                "userEmail": user.email,
                "isOrganizer": person_id == 0,
                "personId": person_id,
            })
        })
        .collect()
}

/// Person ids of guests follow those of the users, of whom there are at most three.
pub(crate) const FIRST_GUEST_PERSON_ID: u32 = 10;

fn external_participants(guests: &[Guest]) -> Value {
    guests
        .iter()
        .zip(FIRST_GUEST_PERSON_ID..)
        .map(|(guest, person_id)| {
            let mut participant = json!({
                "name": guest.name,
                "email": guest.email,
                "personId": person_id,
            });
            if let Some(phone) = &guest.phone {
                participant["phone"] = phone.as_str().into();
            }
            participant
        })
        .collect()
}

/// The people seen on the call; some are known by name only (observed live).
fn joined_participants(guests: &[Guest], finished: bool, rolls: &mut Rolls) -> Value {
    if !finished {
        return json!([]);
    }
    guests
        .iter()
        .zip(FIRST_GUEST_PERSON_ID..)
        .map(|(guest, person_id)| {
            if rolls.chance(40) {
                return json!({"name": guest.name});
            }
            json!({"name": guest.name, "email": guest.email, "personId": person_id})
        })
        .collect()
}

fn bot_not_join_reason(status: &str, rolls: &mut Rolls) -> Value {
    if !BOT_ABSENT_STATUSES.contains(&status) {
        return json!([]);
    }
    json!([rolls.pick(BOT_NOT_JOIN_REASONS)])
}

fn disposition(status: &str, rolls: &mut Rolls) -> &'static str {
    match status {
        "NOBODY_JOINED_CALL" => "CALL_NOBODY_JOINED",
        "BOTJOIN_DENIED" => "CALL_BOTJOIN_DENIED",
        _ if !is_finished(status) => "UNKNOWN_CALL_DISPOSITION",
        _ if rolls.chance(90) => "CALL_CONNECTED_WITH_PROSPECT",
        _ => "CALL_DID_NOT_CONNECT_WITH_PROSPECT",
    }
}

fn metrics(population: &Population, index: u64, rolls: &mut Rolls) -> Value {
    let duration = population.duration(index);
    let speaking = fraction(duration, rolls.between(700, 990));
    let monologue = fraction(duration, rolls.between(20, 200));
    let monologue_start = fraction(duration, rolls.below(700));
    let categories: Vec<Value> = population
        .call_topics(index)
        .map(|topic| category(population, index, topic, rolls))
        .collect();
    json!({
        "talk_listen_ratio": single_precision(hundredths(rolls.between(20, 300))),
        "num_questions_asked": rolls.below(20),
        "num_questions_asked_by_reps": rolls.below(12),
        "call_duration": duration,
        "total_speak_duration": single_precision(speaking),
        "longest_monologue_duration": single_precision(monologue),
        "longest_monologue_start_time": single_precision(monologue_start),
        "engaging_questions": rolls.below(6),
        "categories": categories,
    })
}

fn category(population: &Population, index: u64, topic: &Topic, rolls: &mut Rolls) -> Value {
    let duration = population.duration(index);
    let occurrences = rolls.between(1, 2);
    let phrases: Vec<Value> = (0..occurrences)
        .filter_map(|_| {
            let speaker = population.call_users(index).next()?;
            let text = match topic.kind {
                TopicKind::Keyword(trackers) => rolls.pick(trackers),
                TopicKind::Custom(_) => rolls.pick(SENTENCES),
            };
            Some(json!({
                "text": text,
                "user_id": speaker.id,
                "name": speaker.name,
                "time": single_precision(fraction(duration, rolls.below(1_000))),
            }))
        })
        .collect();
    json!({
        "name": topic.name,
        // The misspelling is the API's.
        "occurences": occurrences,
        "phrases_matched": phrases,
        "ai_detected": matches!(topic.kind, TopicKind::Custom(_)),
    })
}

fn put_crm_fields(
    population: &Population,
    index: u64,
    guests: &[Guest],
    record: &mut Map<String, Value>,
) {
    let Some(reference) = population.crm_reference(index) else {
        return;
    };
    let seed = population.seed;
    let contact_names: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
    let mut put = |key: &str, value: Value| record.insert(key.to_owned(), value);
    put("crm_info", reference.record(seed));
    put(
        "account_name",
        crm::account_name(seed, reference.account).into(),
    );
    put("contact_names", contact_names.into());
    let Some(deal) = reference.deal() else {
        return;
    };
    let outline = crm::deal_outline(seed, deal);
    put("deal_name", outline.name.into());
    put("deal_value", outline.amount.into());
    put("deal_close_date", iso(outline.close_date).into());
    put("deal_stage_before_call", outline.previous_stage.into());
}

/// `thousandths` of a number of seconds.
fn fraction(seconds: u64, thousandths: u64) -> f64 {
    hundredths(seconds * thousandths / 10)
}

/// Durations and counts are small: a double-precision number holds them exactly.
fn hundredths(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX)) / 100.0
}

/// A number that went through a single-precision float on its way, as the API's numbers do:
/// 98.24 becomes 98.23999786376953 (observed live).
pub(crate) fn single_precision(number: f64) -> f64 {
    f64::from(number as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_carry_the_noise_of_single_precision() {
        assert_eq!(
            serde_json::to_string(&single_precision(98.24)).unwrap(),
            "98.23999786376953"
        );
    }
}
