//! A connector's form in the languages of other platforms, for hosts that render it themselves.
//!
//! Each is a pure function of the form model and the schema that it was read from. A rule that a
//! language cannot express is left out; a host still validates with [`AnyConnector::validate`].

mod airbyte;
mod meltano;
mod rjsf;

use headwater_core::{AnyConnector, Error, FormModel, Kind, NAMESPACE, Result};
use serde_json::{Value, json};

/// A language for forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Airbyte's connector specification, JSON Schema of draft 7 with its own keywords.
    Airbyte,
    /// JSON Schema of 2020-12 with our hints and the setup guide.
    JsonSchema,
    /// The settings of a Meltano plugin, for Singer taps.
    Meltano,
    /// Schema and `uiSchema` of react-jsonschema-form.
    Rjsf,
}

impl Dialect {
    /// All dialects, by name.
    pub const ALL: [Self; 4] = [Self::Airbyte, Self::JsonSchema, Self::Meltano, Self::Rjsf];

    /// The name that URLs and files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Airbyte => "airbyte",
            Self::JsonSchema => "json-schema",
            Self::Meltano => "meltano",
            Self::Rjsf => "rjsf",
        }
    }

    /// Returns a dialect by name; the error lists all.
    ///
    /// # Errors
    ///
    /// Fails if there is no dialect with this name.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(
                Kind::NotFound,
                format!("there is no dialect {name:?}; there are {names}"),
            )
        })
    }

    /// Returns the form of a connector in this language.
    pub fn export(self, connector: &dyn AnyConnector, form: &FormModel) -> Value {
        let schema = connector.schema();
        match self {
            Self::Airbyte => airbyte::specification(connector.about(), form, &schema),
            Self::JsonSchema => with_guide(schema, form),
            Self::Meltano => meltano::settings(connector.about(), form),
            Self::Rjsf => rjsf::form(form, &schema),
        }
    }
}

fn with_guide(mut schema: Value, form: &FormModel) -> Value {
    if let Some(root) = schema.as_object_mut() {
        root.insert(NAMESPACE.to_owned(), json!({ "guide": form.guide }));
    }
    schema
}

/// The schema of a field inside the schema of the object around it.
fn property<'a>(object: &'a Value, key: &str) -> &'a Value {
    object
        .get("properties")
        .and_then(|properties| properties.get(key))
        .unwrap_or(&Value::Null)
}
