//! Changes of a saved config, and the secrets that they keep.

use headwater_core::{FieldKind, FormModel};
use headwater_host::references;
use serde_json::{Map, Value};

use super::{embedded::keeps_fields, find};
use crate::{
    app::App,
    guard::Caller,
    probing::{CheckedInput, ResolvedInput},
    problem::Problem,
};

/// A changed config with the secrets that it keeps.
pub(crate) struct ChangedConfig {
    /// The config as it would be saved, with its secrets.
    pub answer: Value,
    pub config: ResolvedInput,
}

/// Applies a change (JSON Merge Patch) to the saved config.
pub(crate) async fn changed_config(
    app: &App,
    caller: &Caller,
    name: String,
    change: Value,
) -> Result<ChangedConfig, Problem> {
    let found = find(app, name).await?;
    if !change.is_object() {
        return Err(Problem::field("", "type", "the config has to be an object"));
    }
    if let Some(embed) = &caller.embed {
        keeps_fields(embed, &found, &change)?;
    }
    let sealed = found.connection.sealed.iter();
    let removed: Vec<String> = sealed
        .filter(|pointer| change.pointer(pointer).is_some_and(Value::is_null))
        .cloned()
        .collect();
    let before = found.connection.config.clone();
    let mut answer = before.clone();
    merge(&mut answer, change);
    leave_out_other_secrets(&found.form, &before, &mut answer);
    let known = (&found.connector, &found.form);
    let permitted = CheckedInput::entered(app, caller, known, answer, &before);
    let permitted = permitted.map_err(Problem::form)?;
    let answer = permitted.answer();
    if leads_elsewhere(&found.form, &before, answer) {
        // A reference gives its secret to any address in the config, so it is as sensitive as the secret.
        let saved_secrets = found.form.inputs_of(answer).into_iter().filter(|field| {
            let text = answer.pointer(&field.pointer).and_then(Value::as_str);
            field.kind == FieldKind::Secret
                && text.is_some_and(references::is_reference)
                && before.pointer(&field.pointer) == answer.pointer(&field.pointer)
        });
        let text = "it was saved for another address or another way to sign in; enter it again";
        let saved_secrets: Vec<_> = saved_secrets
            .map(|field| (&*field.pointer, "give_again", text))
            .collect();
        if !saved_secrets.is_empty() {
            return Err(Problem::fields(saved_secrets));
        }
    }
    let permitted = permitted.keeping(app, found.connection, removed).await?;
    Ok(ChangedConfig {
        answer: permitted.answer().clone(),
        config: permitted.follow(app).await?,
    })
}

/// Whether another config sends its secrets to another address, or signs in another way.
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

/// Removes the references of alternatives that are no longer chosen, so that a caller who changes the way to sign in
/// sees none of them.
fn leave_out_other_secrets(form: &FormModel, before: &Value, answer: &mut Value) {
    let chosen = form.inputs_of(answer);
    let is_other = |pointer: &str| {
        chosen.iter().all(|field| field.pointer != pointer)
            && before.pointer(pointer) == answer.pointer(pointer)
    };
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
