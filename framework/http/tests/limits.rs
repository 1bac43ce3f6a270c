//! What the service tells of its limits, and when it tells the time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Answer, Wire, at, builder};
use headwater_core::{Kind, Result, Status, Timestamp};
use headwater_http::{Client, LimitHeaders, Request, Response};
use httpdate::fmt_http_date;
use tokio::time::Instant;

const HEADERS: LimitHeaders = LimitHeaders {
    remaining: "x-limit-remaining",
    reset: "x-limit-reset",
};

/// A service whose clock has nothing to do with ours.
const LONG_AGO: i64 = 1_000_000_000;

/// An answer at `now` that leaves so many requests until so many seconds later.
fn answer(status: u16, now: i64, left: &str, reset_in: i64) -> Answer {
    let date = Timestamp::from_second(now).unwrap();
    let date = fmt_http_date(date.into());
    let reset = (now + reset_in).to_string();
    let headers = [
        ("date", &*date),
        ("x-limit-remaining", left),
        ("x-limit-reset", &*reset),
    ];
    Wire::reply(status, &headers, "{}")
}

fn client(wire: &Wire) -> (Client, std::sync::Arc<headwater_core::Meter>) {
    let context = wire.context();
    let client = builder("https://sample.test", &context).limit_headers(HEADERS);
    (client.build().unwrap(), context.meter)
}

async fn get(client: &Client) -> Result<Response> {
    client.send(&Request::get("/things")).await
}

/// Seconds from the first request to the last.
fn span(wire: &Wire) -> u64 {
    let times = wire.times();
    times[times.len() - 1].duration_since(times[0]).as_secs()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_reset_by_the_clock_of_the_service() {
    for now in [LONG_AGO, Timestamp::now().as_second(), 4 * LONG_AGO] {
        let wire = Wire::new(move |nth, _| match nth {
            0 => answer(200, now, "0", 7),
            _ => answer(200, now + 7, "50", 60),
        });
        let (client, meter) = client(&wire);
        get(&client).await.unwrap();
        get(&client).await.unwrap();
        assert_eq!(wire.times().len(), 2);
        // A second more than the service says: it cuts both its clock and its reset to whole seconds.
        assert_eq!(span(&wire), 8, "{now}");
        assert_eq!(meter.limit_wait().as_secs(), 8);
        get(&client).await.unwrap();
        assert_eq!(span(&wire), 8, "nothing to wait for when something is left");
    }
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_client_wait_together() {
    let wire = Wire::new(|nth, _| match nth {
        0 => answer(200, LONG_AGO, "0", 7),
        _ => answer(200, LONG_AGO + 7, "50", 60),
    });
    let (client, _) = client(&wire);
    get(&client).await.unwrap();
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let client = client.clone();
        others.spawn(async move { get(&client).await.unwrap() });
    }
    others.join_all().await;
    let times = wire.times();
    assert_eq!(times.len(), 6);
    assert!(
        times[1..]
            .iter()
            .all(|sent| *sent - times[0] >= Duration::from_secs(7))
    );
}

#[tokio::test(start_paused = true)]
async fn a_reset_beyond_the_deadline_is_an_error_with_the_delay_and_no_request() {
    let wire = Wire::new(|_, _| answer(200, LONG_AGO, "0", 3599));
    let (client, _) = client(&wire);
    get(&client).await.unwrap();
    let start = Instant::now();
    let error = get(&client).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (Kind::RateLimited, Status::Persistent)
    );
    assert_eq!(error.delay(), Some(Duration::from_secs(3600)));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(wire.times().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_request_waits_for_the_reset_unless_it_is_told_how_long() {
    let wire = Wire::new(|nth, _| match nth {
        0 => answer(429, LONG_AGO, "0", 20),
        _ => answer(200, LONG_AGO + 20, "50", 60),
    });
    get(&client(&wire).0).await.unwrap();
    assert_eq!(span(&wire), 21);

    // Another limit than that of the headers, under which there is something left.
    let wire = Wire::new(|nth, _| match nth {
        0 => {
            let mut throttled = answer(429, LONG_AGO, "50", 3600).unwrap();
            let headers = throttled.headers_mut();
            headers.insert("retry-after", "5".parse().unwrap());
            Ok(throttled)
        }
        _ => answer(200, LONG_AGO + 5, "49", 3595),
    });
    get(&client(&wire).0).await.unwrap();
    assert!((5..10).contains(&span(&wire)), "{}", span(&wire));

    let wire = Wire::new(|_, _| answer(429, LONG_AGO, "0", 3600));
    let error = get(&client(&wire).0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    assert_eq!(error.delay(), Some(Duration::from_secs(3601)));
    assert_eq!(wire.times().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_has_nothing_to_do_with_the_reset() {
    for status in [500, 502, 503, 504] {
        let wire = Wire::new(move |nth, _| match nth {
            0 => answer(status, LONG_AGO, "50", 3600),
            _ => answer(200, LONG_AGO, "49", 3600),
        });
        get(&client(&wire).0).await.unwrap();
        assert_eq!(span(&wire), 0, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_say_nothing_usable_limit_nothing() {
    for (left, reset, waits) in [
        ("", "1000000007", 0),
        ("many", "1000000007", 0),
        ("0", "soon", 0),
        ("0", "", 0),
        // A reset that is over: the second that covers both roundings, at most.
        ("0", "1000000000", 1),
        ("0", "999999000", 0),
        ("0", "-9223372036854775808", 0),
        ("-3", " 1000000007 ", 8),
    ] {
        let wire = Wire::new(move |_, _| {
            let date = fmt_http_date(Timestamp::from_second(LONG_AGO).unwrap().into());
            let headers = [
                ("date", &*date),
                ("x-limit-remaining", left),
                ("x-limit-reset", reset),
            ];
            Wire::reply(200, &headers, "{}")
        });
        let (client, _) = client(&wire);
        get(&client).await.unwrap();
        get(&client).await.unwrap();
        assert_eq!(span(&wire), waits, "{left:?} {reset:?}");
    }
    // Milliseconds instead of seconds, and the end of time: no more than a day.
    for reset in ["1000000007000", "9223372036854775807"] {
        let wire = Wire::new(move |_, _| {
            let headers = [("x-limit-remaining", "0"), ("x-limit-reset", reset)];
            Wire::reply(200, &headers, "{}")
        });
        let (client, _) = client(&wire);
        get(&client).await.unwrap();
        let error = get(&client).await.unwrap_err();
        assert_eq!(error.delay(), Some(Duration::from_secs(24 * 60 * 60)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_knows_when_the_service_gave_it() {
    let wire = Wire::new(|nth, _| match nth {
        0 => Wire::reply(200, &[("date", "Sun, 22 Nov 2026 08:49:37 GMT")], "{}"),
        1 => Wire::reply(200, &[("date", "yesterday")], "{}"),
        _ => Wire::reply(200, &[], "{}"),
    });
    let (client, _) = client(&wire);
    let told = get(&client).await.unwrap();
    assert_eq!(told.at, at("2026-11-22T08:49:37Z"));
    for _ in 0..2 {
        let before = Timestamp::now();
        let untold = get(&client).await.unwrap();
        assert!((before..=Timestamp::now()).contains(&untold.at));
    }
}
