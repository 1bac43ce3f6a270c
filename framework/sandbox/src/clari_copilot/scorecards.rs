//! Scorecards and their templates.
//!
//! A scorecard belongs to a call and shows no time of its own. The time filter of `/scorecard` is
//! answered by the call's time, newest first (both proposed: not seen live).

use serde_json::{Value, json};

use super::population::Population;
use super::query::{Invalid, Paging, Window};
use super::words::{SCORECARD_REMARKS, SCORECARD_TEMPLATES};
use crate::ids;
use crate::query::Query;
use crate::random::{Purpose, Rolls, draw_below};

/// A request for `/scorecard`.
#[derive(Clone, Debug)]
pub(crate) struct ScorecardRequest {
    paging: Paging,
    time: Window,
    rep_id: Option<String>,
    scorer_id: Option<String>,
}

impl ScorecardRequest {
    pub(crate) fn parse(query: &Query) -> Result<Self, Invalid> {
        Ok(Self {
            paging: query.paging(50)?,
            time: query.time_window("filterTime")?,
            rep_id: query.first("filterRepId").map(str::to_owned),
            scorer_id: query.first("filterScorerId").map(str::to_owned),
        })
    }

    fn accepts(&self, population: &Population, call_index: u64) -> bool {
        let wants =
            |wanted: &Option<String>, id: Option<&str>| wanted.is_none() || wanted.as_deref() == id;
        population.has_scorecard(call_index)
            && wants(&self.rep_id, rep_id(population, call_index))
            && wants(&self.scorer_id, scorer_id(population, call_index))
    }

    /// The answer to the request.
    pub(crate) fn answer(&self, population: &Population) -> Value {
        let mut matched = 0;
        let mut page = Vec::new();
        for call_index in population.calls_at(self.time).rev() {
            if !self.accepts(population, call_index) {
                continue;
            }
            if matched >= self.paging.skip && page.len() < self.paging.limit {
                page.push(scorecard(population, call_index));
            }
            matched += 1;
        }
        let pagination = self.paging.summary(matched, page.len());
        json!({"scorecards": page, "pagination": pagination})
    }
}

/// The id of the scorecard of a call.
pub(crate) fn scorecard_id(population: &Population, call_index: u64) -> String {
    ids::uuid(population.seed, Purpose::Scorecard, call_index)
}

/// The user who is scored: the organizer of the call.
fn rep_id(population: &Population, call_index: u64) -> Option<&str> {
    let rep = population.call_users(call_index).next()?;
    Some(&rep.id)
}

/// The user who scores.
fn scorer_id(population: &Population, call_index: u64) -> Option<&str> {
    let users = &population.users;
    let position = draw_below(
        population.seed,
        Purpose::Scorer,
        call_index,
        users.len() as u64,
    );
    let scorer = users.get(usize::try_from(position).ok()?)?;
    Some(&scorer.id)
}

fn scorecard(population: &Population, call_index: u64) -> Value {
    let mut rolls = Rolls::new(population.seed, Purpose::Scorecard, call_index);
    let template = rolls.below(SCORECARD_TEMPLATES.len() as u64);
    let questions: &[_] = SCORECARD_TEMPLATES
        .get(usize::try_from(template).unwrap_or_default())
        .map_or(&[], |(_, questions)| questions);
    let mut total = 0;
    let scores: Vec<Value> = questions
        .iter()
        .zip(1_u32..)
        .map(|((skill, label), order)| {
            let score = rolls.between(1, 5);
            total += score;
            json!({"score": score, "skill": skill, "label": label, "order": order.to_string()})
        })
        .collect();
    let best_total = 5 * questions.len().max(1);
    let percent = f64::from(u32::try_from(total).unwrap_or_default()) * 100.0
        / f64::from(u32::try_from(best_total).unwrap_or(1));
    let mut record = json!({
        "id": scorecard_id(population, call_index),
        "type": "CALL",
        "rep": rep_id(population, call_index),
        "scorer": scorer_id(population, call_index),
        "template_id": template_id(population.seed, template),
        "call_id": population.call_id(call_index),
        "total_score": super::call_record::single_precision(percent),
        "questions_score": scores,
    });
    if rolls.chance(70) {
        record["remark"] = rolls.pick(SCORECARD_REMARKS).into();
    }
    record
}

/// The id of a template.
pub(crate) fn template_id(seed: u64, index: u64) -> String {
    ids::uuid(seed, Purpose::Template, index)
}

/// All templates, as `/scorecard-template` shows them.
pub(crate) fn templates(seed: u64) -> Vec<Value> {
    SCORECARD_TEMPLATES
        .iter()
        .zip(0..)
        .map(|((name, questions), index)| {
            let questions: Vec<Value> = questions
                .iter()
                .zip(1_u32..)
                .map(|((skill, label), order)| {
                    json!({"skill": skill, "label": label, "order": order.to_string()})
                })
                .collect();
            json!({
                "id": template_id(seed, index),
                "customer_id": ids::object_id(seed, Purpose::Template, 1_000),
                "name": name,
                "type": "CALL",
                "questions": questions,
            })
        })
        .collect()
}
