//! The names and labels of connections.

use headwater_core::{Error, Kind, Result, is_hidden};

use crate::{
    connections::{Label, is_deleted},
    key::{fill, hex},
    refusal::Refusal,
    store::Store,
};

const LONGEST_NAME: usize = 63;
const LONGEST_TITLE: usize = 80;
/// Random bytes in a name: 64 random bits do not repeat.
const RANDOM: usize = 8;
const LONGEST_DESCRIPTION: usize = 500;

/// Refuses an invalid name, of a connection or of a token.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let is_good = name.starts_with(is_plain)
        && name.len() <= LONGEST_NAME
        && name.chars().all(|c| is_plain(c) || c == '-' || c == '_');
    if is_good {
        return Ok(());
    }
    let shown: String = name
        .chars()
        .take(LONGEST_NAME)
        .flat_map(char::escape_default)
        .collect();
    let text = format!(
        "a {what} cannot be called \"{shown}\": use at most {LONGEST_NAME} lower case letters, digits, - and _, and \
         start with a letter or a digit"
    );
    Err(Error::new(Kind::ConfigInvalid, text))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// Whether a character alone is invisible.
fn is_blank(c: char) -> bool {
    let is_filler = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{200c}'..='\u{200d}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
    );
    c.is_whitespace() || c.is_control() || is_hidden(c) || is_filler
}

fn refused(field: &'static str, text: impl Into<String>) -> Result<()> {
    Err(Refusal::Field(field).error(Kind::ConfigInvalid, text.into()))
}

impl Label<'_> {
    /// Refuses an entered title without a visible character.
    ///
    /// # Errors
    ///
    /// Fails if no character of the title is visible.
    pub fn check_given(title: &str) -> Result<()> {
        match title.chars().all(is_blank) {
            true => refused("title", "a name is required"),
            false => Ok(()),
        }
    }

    /// Refuses a title or a description that cannot be shown safely.
    ///
    /// # Errors
    ///
    /// Fails if one of them is too long, or has a control character or an invisible one.
    pub fn check(&self) -> Result<()> {
        if self.title.chars().count() > LONGEST_TITLE {
            let text = format!("the title is too long; use at most {LONGEST_TITLE} characters");
            return refused("title", text);
        }
        if self.title.chars().any(char::is_control) {
            let text = "the title contains a control character; write it in one line";
            return refused("title", text);
        }
        if self.title.chars().any(is_hidden) {
            let text = "the title contains an invisible character, or one that changes the direction of the text; type \
                        it again";
            return refused("title", text);
        }
        if self.description.chars().count() > LONGEST_DESCRIPTION {
            let text = format!(
                "the description is too long; use at most {LONGEST_DESCRIPTION} characters"
            );
            return refused("description", text);
        }
        let is_foreign = |c: char| c.is_control() && c != '\n';
        if self.description.chars().any(is_foreign) {
            let text = "the description contains a control character; remove it";
            return refused("description", text);
        }
        if self.description.chars().any(is_hidden) {
            let text = "the description contains an invisible character, or one that changes the direction of the \
                        text; type it again";
            return refused("description", text);
        }
        Ok(())
    }

    /// The saved title: `None` if it is empty or equals the name.
    pub(crate) fn kept_title(&self, name: &str) -> Option<&str> {
        let title = self.title.trim();
        (!title.is_empty() && title != name).then_some(title)
    }
}

/// Makes a name of a title: its plain letters and digits, with `-` for everything between them.
fn slug(title: &str) -> String {
    let lower = title.to_lowercase();
    let words = lower
        .split(|c| !is_plain(c))
        .filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("-");
    let cut = joined.get(..LONGEST_NAME).unwrap_or(&joined);
    match cut.trim_end_matches('-') {
        "" => "connection".to_owned(),
        slug => slug.to_owned(),
    }
}

impl Store {
    /// Refuses an invalid name of a connection: it has at most 63 lower case letters, digits, `-` and `_`, the first of
    /// them a letter or a digit.
    ///
    /// # Errors
    ///
    /// Fails if the name is invalid.
    pub fn check_name(name: &str) -> Result<()> {
        check_name("connection", name)
    }

    /// Refuses a name that is invalid or taken.
    ///
    /// # Errors
    ///
    /// Fails if the name is invalid or taken, or if the store cannot be read.
    pub fn check_new_name(&mut self, name: &str) -> Result<()> {
        Self::check_name(name)?;
        match is_deleted(&mut *self.database, name)? {
            None => Ok(()),
            Some(is_deleted) => Err(taken(name, is_deleted)),
        }
    }

    /// Makes a name of a title and random digits, which reveals no other name.
    ///
    /// # Errors
    ///
    /// Fails if the system has no random bytes.
    pub fn random_name(title: &str) -> Result<String> {
        let mut random = [0; RANDOM];
        fill(&mut random)?;
        let (slug, ending) = (slug(title), format!("-{}", hex(&random)));
        let length = slug.len().min(LONGEST_NAME - ending.len());
        Ok(format!("{}{ending}", &slug[..length]))
    }

    /// Makes a free name of a title. Another process may take it before it is used.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn free_name(&mut self, title: &str) -> Result<String> {
        let slug = slug(title);
        let mut name = slug.clone();
        let mut number = 1;
        let statement = "SELECT id FROM headwater_connections WHERE name = ?1";
        while !self
            .database
            .query(statement, &[name.as_str().into()])?
            .is_empty()
        {
            number += 1;
            let ending = format!("-{number}");
            let length = slug.len().min(LONGEST_NAME - ending.len());
            name = format!("{}{ending}", &slug[..length]);
        }
        Ok(name)
    }
}

pub(crate) fn taken(name: &str, is_deleted: bool) -> Error {
    let text = match is_deleted {
        true => format!(
            "the deleted connection {name} can still be restored; choose another name, or remove it for good first"
        ),
        false => format!(
            "the connection {name} exists already; change it with rotate, or remove it first"
        ),
    };
    Refusal::Taken.error(Kind::ConfigInvalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label<'a>(title: &'a str, description: &'a str) -> Label<'a> {
        Label {
            title,
            description,
            expires: None,
        }
    }

    #[test]
    fn a_title_makes_a_name() {
        let long = "a b".repeat(100);
        for (title, name) in [
            ("Calls - Ana", "calls-ana"),
            ("  EU/2026  ", "eu-2026"),
            ("日本語", "connection"),
            ("", "connection"),
            ("-_-", "connection"),
            ("Größe", "gr-e"),
        ] {
            assert_eq!(slug(title), name);
        }
        check_name("connection", &slug(&long)).unwrap();
    }

    #[test]
    fn a_label_is_bounded_and_has_no_control_characters() {
        let (longest, long) = ("é".repeat(80), "é".repeat(81));
        let (longest_text, long_text) = ("é".repeat(500), "é".repeat(501));
        label(&longest, &longest_text).check().unwrap();
        label("", "two\nlines").check().unwrap();
        for (title, description) in [
            (&*long, ""),
            ("two\nlines", ""),
            ("\u{1b}[31m", ""),
            ("", &*long_text),
            ("", "\0"),
        ] {
            label(title, description).check().unwrap_err();
        }
    }

    #[test]
    fn a_label_shows_what_it_says() {
        let hidden = "\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\
                      \u{2064}\u{2066}\u{2067}\u{2068}\u{2069}\u{206a}\u{feff}";
        for c in hidden.chars() {
            let text = format!("Calls {c}slla");
            label(&text, "").check().unwrap_err();
            label("", &text).check().unwrap_err();
        }
        for text in [
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "👩\u{200d}💻",
            "שיחות",
            "a\u{a0}b",
        ] {
            label(text, text).check().unwrap();
            Label::check_given(text).unwrap();
        }
        for blank in [
            "",
            " ",
            "\t",
            "\u{a0}\u{3000}",
            "\u{200b}",
            "\u{200d}",
            "\u{3164}",
            "\u{2800}",
        ] {
            Label::check_given(blank).unwrap_err();
        }
    }
}
