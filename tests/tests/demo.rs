//! The README's first command, as a newcomer runs it.

use acceptance::binary::{files, run};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

#[test]
fn the_demo_goes_all_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let ran = run(HEADWATER, ["demo", "--keep", kept.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(files(&kept), ["clari-copilot", "clari-revenue", "claribi"]);
    for (id, streams) in [("clari-copilot", 9), ("clari-revenue", 11), ("claribi", 5)] {
        assert_eq!(files(&kept.join(id)), ["records", "state.json"]);
        assert_eq!(files(&kept.join(id).join("records")).len(), streams, "{id}");
    }
    // Times, and how far the read got before it was killed, differ from run to run.
    insta::with_settings!({filters => vec![
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
        (r" +\d+ ms", " [time] ms"),
        (r"in the middle of \w+, with \d+ lines written", "in the middle of [stream], with [count] lines written"),
        // Streams are read side by side: how many jobs there are when they are listed is a matter of time.
        (r"export_jobs +\d+", "export_jobs [count]"),
        (r"kept in .*\.", "kept in [folder]."),
    ]}, {
        insta::assert_snapshot!("demo", ran.out);
    });
    assert!(
        ran.err.contains("read before the interruption"),
        "{}",
        ran.err
    );
}

#[test]
fn the_demo_leaves_nothing_behind_unless_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let output = acceptance::binary::command(HEADWATER)
        .arg("demo")
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(files(folder.path()), [""; 0]);
}
