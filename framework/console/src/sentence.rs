//! Error texts as sentences of a page. An error is lower case without a full stop, so that it can follow other words.

/// The text with a capital first letter and a full stop.
///
/// A first word that is code stays as it is: a URL, a name such as `x-api-key` or one with a digit, an underscore, a dot or
/// a capital in it, or a label that ends in a colon. `sentence` in the script does the same.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim_end();
    let mut shown = String::with_capacity(text.len() + 1);
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if !begins_with_code(text) => shown.extend(first.to_uppercase()),
        Some(first) => shown.push(first),
        None => return shown,
    }
    shown.push_str(rest.as_str());
    if !shown.ends_with(['.', '!', '?', '…', '`']) {
        shown.push('.');
    }
    shown
}

fn begins_with_code(text: &str) -> bool {
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    let word = word.trim_end_matches([',', ';', '.', '!', '?', '…']);
    let is_code = |c: char| c.is_uppercase() || c.is_ascii_digit() || "_./:=@".contains(c);
    word.starts_with("x-") || word.chars().any(is_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_a_sentence() {
        for (text, shown) in [
            ("the key is refused", "The key is refused."),
            ("e-mail is required", "E-mail is required."),
            ("API Key is required", "API Key is required."),
            ("gone.", "Gone."),
            ("is this the key?", "Is this the key?"),
            ("wait …", "Wait …"),
            ("one; two", "One; two."),
            ("repeat it with `--force`", "Repeat it with `--force`"),
            ("unknown destination \"a\"", "Unknown destination \"a\"."),
            ("", ""),
        ] {
            assert_eq!(sentence(text), shown);
        }
    }

    #[test]
    fn code_at_the_beginning_stays_as_it_is() {
        for (text, shown) in [
            ("https://a.example answers", "https://a.example answers."),
            ("x-api-key is missing", "x-api-key is missing."),
            ("base_url is required", "base_url is required."),
            ("api.clari.com answers", "api.clari.com answers."),
            ("127.0.0.1 answers", "127.0.0.1 answers."),
            ("v4 is old", "v4 is old."),
            ("clariBI has a problem", "clariBI has a problem."),
            ("\"calls\" is unknown", "\"calls\" is unknown."),
            ("`calls` is unknown", "`calls` is unknown."),
            ("calls: not there", "calls: not there."),
        ] {
            assert_eq!(sentence(text), shown);
        }
    }
}
