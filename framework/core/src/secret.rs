//! A string that code may use but not show.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

/// The text shown instead of a secret.
const REDACTED: &str = "[redacted]";
/// The pattern of a header value, without blanks.
pub(crate) const VISIBLE_ASCII: &str = "^[!-~]*$";

/// A secret: `Debug`, `Display` and `Serialize` show [`REDACTED`](Self), memory is wiped on drop.
///
/// Its JSON Schema is a required, write-only password string of visible ASCII, since it travels in a header.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// Returns the value itself. Review every call.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "password",
            "writeOnly": true,
            "minLength": 1,
            "maxLength": 4096,
            "pattern": VISIBLE_ASCII,
        })
    }
}

/// Overwrites every text of an answer, since it may hold secrets, and leaves null.
pub fn wipe(answer: &mut Value) {
    match answer {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    *answer = Value::Null;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wiping_reaches_every_text_of_an_answer() {
        let mut answer = json!({ "auth": { "by": "key", "keys": ["canary-7f3a", 1] } });
        wipe(&mut answer);
        assert_eq!(answer, Value::Null);
    }

    #[test]
    fn no_formatter_shows_the_value() {
        let secret = Secret::new("canary-7f3a");
        let seen = format!(
            "{secret} {secret:?} {secret:#?} {}",
            serde_json::to_string(&secret).unwrap()
        );
        assert!(!seen.contains("canary"), "{seen}");
        assert_eq!(secret.expose(), "canary-7f3a");
    }
}
