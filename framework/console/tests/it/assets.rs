//! The scripts and the stylesheet: small, and nothing in them that the Content-Security-Policy would refuse.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use headwater_console::{EMBED_SCRIPT, SCRIPT, STYLE};

const MAX_BYTES: usize = 60_000;

fn compressed(text: &str) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap().len()
}

#[test]
fn scripts_and_style_together_are_small() {
    let [script, embed, style] = [SCRIPT, EMBED_SCRIPT, STYLE].map(compressed);
    println!("scripts {script} and {embed} bytes, style {style} bytes, compressed");
    assert!(script + embed + style <= MAX_BYTES);
}

#[test]
fn nothing_is_fetched_from_elsewhere_evaluated_or_kept() {
    for word in ["http://", "https://", "@import", "url("] {
        assert!(!STYLE.contains(word), "{word} in the stylesheet");
    }
    let refused = [
        "https://",
        "http://",
        "eval(",
        "new Function",
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
        "localStorage",
        "sessionStorage",
        "indexedDB",
        ".style.",
        "console.",
    ];
    // The policy allows theme properties that a script sets.
    let script = SCRIPT.replace("root.style.setProperty(", "");
    for word in refused {
        assert!(!script.contains(word), "{word} in the script");
        assert!(
            !EMBED_SCRIPT.contains(word),
            "{word} in the script of other pages"
        );
    }
}

#[test]
fn the_script_finds_contrast_with_the_grounds_of_the_stylesheet() {
    for (name, light, dark) in [("surface", "#fff", "#171c25"), ("bg", "#f6f7f9", "#0f131a")] {
        let style = format!("--{name}: light-dark({light}, {dark});");
        assert!(STYLE.contains(&style), "{style}");
        assert!(SCRIPT.contains(&format!("channels('{light}")), "{light}");
        assert!(SCRIPT.contains(&format!("channels('{dark}')")), "{dark}");
    }
}
