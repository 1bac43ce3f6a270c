//! The command that saves the same credential from a shell.

use headwater_core::{FieldKind, FormModel};
use serde_json::Value;

/// `headwater connection add` with all values but the secrets, which it asks for.
pub(crate) fn add(name: &str, source: &str, form: &FormModel, config: &Value) -> String {
    let mut command = format!("headwater connection add {name} {source}");
    let mut set = |pointer: &str, value: &str| {
        let field = pointer.trim_start_matches('/').replace('/', ".");
        command.push_str(&format!(" --set {}", quoted(&format!("{field}={value}"))));
    };
    for field in &form.fields {
        if let FieldKind::OneOf { tag, .. } = &field.kind {
            let pointer = format!("{}/{tag}", field.pointer);
            if let Some(chosen) = config.pointer(&pointer).and_then(Value::as_str) {
                set(&pointer, chosen);
            }
        }
    }
    for field in form.inputs_of(config) {
        let value = config.pointer(&field.pointer);
        let is_set = field.kind != FieldKind::Secret && value != field.default.as_ref();
        if let Some(value) = value.filter(|_| is_set) {
            set(&field.pointer, &plain(value));
        }
    }
    command
}

/// The text of a value for `--set`.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(plain).collect();
            values.join(",")
        }
        other => other.to_string(),
    }
}

/// The word, quoted for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@".contains(&byte);
    match word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shell_reads_every_value_as_it_is() {
        assert_eq!(
            quoted("base_url=https://a.example/v1"),
            "base_url=https://a.example/v1"
        );
        assert_eq!(quoted("note=it's $HOME;"), r"'note=it'\''s $HOME;'");
        assert_eq!(plain(&json!(["a", "b"])), "a,b");
        assert_eq!(plain(&json!(true)), "true");
    }
}
