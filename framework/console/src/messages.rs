//! Every text of the console, from a file for each language.
//!
//! The sentences of checks and forms come from connectors instead. A file with a missing or an unknown text is
//! refused.

use std::collections::BTreeMap;

use headwater_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const ENGLISH: &str = include_str!("../messages/en.json");

/// The texts of one language.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    pub(crate) page: PageTexts,
    pub(crate) gallery: GalleryTexts,
    pub(crate) authenticate: AuthenticateTexts,
    pub(crate) connections: ConnectionsTexts,
    pub(crate) status: StatusTexts,
    pub(crate) expiry: ExpiryTexts,
    pub(crate) credential: CredentialTexts,
    pub(crate) field: FieldTexts,
    pub(crate) secret: SecretTexts,
    pub(crate) checks: ChecksTexts,
    pub(crate) connection: ConnectionTexts,
    pub(crate) streams: StreamsTexts,
    pub(crate) preview: PreviewTexts,
    pub(crate) run: RunTexts,
    pub(crate) login: LoginTexts,
    pub(crate) problem: ProblemTexts,
    pub(crate) embedded: EmbeddedTexts,
    pub(crate) author: AuthorTexts,
    pub(crate) script: ScriptTexts,
}

impl Messages {
    /// Reads a file of texts.
    pub fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| {
            Error::new(
                Kind::ConfigInvalid,
                format!("the file of texts cannot be used: {error}"),
            )
        })
    }

    /// English.
    pub fn english() -> Result<Self> {
        Self::parse(ENGLISH)
    }

    /// English that is longer by two fifths, with accents and in brackets, which shows truncated and untranslated texts;
    /// from right to left on request.
    pub fn pseudo(is_right_to_left: bool) -> Result<Self> {
        let unreadable = |error| {
            Error::new(Kind::Unexpected, "the English texts cannot be read").caused_by(error)
        };
        let mut texts: Value = serde_json::from_str(ENGLISH).map_err(unreadable)?;
        stretch(&mut texts);
        let page = &mut texts["page"];
        page["lang"] = "en".into();
        page["dir"] = if is_right_to_left { "rtl" } else { "ltr" }.into();
        page["thousands"] = ",".into();
        serde_json::from_value(texts).map_err(unreadable)
    }

    /// The texts of the script, as JSON.
    pub(crate) fn for_script(&self) -> String {
        let changed = &self.field.changed;
        let version = format!("Headwater {}", env!("CARGO_PKG_VERSION"));
        let texts = json!({ "script": self.script, "checks": self.checks, "changed": changed, "version": version });
        texts.to_string()
    }

    /// A whole number with its thousands apart.
    pub(crate) fn whole(&self, number: u64) -> String {
        let digits = number.to_string();
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push_str(&self.page.thousands);
            }
            grouped.push(digit);
        }
        grouped
    }

    /// A number that is not negative, with at most one digit after the point.
    pub(crate) fn number(&self, number: f64) -> String {
        if number.fract() == 0.0 && (0.0..1e15).contains(&number) {
            self.whole(number as u64)
        } else {
            format!("{number:.1}")
        }
    }
}

/// A text with a number in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plural {
    one: String,
    other: String,
}

impl Plural {
    pub fn count(&self, count: usize) -> String {
        let pattern = if count == 1 { &self.one } else { &self.other };
        fill(pattern, &[("count", &count.to_string())])
    }
}

/// Replaces the names in braces by their values.
pub(crate) fn fill(pattern: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(pattern.len() + 32);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let found = after.split_once('}').and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        match found {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
}

fn stretch(texts: &mut Value) {
    match texts {
        Value::String(text) => *text = stretched(text),
        Value::Object(texts) => texts.values_mut().for_each(stretch),
        _ => {}
    }
}

/// Names in braces stay unchanged.
fn stretched(text: &str) -> String {
    let mut is_name = false;
    let mut longer = String::from("[");
    for c in text.chars() {
        is_name = (is_name || c == '{') && c != '}';
        longer.push(match c {
            _ if is_name => c,
            'a' => 'á',
            'e' => 'é',
            'i' => 'î',
            'o' => 'ö',
            'u' => 'ü',
            _ => c,
        });
    }
    let more = text.chars().count() * 2 / 5;
    longer.push_str(&"·".repeat(more));
    longer + "]"
}

/// The frame of every page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageTexts {
    pub lang: String,
    pub dir: String,
    pub thousands: String,
    pub name: String,
    pub skip: String,
    pub navigation: String,
    pub crumbs: String,
    pub sources: String,
    pub connections: String,
    pub runs: String,
    pub signed_in_as: String,
    pub sign_out: String,
    pub theme: String,
    pub theme_system: String,
    pub theme_light: String,
    pub theme_dark: String,
    pub theme_apply: String,
    pub author: String,
    pub keys: String,
    pub key_search: String,
    pub key_help: String,
    pub key_save: String,
    pub key_test: String,
    pub key_close: String,
}

/// The gallery of sources.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GalleryTexts {
    pub title: String,
    pub lead: String,
    pub search: String,
    pub search_go: String,
    pub none: String,
    pub not_connected: String,
    pub saved: Plural,
    pub attention: Plural,
    pub expiring: Plural,
}

/// The saved credentials of a source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthenticateTexts {
    pub title: String,
    pub search: String,
    pub legend: String,
    pub add: String,
    pub add_text: String,
    pub added: String,
    pub same_title: String,
    pub none: String,
    pub go_on: String,
    pub fix: String,
    pub details: String,
    pub checked: String,
    pub owner: String,
    pub used_by: Plural,
}

/// The list of all connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionsTexts {
    pub title: String,
    pub lead: String,
    pub add: String,
    pub search: String,
    pub status: String,
    pub any: String,
    pub apply: String,
    pub none: String,
    pub more: String,
    pub retest: String,
    pub retested: String,
}

/// The status of a connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusTexts {
    pub working: String,
    pub attention: String,
    pub unfinished: String,
    pub incomplete: String,
    pub expiring: String,
    pub untested: String,
    pub unreadable: String,
}

/// The expiry and the age of a credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpiryTexts {
    pub ahead: Plural,
    pub today: String,
    pub over: String,
    pub remedy: String,
    pub old: Plural,
    pub left_by: String,
}

/// The form of a credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialTexts {
    pub add: String,
    pub edit: String,
    pub repair: String,
    pub rotate: String,
    pub close: String,
    pub repair_lead: String,
    pub edit_everything: String,
    pub rotate_lead: String,
    pub rotate_single: String,
    pub copy_of: String,
    pub again: String,
    pub again_lead: String,
    pub title: String,
    pub title_hint: String,
    pub description: String,
    pub description_hint: String,
    pub from_file: String,
    pub file: String,
    pub from_file_hint: String,
    pub expires: String,
    pub expires_hint: String,
    pub expires_before: String,
    pub errors: Plural,
    pub save: String,
    pub save_untested: String,
    pub test: String,
    pub cancel: String,
    pub guide: String,
    pub guide_close: String,
    pub egress: String,
    pub egress_text: String,
    pub docs: String,
}

/// Inputs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldTexts {
    pub required: String,
    pub none: String,
    pub not_set: String,
    pub yes: String,
    pub no: String,
    pub advanced: String,
    pub changed: Plural,
    pub one_per_line: String,
    pub recommended: String,
    pub example: String,
    pub where_to_find: String,
    pub guide_step: String,
    pub reset: String,
}

/// Secrets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretTexts {
    pub saved: String,
    pub by: String,
    pub ends: String,
    pub replace: String,
    pub undo: String,
    pub remove: String,
    pub show: String,
    pub leaving: String,
}

/// The result of a probe.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChecksTexts {
    pub title: String,
    pub passed: String,
    pub warned: String,
    pub failed: String,
    pub skipped: String,
    pub verdict_passed: String,
    pub verdict_warned: String,
    pub verdict_access: String,
    pub verdict_failed: String,
    pub verdict_skipped: String,
    pub access: String,
    pub names: BTreeMap<String, String>,
    pub apply: String,
    pub left: String,
    pub resets: String,
    pub tested_at: String,
    pub took: String,
    pub took_little: String,
    pub details: String,
    pub copy: String,
    pub copied: String,
    pub request: String,
}

/// One connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionTexts {
    pub edit: String,
    pub duplicate: String,
    pub rotate: String,
    pub streams: String,
    pub unreadable: String,
    pub enter_again: String,
    pub fix: String,
    pub last_sync: String,
    pub undo_until: String,
    pub undo: String,
    pub check: String,
    pub untested: String,
    pub access: String,
    pub no_access: String,
    pub overview: String,
    pub name: String,
    pub owner: String,
    pub created: String,
    pub updated: String,
    pub allowances: String,
    pub used_by: String,
    pub unused: String,
    pub runs: String,
    pub no_runs: String,
    pub shell: String,
    pub shell_text: String,
    pub copy: String,
    pub history: String,
    pub no_history: String,
    pub delete: String,
    pub delete_text: String,
    pub delete_used: Plural,
    pub delete_confirm: String,
    pub delete_now: String,
}

/// Streams to choose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamsTexts {
    pub title: String,
    pub crumb: String,
    pub lead: String,
    pub legend: String,
    pub not_checked: String,
    pub incremental: String,
    pub personal: String,
    pub readable: String,
    pub preview: String,
    pub where_to: String,
    pub destination: String,
    pub destination_hint: String,
    pub redact: String,
    pub redact_hint: String,
    pub same_account: String,
    pub same_account_hint: String,
    pub when: String,
    pub schedule: String,
    pub manual: String,
    pub every_15_minutes: String,
    pub every_hour: String,
    pub every_6_hours: String,
    pub every_day: String,
    pub every_minutes: String,
    pub every_seconds: String,
    pub cron: String,
    pub cron_expression: String,
    pub cron_hint: String,
    pub time_zone: String,
    pub time_zone_hint: String,
    pub paused: String,
    pub paused_hint: String,
    pub next: String,
    pub next_hint: String,
    pub run: String,
    pub save: String,
    pub show_next: String,
    pub saved: String,
    pub removed: String,
}

/// First records.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewTexts {
    pub title: String,
    pub crumb: String,
    pub lead: String,
    pub stream: String,
    pub show: String,
    pub masked: String,
    pub reveal: String,
    pub revealed: String,
    pub mask: String,
    pub none: String,
    pub rows: Plural,
}

/// Runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunTexts {
    pub title: String,
    pub list: String,
    pub list_lead: String,
    pub none: String,
    pub connection: String,
    pub waiting: String,
    pub running: String,
    pub complete: String,
    pub partial: String,
    pub failed: String,
    pub suspended: String,
    pub stopped: String,
    pub refresh: String,
    pub cancel: String,
    pub state: String,
    pub records: String,
    pub size: String,
    pub requests: String,
    pub retries: Plural,
    pub waited: String,
    pub time: String,
    pub started: String,
    pub stream: String,
    pub of: String,
    pub receipt: String,
    pub chart_words: String,
    pub chart_waited: String,
    pub chart_records: String,
    pub chart_waits: String,
}

/// The login.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginTexts {
    pub title: String,
    pub token: String,
    pub hint: String,
    pub go: String,
}

/// Problems.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProblemTexts {
    pub status: String,
    pub back: String,
}

/// The page in a frame of another page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddedTexts {
    pub title: String,
    pub waiting: String,
    pub expired: String,
    pub spent: String,
    pub unknown: String,
}

/// The preview for authors of connectors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthorTexts {
    pub title: String,
    pub lead: String,
    pub start: String,
    pub schema: String,
    pub schema_hint: String,
    pub watched: String,
    pub class: String,
    pub no_class: String,
    pub classes: BTreeMap<String, String>,
    pub show: String,
    pub findings: Plural,
    pub sound: String,
    pub refused: String,
    pub conformance: String,
    pub whole: String,
    pub no_form: String,
    pub model: String,
}

/// The texts of the script.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptTexts {
    pub testing: String,
    pub saving: String,
    pub seconds: String,
    pub empty: String,
    pub to_field: String,
    pub stop: String,
    pub stopped: String,
    pub no_answer: String,
    pub signed_out: String,
    pub conflict: String,
    pub refused: String,
    pub discard: String,
    pub discard_yes: String,
    pub discard_no: String,
    pub show: String,
    pub hide: String,
    pub left: String,
    pub stripped: String,
    pub unspaced: String,
    pub wrapped: String,
    pub bearer: String,
    pub prefix: String,
    pub again_destination: String,
    pub calls: String,
    pub bad_date: String,
    pub same_title: String,
    pub test_later: String,
    pub use_address: String,
    pub waiting: String,
    pub file_wrong: String,
    pub file_large: String,
    pub file_other: String,
    pub file_filled: Plural,
    pub file_left: String,
    pub not_themed: String,
    pub not_a_theme: String,
    pub errors: Plural,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_places_of_their_names() {
        let values = [("a", "{b}"), ("b", "x")];
        assert_eq!(fill("{a} {b} {c} {", &values), "{b} x {c} {");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        let text = Messages::english().unwrap();
        let shown = [0, 999, 1000, 1_234_567].map(|number| text.whole(number));
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(text.number(2.5), "2.5");
        assert_eq!(text.number(5000.0), "5,000");
    }

    #[test]
    fn pseudo_texts_are_longer_and_keep_the_names_in_braces() {
        let (plain, pseudo) = (
            Messages::english().unwrap(),
            Messages::pseudo(true).unwrap(),
        );
        let (short, long) = (&plain.authenticate.title, &pseudo.authenticate.title);
        assert!(long.contains("{source}"), "{long}");
        assert!(
            long.chars().count() * 10 >= short.chars().count() * 14,
            "{long}"
        );
        assert_eq!(pseudo.page.dir, "rtl");
    }

    #[test]
    fn a_file_that_lacks_a_text_is_refused() {
        let file = ENGLISH.replace("\"crumbs\"", "\"crumps\"");
        let error = Messages::parse(&file).unwrap_err().to_string();
        assert!(error.contains("crumps"), "{error}");
    }
}
