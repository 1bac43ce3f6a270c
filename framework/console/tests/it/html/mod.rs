//! A small reader of the HTML that our templates write, and the rules for every page.

use std::collections::{BTreeMap, BTreeSet};

/// A start tag.
#[derive(Debug)]
pub struct Tag {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    /// The text up to the next tag.
    pub text: String,
    /// The indices of the elements around it.
    pub inside: Vec<usize>,
}

impl Tag {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    pub fn is_control(&self) -> bool {
        match self.name.as_str() {
            "select" | "textarea" => true,
            "input" => self.get("type") != Some("hidden"),
            _ => false,
        }
    }
}

const EMPTY: [&str; 5] = ["input", "meta", "link", "br", "!DOCTYPE"];

/// All start tags in their order.
pub fn tags(html: &str) -> Vec<Tag> {
    let mut found: Vec<Tag> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = end_of(rest);
        let inside = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            let ended = open.pop().map(|index| found[index].name.as_str());
            assert_eq!(ended, Some(name), "elements end in order");
            continue;
        }
        let text = rest.split('<').next().unwrap_or_default();
        let tag = tag(inside, text, &open);
        if !EMPTY.contains(&tag.name.as_str()) {
            open.push(found.len());
        }
        found.push(tag);
    }
    assert!(open.is_empty(), "some elements have no end");
    found
}

fn end_of(text: &str) -> usize {
    let mut is_quoted = false;
    let is_end = |c| {
        is_quoted ^= c == '"';
        c == '>' && !is_quoted
    };
    text.find(is_end).expect("a tag ends")
}

fn tag(inside: &str, text: &str, open: &[usize]) -> Tag {
    let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
    let mut attributes = BTreeMap::new();
    while !rest.trim().is_empty() {
        rest = rest.trim_start();
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let (quoted, after) = quoted.split_once('"').expect("a value ends");
            value = unescaped(quoted);
            rest = after;
        }
        let before = attributes.insert(key.clone(), value);
        assert!(before.is_none(), "{key} is there twice in {inside}");
    }
    Tag {
        name: name.to_owned(),
        attributes,
        text: unescaped(text),
        inside: open.to_vec(),
    }
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&quot;", "\"").replace("&amp;", "&")
}

/// The rules for every page.
pub fn check(tags: &[Tag], name: &str) {
    let mut ids = BTreeSet::new();
    for tag in tags {
        if let Some(id) = tag.get("id") {
            assert!(ids.insert(id), "{name}: the id {id} is there twice");
        }
        let has_script = tag.attributes.keys().any(|key| key.starts_with("on"));
        assert!(!has_script, "{name}: script in {tag:?}");
        assert!(!tag.has("style"), "{name}: style in {tag:?}");
        assert_ne!(tag.name, "style", "{name}: style in the page");
        let is_foreign = tag.name == "script" && !tag.has("src");
        assert!(!is_foreign, "{name}: script in the page");
    }
    let labels = tags.iter().filter(|tag| tag.name == "label");
    let labelled: BTreeSet<&str> = labels.filter_map(|tag| tag.get("for")).collect();
    for tag in tags {
        for reference in [
            "for",
            "aria-describedby",
            "aria-labelledby",
            "aria-controls",
        ] {
            let named = tag.get(reference).unwrap_or_default();
            for id in named.split_whitespace() {
                assert!(
                    ids.contains(id),
                    "{name}: {reference} names {id}, which is not there"
                );
            }
        }
        if tag.is_control() {
            let is_inside_label = tag.inside.iter().any(|index| tags[*index].name == "label");
            let is_named = tag.get("id").is_some_and(|id| labelled.contains(id));
            let is_labelled = is_inside_label || is_named || tag.has("aria-label");
            assert!(is_labelled, "{name}: no label for {tag:?}");
        }
    }
}
