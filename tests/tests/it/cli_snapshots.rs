//! What the command line shows, pinned.

use acceptance::binary::run;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

fn shown(arguments: &[&str]) -> String {
    let ran = run(HEADWATER, arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.err, "");
    ran.out
}

#[test]
fn help_of_every_command() {
    let mut help = shown(&["--help"]);
    for command in [
        "list",
        "spec",
        "discover",
        "check",
        "read",
        "connection",
        "connection add",
        "connection rotate",
        "token add",
        "sandbox",
        "demo",
    ] {
        help.push_str(&format!(
            "\n======== {command}\n\n{}",
            shown(&command.split(' ').chain(["--help"]).collect::<Vec<_>>())
        ));
    }
    insta::assert_snapshot!("help", help);
}

#[test]
fn list() {
    insta::assert_snapshot!("list", shown(&["list"]));
    insta::assert_snapshot!("list_json", shown(&["list", "--json"]));
}

#[test]
fn the_form() {
    insta::assert_snapshot!("form", shown(&["spec", "clari-copilot", "--form"]));
    insta::assert_snapshot!(
        "form_of_alternatives",
        shown(&["spec", "claribi", "--form"])
    );
    insta::assert_snapshot!(
        "form_json",
        shown(&["spec", "clari-copilot", "--form", "--json"])
    );
}

#[test]
fn the_catalog() {
    insta::assert_snapshot!("catalog", shown(&["discover", "clari-copilot"]));
}

#[test]
fn spec_and_discover_print_the_committed_schemas() {
    let committed = |path: &str| {
        std::fs::read_to_string(
            acceptance::workspace()
                .join("schemas/clari-copilot")
                .join(path),
        )
        .unwrap()
    };
    assert_eq!(shown(&["spec", "clari-copilot"]), committed("form.json"));
    assert_eq!(
        shown(&["discover", "clari-copilot", "--schema", "calls"]),
        committed("streams/calls.json")
    );
    let catalog: serde_json::Value =
        serde_json::from_str(&shown(&["discover", "clari-copilot", "--json"])).unwrap();
    let names: Vec<&str> = catalog
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| stream["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 9);
    assert!(catalog[1]["schema"]["properties"]["last_modified_time"].is_object());
}

#[test]
fn spec_writes_the_committed_form_of_every_dialect_and_names_them() {
    for dialect in ["airbyte", "json-schema", "meltano", "rjsf"] {
        let file = format!("schemas/clari-revenue/dialects/{dialect}.json");
        let committed = std::fs::read_to_string(acceptance::workspace().join(file)).unwrap();
        let written = shown(&["spec", "clari-revenue", "--dialect", dialect]);
        assert_eq!(written.trim(), committed.trim(), "{dialect}");
    }
    let unknown = run(
        HEADWATER,
        ["spec", "clari-revenue", "--dialect", "jsonforms"],
    );
    assert_eq!(unknown.code, Some(4));
    assert!(
        unknown
            .err
            .contains("there are airbyte, json-schema, meltano, rjsf"),
        "{}",
        unknown.err
    );
}
