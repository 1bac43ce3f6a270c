//! Every registered connector keeps the rules, and what is generated is current.

use headwater_connectors as _;
use headwater_core::Registry;

#[test]
fn every_connector_keeps_every_rule() {
    let registry = Registry::collect().unwrap();
    let broken: Vec<String> = registry
        .iter()
        .flat_map(|connector| headwater_testkit::conformance::check(&**connector))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn schemas_are_current() {
    let stale =
        headwater_dev::schemas::check(&Registry::collect().unwrap(), &acceptance::workspace())
            .unwrap();
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

#[test]
fn the_workspace_is_tidy() {
    let problems = headwater_dev::tidy::check(&acceptance::workspace()).unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_connector_folder_is_registered() {
    let mut folders = acceptance::binary::files(&acceptance::workspace().join("connectors"));
    folders.retain(|name| name != "bundle" && name != "clippy.toml");
    let registry = Registry::collect().unwrap();
    let ids: Vec<&str> = registry
        .iter()
        .map(|connector| connector.about().id)
        .collect();
    assert_eq!(folders, ids);
}

/// Every check of the divisions can fail: a workspace in which each is broken.
#[test]
fn an_untidy_workspace_is_told_everything() {
    let workspace = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = workspace.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "connectors/acme/Cargo.toml",
        "[dependencies]\nheadwater-http.workspace = true\n",
    );
    write(
        "framework/core/Cargo.toml",
        "[dependencies]\ntokio = \"1\"\n",
    );
    write(
        "framework/core/src/lib.rs",
        "// knows clari-copilot by name",
    );
    write(
        "framework/sandbox/Cargo.toml",
        "[dependencies]\nheadwater-core.workspace = true\n",
    );
    write("framework/sandbox/src/lib.rs", "// makes no files");
    for package in ["cli", "console", "forms", "json"] {
        write(
            &format!("framework/{package}/Cargo.toml"),
            "[dependencies]\n",
        );
    }
    write("framework/forms/src/lib.rs", "// lints");
    write("framework/json/src/lib.rs", "// reads");
    write(
        "docs/architecture.md",
        "| `framework/sandbox` | `headwater-sandbox` | simulator | nothing of ours |\n\
         | `framework/core` | `headwater-core` | contract | nothing of ours |\n\n*Enforced by* `gone`",
    );
    write("docs/guide.md", "Nobody waits.");
    write("README.md", "Plain.");
    write("framework/console/messages/en.json", "{}");
    write("framework/console/src/lib.rs", "// renders");
    write(
        "framework/cli/src/notes.rs",
        "fn note() { std::fs::write(\"notes\", \"\") }\n#[cfg(test)]\nmod tests { use std::fs::File::create; }",
    );
    let problems = headwater_dev::tidy::check(workspace.path())
        .unwrap()
        .join("\n");
    for problem in [
        "connectors/acme depends on headwater-http",
        "framework/core/src/lib.rs names the connector clari-copilot",
        "framework/core depends on tokio",
        "framework/sandbox depends on headwater-core",
        "framework/json has no row",
        "connectors/acme has no README.md",
        "framework/cli/src/notes.rs makes files by fs::write(",
        "docs/guide.md:1 says \"nobody\"",
        "docs/architecture.md names the enforcer gone",
    ] {
        assert!(problems.contains(problem), "{problem} in {problems}");
    }
    assert!(!problems.contains("File::create"), "{problems}");
}

#[test]
fn schemas_that_are_changed_missing_or_left_over_are_not_current() {
    let workspace = tempfile::tempdir().unwrap();
    let registry = Registry::collect().unwrap();
    let stale = || {
        headwater_dev::schemas::check(&registry, workspace.path())
            .unwrap()
            .len()
    };
    headwater_dev::schemas::write(&registry, workspace.path()).unwrap();
    assert_eq!(stale(), 0);
    let folder = workspace.path().join("schemas/clari-copilot");
    std::fs::write(folder.join("form.json"), "{}").unwrap();
    std::fs::remove_file(folder.join("streams/calls.json")).unwrap();
    std::fs::write(folder.join("streams/tweets.json"), "{}").unwrap();
    assert_eq!(stale(), 3);
    headwater_dev::schemas::write(&registry, workspace.path()).unwrap();
    assert_eq!(stale(), 0);
}
