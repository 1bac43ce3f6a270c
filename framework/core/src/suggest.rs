//! "Did you mean": the nearest of a few known names.

use strsim::levenshtein;

/// The maximum length of words that are compared, in characters: the time grows with the product of their lengths.
const MAX_WORD: usize = 64;

/// Returns the nearest candidate within two edits, or a third of the word.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_short = |word: &&str| word.chars().count() <= MAX_WORD;
    let word = Some(word).filter(is_short)?;
    let allowed = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .filter(is_short)
        .map(|candidate| (levenshtein(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_typos_and_nothing_else() {
        let names = ["api_key", "api_password", "base_url"];
        assert_eq!(nearest("apikey", names), Some("api_key"));
        assert_eq!(nearest("bas_url", names), Some("base_url"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }
}
