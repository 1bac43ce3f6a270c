//! Finding a vendor's OpenAPI document, which is not part of this repository.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The document, as JSON; without it the caller skips its comparison, and this prints a note.
pub fn published(name: &str) -> Option<Value> {
    let Some(path) = find(name) else {
        // Straight to the stream: the output of a macro is captured while the test passes.
        let mut error = std::io::stderr();
        let _ = writeln!(
            error,
            "SKIPPED: the vendor's OpenAPI document {name} is not here; set HEADWATER_VENDOR_DOCS \
             to the folder that holds it to compare the simulator with it"
        );
        return None;
    };
    let text = fs::read_to_string(path).unwrap();
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    Some(json_from_yaml(yaml))
}

fn find(name: &str) -> Option<PathBuf> {
    let given = env::var_os("HEADWATER_VENDOR_DOCS").map(PathBuf::from);
    let path = given.unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/apis/openapi")
    });
    let candidates = [path.join(name), path];
    candidates.into_iter().find(|candidate| candidate.is_file())
}

fn json_from_yaml(yaml: serde_yaml_ng::Value) -> Value {
    match yaml {
        // Keys of responses are numbers in YAML; JSON has texts only.
        serde_yaml_ng::Value::Mapping(mapping) => mapping
            .into_iter()
            .map(|(key, value)| {
                let key = match key {
                    serde_yaml_ng::Value::Number(number) => number.to_string(),
                    key => key.as_str().unwrap().to_owned(),
                };
                (key, json_from_yaml(value))
            })
            .collect(),
        serde_yaml_ng::Value::Sequence(list) => list.into_iter().map(json_from_yaml).collect(),
        scalar => serde_json::to_value(scalar).unwrap(),
    }
}
