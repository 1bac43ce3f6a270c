//! Hides secrets in messages of a service: it may repeat a sent secret, in the same or in another encoding.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use headwater_core::Secret;

const REDACTED: &str = "[redacted]";
/// Shorter secrets are hidden only in their plain form: their other encodings would match by chance.
const MIN_ENCODED: usize = 6;
/// The number of consecutive bytes of an encoding that count as the secret.
const FRAGMENT: usize = 12;

/// Hides these secrets in a text: plain, escaped for JSON, an address or a form, in hexadecimal digits and in base64,
/// alone or inside a longer text, and long fragments of all of these.
pub(crate) fn hide(text: String, secrets: &[Secret]) -> String {
    let mut is_secret = vec![false; text.len()];
    let folded = text.to_ascii_lowercase();
    let mut fragments: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, fragment) in folded.as_bytes().windows(FRAGMENT).enumerate() {
        fragments.entry(fragment).or_default().push(at);
    }
    for secret in secrets {
        for spelling in spellings(secret.expose()) {
            mark(&text, &fragments, &spelling, &mut is_secret);
        }
    }
    if !is_secret.contains(&true) {
        return text;
    }
    let mut shown = String::new();
    let mut was_secret = false;
    for (at, c) in text.char_indices() {
        let is_part = is_secret[at..at + c.len_utf8()].contains(&true);
        match (is_part, was_secret) {
            (true, false) => shown.push_str(REDACTED),
            (true, true) => {}
            (false, _) => shown.push(c),
        }
        was_secret = is_part;
    }
    shown
}

/// Marks an encoding or its fragments in the text. `fragments` are those of the text in lower case, with their offsets.
fn mark(
    text: &str,
    fragments: &HashMap<&[u8], Vec<usize>>,
    spelling: &str,
    is_secret: &mut [bool],
) {
    if spelling.is_empty() {
        return;
    }
    if spelling.len() < FRAGMENT {
        for (at, found) in text.match_indices(spelling) {
            is_secret[at..at + found.len()].fill(true);
        }
        return;
    }
    let folded = spelling.to_ascii_lowercase();
    let exact = spelling.as_bytes().windows(FRAGMENT);
    for (exact, folded) in exact.zip(folded.as_bytes().windows(FRAGMENT)) {
        for at in fragments.get(folded).into_iter().flatten() {
            let range = *at..*at + FRAGMENT;
            if text.as_bytes()[range.clone()] == *exact || is_caseless(exact) {
                is_secret[range].fill(true);
            }
        }
    }
}

/// Returns whether letter case has no meaning in a fragment: hexadecimal digits.
fn is_caseless(fragment: &[u8]) -> bool {
    fragment
        .iter()
        .all(|byte| byte.is_ascii_hexdigit() || *byte == b'%')
}

fn spellings(secret: &str) -> Vec<String> {
    let mut all = vec![secret.to_owned()];
    if secret.len() < MIN_ENCODED {
        return all;
    }
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'))
        .unwrap_or_default();
    // Some services also escape the slash and every character outside ASCII.
    let in_ascii = |c: char| match c {
        c if c.is_ascii() => c.to_string(),
        c => {
            let mut units = [0; 2];
            let units = c.encode_utf16(&mut units).iter();
            units.map(|unit| format!("\\u{unit:04x}")).collect()
        }
    };
    for json in [json.to_owned(), json.chars().map(in_ascii).collect()] {
        all.push(json.replace('/', "\\/"));
        all.push(json);
    }
    all.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
    let percent = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    all.push(secret.bytes().map(percent).collect());
    all.push(secret.bytes().map(|byte| format!("%{byte:02x}")).collect());
    all.push(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
    // Inside a longer text, base64 maps three bytes to four characters, so the secret has one of three alignments.
    for before in 0..3 {
        let within = [&vec![0; before][..], secret.as_bytes()].concat();
        let text = STANDARD_NO_PAD.encode(within);
        let own = (before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6;
        let text = &text[own];
        all.push(text.to_owned());
        all.push(text.replace('+', "-").replace('/', "_"));
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const SECRET: &str = "sk/Live+7~é\"\\~0aZ?>k9Qx-plus";

    fn hidden(text: &str) -> String {
        hide(text.to_owned(), &[Secret::new(SECRET)])
    }

    #[test]
    fn no_spelling_of_a_secret_is_shown() {
        let json = serde_json::to_string(SECRET).unwrap();
        let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
        for spelt in [
            SECRET.to_owned(),
            json.trim_matches('"').to_owned(),
            json.replace('/', "\\/").trim_matches('"').to_owned(),
            json.replace('é', "\\u00e9").trim_matches('"').to_owned(),
            percent.clone(),
            percent.to_uppercase(),
            form,
            hex.clone(),
            hex.to_uppercase(),
        ] {
            assert_eq!(
                hidden(&format!("key {spelt} is wrong")),
                "key [redacted] is wrong"
            );
        }
        for user in ["", "u", "me", "you", "user@example.com"] {
            for engine in [&STANDARD, &URL_SAFE] {
                let sent = engine.encode(format!("{user}:{SECRET}:{user}"));
                let shown = hidden(&format!("Basic {sent}!"));
                assert!(shown.starts_with("Basic "), "{shown}");
                let left = shown.replace("[redacted]", "");
                assert!(
                    left.len() <= "Basic !".len() + 2 * user.len() + 16,
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn a_long_fragment_is_hidden_and_a_short_one_is_no_secret() {
        for from in 0..4 {
            let fragment: String = SECRET.chars().skip(from).take(16).collect();
            assert_eq!(hidden(&format!("({fragment})")), "([redacted])");
        }
        assert_eq!(
            hidden("sk/Live is the kind of key"),
            "sk/Live is the kind of key"
        );
        let short = [Secret::new("abc"), Secret::new("")];
        assert_eq!(hide("abc YWJj".to_owned(), &short), "[redacted] YWJj");
    }
}
