//! The names of a form's inputs, and the text of a value in one.
//!
//! An input is named after the JSON Pointer of its field. Alternatives may have a pointer in common, so inside one the
//! pointer follows the alternative's number: `1:/auth/token`.

use headwater_core::{Choice, Field, FieldKind};
use serde_json::Value;

/// The number of the alternative around a field, if there is one.
pub(crate) type Branch = Option<usize>;

/// The name of an input.
pub(crate) fn name(pointer: &str, branch: Branch) -> String {
    match branch {
        Some(number) => format!("{number}:{pointer}"),
        None => pointer.to_owned(),
    }
}

/// The name of the input that selects an alternative.
pub(crate) fn tag_name(field: &Field, tag: &str) -> String {
    let tag = tag.replace('~', "~0").replace('/', "~1");
    format!("{}/{tag}", field.pointer)
}

/// The id of the element with this name. Different names have different ids.
pub(crate) fn id(name: &str) -> String {
    let mut id = String::from("input-");
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '-' {
            id.push(c);
        } else {
            id.push_str(&format!("_{:x}_", u32::from(c)));
        }
    }
    id
}

/// The text of a value in an input: a string unchanged, anything else as JSON.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The alternative that an answer has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BranchChoice {
    /// The alternative of this number.
    Branch(usize),
    /// No alternative, which is allowed.
    Nothing,
    /// No alternative yet, or an unknown one.
    Undecided,
}

/// The alternative that an answer has chosen, or the initial one. A choice that no longer exists is never replaced by
/// another one.
pub(crate) fn chosen(
    field: &Field,
    tag: &str,
    branches: &[Choice],
    answer: &Value,
) -> BranchChoice {
    let object = answer.pointer(&field.pointer).or(field.default.as_ref());
    let Some(object) = object else {
        return if is_optional(field) {
            BranchChoice::Nothing
        } else {
            BranchChoice::Branch(0)
        };
    };
    let is_chosen = |branch: &Choice| object.get(tag) == Some(&branch.value);
    branches
        .iter()
        .position(is_chosen)
        .map_or(BranchChoice::Undecided, BranchChoice::Branch)
}

/// Whether a form may be answered without this field although it has no default.
pub(crate) fn is_optional(field: &Field) -> bool {
    !field.required && field.default.is_none()
}

/// The name of the input for an error or a check at this pointer.
pub(crate) fn name_at(fields: &[Field], answer: &Value, pointer: &str) -> Option<String> {
    inputs_at(fields, None, answer, pointer)
}

fn inputs_at(fields: &[Field], branch: Branch, answer: &Value, pointer: &str) -> Option<String> {
    let is_at = |field: &Field| {
        let rest = pointer.strip_prefix(field.pointer.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let field = fields.iter().find(|field| is_at(field))?;
    match &field.kind {
        FieldKind::Group { fields } => inputs_at(fields, branch, answer, pointer)
            .or_else(|| Some(name(&fields.first()?.pointer, branch))),
        FieldKind::OneOf { tag, branches } => {
            let inside = match chosen(field, tag, branches, answer) {
                BranchChoice::Branch(number) => {
                    inputs_at(&branches[number].fields, Some(number), answer, pointer)
                }
                _ => None,
            };
            inside.or_else(|| Some(tag_name(field, tag)))
        }
        _ => Some(name(&field.pointer, branch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_have_different_ids() {
        let names = [
            "/a", "/a_b", "/a-b", "/a/b", "/a~1b", "0:/a", "/ä", "/_e4_", "",
        ];
        let mut ids: Vec<String> = names.iter().map(|name| id(name)).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), names.len());
    }
}
