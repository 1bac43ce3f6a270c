//! Plain words: phrases that hide the subject of a sentence are refused in sources, documents and messages.

use std::path::Path;

use headwater_core::Result;

use super::{folders, read, sources};

/// Phrases that leave out the actor, or name a thing by a clause about it.
const BANNED: [&str; 14] = [
    "anybody",
    "are told",
    "be told",
    "everybody",
    "is told",
    "nobody",
    "so many",
    "somebody",
    "stands",
    "was told",
    "way out",
    "what is",
    "what was",
    "whoever",
];

/// Lines that may hold a banned phrase, each by a part of it: texts that the simulators make up.
const ALLOWED: [&str; 1] = ["files nobody could find again"];

/// Returns the lines with banned phrases.
pub(super) fn are_plain(workspace: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for group in ["framework", "connectors"] {
        for package in folders(&workspace.join(group))? {
            let folder = format!("{group}/{package}/src");
            if workspace.join(&folder).is_dir() {
                let files = sources(&workspace.join(&folder))?.into_iter();
                texts.extend(files.map(|(path, text)| (format!("{folder}/{path}"), text)));
            }
            let readme = format!("{group}/{package}/README.md");
            if workspace.join(&readme).is_file() {
                texts.push((readme.clone(), read(&workspace.join(&readme))?));
            }
        }
    }
    let documents = super::documents(workspace)?;
    for path in documents
        .iter()
        .map(String::as_str)
        .chain(["README.md", "framework/console/messages/en.json"])
    {
        texts.push((path.to_owned(), read(&workspace.join(path))?));
    }
    // This file has to name the phrases.
    texts.retain(|(path, _)| path != "framework/dev/src/tidy/words.rs");
    Ok(texts
        .iter()
        .flat_map(|(path, text)| banned(path, text))
        .collect())
}

fn banned(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let found = lines.filter_map(|(index, line)| {
        let is_allowed = ALLOWED.iter().any(|part| line.contains(part));
        let phrase = BANNED.iter().find(|phrase| has_phrase(line, phrase));
        let phrase = phrase.filter(|_| !is_allowed)?;
        Some(format!(
            "{path}:{} says \"{phrase}\"; name the actor or the thing",
            index + 1
        ))
    });
    found.collect()
}

/// Whether a line has a phrase as whole words, in any case.
fn has_phrase(line: &str, phrase: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(phrase).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + phrase.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_as_whole_words() {
        assert_eq!(
            banned("a.md", "one\nWhat is done\n"),
            ["a.md:2 says \"what is\"; name the actor or the thing"]
        );
        for line in ["somewhat isolated", "is_told", "it withstands", "no body"] {
            assert_eq!(banned("a.md", line), Vec::<String>::new(), "{line}");
        }
    }
}
