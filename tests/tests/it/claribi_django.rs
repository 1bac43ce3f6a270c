//! The clariBI connector against the framework that clariBI is built on, Django REST Framework itself: its pages, its
//! throttling, its redirects and its errors are not ours, so a mistake in our idea of them shows.
//!
//! The application is `tests/django/claribi.py`. It runs with the Python that the environment variable
//! `HEADWATER_PYTHON` names, else with `python3`, which needs the packages of `tests/django/requirements.txt`. Without them
//! the tests are skipped, and say so; with `HEADWATER_REQUIRE_PYTHON=1` they fail instead.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use acceptance::{
    ReadThrough,
    claribi::{LISTS, answer, by_key, by_login, ids, open_in},
    client,
    copilot::Reading,
    read_through, workspace,
};
use headwater_core::{AnyStream, Context, Egress, Kind, Outcome, ProbeReport, Result, Timestamp};
use serde_json::Value;

/// The application in a process of its own. It ends when its standard input does.
struct App {
    process: Child,
    base_url: String,
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// None where there is no Python for it.
fn app(arguments: &[&str]) -> Option<App> {
    let python = env::var_os("HEADWATER_PYTHON").unwrap_or_else(|| "python3".into());
    let has_packages = Command::new(&python)
        .args([
            "-c",
            "import django, rest_framework, rest_framework_simplejwt",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_packages {
        let what = "there is no Python with the packages of tests/django/requirements.txt; name one in HEADWATER_PYTHON";
        assert!(
            env::var_os("HEADWATER_REQUIRE_PYTHON").is_none_or(|value| value != "1"),
            "{what}"
        );
        say(&format!(
            "SKIPPED, clariBI is not checked against Django REST Framework: {what}"
        ));
        return None;
    }
    let mut process = Command::new(&python)
        .arg(workspace().join("tests/django/claribi.py"))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    Some(App {
        process,
        base_url: ready["base_url"].as_str().unwrap().to_owned(),
    })
}

/// Straight to the stream: what a macro prints is captured while the test passes.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn stream(context: &Context, answer: Value, name: &str) -> Arc<dyn AnyStream> {
    open_in(context, answer).stream(name).unwrap()
}

async fn read(answer: Value, name: &str) -> Result<ReadThrough> {
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    read_through(&*stream(&context, answer, name), None, Timestamp::now()).await
}

async fn probe(answer: Value) -> ProbeReport {
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    ProbeReport::of(&*open_in(&context, answer)).await
}

fn with_details(mut answer: Value) -> Value {
    answer["read_details"] = true.into();
    answer
}

fn outcome<'r>(report: &'r ProbeReport, name: &str) -> (Outcome, &'r str) {
    let check = report.checks.iter().find(|check| check.name == name);
    let check = check.unwrap_or_else(|| panic!("no check {name}: {report:?}"));
    (check.outcome, &*check.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_read_to_the_end_and_no_request_is_redirected() {
    for (arguments, records) in [
        (&["--records", "250"][..], 250),
        (&["--records", "200", "--ids", "uuid"], 200),
        (&["--records", "250", "--behind-proxy"], 250),
        (&["--records", "0"], 0),
    ] {
        let Some(app) = app(arguments) else { return };
        for (name, _) in LISTS {
            let context = headwater_http::context(&Egress::Anywhere).unwrap();
            let stream = stream(&context, answer(&app.base_url), name);
            let read = read_through(&*stream, None, Timestamp::now())
                .await
                .unwrap();
            let mut found = ids(&read);
            found.dedup();
            assert_eq!(
                (found.len(), read.records.len()),
                (records, records),
                "{name}"
            );
            assert_eq!(read.notes, [""; 0], "{arguments:?}");
            // One for each hundred: none was answered with a redirect and sent again.
            let pages = records.div_ceil(100).max(1) as u64;
            assert_eq!(context.meter.requests(), pages, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_framework_redirects_what_lacks_its_slash() {
    let Some(app) = app(&[]) else { return };
    let without = reqwest_status(&format!("{}/api/reports", app.base_url)).await;
    assert_eq!(without, 301);
    assert_eq!(
        read(answer(&app.base_url), "reports")
            .await
            .unwrap()
            .records
            .len(),
        45
    );
}

/// The status of a GET by somebody who has no key and follows nothing.
async fn reqwest_status(url: &str) -> u16 {
    let client = client()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    client.get(url).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_header_and_a_login_are_understood() {
    let Some(app) = app(&["--records", "3"]) else {
        return;
    };
    let key = headwater_sandbox::claribi::API_KEY;
    for answer in [
        by_key(&app.base_url, "api_key_authorization", key),
        by_key(&app.base_url, "x_api_key", key),
        by_key(&app.base_url, "bearer", key),
        by_login(&app.base_url),
    ] {
        let report = probe(answer.clone()).await;
        assert_eq!(
            outcome(&report, "credentials").0,
            Outcome::Passed,
            "{report:?}"
        );
        assert_eq!(
            outcome(&report, "health:data_sources"),
            (Outcome::Warned, "unhealthy")
        );
        let told: Vec<&str> = report.allowances.iter().map(|one| &*one.name).collect();
        assert_eq!(told, ["ai_credits", "data_sources"]);
        for name in ["data_sources", "account_status", "billing_usage"] {
            assert!(!read(answer.clone(), name).await.unwrap().records.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_as_what_they_are() {
    let Some(app) = app(&["--records", "3"]) else {
        return;
    };
    let wrong = by_key(&app.base_url, "bearer", "claribi_sk_wrong");
    let report = probe(wrong.clone()).await;
    assert_eq!(
        outcome(&report, "credentials"),
        (Outcome::Failed, "unauthenticated")
    );
    assert_eq!(report.patch, None);
    let error = read(wrong, "reports").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    assert!(error.to_string().contains("Invalid API key."), "{error}");

    // A bearer that is no key is taken for a token, and refused in the library's own words.
    let error = read(by_key(&app.base_url, "bearer", "not-a-key"), "reports")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("token not valid"), "{error}");

    let powerless = by_key(
        &app.base_url,
        "x_api_key",
        "claribi_sk_sandbox_no_permissions",
    );
    let report = probe(powerless.clone()).await;
    assert_eq!(outcome(&report, "credentials").0, Outcome::Passed);
    assert_eq!(
        outcome(&report, "access:reports"),
        (Outcome::Warned, "permission_denied")
    );
    let error = read(powerless, "reports").await.unwrap_err();
    assert_eq!(error.kind(), Kind::PermissionDenied);
    assert!(
        error.to_string().contains("do not have permission"),
        "{error}"
    );

    let mut login = by_login(&app.base_url);
    login["auth"]["password"] = "wrong wörd".into();
    let error = read(login.clone(), "reports").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    assert!(error.to_string().contains("No active account"), "{error}");
    let report = probe(login).await;
    assert_eq!(
        outcome(&report, "credentials"),
        (Outcome::Failed, "unauthenticated")
    );

    let elsewhere = answer(&format!("{}/other", app.base_url));
    let report = probe(elsewhere).await;
    assert_eq!(outcome(&report, "api"), (Outcome::Failed, "not_this_api"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_gone_ends_the_list() {
    let (Some(long), Some(short)) = (app(&["--records", "250"]), app(&["--records", "150"])) else {
        return;
    };
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    let stream_of = |app: &App| stream(&context, answer(&app.base_url), "dashboards");
    let mut reading = Reading::begin(&stream_of(&long), None, Timestamp::now()).unwrap();
    for _ in 0..2 {
        reading.step().await.unwrap();
    }
    // The same place where there are fewer: the third page does not exist. The list is read once more, and shows nothing
    // that is not known.
    let rest = Reading::resume(&stream_of(&short), &reading.place())
        .finish()
        .await
        .unwrap();
    assert_eq!((rest.records.len(), &rest.notes[..]), (0, &[][..]));
    assert_eq!(rest.gaps, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn details_are_read_and_deleted_items_left_out() {
    for kind in ["int", "uuid"] {
        let arguments = ["--records", "12", "--ids", kind];
        let Some(app) = app(&arguments) else { return };
        let list = read(answer(&app.base_url), "reports").await.unwrap();
        let details = read(with_details(answer(&app.base_url)), "reports")
            .await
            .unwrap();
        // Here the single record has the fields of the list, in the same bytes. Some are asked for before the others.
        let sorted = |mut records: Vec<String>| {
            records.sort();
            records
        };
        assert_eq!(sorted(details.records), sorted(list.records));
    }
    let (Some(long), Some(short)) = (app(&["--records", "8"]), app(&["--records", "5"])) else {
        return;
    };
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    let stream_of = |app: &App| stream(&context, with_details(answer(&app.base_url)), "reports");
    let mut reading = Reading::begin(&stream_of(&long), None, Timestamp::now()).unwrap();
    reading.step().await.unwrap();
    let rest = Reading::resume(&stream_of(&short), &reading.place())
        .finish()
        .await
        .unwrap();
    assert_eq!(
        (rest.records.len(), &rest.notes[..]),
        (4, &["missing"; 3][..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_waited_out_by_its_header() {
    let Some(app) = app(&["--records", "700", "--throttle", "4/second"]) else {
        return;
    };
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    let stream = stream(&context, answer(&app.base_url), "reports");
    let read = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap();
    assert_eq!(read.records.len(), 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_that_is_used_up_ends_the_read_with_the_time_to_come_back() {
    let Some(app) = app(&["--records", "700", "--throttle", "5/hour"]) else {
        return;
    };
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    let stream = stream(&context, answer(&app.base_url), "reports");
    let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
    let error = loop {
        match reading.step().await {
            Ok(()) => assert!(!reading.is_done()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::RateLimited);
    assert!(error.to_string().contains("throttled"), "{error}");
    let delay = error.delay().unwrap();
    assert!(
        delay > Duration::from_secs(3000) && delay <= Duration::from_secs(3605),
        "{delay:?}"
    );
    assert_eq!(reading.read.records.len(), 500);
    // The probe tells it, too, and judges no key by it.
    let report = probe(answer(&app.base_url)).await;
    assert_eq!(
        outcome(&report, "credentials"),
        (Outcome::Failed, "throttled")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_is_renewed() {
    let Some(app) = app(&["--records", "230", "--access-seconds", "3"]) else {
        return;
    };
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    let stream = stream(&context, by_login(&app.base_url), "reports");
    let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
    reading.step().await.unwrap();
    // A token is good to the end of its last second. Its successor has to last for the rest of the list.
    tokio::time::sleep(Duration::from_millis(4200)).await;
    let before = context.meter.requests();
    reading.step().await.unwrap();
    // The refused one, the renewal, and the page.
    assert_eq!(context.meter.requests() - before, 3);
    let read = reading.finish().await.unwrap();
    assert_eq!(read.records.len(), 230);
}
