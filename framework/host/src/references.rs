//! References in place of secrets: `env:NAME` and `file:PATH`.

use std::{env, fs, io::Read};

use headwater_core::{FieldError, FieldKind, FormModel};
use serde_json::Value;

/// The most that a referenced file may hold: far more than any key.
const LARGEST_FILE: u64 = 64 << 10;

/// Replaces each reference in a secret field by what it refers to. Every failure is reported, at its field.
pub fn resolve(form: &FormModel, answer: &mut Value) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    for field in form
        .inputs_of(answer)
        .into_iter()
        .filter(|field| field.kind == FieldKind::Secret)
    {
        let Some(Value::String(text)) = answer.pointer_mut(&field.pointer) else {
            continue;
        };
        let resolved = match text.split_once(':') {
            Some(("env", name)) => from_environment(name),
            Some(("file", path)) => from_file(path),
            _ => continue,
        };
        match resolved {
            Ok(value) => *text = value,
            Err(complaint) => errors.push(FieldError {
                pointer: field.pointer.clone(),
                code: "reference",
                message: format!("{} {complaint}", field.title),
            }),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

fn from_environment(name: &str) -> Result<String, String> {
    match env::var(name) {
        Ok(value) => Ok(value),
        Err(env::VarError::NotPresent) => Err(format!(
            "refers to the environment variable {name:?}, which is not set"
        )),
        Err(env::VarError::NotUnicode(_)) => Err(format!(
            "refers to the environment variable {name:?}, which is not UTF-8 text"
        )),
    }
}

fn from_file(path: &str) -> Result<String, String> {
    let complain =
        |what: &dyn std::fmt::Display| format!("refers to the file {path:?}, which {what}");
    let file = fs::File::open(path)
        .map_err(|error| complain(&format_args!("cannot be opened: {error}")))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| complain(&format_args!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(complain(&"is far too large for a secret"));
    }
    let text = String::from_utf8(bytes).map_err(|_| complain(&"is not UTF-8 text"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
