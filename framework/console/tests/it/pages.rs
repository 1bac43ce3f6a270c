//! Every page in its main states is sound and safe.
//!
//! The rendered pages are kept in `target/console-preview`, together with the assets.

use std::{fs, path::PathBuf};

use headwater_console::{
    Embedded, Messages, SCRIPT, SCRIPT_PATH, STYLE, STYLE_PATH, Theme, embedded,
};
use headwater_forms::ProbeClass;

#[test]
fn every_page_is_sound_in_every_language_and_theme() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/console-preview");
    fs::create_dir_all(folder.join("assets")).unwrap();
    for (path, text) in [(STYLE_PATH, STYLE), (SCRIPT_PATH, SCRIPT)] {
        fs::write(folder.join(path.trim_start_matches('/')), text).unwrap();
    }
    let languages = [
        ("", Messages::english().unwrap(), Theme::Light),
        (".dark", Messages::english().unwrap(), Theme::Dark),
        (".long", Messages::pseudo(false).unwrap(), Theme::Light),
        (".rtl", Messages::pseudo(true).unwrap(), Theme::Light),
    ];
    for (suffix, text, theme) in languages {
        for (name, page) in crate::samples::pages(&text) {
            let document = page.document(&crate::samples::frame(theme), &text);
            crate::html::check(&crate::html::tags(&document), name);
            fs::write(folder.join(format!("{name}{suffix}.html")), document).unwrap();
        }
    }
}

#[test]
fn the_page_in_a_frame_is_sound_and_speaks_to_one_origin_or_to_nobody() {
    let text = Messages::pseudo(true).unwrap();
    let origin = "https://app.example".to_owned();
    let states = [
        (
            "open",
            Embedded::Open {
                origin: origin.clone(),
            },
            true,
        ),
        (
            "expired",
            Embedded::Expired {
                origin: origin.clone(),
            },
            true,
        ),
        (
            "spent",
            Embedded::Spent {
                origin: origin.clone(),
            },
            true,
        ),
        ("unknown", Embedded::Unknown, false),
    ];
    for (name, state, speaks) in states {
        let document = embedded(&state, &text);
        crate::html::check(&crate::html::tags(&document), name);
        assert_eq!(
            document.contains(&format!("data-embedded=\"{origin}\"")),
            speaks,
            "{name}"
        );
        assert!(!document.contains("<form"), "{name}");
    }
}

#[test]
fn every_end_of_a_test_has_words_on_the_page_for_authors() {
    let text = Messages::english().unwrap();
    let pages = crate::samples::pages(&text);
    let (_, page) = pages.iter().find(|(name, _)| *name == "author").unwrap();
    let tags = crate::html::tags(&page.clone().fragment());
    let options: Vec<(&str, &str)> = tags
        .iter()
        .filter(|tag| tag.name == "option")
        .map(|tag| (tag.get("value").unwrap_or_default(), tag.text.as_str()))
        .collect();
    for class in ProbeClass::ALL {
        let name = class.name();
        let label = options.iter().find(|(value, _)| *value == name);
        assert!(label.is_some_and(|(_, label)| *label != name), "{name}");
    }
}
