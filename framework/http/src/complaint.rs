//! What a service says is wrong, in whichever of the usual shapes it says it.

use serde_json::Value;

/// Fields that hold a sentence, the clearest first.
const SENTENCES: &[&str] = &[
    "errorMessage",
    "message",
    "detail",
    "details",
    "description",
    "errorSummary",
    "error_description",
    "error",
];

/// The sentence in the body of a refusal: a field of the object, of the first of its `errors`, of the first object of
/// a list, or the first complaint about a field (`{"page_size": ["…"]}`).
pub(crate) fn complaint(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    match &body {
        Value::Array(list) => sentence(list.first()?),
        Value::Object(fields) => sentence(&body)
            .or_else(|| sentence(body.get("errors")?.as_array()?.first()?))
            .or_else(|| {
                fields.iter().find_map(|(name, value)| {
                    let text = value.as_array()?.first()?.as_str()?;
                    Some(format!("{name}: {text}"))
                })
            }),
        _ => None,
    }
}

fn sentence(object: &Value) -> Option<String> {
    let text = SENTENCES
        .iter()
        .find_map(|name| object.get(*name)?.as_str().filter(|text| !text.is_empty()))?;
    Some(text.to_owned())
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
            ("<html>", None),
            ("[]", None),
            ("{}", None),
        ] {
            assert_eq!(complaint(body.as_bytes()).as_deref(), says, "{body}");
        }
    }
}
