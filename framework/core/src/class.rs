//! Privacy classes of record fields.

use std::fmt;

use schemars::{Schema, transform::Transform};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::form::NAMESPACE;

/// The privacy class of a field's values. A redacting host replaces values by class; the schema shows the class to
/// other readers.
///
/// Used as `#[schemars(transform = DataClass::Email)]` on the fields of a record type. On a list or a map it is the
/// class of the values inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataClass {
    /// An e-mail address, or an identifier that may be one.
    Email,
    /// The name of a person, whole or in part. Names of companies and deals are not.
    PersonName,
    /// A phone number.
    Phone,
    /// Words that a person said or typed: they may hold anything.
    FreeText,
    /// The value of a deal, a price, a salary.
    Money,
    /// A link that gives access to any holder.
    SignedUrl,
}

impl DataClass {
    /// All classes.
    pub const ALL: [Self; 6] = [
        Self::Email,
        Self::PersonName,
        Self::Phone,
        Self::FreeText,
        Self::Money,
        Self::SignedUrl,
    ];

    /// The name that schemas use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::PersonName => "person_name",
            Self::Phone => "phone",
            Self::FreeText => "free_text",
            Self::Money => "money",
            Self::SignedUrl => "signed_url",
        }
    }

    /// Returns the class that a schema gives its values. An unknown name is an error: ignoring it would leave personal
    /// data unprotected.
    ///
    /// # Errors
    ///
    /// Fails if the schema names a class that does not exist.
    pub fn of(schema: &Value) -> Result<Option<Self>, String> {
        let Some(name) = schema.get(NAMESPACE).and_then(|hints| hints.get("class")) else {
            return Ok(None);
        };
        let known = Self::ALL.into_iter().find(|class| name == class.name());
        known.map(Some).ok_or_else(|| name.to_string())
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Transform for DataClass {
    fn transform(&mut self, schema: &mut Schema) {
        mark(schema.ensure_object(), *self);
    }
}

/// Marks the values themselves and not the list or map around them, so that a reader finds the class at the value.
fn mark(schema: &mut Map<String, Value>, class: DataClass) {
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner).and_then(Value::as_object_mut) {
            return mark(inner, class);
        }
    }
    let hints = schema.entry(NAMESPACE).or_insert_with(|| json!({}));
    if let Some(hints) = hints.as_object_mut() {
        hints.insert("class".to_owned(), json!(class));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::JsonSchema;

    use super::*;

    #[test]
    fn a_class_stands_at_the_value_inside_lists_and_maps() {
        #[derive(JsonSchema)]
        #[expect(dead_code, reason = "only its schema is looked at")]
        struct Record {
            #[schemars(transform = DataClass::Email)]
            owner: Option<String>,
            #[schemars(transform = DataClass::Phone)]
            phones: Option<Vec<String>>,
            #[schemars(transform = DataClass::FreeText)]
            answers: BTreeMap<String, Vec<String>>,
            id: String,
        }
        let schema = crate::record_schema::<Record>();
        let class = |pointer: &str| DataClass::of(schema.pointer(pointer).unwrap()).unwrap();
        assert_eq!(class("/properties/owner"), Some(DataClass::Email));
        assert_eq!(class("/properties/phones"), None);
        assert_eq!(class("/properties/phones/items"), Some(DataClass::Phone));
        assert_eq!(
            class("/properties/answers/additionalProperties/items"),
            Some(DataClass::FreeText)
        );
        assert_eq!(class("/properties/id"), None);
    }

    #[test]
    fn every_class_is_found_by_its_name_and_others_are_not_passed_over() {
        for class in DataClass::ALL {
            assert_eq!(json!(class), class.name());
            let schema = json!({ "x-headwater": { "class": class } });
            assert_eq!(DataClass::of(&schema), Ok(Some(class)));
        }
        let schema = json!({ "x-headwater": { "class": "emial" } });
        assert_eq!(DataClass::of(&schema), Err("\"emial\"".to_owned()));
    }
}
