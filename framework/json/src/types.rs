//! The types of JSON values, and sets of them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The type of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonType {
    /// Null.
    Null,
    /// True or false.
    Boolean,
    /// A number without a fraction.
    Integer,
    /// Any number; in a record, one with a fraction.
    Number,
    /// A text.
    String,
    /// A list.
    Array,
    /// An object.
    Object,
}

impl JsonType {
    const ALL: [Self; 7] = [
        Self::Null,
        Self::Boolean,
        Self::Integer,
        Self::Number,
        Self::String,
        Self::Array,
        Self::Object,
    ];

    /// The name that schemas use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// The type of a value in a schema.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_f64() => Self::Number,
            Value::Number(_) => Self::Integer,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    /// The type of a number, a truth value or null in a record. A number with a fraction of zero is an integer, as in
    /// JSON Schema; where any number is allowed, this check is skipped.
    #[inline]
    pub fn of_token(token: &[u8], is_any_number: bool) -> Self {
        match token {
            b"null" => Self::Null,
            b"true" | b"false" => Self::Boolean,
            _ if is_any_number => Self::Number,
            _ if !token.iter().any(|byte| b".eE".contains(byte)) => Self::Integer,
            _ => {
                let text = str::from_utf8(token).unwrap_or_default();
                let is_whole = text
                    .parse::<f64>()
                    .is_ok_and(|number| number.fract() == 0.0);
                if is_whole {
                    Self::Integer
                } else {
                    Self::Number
                }
            }
        }
    }

    /// Whether it is a text, a number or a truth value.
    pub const fn is_scalar(self) -> bool {
        matches!(
            self,
            Self::Boolean | Self::Integer | Self::Number | Self::String
        )
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeSet(u8);

impl TypeSet {
    pub(crate) const ANY: Self = Self(0b111_1111);

    /// The types of `type` in a schema. An unknown name means any type.
    pub(crate) fn named(names: &Value) -> Self {
        let one = |name: &Value| {
            let known = JsonType::ALL.into_iter().find(|known| name == known.name());
            known.map_or(Self::ANY, Self::one)
        };
        match names {
            Value::Array(names) => names.iter().map(one).fold(Self(0), Self::or),
            name => one(name),
        }
    }

    /// An integer is a number.
    const fn one(of: JsonType) -> Self {
        match of {
            JsonType::Number => Self(JsonType::Number.bit() | JsonType::Integer.bit()),
            _ => Self(of.bit()),
        }
    }

    /// Whether a type is among them.
    #[inline]
    pub const fn has(self, one: JsonType) -> bool {
        self.0 & one.bit() != 0
    }

    /// Whether a text, a number or a truth value is among them.
    pub(crate) fn has_scalar(self) -> bool {
        JsonType::ALL
            .into_iter()
            .any(|one| one.is_scalar() && self.has(one))
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The types by name, null last: readers often forget it, and it reads best there.
    pub fn list(self) -> Vec<JsonType> {
        let is_listed = |one: &JsonType| {
            self.has(*one) && !(*one == JsonType::Integer && self.has(JsonType::Number))
        };
        let mut types: Vec<JsonType> = JsonType::ALL.into_iter().filter(is_listed).collect();
        if types.first() == Some(&JsonType::Null) {
            types.rotate_left(1);
        }
        types
    }
}

impl FromIterator<JsonType> for TypeSet {
    fn from_iter<I: IntoIterator<Item = JsonType>>(types: I) -> Self {
        types.into_iter().map(Self::one).fold(Self(0), Self::or)
    }
}
