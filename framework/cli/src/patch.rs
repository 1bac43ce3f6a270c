//! Changes single values of a config file and keeps every other byte.

use std::{fmt, io, path::Path};

use headwater_core::{ConfigPatch, Error, Kind};
use headwater_files::{open_trusted, replace_file};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};

/// The file for a change.
pub(crate) fn file(config: Option<&Path>) -> Result<&Path, Error> {
    config
        .filter(|path| *path != Path::new("-"))
        .ok_or_else(|| {
            let text = "--apply changes a config file, so it needs --config FILE";
            Error::new(Kind::ConfigInvalid, text)
        })
}

/// Writes a change into a config file, in one step.
pub(crate) fn apply(patch: &ConfigPatch, path: &Path) -> Result<(), Error> {
    let failed = |cause: &dyn fmt::Display| {
        let text = format!("the config {} cannot be changed: {cause}", path.display());
        Error::new(Kind::OutputFailed, text)
    };
    let text = open_trusted(path).and_then(io::read_to_string);
    let mut text = text.map_err(|error| failed(&error))?;
    for (pointer, value) in &patch.set {
        let names: Vec<&str> = pointer.split('/').skip(1).collect();
        let at = text.find(|c: char| c != '\u{feff}').unwrap_or(0);
        let changed = put(&text[at..], &names, value)
            .ok_or_else(|| failed(&format_args!("it cannot hold {pointer}")))?;
        text.replace_range(at.., &changed);
    }
    replace_file(path, text.as_bytes()).map_err(|error| failed(&error))
}

/// The text of an object with another value at a path inside it; `None` if the path crosses another type.
fn put(object: &str, names: &[&str], value: &Value) -> Option<String> {
    let Some((name, rest)) = names.split_first() else {
        return Some(value.to_string());
    };
    let Fields(fields) = serde_json::from_str(object).ok()?;
    let (span, text) = match fields.iter().find(|(key, _)| key == name) {
        Some((_, old)) => {
            let start = old.get().as_ptr() as usize - object.as_ptr() as usize;
            let text = put(old.get(), rest, value)?;
            (start..start + old.get().len(), text)
        }
        None => {
            let start = object.find('{')? + 1;
            let inner = rest
                .iter()
                .rev()
                .fold(value.clone(), |inner, name| json!({ *name: inner }));
            let comma = if fields.is_empty() { "" } else { "," };
            let name = Value::from(*name);
            (start..start, format!("{name}:{inner}{comma}"))
        }
    };
    let mut changed = object.to_owned();
    changed.replace_range(span, &text);
    Some(changed)
}

/// The fields of an object, each with its text.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_value_changes() {
        let set = |text: &str, pointer: &str| {
            let names: Vec<&str> = pointer.split('/').skip(1).collect();
            put(text, &names, &json!("new"))
        };
        for (before, pointer, after) in [
            (
                "{ \"n\": 1.0,\n \"auth\" : {\"style\": \"old\" , \"key\":\"env:K\"} }\n",
                "/auth/style",
                "{ \"n\": 1.0,\n \"auth\" : {\"style\": \"new\" , \"key\":\"env:K\"} }\n",
            ),
            ("{}", "/auth/style", r#"{"auth":{"style":"new"}}"#),
            ("{ \"a\": 1 }", "/b", "{\"b\":\"new\", \"a\": 1 }"),
            (
                r#"{"auth":{}}"#,
                "/auth/style",
                r#"{"auth":{"style":"new"}}"#,
            ),
            (
                r#"{"\u0061uth":{"style":{"x":[1]}}}"#,
                "/auth/style",
                r#"{"\u0061uth":{"style":"new"}}"#,
            ),
        ] {
            assert_eq!(set(before, pointer).as_deref(), Some(after));
        }
        for elsewhere in ["[]", "1", r#"{"auth":"text"}"#, "{"] {
            assert_eq!(set(elsewhere, "/auth/style"), None, "{elsewhere}");
        }
    }
}
