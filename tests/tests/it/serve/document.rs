//! The service does what its OpenAPI document says: for every operation and scope, and for thousands of made-up requests.
//!
//! The requests are Schemathesis's, with the Python that `HEADWATER_PYTHON` names, else `python3`. Without the package of
//! `tests/schemathesis/requirements.txt` they are skipped, which is said; with `HEADWATER_REQUIRE_PYTHON=1` that fails.

use std::{env, io::Write, process::Stdio};

use acceptance::{
    binary::command,
    service::{Answer, Service},
};
use reqwest::Method;
use serde_json::Value;

use crate::serve::{HEADWATER, token};

/// How many requests the made-up ones are at least.
const REQUESTS: usize = 5_000;

/// A service that asks for tokens, and one token of each scope.
fn guarded() -> (Service, Vec<(&'static str, String)>) {
    let home = tempfile::tempdir().unwrap();
    let tokens = ["read", "use", "admin"].map(|scope| (scope, token(home.path(), scope)));
    let tokens = tokens.to_vec();
    let options = ["--development", "--require-token"];
    (Service::start_in(home, HEADWATER, &options), tokens)
}

#[tokio::test]
async fn every_operation_asks_for_the_scope_that_the_document_names() {
    let (service, tokens) = guarded();
    let document = service.get("/api/v1/openapi.json").await.json();
    let (mut asked, mut open) = (0, Vec::new());
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let needed = operation["security"][0]["token"][0].as_str();
            let place = path.replace(['{', '}'], "");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let status = async |token: Option<&str>| {
                let mut request = service.request(method.clone(), &place);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                Answer::of(request.send().await.unwrap()).await.status
            };
            let Some(needed) = needed else {
                open.push(path.clone());
                assert_eq!(status(None).await, 200, "{path}");
                continue;
            };
            assert_eq!(status(None).await, 401, "{method} {path} without a token");
            let enough = tokens
                .iter()
                .position(|(scope, _)| *scope == needed)
                .unwrap();
            for (index, (scope, token)) in tokens.iter().enumerate() {
                let status = status(Some(token)).await;
                let what = format!("{method} {path} with the scope {scope}: {status}");
                match index < enough {
                    true => assert_eq!(status, 403, "{what}"),
                    false => assert!(![401, 403].contains(&status), "{what}"),
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 60, "{asked}");
    open.sort();
    assert_eq!(open, ["/api/v1/openapi.json", "/healthz"]);
}

#[tokio::test]
async fn a_token_is_sent_in_one_header_and_guessing_is_slow() {
    let (service, tokens) = guarded();
    let admin = &tokens[2].1;
    let path = "/api/v1/connectors";
    let status = async |request: reqwest::RequestBuilder| {
        Answer::of(request.send().await.unwrap()).await.problem()
    };
    let in_query = service.request(Method::GET, &format!("/api/v1/connections?token={admin}"));
    assert_eq!(status(in_query).await.0, 401);
    let basic = service
        .request(Method::GET, path)
        .basic_auth("hw", Some(admin));
    assert_eq!(status(basic).await, (401, "token_unknown".to_owned()));
    let twice = service.request(Method::GET, path);
    let twice = twice.bearer_auth(admin).header("authorization", "Bearer x");
    assert_eq!(status(twice).await.0, 400);
    for _ in 0..10 {
        let wrong = service.request(Method::GET, path).bearer_auth("hw_wrong");
        assert_eq!(status(wrong).await.0, 401);
    }
    let wrong = service.request(Method::GET, path).bearer_auth("hw_wrong");
    assert_eq!(
        status(wrong).await,
        (429, "too_many_wrong_tokens".to_owned())
    );
    // Whoever comes by the same address with a good one gets in, as by a proxy that all of them come by.
    let good = service.request(Method::GET, path).bearer_auth(admin);
    assert_eq!(good.send().await.unwrap().status(), 200);
    let sign_in = async |token: &str| {
        let kind = "application/x-www-form-urlencoded";
        let request = service.request(Method::POST, "/login");
        let request = request.header("content-type", kind);
        let request = request.body(format!("token={token}"));
        request.send().await.unwrap().status()
    };
    assert_eq!(sign_in(admin).await, 303);
    assert_eq!(sign_in("hw_wrong").await, 429);
}

#[test]
fn thousands_of_made_up_requests_meet_only_what_the_document_says() {
    let python = env::var_os("HEADWATER_PYTHON").unwrap_or_else(|| "python3".into());
    let has_package = command(python.to_str().unwrap())
        .args(["-c", "import schemathesis.cli"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_package {
        let what = "there is no Python with the package of tests/schemathesis/requirements.txt";
        let is_needed = env::var_os("HEADWATER_REQUIRE_PYTHON").is_some_and(|value| value == "1");
        assert!(!is_needed, "{what}");
        // Past the capture of the test harness, so that it is seen.
        let text = format!("SKIPPED, the service is not checked with Schemathesis: {what}\n");
        let _ = std::io::stderr().write_all(text.as_bytes());
        return;
    }
    let (service, tokens) = guarded();
    let ran = command(python.to_str().unwrap())
        .args([
            "-c",
            "from schemathesis.cli import schemathesis; schemathesis()",
            "run",
        ])
        .arg(format!("{}/api/v1/openapi.json", service.address))
        .args(["--url", &service.address])
        .args([
            "--header",
            &format!("Authorization: Bearer {}", tokens[2].1),
        ])
        .args(["--max-examples", "190", "--no-color"])
        .args(["--phases", "examples,coverage,fuzzing,stateful"])
        // Its answer ends with the sync, of which there is none here.
        .args(["--exclude-operation-id", "watchSync"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,\
             response_schema_conformance,response_headers_conformance,ignored_auth",
        ])
        .current_dir(service.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
    let number = |line: &str| {
        let (number, _) = line.trim().split_once(" generated")?;
        number.replace(',', "").parse::<usize>().ok()
    };
    let generated = said.lines().find_map(number).unwrap_or_default();
    assert!(generated >= REQUESTS, "only {generated} requests: {said}");
    let health: Value = serde_json::from_str(&said_by(&service)).unwrap();
    assert_eq!(health["status"], "ok");
}

/// What the service says of itself after all that.
fn said_by(service: &Service) -> String {
    let host = service.address.trim_start_matches("http://");
    let answer = crate::serve::doors::raw(
        &service.address,
        format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes(),
    );
    answer
        .split("\r\n\r\n")
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}
