//! The changes that an embedded form may make: those of the fields that it shows.

use headwater_core::FieldKind;
use serde_json::Value;

use super::{ConnectionWithForm, label::NewLabel, view::failing};
use crate::{
    embeds::{Embed, EmbedTarget, Purpose},
    problem::Problem,
};

/// Refuses another label unless the form shows it. The date of expiry is shown with new secrets.
pub(super) fn keeps_label(
    embed: &Embed,
    found: &ConnectionWithForm,
    label: &NewLabel,
) -> Result<(), Problem> {
    let saved = &found.connection;
    let is_rotation = matches!(
        embed.target,
        EmbedTarget::Saved {
            purpose: Purpose::Rotate,
            ..
        }
    );
    let names = [
        ("title", label.title != saved.title),
        ("description", label.description != saved.description),
        ("expires", label.expires != saved.expires && !is_rotation),
    ];
    if shown(embed, found).is_none() {
        return Ok(());
    }
    match names.into_iter().find(|(_, is_changed)| *is_changed) {
        Some((name, _)) => Err(Problem::parameter(name, "this form cannot change it")),
        None => Ok(()),
    }
}

/// Refuses a change (JSON Merge Patch) of a hidden field.
pub(super) fn keeps_fields(
    embed: &Embed,
    found: &ConnectionWithForm,
    change: &Value,
) -> Result<(), Problem> {
    let Some(shown) = shown(embed, found) else {
        return Ok(());
    };
    let is_shown = |pointer: &String| {
        shown.iter().any(|field| {
            let inside = pointer.strip_prefix(field.as_str());
            inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let mut changed = Vec::new();
    leaves(change, "", &mut changed);
    match changed.iter().find(|pointer| !is_shown(pointer)) {
        None => Ok(()),
        Some(pointer) => {
            let text = "this form cannot change this field";
            Err(Problem::field(pointer, "not_in_form", text))
        }
    }
}

/// Pointers of the fields that the form shows; `None` if it shows all fields.
fn shown(embed: &Embed, found: &ConnectionWithForm) -> Option<Vec<String>> {
    let EmbedTarget::Saved { purpose, .. } = &embed.target else {
        return Some(Vec::new());
    };
    match purpose {
        Purpose::Edit => None,
        // If no field caused the failure, all fields may be changed.
        Purpose::Repair => Some(failing(found)).filter(|fields| !fields.is_empty()),
        Purpose::Rotate => {
            let inputs = found.form.inputs().into_iter();
            let secrets = inputs.filter(|field| field.kind == FieldKind::Secret);
            Some(secrets.map(|field| field.pointer.clone()).collect())
        }
    }
}

/// The pointers of the values in a change.
fn leaves(change: &Value, at: &str, found: &mut Vec<String>) {
    match change.as_object() {
        Some(object) if !object.is_empty() => {
            for (name, value) in object {
                let name = name.replace('~', "~0").replace('/', "~1");
                leaves(value, &format!("{at}/{name}"), found);
            }
        }
        _ if at.is_empty() => {}
        _ => found.push(at.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_a_change_speaks_of_is_found() {
        let change = json!({ "a": { "b": 1, "c": { "d/e": null } }, "f": [], "g": {}, "h": null });
        let mut found = Vec::new();
        leaves(&change, "", &mut found);
        found.sort();
        assert_eq!(found, ["/a/b", "/a/c/d~1e", "/f", "/g", "/h"]);
        found.clear();
        leaves(&json!({}), "", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
