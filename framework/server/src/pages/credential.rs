//! The form of a connection: adding, changing and repairing it, and replacing its secrets.
//!
//! The code of the API validates, tests and saves the input; its refusals become errors at the fields. A secret goes in
//! and never comes back: after a refusal it has to be typed again.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use axum::{Extension, response::Response};
use headwater_console::{
    CredentialForm, LONGEST_TITLE, ProbeResult, Purpose, answer, credential, left_empty,
    title_of_copy,
};
use headwater_core::{
    AnyConnector, ConfigPatch, Date, FieldError, FieldKind, FormModel, Notice, Outcome,
    ProbeReport, Timestamp, put,
};
use headwater_store::{Connection, Scope};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    FormBody, Visit,
    connection::{offer, secrets_of},
    gallery::source_of,
    see_other,
};
use crate::{
    api::connections::{
        Change, New, Unreadable, actor, changed_config, failing, find, leads_elsewhere, merge,
        remove, save_change, save_new, unreadable, unwatched, view,
    },
    app::form,
    body::{Path, Query},
    guard::Caller,
    probing::{Tester, connector, probe, ready},
    problem::Problem,
};

/// The query of a page that changes a connection.
#[derive(Deserialize)]
pub(super) struct Reason {
    repair: Option<String>,
    offer: Option<String>,
}

/// The connection that a new one copies, without its secrets.
#[derive(Deserialize)]
pub(super) struct CopyQuery {
    from: Option<String>,
}

/// The purpose and the contents of a form.
pub(super) struct FormPurpose {
    purpose: Purpose,
    path: String,
    back: String,
    connector: Arc<dyn AnyConnector>,
    form: FormModel,
    saved: Option<Connection>,
    /// The remains of a connection that cannot be read.
    left: Option<Unreadable>,
    /// The corrections of the last test.
    offer: Option<ConfigPatch>,
}

/// The input of a form and its result.
#[derive(Default)]
struct FormInput {
    title: String,
    description: String,
    /// A day, or any other input.
    expires: String,
    version: String,
    /// With the secrets that were typed.
    answer: Value,
    replacing: BTreeSet<String>,
    errors: Vec<FieldError>,
    notices: Vec<Notice>,
    tested: Option<ProbeResult>,
}

pub(super) async fn open_new(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    Query(copied): Query<CopyQuery>,
) -> Result<Response, Problem> {
    let target = adding(&visit, &id)?;
    let mut entered = saved(&visit, &target);
    if let Some(name) = copied.from {
        let found = find(&visit.app, name).await?;
        let seen = view(&found.form, &found.connection);
        if seen.connector != id {
            let text = "the copied connection belongs to another source";
            return Err(Problem::bad_request(text));
        }
        entered.title = title_of_copy(&seen.title, &visit.app.texts);
        entered.description = seen.description;
        entered.answer = seen.config;
    }
    Ok(show(&visit, &target, entered, StatusCode::OK))
}

pub(super) async fn post_new(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    posted: FormBody,
) -> Result<Response, Problem> {
    let target = adding(&visit, &id)?;
    act(&visit, target, &posted).await
}

pub(super) async fn open_edit(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    Query(reason): Query<Reason>,
) -> Result<Response, Problem> {
    let has_offer = reason.offer.is_some();
    let target = changing(&visit, name, edit(reason)).await?;
    let mut entered = saved(&visit, &target);
    if let Some(offer) = target.offer.as_ref().filter(|_| has_offer) {
        offer.apply(&mut entered.answer);
        entered.notices = notices_of(offer);
    }
    Ok(show(&visit, &target, entered, StatusCode::OK))
}

pub(super) async fn post_edit(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    Query(reason): Query<Reason>,
    posted: FormBody,
) -> Result<Response, Problem> {
    let target = changing(&visit, name, edit(reason)).await?;
    act(&visit, target, &posted).await
}

pub(super) async fn open_rotate(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let target = changing(&visit, name, Purpose::Rotate).await?;
    Ok(open(&visit, &target))
}

pub(super) async fn post_rotate(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    posted: FormBody,
) -> Result<Response, Problem> {
    let target = changing(&visit, name, Purpose::Rotate).await?;
    act(&visit, target, &posted).await
}

fn edit(reason: Reason) -> Purpose {
    match reason.repair {
        Some(_) => Purpose::Repair(Vec::new()),
        None => Purpose::Edit,
    }
}

pub(super) fn adding(visit: &Visit, id: &str) -> Result<FormPurpose, Problem> {
    visit.may(Scope::Admin)?;
    let connector = connector(&visit.app, id)?;
    Ok(FormPurpose {
        purpose: Purpose::Add,
        path: format!("/sources/{id}/add"),
        back: format!("/sources/{id}"),
        form: form(&*connector)?,
        connector,
        saved: None,
        left: None,
        offer: None,
    })
}

pub(super) async fn changing(
    visit: &Visit,
    name: String,
    purpose: Purpose,
) -> Result<FormPurpose, Problem> {
    visit.may(Scope::Admin)?;
    let back = format!("/connections/{name}");
    let found = match find(&visit.app, name.clone()).await {
        Ok(found) => found,
        Err(problem) => {
            let left = unreadable(&visit.app, visit.may(Scope::Admin)?, name, problem).await?;
            return entering_again(left, back);
        }
    };
    let (purpose, path) = match purpose {
        Purpose::Repair(_) => match failing(&found) {
            // No field caused the failure, so all of them may be changed.
            pointers if pointers.is_empty() => (Purpose::Edit, format!("{back}/edit")),
            pointers => (Purpose::Repair(pointers), format!("{back}/edit?repair=1")),
        },
        Purpose::Rotate => (Purpose::Rotate, format!("{back}/rotate")),
        other => (other, format!("{back}/edit")),
    };
    Ok(FormPurpose {
        purpose,
        path,
        back,
        offer: offer(&found),
        connector: found.connector,
        form: found.form,
        saved: Some(found.connection),
        left: None,
    })
}

fn entering_again(left: Unreadable, back: String) -> Result<FormPurpose, Problem> {
    let Some((connector, form)) = left.connector.clone() else {
        return Err(left.problem);
    };
    Ok(FormPurpose {
        purpose: Purpose::Again,
        path: format!("{back}/edit"),
        back,
        connector,
        form,
        saved: None,
        left: Some(left),
        offer: None,
    })
}

/// The saved values at the start of a form; only a name for a new connection.
fn saved(visit: &Visit, target: &FormPurpose) -> FormInput {
    if let Some(left) = &target.left {
        return FormInput {
            title: left.remains.title.clone(),
            description: left.remains.description.clone(),
            expires: typed(left.remains.expires),
            version: left.remains.revision.to_string(),
            answer: left.open_config(),
            ..FormInput::default()
        };
    }
    let entered = target.saved.as_ref().map(|saved| FormInput {
        title: saved.title.clone(),
        description: saved.description.clone(),
        // New secrets have another date of expiry.
        expires: match target.purpose {
            Purpose::Rotate => String::new(),
            _ => typed(saved.expires),
        },
        version: saved.revision.to_string(),
        answer: view(&target.form, saved).config,
        ..FormInput::default()
    });
    entered.unwrap_or_else(|| FormInput {
        title: suggested_title(visit, target),
        answer: Value::Object(Map::new()),
        ..FormInput::default()
    })
}

fn typed(day: Option<Date>) -> String {
    day.map_or_else(String::new, |day| day.to_string())
}

/// Whether an embed adds a connection, which has to pass its test.
fn adds_by_embed(visit: &Visit) -> bool {
    let caller = visit.caller.as_ref();
    caller.is_some_and(|caller| {
        caller
            .embed
            .as_ref()
            .is_some_and(|embed| embed.is_for_new())
    })
}

/// The suggested title of a new connection: the source and the user.
fn suggested_title(visit: &Visit, target: &FormPurpose) -> String {
    let source = target.connector.about().name;
    let is_embedded = visit
        .caller
        .as_ref()
        .is_some_and(|caller| caller.embed.is_some());
    let title = match &visit.frame.user {
        Some(user) if !is_embedded => format!("{source} – {user}"),
        _ => source.to_owned(),
    };
    title.chars().take(LONGEST_TITLE).collect()
}

/// The form with the saved values.
pub(super) fn open(visit: &Visit, target: &FormPurpose) -> Response {
    show(visit, target, saved(visit, target), StatusCode::OK)
}

/// Notices with the findings of the last test, each at its field.
fn notices_of(offer: &ConfigPatch) -> Vec<Notice> {
    let notice = |pointer: &Cow<'_, str>| Notice {
        pointer: pointer.to_string(),
        message: offer.message.clone(),
    };
    offer.set.keys().map(notice).collect()
}

async fn act(visit: &Visit, target: FormPurpose, posted: &FormBody) -> Result<Response, Problem> {
    let caller = visit.may(Scope::Admin)?;
    let action = posted.text("action");
    let mut entered = FormInput {
        title: posted.text("title").to_owned(),
        description: posted.text("description").replace("\r\n", "\n"),
        expires: posted.text("expires").to_owned(),
        version: posted.text("version").to_owned(),
        answer: answer(&target.form, posted.pairs()),
        replacing: posted.all("replacing").map(str::to_owned).collect(),
        ..FormInput::default()
    };
    let (replaced, kept) = (posted.text("replace"), posted.text("keep"));
    if !replaced.is_empty() || !kept.is_empty() {
        entered.replacing.insert(replaced.to_owned());
        entered.replacing.remove(kept);
        return Ok(show(visit, &target, entered, StatusCode::OK));
    }
    if action == "apply" {
        take_over(&target.form, &mut entered.answer, posted.text("patch"));
    }
    let texts = &visit.app.texts;
    entered.errors = left_empty(&target.form, &entered.answer, &entered.replacing, texts);
    if !entered.errors.is_empty() {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(show(visit, &target, entered, status));
    }
    let started = Instant::now();
    let tested = |report: ProbeReport| ProbeResult {
        report,
        at: Timestamp::now(),
        seconds: started.elapsed().as_secs_f64(),
        request_id: visit.request_id.clone(),
    };
    let done = match action {
        "save" | "save-untested" => {
            let saved = save(visit, caller, &target, &entered, action == "save").await;
            match saved {
                Ok(path) => return Ok(see_other(&path)),
                Err(problem) => Err(problem),
            }
        }
        "test" | "apply" => test(visit, caller, &target, &entered.answer).await,
        _ => Err(Problem::bad_request(
            "unknown action; a form can be tested or saved",
        )),
    };
    entered.notices = headwater_core::tidy(&target.form, &mut entered.answer);
    let status = match done {
        Ok(report) => {
            entered.errors = failures(&report);
            entered.tested = Some(tested(report));
            StatusCode::OK
        }
        Err(problem) => {
            entered.errors = errors_of(&problem);
            entered.tested = problem.report.clone().map(|report| tested(*report));
            problem.status()
        }
    };
    Ok(show(visit, &target, entered, status))
}

/// Saves the input and returns the next page.
async fn save(
    visit: &Visit,
    caller: &Caller,
    target: &FormPurpose,
    entered: &FormInput,
    test: bool,
) -> Result<String, Problem> {
    let (app, revision) = (&visit.app, entered.version.parse());
    let revision = revision.map_err(|_| Problem::changed());
    let expires = Some(entered.expires.clone()).filter(|day| !day.is_empty());
    let change = |config| Change {
        title: Some(entered.title.clone()),
        description: Some(entered.description.clone()),
        expires: Some(expires.clone()),
        config: Some(config),
        test,
    };
    if let Some(left) = &target.left {
        let (name, change) = (left.remains.name.clone(), change(entered.answer.clone()));
        save_change(app, caller, name, revision?, change, unwatched()).await?;
        return Ok(target.back.clone());
    }
    let Some(saved) = &target.saved else {
        let new = New {
            connector: target.connector.about().id.to_owned(),
            name: None,
            title: Some(entered.title.clone()),
            description: entered.description.clone(),
            expires,
            config: entered.answer.clone(),
            test,
        };
        let name = save_new(app, caller, new, None, unwatched()).await?;
        return Ok(format!("{}?added={name}", target.back));
    };
    let change = change(difference(&target.form, &saved.config, &entered.answer));
    let name = saved.name.clone();
    save_change(app, caller, name, revision?, change, unwatched()).await?;
    Ok(target.back.clone())
}

/// Probes the input without saving it.
async fn test(
    visit: &Visit,
    caller: &Caller,
    target: &FormPurpose,
    entered: &Value,
) -> Result<ProbeReport, Problem> {
    let app = &visit.app;
    let config = match &target.saved {
        None => ready(app, caller, &target.connector, entered.clone()).await?,
        Some(saved) => {
            let change = difference(&target.form, &saved.config, entered);
            changed_config(app, caller, saved.name.clone(), change)
                .await?
                .config
        }
    };
    let name = target.saved.as_ref().map(|saved| saved.name.clone());
    probe(app, &config, Tester::Draft(actor(caller), name)).await
}

/// Applies the corrections of a test: values of fields without secrets, and choices of alternatives.
fn take_over(form: &FormModel, answer: &mut Value, patch: &str) {
    let Ok(patch) = serde_json::from_str::<Map<String, Value>>(patch) else {
        return;
    };
    let known = open_pointers(form);
    for (pointer, value) in patch {
        if known.contains(&pointer) {
            put(answer, &pointer, value);
        }
    }
}

/// The pointers of fields without secrets and of the tags of alternatives.
pub(super) fn open_pointers(form: &FormModel) -> BTreeSet<String> {
    let inputs = form.inputs().into_iter();
    let open = inputs.filter(|field| field.kind != FieldKind::Secret);
    let tags = form.fields.iter().filter_map(|field| match &field.kind {
        FieldKind::OneOf { tag, .. } => Some(format!("{}/{tag}", field.pointer)),
        _ => None,
    });
    open.map(|field| field.pointer.clone())
        .chain(tags)
        .collect()
}

/// The change (JSON Merge Patch) from the saved config to the entered one. A form omits secrets that stay and defaults,
/// whether they are saved or not; neither is a change.
fn difference(form: &FormModel, saved: &Value, entered: &Value) -> Value {
    let mut after = entered.clone();
    for field in form.inputs_of(entered) {
        let Some(before) = saved.pointer(&field.pointer) else {
            continue;
        };
        let stays = field.kind == FieldKind::Secret || field.default.as_ref() == Some(before);
        if stays && after.pointer(&field.pointer).is_none() {
            put(&mut after, &field.pointer, before.clone());
        }
    }
    patch(saved, &after).unwrap_or_else(|| Value::Object(Map::new()))
}

/// The difference of two values; `None` if they are equal.
fn patch(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        return Some(after.clone());
    };
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let mut changes: Map<String, Value> = gone.map(|name| (name.clone(), Value::Null)).collect();
    for (name, value) in new {
        let change = match old.get(name) {
            Some(old) => patch(old, value),
            None => Some(value.clone()),
        };
        changes.extend(change.map(|change| (name.clone(), change)));
    }
    Some(Value::Object(changes))
}

fn errors_of(problem: &Problem) -> Vec<FieldError> {
    let error = |pointer: String, message: &str| FieldError {
        pointer,
        code: "refused".into(),
        message: message.to_owned(),
    };
    if problem.errors.is_empty() {
        return vec![error(String::new(), &problem.detail)];
    }
    let complaints = problem.errors.iter();
    complaints
        .map(|complaint| {
            let member = complaint.member.as_ref();
            let member = member.map(|member| format!("/{member}"));
            let pointer = member.unwrap_or_else(|| complaint.pointer.clone());
            error(pointer, &complaint.message)
        })
        .collect()
}

/// The errors of all fields that failed a test.
pub(super) fn failures(report: &ProbeReport) -> Vec<FieldError> {
    let failed = report.checks.iter();
    let failed = failed.filter(|check| check.outcome == Outcome::Failed);
    failed
        .flat_map(|check| {
            check.pointers.iter().map(|pointer| FieldError {
                pointer: pointer.clone(),
                code: check.code.clone(),
                message: check.message.clone(),
            })
        })
        .collect()
}

/// Whether a config may be saved although its test failed. A config with a refused address may not.
pub(super) fn may_skip(report: &ProbeReport) -> bool {
    let mut checks = report.checks.iter();
    checks.all(|check| check.code != "not_allowed")
}

fn show(
    visit: &Visit,
    target: &FormPurpose,
    mut entered: FormInput,
    status: StatusCode,
) -> Response {
    let source = source_of(&*target.connector);
    let seen = target.saved.as_ref().map(|saved| view(&target.form, saved));
    let saved_secrets = seen.as_ref().map(secrets_of).unwrap_or_default();
    let mut asked_again = BTreeMap::new();
    if let Some(saved) = &target.saved {
        let mut after = saved.config.clone();
        let change = difference(&target.form, &saved.config, &entered.answer);
        merge(&mut after, change);
        if leads_elsewhere(&target.form, &saved.config, &after) {
            let text = "it was saved for another address or another way to sign in; enter it again";
            let again = saved_secrets.keys();
            asked_again = again
                .map(|pointer| (pointer.clone(), text.to_owned()))
                .collect();
        }
    }
    for field in target.form.inputs() {
        if field.kind == FieldKind::Secret {
            remove(&mut entered.answer, &field.pointer);
        }
    }
    let may_save_untested = entered
        .tested
        .as_ref()
        .is_some_and(|tested| may_skip(&tested.report));
    let of_left = target.left.as_ref().map(|left| &left.remains.name);
    let name = target.saved.as_ref().map(|saved| &saved.name).or(of_left);
    let view = CredentialForm {
        purpose: target.purpose.clone(),
        path: target.path.clone(),
        back: target.back.clone(),
        source: &source,
        form: &target.form,
        connection: name.map(|name| (name.clone(), entered.version)),
        title: entered.title,
        description: entered.description,
        expires: entered.expires,
        expires_before: target
            .saved
            .as_ref()
            .filter(|_| target.purpose == Purpose::Rotate)
            .and_then(|saved| saved.expires),
        answer: entered.answer,
        saved_answer: seen.map_or(Value::Null, |seen| seen.config),
        saved: saved_secrets,
        asked_again,
        replacing: entered.replacing,
        errors: entered.errors,
        notices: entered.notices,
        tested: entered.tested,
        offers_untested: !adds_by_embed(visit),
        may_save_untested,
        egress: visit
            .app
            .options
            .calls_from
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    visit.show(status, credential(&view, &visit.app.texts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The change that a form of these fields makes.
    fn changed(saved: Value, entered: Value) -> Value {
        let secret = json!({ "title": "A secret", "description": "It.", "type": "string", "format": "password",
                             "writeOnly": true, "x-headwater": { "order": 1 } });
        let branch = |by: &str| json!({ "title": by, "properties": { "by": { "const": by }, by: secret.clone() } });
        let field = |order: u64, more: &[(&str, Value)]| {
            let mut field = json!({ "title": "A field", "description": "It.", "x-headwater": { "order": order } });
            for (name, value) in more {
                field[*name] = value.clone();
            }
            field
        };
        let schema = json!({ "type": "object", "required": ["auth"], "properties": {
            "auth": field(1, &[("oneOf", json!([branch("key"), branch("token")]))]),
            "first": field(2, &[("type", "integer".into()), ("default", 5.into())]),
            "name": field(3, &[("type", "string".into())]),
        }});
        let form = FormModel::from_schema("Test", &[], &schema).unwrap_or_else(|wrong| {
            panic!("{wrong:?}");
        });
        difference(&form, &saved, &entered)
    }

    #[test]
    fn what_a_form_leaves_out_is_no_change() {
        let saved = json!({ "auth": { "by": "key", "key": "env:KEY" }, "first": 5, "name": "x" });
        let same = json!({ "auth": { "by": "key" }, "name": "x" });
        assert_eq!(changed(saved, same), json!({}));
    }

    #[test]
    fn what_was_emptied_or_left_is_taken_out() {
        let saved = json!({ "auth": { "by": "key", "key": "env:KEY" }, "first": 7, "name": "x" });
        let entered = json!({ "auth": { "by": "token", "token": "t" } });
        let change = json!({ "auth": { "by": "token", "token": "t", "key": null }, "first": null, "name": null });
        assert_eq!(changed(saved, entered), change);
    }

    #[test]
    fn a_removed_secret_is_null() {
        let saved = json!({ "auth": { "by": "key" } });
        let entered = json!({ "auth": { "by": "key", "key": null } });
        assert_eq!(
            changed(saved, entered.clone()),
            json!({ "auth": { "key": null } })
        );
    }

    #[test]
    fn of_what_a_test_offers_no_secret_is_taken_over() {
        let form = json!({ "type": "object", "required": ["key"], "properties": {
            "key": { "title": "Key", "description": "It.", "type": "string", "format": "password", "writeOnly": true,
                     "x-headwater": { "order": 1 } },
            "first": { "title": "First", "description": "It.", "type": "integer", "x-headwater": { "order": 2 } },
        }});
        let Ok(form) = FormModel::from_schema("Test", &[], &form) else {
            panic!("the form leaves the profile");
        };
        let mut answer = json!({ "key": "mine" });
        take_over(
            &form,
            &mut answer,
            r#"{"/key":"theirs","/first":3,"/other":1}"#,
        );
        take_over(&form, &mut answer, "no json");
        assert_eq!(answer, json!({ "key": "mine", "first": 3 }));
    }
}
