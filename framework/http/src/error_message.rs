//! Finds the error message of a service in its usual formats.

use serde_json::Value;

/// The maximum size of a refusal's body, read for its message, in bytes.
pub(crate) const COMPLAINT_LIMIT: usize = 64 << 10;

/// Fields that hold a sentence, the clearest first.
const SENTENCES: &[&str] = &[
    "errorMessage",
    "error_message",
    "message",
    "Message",
    "detail",
    "details",
    "description",
    "errorSummary",
    "error_description",
    "faultstring",
    "msg",
    "error",
];
/// Fields that hold an object, or a list of them, with the sentence in it.
const NESTED: &[&str] = &[
    "error", "Error", "errors", "fault", "detail", "details", "message",
];
/// The maximum depth of the search for a sentence.
const DEPTH: u32 = 5;

/// Returns the sentence in the body of a refusal: a field of the object or of a nested one, of its first error, of the
/// first object of a list, or the first message about a field (`{"page_size": ["…"]}`).
pub(crate) fn error_message(body: &[u8]) -> Option<String> {
    // A tree takes many times the memory of its text.
    if body.len() > COMPLAINT_LIMIT {
        return None;
    }
    message_in(&serde_json::from_slice(body).ok()?)
}

/// The same for a parsed body.
pub(crate) fn message_in(body: &Value) -> Option<String> {
    match body {
        Value::String(_) => None,
        body => sentence(body, DEPTH, false),
    }
}

/// Searches a value. `is_error` is true inside a field for errors.
fn sentence(value: &Value, depth: u32, is_error: bool) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Array(list) => sentence(list.first()?, depth, is_error),
        Value::Object(fields) => {
            let text = |name: &&str| fields.get(*name)?.as_str().filter(|text| !text.is_empty());
            let own = SENTENCES.iter().find_map(text).map(str::to_owned);
            own.or_else(|| {
                let mut nested = NESTED.iter().filter_map(|name| fields.get(*name));
                nested.find_map(|within| sentence(within, depth, true))
            })
            .or_else(|| {
                // A record may have a title too; the title of a problem comes with its status or type.
                let is_problem =
                    is_error || fields.contains_key("status") || fields.contains_key("type");
                is_problem.then(|| text(&"title").map(str::to_owned))?
            })
            .or_else(|| {
                fields.iter().find_map(|(name, value)| {
                    let text = value.as_array()?.first()?.as_str()?;
                    Some(format!("{name}: {text}"))
                })
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_of_errors_is_understood() {
        for (body, says) in [
            (r#"{"errorMessage":"a"}"#, Some("a")),
            (r#"{"code":"no_optin","message":"b","orgId":1}"#, Some("b")),
            (r#"{"errors":[{"status":"400","message":"c"}]}"#, Some("c")),
            (
                r#"[{"statusCode":400,"reaspnPhrase":"x","description":"d"}]"#,
                Some("d"),
            ),
            (r#"[{"errorCode":"X","errorSummary":"e"}]"#, Some("e")),
            (
                r#"{"error":"not_found","message":"f","status":404}"#,
                Some("f"),
            ),
            (r#"{"error":"g"}"#, Some("g")),
            (r#"{"detail":"h"}"#, Some("h")),
            (r#"{"page_size":["i"]}"#, Some("page_size: i")),
            (r#"{"message":null,"error":"j"}"#, Some("j")),
            (
                r#"{"error":{"code":400,"message":"k","status":"INVALID_ARGUMENT"}}"#,
                Some("k"),
            ),
            (
                r#"{"error":{"type":"invalid_request_error","message":"l","param":"limit"}}"#,
                Some("l"),
            ),
            (
                r#"{"error":{"errors":[{"reason":"x","message":"m"}]}}"#,
                Some("m"),
            ),
            (r#"{"errors":[{"title":"n","status":"422"}]}"#, Some("n")),
            (r#"{"errors":[{"title":"x","detail":"o"}]}"#, Some("o")),
            (
                r#"{"type":"about:blank","title":"p","status":400}"#,
                Some("p"),
            ),
            (r#"{"title":"x","status":400,"detail":"q"}"#, Some("q")),
            (
                r#"{"error":"invalid_request","error_description":"r"}"#,
                Some("r"),
            ),
            (
                r#"{"fault":{"faultstring":"s","detail":{"errorcode":"x"}}}"#,
                Some("s"),
            ),
            (r#"{"errors":["t"]}"#, Some("t")),
            (r#"{"errors":{"email":["u"]}}"#, Some("email: u")),
            (r#"{"detail":[{"loc":["query"],"msg":"v"}]}"#, Some("v")),
            (r#"{"message":{"message":"w"}}"#, Some("w")),
            (r#"{"errors":[{"title":"n"}]}"#, Some("n")),
            (r#"{"title":"a record of its own"}"#, None),
            (r#"[{"title":"a record of its own"}]"#, None),
            (r#"{"error":{"a":{"b":{"message":"deep"}}}}"#, None),
            (r#""text""#, None),
            ("<html>", None),
            ("[]", None),
            ("{}", None),
        ] {
            assert_eq!(error_message(body.as_bytes()).as_deref(), says, "{body}");
        }
    }
}
