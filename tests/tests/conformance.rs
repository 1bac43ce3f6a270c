//! Every registered connector keeps the rules, and what is generated is current.

use headwater::Registry;
use headwater_connectors as _;

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
