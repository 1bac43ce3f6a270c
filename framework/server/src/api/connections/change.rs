//! A saved config with a change in it, and which of its secrets it keeps.

use headwater_core::{FieldKind, FormModel};
use headwater_host::references;
use serde_json::{Map, Value};

use super::{embedded::keeps_fields, find};
use crate::{
    app::App,
    guard::Caller,
    probing::{Ready, followed, referring},
    problem::Problem,
};

/// A saved config with a change in it, and with the secrets that it keeps.
pub(crate) struct Changed {
    /// As it would be saved, with its secrets.
    pub answer: Value,
    pub config: Ready,
}

/// The saved config with a change (JSON Merge Patch) in it.
pub(crate) async fn changed_config(
    app: &App,
    caller: &Caller,
    name: String,
    change: Value,
) -> Result<Changed, Problem> {
    let found = find(app, name).await?;
    if !change.is_object() {
        return Err(Problem::field("", "type", "the config is an object"));
    }
    if let Some(embed) = &caller.embed {
        keeps_fields(embed, &found, &change)?;
    }
    if !app.lets_refer(caller) {
        let named = referring(&found.form, &change);
        if !named.is_empty() {
            return Err(Problem::form(named));
        }
    }
    let sealed = found.connection.sealed.iter();
    let removed: Vec<String> = sealed
        .filter(|pointer| change.pointer(pointer).is_some_and(Value::is_null))
        .cloned()
        .collect();
    let before = found.connection.config.clone();
    let mut answer = before.clone();
    merge(&mut answer, change);
    leave_out_other_secrets(&found.form, &mut answer);
    headwater_core::tidy(&found.form, &mut answer);
    if leads_elsewhere(&found.form, &before, &answer) {
        // A reference opens its secret for wherever the config leads, so it is as good as the secret.
        let kept = found.form.inputs_of(&answer).into_iter().filter(|field| {
            let text = answer.pointer(&field.pointer).and_then(Value::as_str);
            field.kind == FieldKind::Secret
                && text.is_some_and(references::is_reference)
                && before.pointer(&field.pointer) == answer.pointer(&field.pointer)
        });
        let text = "it was saved for another address or another way to sign in; give it again";
        let kept: Vec<_> = kept
            .map(|field| (&*field.pointer, "give_again", text))
            .collect();
        if !kept.is_empty() {
            return Err(Problem::fields(kept));
        }
    }
    let (form, connection) = (found.form.clone(), found.connection.clone());
    let answer = app
        .store(move |store| {
            store
                .reveal(&form, &connection, &mut answer)
                .map_err(Problem::of_store)?;
            for pointer in removed {
                remove(&mut answer, &pointer);
            }
            Ok::<_, Problem>(answer)
        })
        .await?;
    let config = followed(app, &found.connector, &found.form, answer.clone()).await?;
    Ok(Changed { answer, config })
}

/// Whether another config sends its secrets to another place, or signs in another way.
pub(crate) fn leads_elsewhere(form: &FormModel, before: &Value, after: &Value) -> bool {
    let is_moved = form.inputs().iter().any(|field| {
        field.destination && before.pointer(&field.pointer) != after.pointer(&field.pointer)
    });
    let is_other_way = form.fields.iter().any(|field| match &field.kind {
        FieldKind::OneOf { tag, .. } => {
            let tag = format!("{}/{tag}", field.pointer);
            before.pointer(&tag) != after.pointer(&tag)
        }
        _ => false,
    });
    is_moved || is_other_way
}

/// Takes out the references of alternatives that are not chosen: whoever changes the way to sign in sees none of them.
fn leave_out_other_secrets(form: &FormModel, answer: &mut Value) {
    let chosen = form.inputs_of(answer);
    let is_other = |pointer: &str| chosen.iter().all(|field| field.pointer != pointer);
    let inputs = form.inputs().into_iter();
    let others: Vec<&str> = inputs
        .filter(|field| field.kind == FieldKind::Secret && is_other(&field.pointer))
        .map(|field| field.pointer.as_str())
        .collect();
    for pointer in others {
        remove(answer, pointer);
    }
}

/// JSON Merge Patch (RFC 7396).
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Some(object) = target.as_object_mut() {
        for (name, value) in patch {
            if value.is_null() {
                object.remove(&name);
            } else {
                merge(object.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

pub(crate) fn remove(config: &mut Value, pointer: &str) {
    let (inside, name) = pointer.rsplit_once('/').unwrap_or_default();
    if let Some(object) = config.pointer_mut(inside).and_then(Value::as_object_mut) {
        object.remove(name);
    }
}
