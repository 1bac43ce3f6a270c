//! `connection`: configs by name, in a store that seals their secrets.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use headwater_core::{
    AnyConnector, Egress, Error, Field, FieldKind, FormModel, Kind, ProbeReport, Registry,
    ValidConfig, tidy,
};
use headwater_host::references::{self, EnvFile};
use headwater_store::{
    Actor, Connection, ConnectionSummary, Contents, Label, LastCheck, LastSync, NewConnection,
    PastRun, RunHolder, Store,
};
use serde_json::{Map, Value, json};

use crate::{
    Failure, NewContext, Outcome,
    answers::{changed, env_file, form, gather_answer, is_terminal, is_yes, read_line, validated},
    args::{self, AddConnection, ConnectionCommand, RotateConnection},
    check,
    runtime::runtime,
    saved::{OpenConnection, open_connection, open_store},
    terminal::{Terminal, Tone, count, say, table, until_stopped},
};

/// Number of shown runs.
const RUNS_SHOWN: usize = 5;
/// Connections per page of the store.
const PAGE: usize = 500;

pub(crate) fn connection(
    registry: &Registry,
    options: &args::Connection,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let path = match &options.command {
        ConnectionCommand::Add(add) => add.config.env_file.as_deref(),
        ConnectionCommand::Test(test) => test.env_file.as_deref(),
        ConnectionCommand::Rotate(rotate) => rotate.env_file.as_deref(),
        _ => None,
    };
    let env_file = env_file(path)?;
    let mut store = open_store(&options.store, &env_file)?;
    match &options.command {
        ConnectionCommand::Add(add) => self::add(registry, &mut store, add, context, terminal),
        ConnectionCommand::List => list(&mut store, terminal),
        ConnectionCommand::Show(show) => self::show(registry, &mut store, &show.name, terminal),
        ConnectionCommand::Test(test) => {
            let opened = open_connection(registry, &mut store, &test.name, &env_file)?;
            self::test(&mut store, &opened, context, terminal)
        }
        ConnectionCommand::Rotate(rotate) => {
            self::rotate(registry, &mut store, rotate, &env_file, context, terminal)
        }
        ConnectionCommand::Remove(remove) => self::remove(&mut store, remove, terminal),
        ConnectionCommand::Rekey => rekey(&mut store, terminal),
    }
}

fn add(
    registry: &Registry,
    store: &mut Store,
    options: &AddConnection,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    // Checked first, so that no form is filled in for a name that cannot be saved.
    store.check_new_name(&options.name)?;
    let input = gather_answer(registry, &options.config)?;
    let (connector, form) = (input.connector, input.form);
    let mut answer = input.answer;
    tidy(&form, &mut answer);
    let tested = match options.no_test {
        true => None,
        false => Some(tested(&**connector, &input.config, context)?),
    };
    let result = json!({ "connection": options.name, "connector": connector.about().id });
    if let Some(report) = &tested {
        accept(connector, report, &mut answer, result.clone(), terminal)?;
    }
    let new = NewConnection {
        name: &options.name,
        label: Label {
            expires: options.expires,
            ..Label::default()
        },
        connector: connector.about().id,
        answer: &answer,
    };
    store.add(&form, &new, &Actor::local())?;
    if let Some(report) = &tested {
        keep(store, &options.name, 1, report);
    }
    let saved = format!("saved {} in {}", options.name, store.place());
    finish(result, tested.as_ref(), &saved, terminal)
}

fn tested(
    connector: &dyn AnyConnector,
    config: &ValidConfig,
    context: NewContext,
) -> Result<ProbeReport, Failure> {
    let source = connector.open(config, &context(&Egress::Anywhere)?)?;
    Ok(runtime()?.block_on(until_stopped(ProbeReport::of(&*source)))?)
}

/// Saves the test result of a version of a connection, for the next command and the console. After a failure the
/// connection stays saved, and the result is still shown.
fn keep(store: &mut Store, name: &str, version: i64, report: &ProbeReport) {
    let check = LastCheck::of(report);
    if let Err(error) = store.record_check(name, version, &check, &Actor::local()) {
        say(&format!("the result of the test was not saved: {error}"));
    }
}

/// Applies the config patch of a probe; ends the command if the service refused the config.
fn accept(
    connector: &Arc<dyn AnyConnector>,
    report: &ProbeReport,
    answer: &mut Value,
    mut result: Value,
    terminal: &Terminal,
) -> Outcome {
    if report.failure().is_some() {
        if terminal.json {
            result["saved"] = false.into();
            result["test"] = check::machine(connector.about().id, report);
            terminal.print_json(&result)?;
        } else {
            check::show(report, terminal)?;
            say("nothing was saved, because the test failed; --no-test saves without a test");
        }
        return check::verdict(report);
    }
    if let Some(patch) = &report.patch {
        patch.apply(answer);
    }
    Ok(())
}

/// Reports the saved connection and its passed test.
fn finish(
    mut result: Value,
    tested: Option<&ProbeReport>,
    text: &str,
    terminal: &Terminal,
) -> Outcome {
    if terminal.json {
        let connector = result["connector"].as_str().unwrap_or_default().to_owned();
        result["saved"] = true.into();
        result["test"] = tested.map_or(Value::Null, |report| check::machine(&connector, report));
        return terminal.print_json(&result);
    }
    if let Some(report) = tested {
        let shown = ProbeReport {
            patch: None,
            ..report.clone()
        };
        check::show(&shown, terminal)?;
        if let Some(patch) = &report.patch {
            terminal.print(&format!("{}; saved with this change", patch.message))?;
        }
    }
    terminal.print(text)
}

/// All connections, page by page.
fn listed(store: &mut Store) -> Result<Vec<ConnectionSummary>, Error> {
    let mut listed: Vec<ConnectionSummary> = Vec::new();
    loop {
        let after = listed.last().map(|one| one.name.clone());
        let page = store.list(after.as_deref(), PAGE, None)?;
        let is_last = page.len() < PAGE;
        listed.extend(page);
        if is_last {
            return Ok(listed);
        }
    }
}

fn list(store: &mut Store, terminal: &Terminal) -> Outcome {
    let listed = listed(store)?;
    if terminal.json {
        let listed: Vec<Value> = listed
            .iter()
            .map(|one| {
                json!({
                    "connection": one.name, "title": one.title, "connector": one.connector, "secrets": one.secrets,
                    "updated": one.updated, "destination": one.destination, "expires": one.expires, "problem": one.problem,
                    "health": one.health().name(), "last_check": one.last_check.as_ref().map(last_check),
                    "last_sync": one.last_sync.as_ref().map(last_sync),
                })
            })
            .collect();
        return terminal.print_json(&listed);
    }
    if listed.is_empty() {
        say("there are no connections; `headwater connection add NAME CONNECTOR` saves one");
        return Ok(());
    }
    let mut rows = vec![
        [
            "connection",
            "connector",
            "health",
            "changed",
            "last check",
            "last sync",
            "records to",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(listed.into_iter().map(|one| {
        let health = one.health().name().replace('_', " ");
        let sync = one.last_sync.map(|sync| sync.outcome);
        let last = match one.problem {
            Some(problem) => format!("cannot be read: it {problem}"),
            None => one.destination.unwrap_or_default(),
        };
        let updated = one
            .updated
            .map(|time| time.strftime("%Y-%m-%d %H:%M").to_string());
        let name = match one.title == one.name {
            true => one.name,
            false => format!("{} ({})", one.name, one.title),
        };
        let test = one
            .last_check
            .map(|check| check.said.outcome.as_str().to_owned());
        vec![
            name,
            one.connector,
            health,
            updated.unwrap_or_default(),
            test.unwrap_or_default(),
            sync.unwrap_or_default(),
            last,
        ]
    }));
    table(&rows).iter().try_for_each(|row| terminal.print(row))
}

/// The value of a field of a saved config, as far as it may be shown.
enum FieldValue {
    Sealed,
    /// The target of a reference, in words.
    Reference(String),
    Plain(Value),
}

/// A field of a saved config.
struct FieldRow<'f> {
    pointer: Cow<'f, str>,
    title: &'f str,
    value: FieldValue,
}

/// The fields of a saved config, the chosen ways to sign in first.
fn field_rows<'f>(form: &'f FormModel, connection: &Connection) -> Vec<FieldRow<'f>> {
    let config = &connection.config;
    let chosen = form.fields.iter().filter_map(|field| {
        let FieldKind::OneOf { tag, .. } = &field.kind else {
            return None;
        };
        let pointer = format!("{}/{tag}", field.pointer);
        Some(FieldRow {
            value: FieldValue::Plain(config.pointer(&pointer)?.clone()),
            pointer: pointer.into(),
            title: &field.title,
        })
    });
    let references = references::check(form, config).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let inputs = form.inputs_of(config).into_iter();
    let once = inputs.filter(|field| seen.insert(&field.pointer));
    let row = |field: &'f Field| {
        let reference = references.iter().find(|one| one.pointer == field.pointer);
        let value = match (reference, config.pointer(&field.pointer)) {
            _ if connection.sealed.contains(&field.pointer) => FieldValue::Sealed,
            (Some(reference), _) => FieldValue::Reference(reference.target.clone()),
            // An unknown secret is never shown.
            (None, Some(_)) if field.kind == FieldKind::Secret => {
                FieldValue::Reference("a reference that cannot be followed".to_owned())
            }
            (None, value) => FieldValue::Plain(value?.clone()),
        };
        Some(FieldRow {
            pointer: (&*field.pointer).into(),
            title: &field.title,
            value,
        })
    };
    chosen.chain(once.filter_map(row)).collect()
}

fn show(registry: &Registry, store: &mut Store, name: &str, terminal: &Terminal) -> Outcome {
    let connection = store.get(name)?;
    let runs = store.history(name, RUNS_SHOWN)?;
    let form = form(&**registry.get(&connection.connector)?)?;
    let fields = field_rows(&form, &connection);
    if terminal.json {
        return terminal.print_json(&shown(&connection, &fields, &runs));
    }
    let heading = format!("{} ({})", connection.name, connection.connector);
    terminal.print(&terminal.paint(Tone::Strong, &heading))?;
    let mut rows: Vec<Vec<String>> = fields
        .iter()
        .map(|field| {
            let value = match &field.value {
                FieldValue::Sealed => "set, sealed".to_owned(),
                FieldValue::Reference(target) => format!("set, {target}"),
                FieldValue::Plain(value) => value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            };
            vec![format!("  {}", field.title), value]
        })
        .collect();
    let mut fact = |name: &str, value: String| rows.push(vec![format!("  {name}"), value]);
    if connection.title != connection.name {
        fact("title", connection.title.clone());
    }
    if !connection.description.is_empty() {
        fact("description", connection.description.replace('\n', " "));
    }
    fact(
        "saved",
        format!("{} by {}", connection.created, connection.created_by),
    );
    fact(
        "changed",
        format!("{} (version {})", connection.updated, connection.version),
    );
    fact("health", connection.health().name().replace('_', " "));
    if let Some(check) = &connection.last_check {
        let said = &check.said;
        let text = format!(
            "{} {}: {}",
            said.outcome.as_str(),
            check.checked,
            said.message
        );
        fact("last check", text);
    }
    if let Some(sync) = &connection.last_sync {
        let text = format!("{} {}: {}", sync.outcome, sync.ended, sync.message);
        fact("last sync", text);
    }
    if let Some(day) = connection.expires {
        fact("expires", day.to_string());
    }
    if let Some(destination) = &connection.destination {
        fact("records to", destination.clone());
    }
    if let Some(holder) = &connection.holder {
        fact("in use", format!("{} since {}", holder.name, holder.since));
    }
    for run in &runs {
        let ended = run.ended.map_or_else(
            || "has no end yet".to_owned(),
            |ended| format!("ended {ended}"),
        );
        fact(
            &format!("run {}", run.epoch),
            format!("started {}, {ended}", run.started),
        );
    }
    for row in table(&rows) {
        terminal.print(&row)?;
    }
    Ok(())
}

fn last_sync(sync: &LastSync) -> Value {
    json!({ "at": sync.ended, "outcome": sync.outcome, "code": sync.code, "message": sync.message })
}

fn last_check(check: &LastCheck) -> Value {
    let said = &check.said;
    json!({ "at": check.checked, "outcome": said.outcome, "code": said.code, "message": said.message })
}

fn shown(connection: &Connection, fields: &[FieldRow], runs: &[PastRun]) -> Value {
    let (mut config, mut secrets) = (Map::new(), Map::new());
    for field in fields {
        let pointer = field.pointer.to_string();
        match &field.value {
            FieldValue::Sealed => secrets.insert(pointer, json!({ "kind": "sealed" })),
            FieldValue::Reference(target) => {
                secrets.insert(pointer, json!({ "kind": "reference", "target": target }))
            }
            FieldValue::Plain(value) => config.insert(pointer, value.clone()),
        };
    }
    let holder = |holder: &RunHolder| json!({ "name": holder.name, "since": holder.since, "until": holder.until });
    let run = |run: &PastRun| json!({ "run": run.epoch, "by": run.holder, "started": run.started, "ended": run.ended, "receipt": run.receipt });
    json!({
        "connection": connection.name,
        "title": connection.title,
        "description": connection.description,
        "connector": connection.connector,
        "config": config,
        "secrets": secrets,
        "created": connection.created,
        "created_by": connection.created_by,
        "updated": connection.updated,
        "version": connection.version,
        "destination": connection.destination,
        "expires": connection.expires,
        "health": connection.health().name(),
        "last_check": connection.last_check.as_ref().map(last_check),
        "last_sync": connection.last_sync.as_ref().map(last_sync),
        "in_use": connection.holder.as_ref().map(holder),
        "runs": runs.iter().map(run).collect::<Vec<_>>(),
    })
}

fn test(
    store: &mut Store,
    opened: &OpenConnection<'_>,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let report = tested(&**opened.connector, &opened.config, context)?;
    let connection = &opened.connection;
    keep(store, &connection.name, connection.version, &report);
    if terminal.json {
        let mut result = check::machine(opened.connector.about().id, &report);
        result["connection"] = opened.connection.name.as_str().into();
        terminal.print_json(&result)?;
    } else {
        let shown = ProbeReport {
            patch: None,
            ..report.clone()
        };
        check::show(&shown, terminal)?;
        if let Some(patch) = &report.patch {
            let name = &opened.connection.name;
            let set = patch.set.iter().map(|(pointer, value)| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                format!(
                    " --set {}={value}",
                    pointer.trim_start_matches('/').replace('/', ".")
                )
            });
            let set: String = set.collect();
            terminal.print(&format!(
                "{}; `headwater connection rotate {name}{set}` saves it",
                patch.message
            ))?;
        }
    }
    check::verdict(&report)
}

fn rotate(
    registry: &Registry,
    store: &mut Store,
    options: &RotateConnection,
    env_file: &EnvFile,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let connection = store.get(&options.name)?;
    let connector = registry.get(&connection.connector)?;
    let form = form(&**connector)?;
    let mut answer = changed(&form, &connection.config, &options.changes)?;
    tidy(&form, &mut answer);
    if answer == connection.config && options.expires.is_none() {
        let text = "nothing would change; enter at least one new secret or another value";
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    let mut changes = changes(&form, &connection, &answer);
    if options.expires.is_some() {
        changes.push("the day of expiry".to_owned());
    }
    // As entered: without the unchanged secrets.
    let entered = answer.clone();
    store.unseal(&form, &connection, &mut answer)?;
    let config = validated(&**connector, &form, &answer, env_file)?;
    let tested = match options.no_test {
        true => None,
        false => Some(tested(&**connector, &config, context)?),
    };
    let result = json!({
        "connection": options.name, "connector": connection.connector, "changed": changes,
    });
    if let Some(report) = &tested {
        accept(connector, report, &mut answer, result.clone(), terminal)?;
    }
    let mut new_secrets = form.inputs_of(&answer);
    new_secrets.retain(|field| {
        let (before, after) = (&connection.config, &entered);
        field.kind == FieldKind::Secret
            && before.pointer(&field.pointer) != after.pointer(&field.pointer)
    });
    let label = Label {
        expires: options
            .expires
            .or(connection.expires.filter(|_| new_secrets.is_empty())),
        ..connection.label()
    };
    store.replace(&form, &connection, &answer, Some(label), &Actor::local())?;
    if let Some(report) = &tested {
        keep(store, &options.name, connection.version + 1, report);
    }
    if tested.is_some() && new_secrets.iter().any(|field| field.single) {
        store.forget_previous(&options.name)?;
    }
    let saved = format!("changed {} of {}", changes.join(", "), options.name);
    finish(result, tested.as_ref(), &saved, terminal)
}

/// The titles of the changed fields. An entered secret counts as changed.
fn changes(form: &FormModel, connection: &Connection, answer: &Value) -> Vec<String> {
    let mut titles: Vec<String> = Vec::new();
    for field in form.inputs() {
        let after = answer.pointer(&field.pointer);
        if connection.config.pointer(&field.pointer) != after && !titles.contains(&field.title) {
            titles.push(field.title.clone());
        }
    }
    for field in &form.fields {
        if let FieldKind::OneOf { tag, .. } = &field.kind {
            let pointer = format!("{}/{tag}", field.pointer);
            if connection.config.pointer(&pointer) != answer.pointer(&pointer) {
                titles.push(field.title.clone());
            }
        }
    }
    titles
}

fn remove(store: &mut Store, options: &args::RemoveConnection, terminal: &Terminal) -> Outcome {
    let name = &options.name;
    let contents = store.contents(name)?;
    let what = along(&contents);
    if !options.yes {
        if !is_terminal() {
            let text = format!(
                "removing {name} also removes {what}; confirm with --yes, because there is no terminal to ask at"
            );
            return Err(Error::new(Kind::ConfigInvalid, text).into());
        }
        let answer = read_line(&format!("Remove {name} with {what}? [y/N]: "))?;
        if !is_yes(&answer) {
            say("nothing was removed");
            return Err(Failure::Reported(Kind::Cancelled));
        }
    }
    store.remove(name, &Actor::local())?;
    if terminal.json {
        return terminal.print_json(&json!({
            "connection": name, "removed": true, "secrets": contents.secrets, "runs": contents.runs,
        }));
    }
    terminal.print(&format!("removed {name} with {what}"))
}

/// `2 secrets and 14 runs`
fn along(contents: &Contents) -> String {
    let secrets = count(contents.secrets, "secret");
    let runs = count(contents.runs, "run");
    format!("{secrets} and {runs}")
}

fn rekey(store: &mut Store, terminal: &Terminal) -> Outcome {
    let rekeyed = store.rekey(&Actor::local())?;
    if terminal.json {
        let unreadable: Vec<Value> = rekeyed
            .unreadable
            .iter()
            .map(|(name, problem)| json!({ "connection": name, "problem": problem }))
            .collect();
        terminal.print_json(&json!({
            "key": rekeyed.key_id, "resealed": rekeyed.resealed, "unreadable": unreadable,
        }))?;
    } else {
        let connections = count(rekeyed.resealed, "connection");
        terminal.print(&format!(
            "sealed {connections} with the key {}",
            rekeyed.key_id
        ))?;
        for (name, problem) in &rekeyed.unreadable {
            say(&format!("error: {name} cannot be read: it {problem}"));
        }
    }
    if rekeyed.unreadable.is_empty() {
        return Ok(());
    }
    say(
        "the old key stays until every connection is readable; remove the unreadable ones, and run rekey again",
    );
    Err(Failure::Reported(Kind::ConfigInvalid))
}
