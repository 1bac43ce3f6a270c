//! The script and the stylesheet: small, and nothing in them that the Content-Security-Policy would refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use headwater_console::{SCRIPT, STYLE};

const MOST_BYTES: usize = 60_000;

fn compressed(text: &str) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap().len()
}

#[test]
fn script_and_style_together_are_small() {
    let (script, style) = (compressed(SCRIPT), compressed(STYLE));
    println!("script {script} bytes, style {style} bytes, compressed");
    assert!(script + style <= MOST_BYTES);
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
    for word in refused {
        assert!(!SCRIPT.contains(word), "{word} in the script");
    }
}
