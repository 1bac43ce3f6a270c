//! The fields of `/call-details` only: transcript, summary and competitor sentiments.

use serde_json::{Map, Value, json};

use super::call_record::{FIRST_GUEST_PERSON_ID, company, single_precision};
use super::crm;
use super::population::Population;
use super::words::{
    ACTION_ITEMS, COMPETITORS, KEYWORD_TOPICS, SENTENCES, SENTIMENTS, SUMMARY_SENTENCES,
};
use crate::random::{Purpose, Rolls};

/// Adds the fields of `/call-details` to a call's record. A call that was not processed has none of
/// them (proposed: such calls were not seen live).
pub(crate) fn add_details(
    population: &Population,
    index: u64,
    finished: bool,
    record: &mut Map<String, Value>,
) {
    let deal = population
        .crm_reference(index)
        .and_then(|reference| reference.deal());
    if let Some(deal) = deal {
        let stage = crm::deal_outline(population.seed, deal).stage;
        record.insert("deal_stage_live".into(), stage.into());
    }
    if !finished {
        return;
    }
    let mut rolls = Rolls::new(population.seed, Purpose::Transcript, index);
    let speakers = speakers(population, index);
    record.insert(
        "transcript".into(),
        transcript(population.duration(index), &speakers, &mut rolls),
    );
    record.insert(
        "summary".into(),
        summary(population, index, &speakers, &mut rolls),
    );
    let sentiments = competitor_sentiments(&speakers, &mut rolls);
    record.insert("competitor_sentiments".into(), sentiments);
}

struct Speaker {
    person_id: u32,
    name: String,
}

fn speakers(population: &Population, index: u64) -> Vec<Speaker> {
    let users = population
        .call_users(index)
        .zip(0..)
        .map(|(user, person_id)| Speaker {
            person_id,
            name: user.name.clone(),
        });
    let guests = population
        .guests(index)
        .into_iter()
        .zip(FIRST_GUEST_PERSON_ID..)
        .map(|(guest, person_id)| Speaker {
            person_id,
            name: guest.name,
        });
    users.chain(guests).collect()
}

/// 20 to 80 turns that fill the call; a turn ends before the next begins.
fn transcript(duration: u64, speakers: &[Speaker], rolls: &mut Rolls) -> Value {
    let turns = rolls.between(20, 80);
    let turn_milliseconds = 1_000 * duration / turns;
    let mut transcript = Vec::new();
    for turn in 0..turns {
        let start = turn * turn_milliseconds + rolls.below(turn_milliseconds / 5 + 1);
        let end = (turn + 1) * turn_milliseconds - 1 - rolls.below(turn_milliseconds / 5 + 1);
        let text = sentences(rolls);
        let annotations = annotations(&text, rolls);
        transcript.push(json!({
            "text": text,
            "start": seconds(start),
            "end": seconds(end),
            "personId": speaker(speakers, rolls).map_or(0, |speaker| speaker.person_id),
            "annotations": annotations,
        }));
    }
    Value::Array(transcript)
}

fn sentences(rolls: &mut Rolls) -> String {
    let count = rolls.between(1, 3);
    let chosen: Vec<&str> = (0..count).map(|_| rolls.pick(SENTENCES)).collect();
    chosen.join(" ")
}

/// Marks the keyword topics that a text touches, and now and then a finding of a model.
fn annotations(text: &str, rolls: &mut Rolls) -> Vec<Value> {
    let mut annotations = Vec::new();
    for (name, trackers) in KEYWORD_TOPICS {
        let hit = trackers.iter().find(|tracker| text.contains(**tracker));
        if let Some(tracker) = hit {
            annotations.push(json!({"tracker": tracker, "phrase": tracker, "category": name}));
        }
    }
    if rolls.chance(5) {
        annotations.push(json!({"label": "ENGAGING_QUESTION", "phrase": text}));
    }
    annotations
}

fn summary(population: &Population, index: u64, speakers: &[Speaker], rolls: &mut Rolls) -> Value {
    let company = company(population, index);
    let third = population.duration(index) / 3;
    let mut sentence = || rolls.pick(SUMMARY_SENTENCES).replace("{}", &company);
    let full_summary = [sentence(), sentence(), sentence()].join("\n\n");
    let topics: Vec<Value> = population
        .call_topics(index)
        .zip(0..)
        .map(|(topic, position)| {
            json!({
                "name": topic.name,
                "start_timestamp": clock(position * third),
                "end_timestamp": clock((position + 1) * third),
                "summary": sentence(),
            })
        })
        .collect();
    let action_items: Vec<Value> = (0..rolls.below(4))
        .map(|position| {
            json!({
                "action_item": rolls.pick(ACTION_ITEMS),
                "speaker_name": speaker(speakers, rolls).map_or("", |speaker| &speaker.name),
                "start_timestamp": clock(position * third / 2),
                "end_timestamp": clock(position * third / 2 + 15),
            })
        })
        .collect();
    json!({
        "full_summary": full_summary,
        "topics_discussed": topics,
        "key_action_items": action_items,
    })
}

/// Here `personId` is text, unlike everywhere else (vendor document).
fn competitor_sentiments(speakers: &[Speaker], rolls: &mut Rolls) -> Value {
    let count = rolls.below(10).saturating_sub(7);
    (0..count)
        .map(|_| {
            let person_id = speaker(speakers, rolls).map_or(0, |speaker| speaker.person_id);
            json!({
                "competitor_name": rolls.pick(COMPETITORS),
                "sentiment": rolls.pick(SENTIMENTS),
                "reasoning": rolls.pick(SENTENCES),
                "personId": person_id.to_string(),
                "turn_start_time": clock(rolls.below(600)),
            })
        })
        .collect()
}

fn speaker<'a>(speakers: &'a [Speaker], rolls: &mut Rolls) -> Option<&'a Speaker> {
    let position = rolls.below(speakers.len() as u64);
    speakers.get(usize::try_from(position).ok()?)
}

fn seconds(milliseconds: u64) -> f64 {
    let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX);
    single_precision(f64::from(milliseconds) / 1_000.0)
}

/// `mm:ss`, as text.
fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
