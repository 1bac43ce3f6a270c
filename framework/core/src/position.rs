//! Partitions, page tokens and bookmarks as hosts see them.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::DeserializeOwned,
    ser::{Error as _, SerializeStruct},
};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::error::{Error, Kind, Result};

/// A partition, page token or bookmark: opaque, versioned, JSON.
///
/// A position of this process keeps its type. It becomes JSON when a state is written, and once.
#[derive(Clone)]
pub struct Position {
    version: u32,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Typed(Arc<dyn TypedPosition>),
    Json(Value),
}

/// The object-safe form of [`Typed`].
trait TypedPosition: Send + Sync {
    fn value(&self) -> &dyn Any;

    fn json(&self) -> serde_json::Result<&RawValue>;
}

/// A value of a stream's type, with its JSON once that is wanted.
struct Typed<T> {
    value: T,
    json: OnceLock<Box<RawValue>>,
}

impl<T: Serialize + Send + Sync + 'static> TypedPosition for Typed<T> {
    fn value(&self) -> &dyn Any {
        &self.value
    }

    fn json(&self) -> serde_json::Result<&RawValue> {
        if let Some(json) = self.json.get() {
            return Ok(json);
        }
        let json = to_raw_value(&self.value)?;
        Ok(self.json.get_or_init(|| json))
    }
}

impl Position {
    pub(crate) fn new<T: Serialize + Send + Sync + 'static>(version: u32, value: T) -> Self {
        Self {
            version,
            form: Form::Typed(Arc::new(Typed {
                value,
                json: OnceLock::new(),
            })),
        }
    }

    /// Returns the value as a stream's type, if it has the stream's version.
    pub(crate) fn get<T: DeserializeOwned + Clone + 'static>(
        &self,
        version: u32,
        stream: &str,
    ) -> Result<T> {
        if self.version != version {
            let age = if self.version > version {
                "a newer"
            } else {
                "an older"
            };
            return Err(Error::new(
                Kind::ConfigInvalid,
                format!(
                    "the state of stream {stream} was written by {age} version (format {}, this one reads {version}); \
                     use that version, or remove the stream from the state to read it from the start",
                    self.version
                ),
            ));
        }
        if let Form::Typed(typed) = &self.form
            && let Some(value) = typed.value().downcast_ref::<T>()
        {
            return Ok(value.clone());
        }
        self.json().and_then(T::deserialize).map_err(|error| {
            Error::new(
                Kind::ConfigInvalid,
                format!(
                    "the state of stream {stream} is damaged; remove the stream from the state to read it from the start"
                ),
            )
            .caused_by(error)
        })
    }

    fn json(&self) -> serde_json::Result<Value> {
        match &self.form {
            Form::Typed(typed) => serde_json::from_str(typed.json()?.get()),
            Form::Json(value) => Ok(value.clone()),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Position")
            .field("version", &self.version)
            .field("value", &self.json())
            .finish()
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        let is_same = matches!((self.json(), other.json()), (Ok(one), Ok(other)) if one == other);
        self.version == other.version && is_same
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut position = serializer.serialize_struct("Position", 2)?;
        position.serialize_field("version", &self.version)?;
        match &self.form {
            Form::Typed(typed) => {
                let json = typed.json().map_err(S::Error::custom)?;
                position.serialize_field("value", json)?;
            }
            Form::Json(value) => position.serialize_field("value", value)?,
        }
        position.end()
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Stored {
            version: u32,
            value: Value,
        }
        let Stored { version, value } = Stored::deserialize(deserializer)?;
        let form = Form::Json(value);
        Ok(Self { version, form })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Offset {
        skip: u64,
    }

    #[test]
    fn a_position_is_the_same_before_and_after_a_state() {
        let typed = Position::new(2, Offset { skip: 7 });
        let text = serde_json::to_string(&typed).unwrap();
        assert_eq!(text, r#"{"version":2,"value":{"skip":7}}"#);
        let stored: Position = serde_json::from_str(&text).unwrap();
        assert_eq!(stored, typed);
        for position in [&typed, &stored] {
            assert_eq!(position.get::<Offset>(2, "list").unwrap().skip, 7);
            // A position of another type is read as one of a state.
            let other: HashMap<String, u64> = position.get(2, "list").unwrap();
            assert_eq!(other["skip"], 7);
            let refused = position.get::<u64>(2, "list").unwrap_err();
            assert!(refused.to_string().contains("stream list is damaged"));
            let refused = position.get::<Offset>(1, "list").unwrap_err();
            assert!(refused.to_string().contains("a newer version"));
        }
        let other = Position::new(2, Offset { skip: 8 });
        assert_ne!(typed, other);
        assert_ne!(typed, Position::new(3, Offset { skip: 7 }));
    }

    #[test]
    fn a_position_without_json_is_an_error_of_the_state() {
        let position = Position::new(1, HashMap::from([((1, 2), 3)]));
        let refused = serde_json::to_string(&position).unwrap_err();
        assert!(refused.to_string().contains("key must be a string"));
        assert_ne!(position, position.clone());
    }
}
