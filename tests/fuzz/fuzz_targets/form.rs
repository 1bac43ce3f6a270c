//! Validation of a form ends with a config or with errors at fields, and no error shows a value.
#![no_main]

#[path = "../../../framework/core/tests/it/sample/mod.rs"]
#[allow(dead_code)]
mod sample;

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// A value that no error shows.
const CANARY: &str = "canary7f3a";

/// Whether the canary is in the name of a member, which errors do show.
fn is_name(fields: &Map<String, Value>) -> bool {
    fn is_inside(value: &Value) -> bool {
        match value {
            Value::Object(fields) => is_name(fields),
            Value::Array(items) => items.iter().any(is_inside),
            _ => false,
        }
    }
    let mut all = fields.iter();
    all.any(|(name, value)| name.contains(CANARY) || is_inside(value))
}

fuzz_target!(|data: &[u8]| {
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let mut answer = sample::good();
    let has_canary_name = is_name(&fields);
    for (name, value) in fields {
        answer[name] = value;
    }
    if let Err(errors) = sample::sample().validate(answer) {
        assert!(!errors.is_empty());
        for error in errors {
            assert!(error.pointer.is_empty() || error.pointer.starts_with('/'));
            assert!(
                has_canary_name || !error.message.contains(CANARY),
                "{}",
                error.message
            );
        }
    }
});
