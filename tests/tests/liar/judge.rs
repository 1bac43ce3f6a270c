//! Whether what a database holds is what the service has, and where it is not, whether a receipt says so.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::{
    lies::Honesty,
    runs::Run,
    stage::{OF_THE_MOMENT, Union},
};

/// How a stream differs from the truth.
#[derive(Debug, Default)]
pub struct Difference {
    pub missing: Vec<String>,
    /// Records that the service never had, or more often than it has them.
    pub beyond: Vec<String>,
}

/// What was told of a stream by any run.
#[derive(Debug, Default)]
struct Told {
    flags: Vec<Value>,
    /// How the last run ended it, where that is not `complete`.
    unfinished: Option<String>,
}

/// What a seed has shown.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Sentences for people; none is a pass.
    pub faults: Vec<String>,
    /// Streams that differ and whose gap is named.
    pub flagged: usize,
}

/// Compares a stream's records, both sorted.
fn difference(have: &[String], truth: &[String]) -> Difference {
    let count = |records: &[String]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for record in records {
            *counts.entry(record.clone()).or_default() += 1;
        }
        counts
    };
    let mut left = count(truth);
    let mut difference = Difference::default();
    for (record, had) in count(have) {
        let there = left.remove(&record).unwrap_or(0);
        for _ in 0..had - there {
            difference.beyond.push(record.clone());
        }
        for _ in 0..there - had {
            difference.missing.push(record.clone());
        }
    }
    for (record, there) in left {
        for _ in 0..there {
            difference.missing.push(record.clone());
        }
    }
    difference
}

fn told(runs: &[Run], stream: &str) -> Told {
    let mut told = Told::default();
    for run in runs {
        let Some(receipt) = &run.receipt else {
            told.unfinished = Some(format!("refused: {}", run.said));
            continue;
        };
        let streams = receipt["streams"].as_array();
        let one = streams.and_then(|all| all.iter().find(|one| one["stream"] == stream));
        let Some(one) = one else {
            continue;
        };
        let is_complete = one["status"] == "complete" && run.code == 0;
        told.unfinished = (!is_complete).then(|| format!("exit {}, {one}", run.code));
        for flag in one["flags"].as_array().into_iter().flatten() {
            // How records differ from their schema is no gap.
            if !told.flags.contains(flag) {
                told.flags.push(flag.clone());
            }
        }
    }
    told
}

/// The id of a record in one spelling.
fn id_of(record: &str) -> String {
    let record: Value =
        serde_json::from_str(&record.replace(",}", "}").replace(",]", "]")).unwrap_or(Value::Null);
    match &record["id"] {
        Value::String(id) => id.clone(),
        id => id.to_string(),
    }
}

/// Shows a few records, each from shortly before the byte at which it stops being like one of the others.
fn few(records: &[String], others: &[String]) -> String {
    let shown: Vec<&str> = records
        .iter()
        .take(3)
        .map(|record| {
            let id = id_of(record);
            let other = others.iter().find(|other| id_of(other) == id);
            let same = other.map_or(0, |other| {
                let pairs = record.bytes().zip(other.bytes());
                pairs.take_while(|(one, two)| one == two).count()
            });
            let end = |at: usize| {
                (0..=at.min(record.len()))
                    .rev()
                    .find(|at| record.is_char_boundary(*at))
            };
            let from = end(same.saturating_sub(80)).unwrap_or(0);
            &record[from..end(from + 240).unwrap_or(from)]
        })
        .collect();
    format!("{} records, such as {shown:#?}", records.len())
}

/// Judges the runs of a seed.
pub fn judge(
    runs: &[Run],
    have: &Union,
    truth: &Union,
    deleted: &HashSet<(String, String)>,
    of_this_moment: &HashSet<String>,
    honesty: Honesty,
) -> Verdict {
    let mut verdict = Verdict::default();
    for (stream, truth) in truth {
        let have = have.get(stream).map_or(&[][..], Vec::as_slice);
        let told = told(runs, stream);
        if OF_THE_MOMENT.contains(&stream.as_str()) {
            if have.is_empty() && !truth.is_empty() && told.unfinished.is_none() {
                verdict
                    .faults
                    .push(format!("{stream}: complete without a record"));
            }
            continue;
        }
        let mut difference = difference(have, truth);
        difference.beyond.retain(|record| {
            let is_deleted = deleted.contains(&(stream.clone(), id_of(record)));
            let is_new = stream == "audit_events" && of_this_moment.contains(record);
            !(is_deleted || is_new)
        });
        let Difference { missing, beyond } = &difference;
        if missing.is_empty() && beyond.is_empty() {
            if let (Honesty::Exact, Some(unfinished)) = (honesty, &told.unfinished) {
                let text = format!("{stream}: no run after so many is complete: {unfinished}");
                verdict.faults.push(text);
            }
            continue;
        }
        let is_named = !told.flags.is_empty() || told.unfinished.is_some();
        let what = format!(
            "{stream} of {}: missing {}; beyond {}; flags {:?}; unfinished {:?}",
            truth.len(),
            few(missing, beyond),
            few(beyond, missing),
            told.flags,
            told.unfinished
        );
        if !is_named {
            verdict.faults.push(format!("SILENT {what}"));
        } else if honesty == Honesty::Exact {
            verdict.faults.push(format!("INEXACT {what}"));
        } else if let Some(too_few) = too_few(&told, missing.len().max(beyond.len())) {
            verdict.faults.push(format!("TOO FEW {too_few} {what}"));
        } else {
            verdict.flagged += 1;
        }
    }
    verdict
}

/// The number that flags tell, where all of them tell one and it is too small.
fn too_few(told: &Told, differ: usize) -> Option<u64> {
    if told.unfinished.is_some() {
        return None;
    }
    let numbers: Option<Vec<u64>> = told
        .flags
        .iter()
        .map(|flag| flag["at_most"].as_u64())
        .collect();
    let sum = numbers?.iter().sum();
    (sum < differ as u64).then_some(sum)
}
