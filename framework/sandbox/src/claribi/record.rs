//! JSON objects written field by field.

use serde_json::Value;

/// A JSON object that keeps the order of its fields and the spelling of its numbers. A client that
/// passes records on byte for byte can be compared with it; `serde_json::Value` would write every
/// number in its own way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    fields: String,
}

impl Record {
    pub(crate) fn with(self, name: &str, value: impl Into<Value>) -> Self {
        self.with_json(name, &value.into().to_string())
    }

    /// Adds a field whose value is JSON already: a number in a spelling of choice, or a list of
    /// records.
    pub(crate) fn with_json(mut self, name: &str, json: &str) -> Self {
        if !self.fields.is_empty() {
            self.fields.push(',');
        }
        self.fields.push_str(&Value::from(name).to_string());
        self.fields.push(':');
        self.fields.push_str(json);
        self
    }

    pub(crate) fn to_json(&self) -> String {
        format!("{{{}}}", self.fields)
    }
}

/// Writes a JSON array.
pub(crate) fn array(records: &[Record]) -> String {
    let records: Vec<String> = records.iter().map(Record::to_json).collect();
    format!("[{}]", records.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_and_spelling_are_kept() {
        let record = Record::default()
            .with("name", "say \"hi\"")
            .with_json("count", "1.50")
            .with("absent", Value::Null)
            .with("list", json!([1, {"a": true}]));
        let expected = r#"{"name":"say \"hi\"","count":1.50,"absent":null,"list":[1,{"a":true}]}"#;
        assert_eq!(record.to_json(), expected);
        assert_eq!(array(&[]), "[]");
        assert_eq!(array(&[Record::default(), Record::default()]), "[{},{}]");
    }
}
