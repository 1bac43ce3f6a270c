//! A file of `KEY=VALUE` lines, which `env:` reads first. It changes no environment, so no other code sees it.

use std::{collections::BTreeMap, fmt, io, path::Path};

use headwater_core::{Error, Kind, Result, Secret};
use headwater_files::read_regular;

/// Far more than a file of settings; a larger file is the wrong one.
const LARGEST_FILE: u64 = 1 << 20;

/// The values of an environment file; none by default.
#[derive(Default)]
pub struct EnvFile(BTreeMap<String, Secret>);

impl fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl EnvFile {
    /// Reads a file. Errors name the line, never its content.
    ///
    /// A line is `NAME=VALUE`, with `export ` before it or not; blank lines and lines that start with `#` are left
    /// out. A bare value ends at the end of the line or before ` #`; `'…'` keeps everything; in `"…"`, `\n`, `\r`,
    /// `\t`, `\"`, `\$` and `\\` mean the same as in a shell's file of this kind. Nothing is expanded.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is too large, or has a line of another form or a name twice.
    pub fn load(path: &Path) -> Result<Self> {
        let complain = |what: String| {
            let text = format!("the environment file {} {what}", path.display());
            Error::new(Kind::ConfigInvalid, text)
        };
        let bytes = read_regular(path, LARGEST_FILE).map_err(|error| {
            complain(match error.kind() {
                io::ErrorKind::FileTooLarge => "is larger than 1 MiB".to_owned(),
                _ => format!("cannot be read: {error}"),
            })
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            complain(format!("is not UTF-8 text (byte {offset})"))
        })?;
        Self::parse(&text).map_err(|(line, what)| complain(format!("{what} (line {line})")))
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut values = BTreeMap::new();
        let text = text.trim_start_matches('\u{feff}');
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = assignment(line).map_err(|what| (index + 1, what))?;
            // Two values for one name are refused: the author of the second may not have seen the first.
            if values.insert(name.to_owned(), Secret::new(value)).is_some() {
                return Err((index + 1, "sets a name that it has set before"));
            }
        }
        Ok(Self(values))
    }
}

fn assignment(line: &str) -> Result<(&str, String), &'static str> {
    let bare = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .unwrap_or(line);
    let Some((name, value)) = bare.split_once('=') else {
        return Err("has a line that is not NAME=VALUE");
    };
    let name = name.trim();
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_name {
        return Err("has a name that is not made of letters, digits and underscores");
    }
    let (value, rest) = if let Some(quoted) = value.trim_start().strip_prefix('\'') {
        let (value, rest) = quoted.split_once('\'').ok_or(NOT_CLOSED)?;
        (value.to_owned(), rest)
    } else if let Some(quoted) = value.trim_start().strip_prefix('"') {
        unescape(quoted)?
    } else {
        (before_comment(value).trim_start().to_owned(), "")
    };
    if !before_comment(rest).is_empty() {
        return Err("has something after the closing quote");
    }
    Ok((name, value))
}

const NOT_CLOSED: &str = "has a quote that is not closed on its line";

/// The text before a comment, which begins with a `#` after a blank.
fn before_comment(text: &str) -> &str {
    let is_start = |index: &usize| text[..*index].ends_with(char::is_whitespace);
    let end = text
        .match_indices('#')
        .map(|(index, _)| index)
        .find(is_start);
    text[..end.unwrap_or(text.len())].trim_end()
}

/// A value up to its closing quote, and the rest.
fn unescape(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next() {
            Some('"') => return Ok((value, rest.as_str())),
            Some('\\') => value.push(match rest.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(kept @ ('"' | '$' | '\\')) => kept,
                Some(_) => return Err("has an unknown escape; write \\\\ for a backslash"),
                None => return Err(NOT_CLOSED),
            }),
            Some(kept) => value.push(kept),
            None => return Err(NOT_CLOSED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let text = "\u{feff}# a comment\n\n  A=1\r\nexport B = two words  # a comment\nC='a # b\\n' # c\n\
                    D=\"a\\tb \\\"c\\\" \\$d \\\\\"\nE=\nF=a#b=c\nG= # nothing\nexport\tH='é'\nI=$A\nJ=#a # b\nexported=x";
        let read = EnvFile::parse(text).unwrap();
        for (name, value) in [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a # b\\n"),
            ("D", "a\tb \"c\" $d \\"),
            ("E", ""),
            ("F", "a#b=c"),
            ("G", ""),
            ("H", "é"),
            ("I", "$A"),
            ("J", "#a"),
            ("exported", "x"),
        ] {
            assert_eq!(read.get(name), Some(value), "{name}");
        }
        assert_eq!(read.get("a"), None);
        assert!(!format!("{read:?}").contains("two words"));
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line() {
        for (line, says) in [
            ("hidden", "is not NAME=VALUE"),
            ("export", "is not NAME=VALUE"),
            ("1A=hidden", "a name"),
            ("A B=hidden", "a name"),
            ("=hidden", "a name"),
            ("A='hidden", "not closed"),
            ("A=\"hidden", "not closed"),
            ("A=\"hidden\\", "not closed"),
            ("A=\"hidden\\q\"", "unknown escape"),
            ("A='hidden'x", "after the closing quote"),
            ("FIRST=hidden", "set before"),
        ] {
            let (number, what) = EnvFile::parse(&format!("FIRST=1\n\n{line}\n")).unwrap_err();
            assert_eq!(number, 3, "{line}");
            assert!(
                what.contains(says) && !what.contains("hidden"),
                "{line}: {what}"
            );
        }
    }
}
