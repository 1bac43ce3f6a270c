//! `plan`: the partitions that a run would read, with their requests and export jobs.

use headwater_core::{Allowance, Egress, PartitionRange, Registry};
use headwater_host::{Delivery, Plan, PlannedPartition, State};
use serde_json::{Value, json};

use crate::{
    NewContext, Outcome,
    answers::env_file,
    args::Plan as Options,
    runtime::runtime,
    saved::{Target, choose},
    state::state_of,
    sync::destination,
    terminal::{Terminal, count, table, thousands, until_stopped},
};

/// Listed partitions of one stream.
const MAX_SHOWN: usize = 12;

pub(crate) fn plan(
    registry: &Registry,
    options: &Options,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let Target {
        connector,
        config,
        name,
        saved,
    } = choose(registry, &options.config, &options.store)?;
    let env_file = env_file(options.config.env_file.as_deref())?;
    let remembered = saved
        .and_then(|(_, connection)| connection.destination)
        .filter(|_| options.state.is_none());
    let to = options.to.clone().or(remembered);
    let destination = to.map(|to| destination(&to, &env_file)).transpose()?;
    let context = context(&Egress::Anywhere)?;
    let source = connector.open(&config, &context)?;
    let known = connector.catalog();
    let names: Vec<&str> = known.iter().map(|stream| stream.name).collect();
    let id = connector.about().id;
    let (state, delivery, keeps_position) = match (&destination, &options.state) {
        (Some(destination), _) => {
            let state = match state_of(destination, &name)? {
                Some(state) => state.of(id, &format!("the state in {destination}"))?,
                None => State::new(id),
            };
            state.belongs_to(&names, &format!("the state in {destination}"))?;
            (state, destination.delivery(), !destination.is_output())
        }
        (None, Some(path)) => (State::load(path, id, &names)?, Delivery::RecordsFirst, true),
        (None, None) => (State::new(id), Delivery::RecordsFirst, false),
    };
    let planned = headwater_host::plan(
        &*source,
        &options.streams,
        &state,
        delivery,
        keeps_position,
        !options.no_survey,
    );
    let plan = runtime()?.block_on(until_stopped(planned))??;
    if terminal.json {
        return terminal.print_json(&json!({
            "streams": plan.streams,
            "requests": plan.requests(),
            "known_requests": plan.known_requests(),
            "jobs": plan.jobs(),
            "allowances": plan.allowances.iter().map(|one| measured(&plan, one)).collect::<Vec<_>>(),
        }));
    }
    show(&plan, terminal)
}

/// An allowance, and the part that the plan takes.
fn measured(plan: &Plan, allowance: &Allowance) -> Value {
    let mut shown = json!(allowance);
    shown["left"] = json!(allowance.left());
    shown["takes"] = json!(plan.jobs());
    shown
}

fn show(plan: &Plan, terminal: &Terminal) -> Outcome {
    let mut rows = vec![
        ["stream", "what", "records", "requests", "jobs"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for stream in &plan.streams {
        let name = stream.streams.join(", ");
        if stream.partitions.is_empty() {
            rows.push(
                [name.as_str(), "nothing new yet", "", "", ""]
                    .map(str::to_owned)
                    .to_vec(),
            );
        }
        for (index, partition) in stream.partitions.iter().take(MAX_SHOWN).enumerate() {
            let name = if index == 0 { name.as_str() } else { "" };
            rows.push(row(name, partition));
        }
        let rest = stream.partitions.len().saturating_sub(MAX_SHOWN);
        if rest > 0 {
            let text = format!("and {}", count(rest, "more partition"));
            rows.push(["", text.as_str(), "", "", ""].map(str::to_owned).to_vec());
        }
    }
    table(&rows)
        .iter()
        .try_for_each(|row| terminal.print(row))?;
    terminal.print("")?;
    let known = thousands(plan.known_requests());
    terminal.print(&match plan.requests() {
        Some(_) => format!("takes {known} requests and {} export jobs", plan.jobs()),
        None => format!(
            "takes {known} requests, further requests that are known only while reading, and {} export jobs",
            plan.jobs()
        ),
    })?;
    for allowance in &plan.allowances {
        let takes = plan.jobs();
        let verdict = if takes as f64 > allowance.left() {
            " - not enough"
        } else {
            ""
        };
        terminal.print(&format!(
            "{}: {} of {} left, this takes {}{verdict}",
            allowance.title,
            allowance.left(),
            allowance.limit,
            thousands(takes),
        ))?;
    }
    let mut shown: Vec<String> = Vec::new();
    for stream in &plan.streams {
        let line = format!("{}: {}", stream.guarantee.level, stream.guarantee.reason);
        if !shown.contains(&line) {
            terminal.print(&line)?;
            shown.push(line);
        }
        if let Some(unknown) = &stream.unknown {
            terminal.print(&format!("note: {}: {unknown}", stream.streams.join(", ")))?;
        }
        if stream.resumed {
            terminal.print(&format!(
                "note: {}: resumes where an earlier run ended",
                stream.streams.join(", ")
            ))?;
        }
    }
    Ok(())
}

fn row(name: &str, partition: &PlannedPartition) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), thousands);
    vec![
        name.to_owned(),
        described(&partition.range),
        number(partition.records),
        number(partition.requests),
        if partition.jobs == 0 {
            String::new()
        } else {
            partition.jobs.to_string()
        },
    ]
}

/// The range of a partition, in a few words.
fn described(range: &PartitionRange) -> String {
    let times = match (range.from, range.to) {
        (Some(from), Some(to)) => format!("{} to {}", short(from), short(to)),
        (Some(from), None) => format!("from {}", short(from)),
        (None, Some(to)) => format!("to {}", short(to)),
        (None, None) => String::new(),
    };
    match (range.title.as_str(), times.as_str()) {
        ("", "") => "everything".to_owned(),
        (title, "") => title.to_owned(),
        ("", times) => times.to_owned(),
        (title, times) => format!("{title}, {times}"),
    }
}

/// To the minute; a midnight as its date.
fn short(time: headwater_core::Timestamp) -> String {
    let text = time.strftime("%Y-%m-%d %H:%M").to_string();
    text.strip_suffix(" 00:00")
        .map(str::to_owned)
        .unwrap_or(text)
}
