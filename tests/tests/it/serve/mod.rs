//! `headwater serve`: the API as a platform uses it, against the shipped binary and the simulators.

mod audit;
mod author;
mod canary;
mod connections;
mod dialects;
mod document;
mod doors;
mod embed;
mod forms;
mod frequency;
mod live;
mod load;
mod metrics;
mod once;
mod references;
mod schedules;
mod sessions;
mod store;
mod syncs;
mod tls;
mod walls;

use std::{fs, path::Path, time::Duration};

use acceptance::{binary::command, service::Service};
use headwater_sandbox::{API_KEY, API_PASSWORD, Sandbox};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

fn service() -> Service {
    Service::start(HEADWATER, &[])
}

/// A service whose configs may refer to these variables.
fn referring(variables: &str) -> Service {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("secrets.env");
    fs::write(&file, variables).unwrap();
    let options = [
        "--development",
        "--allow-references",
        "--env-file",
        file.to_str().unwrap(),
    ];
    Service::start_in(home, HEADWATER, &options)
}

/// A new token of this scope, and of this name, for the service whose home this is.
fn token(home: &Path, scope: &str) -> String {
    named_token(home, scope, scope)
}

fn named_token(home: &Path, name: &str, scope: &str) -> String {
    let made = command(HEADWATER)
        .args(["token", "add", name, "--scope", scope])
        .env("HEADWATER_HOME", home.join("home"))
        .output()
        .unwrap();
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// A valid config of the simulator.
fn config(sandbox: &Sandbox) -> Value {
    json!({ "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": sandbox.base_url() })
}

/// A connection to save.
fn new(sandbox: &Sandbox, title: &str) -> Value {
    json!({ "connector": "clari-copilot", "title": title, "config": config(sandbox) })
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} does not come");
}
