//! What the service tells of its limits, and when it tells the time.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::common::{Answer, SECRET, Wire, at, builder};
use headwater_core::{BaseUrl, Kind, Meter, Result, Secret, Status, Timestamp};
use headwater_http::{
    Access, Client, LimitHeaders, Prober, Quota, RateLimit, Records, Request, Response, RetryPolicy,
};
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

/// A client of a host of its own: limits are shared by all clients of one, and these tests run at the same time.
fn client(wire: &Wire) -> (Client, Arc<Meter>) {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let host = format!("https://sample-{}.test", LAST.fetch_add(1, Relaxed));
    client_at(&host, wire)
}

fn client_at(host: &str, wire: &Wire) -> (Client, Arc<Meter>) {
    let context = wire.context();
    let client = builder(host, &context).limit_headers(HEADERS);
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
async fn a_reset_that_one_connection_was_told_holds_for_every_other_one_with_the_same_credential() {
    let told = Wire::new(|_, _| answer(200, LONG_AGO, "0", 7));
    let other = Wire::new(|_, _| answer(200, LONG_AGO + 7, "50", 60));
    let (first, _) = client_at("https://shared-reset.test", &told);
    let (second, meter) = client_at("https://shared-reset.test", &other);
    get(&first).await.unwrap();
    get(&second).await.unwrap();
    assert_eq!((other.times()[0] - told.times()[0]).as_secs(), 8);
    assert_eq!(
        meter.limit_wait().as_secs(),
        8,
        "counted where it was waited"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_last_one_and_answered_after_it_opens_nothing() {
    // The first request is answered after the second one, which was told that nothing is left.
    let wire = Wire::new(|nth, _| match nth {
        0 => Wire::pieces(
            200,
            &[("x-limit-remaining", "1"), ("x-limit-reset", "1000000007")],
            vec![crate::common::Piece::Pause(Duration::from_secs(2))],
        ),
        1 => answer(200, LONG_AGO, "0", 7),
        _ => answer(200, LONG_AGO + 7, "50", 60),
    });
    let (client, _) = client(&wire);
    let (first, second) = tokio::join!(get(&client), get(&client));
    first.unwrap();
    second.unwrap();
    get(&client).await.unwrap();
    assert_eq!(span(&wire), 8);
}

/// A client of two requests a second.
fn two_a_second(host: &str, wire: &Wire) -> (Client, Arc<Meter>) {
    let context = wire.context();
    let client = builder(host, &context).rate_limit(RateLimit::per_second(2));
    (client.build().unwrap(), context.meter)
}

#[tokio::test(start_paused = true)]
async fn several_contexts_share_the_rate_of_one_credential_and_count_their_own_waits() {
    let host = "https://shared-rate.test";
    let wire = Wire::new(|_, _| Wire::reply(200, &[], "{}"));
    let clients: Vec<_> = (0..4).map(|_| two_a_second(host, &wire)).collect();
    let start = Instant::now();
    for (client, _) in &clients {
        get(client).await.unwrap();
    }
    assert!(start.elapsed() > Duration::from_millis(1500));
    let waited: Vec<u128> = clients
        .iter()
        .map(|(_, meter)| meter.limit_wait().as_millis())
        .collect();
    assert_eq!(waited[0], 0, "{waited:?}");
    assert!(waited[1..].iter().all(|wait| *wait > 450), "{waited:?}");

    // Another credential at the same place does not wait for them.
    let base = BaseUrl::parse(host).unwrap();
    let context = wire.context();
    let other = Client::builder("Sample", &base, &context)
        .secret_header("x-key", &Secret::new(format!("other than {SECRET}")))
        .rate_limit(RateLimit::per_second(2))
        .build()
        .unwrap();
    get(&other).await.unwrap();
    assert_eq!(context.meter.limit_wait(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_probe_does_not_wait_for_the_reads_of_another_connection() {
    let host = "https://probe-first.test";
    let wire = Wire::new(|_, _| Wire::reply(200, &[], r#"{"things":[]}"#));
    let (reader, _) = two_a_second(host, &wire);
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let reader = reader.clone();
        reads.spawn(async move { get(&reader).await.map(drop) });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (probed, meter) = two_a_second(host, &wire);
    let prober = Prober {
        client: &probed,
        address: "/base_url",
    };
    let request = Request::get("/probe");
    prober.first(&request, Records::Lists(&["/things"])).await;
    assert!(meter.limit_wait() < Duration::from_secs(1));
    assert_eq!(wire.targets()[1], "/probe", "{:?}", wire.targets());
    reads.join_all().await;
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
async fn headers_limit_by_what_can_be_read_of_them() {
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
        // Milliseconds, a time from now, a date.
        ("0", "1000000007000", 8),
        ("0", "7", 7),
        ("0", "2001-09-09T01:46:47Z", 7),
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
    // The end of time: no more than a day.
    for reset in ["99999999999", "9223372036854775807"] {
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
    assert_eq!(told.date(), Some(told.at));
    for _ in 0..2 {
        let before = Timestamp::now();
        let untold = get(&client).await.unwrap();
        assert!((before..=Timestamp::now()).contains(&untold.at));
        assert_eq!(untold.date(), None);
    }
}

/// A client with the policy for reading and the allowance of a week.
fn weekly(wire: &Wire, per_week: u32) -> Client {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let host = format!("https://weekly-{}.test", LAST.fetch_add(1, Relaxed));
    let client = builder(&host, &wire.context())
        .retry(RetryPolicy::READ)
        .rate_limit(RateLimit::per_second(10))
        .quota(Quota::WeeklyFromSunday(per_week));
    client.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_allowance_is_used_up_after_minutes_of_refusals() {
    let wire = Wire::new(|nth, _| match nth {
        0..20 => Wire::reply(200, &[], "{}"),
        _ => Wire::reply(429, &[], "{}"),
    });
    let client = weekly(&wire, 100_000);
    for _ in 0..20 {
        get(&client).await.unwrap();
    }
    let start = Instant::now();
    let error = get(&client).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (Kind::QuotaExhausted, Status::Persistent)
    );
    assert!(
        error.message().contains("100000 requests a week"),
        "{error}"
    );
    assert!(error.message().contains("Sunday"), "{error}");
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    assert!(error.delay().is_some_and(|delay| delay <= week));
    let minutes = start.elapsed().as_secs();
    assert!((120..300).contains(&minutes), "{minutes}");
    assert!(wire.times().len() < 20 + 15, "{}", wire.times().len());
}

#[tokio::test(start_paused = true)]
async fn an_allowance_is_used_up_at_once_where_as_many_requests_were_served() {
    let wire = Wire::new(|nth, _| match nth {
        0..95 => Wire::reply(200, &[], "{}"),
        _ => Wire::reply(429, &[], "{}"),
    });
    let client = weekly(&wire, 100);
    for _ in 0..95 {
        get(&client).await.unwrap();
    }
    let start = Instant::now();
    let error = get(&client).await.unwrap_err();
    assert_eq!(error.kind(), Kind::QuotaExhausted);
    assert!(error.message().contains("after 95 requests"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_busy_minute_uses_up_nothing() {
    for refused in [7, 12] {
        let wire = Wire::new(move |nth, _| match nth {
            nth if nth < refused => Wire::reply(429, &[("retry-after", "1")], "{}"),
            _ => Wire::reply(200, &[], "{}"),
        });
        let client = weekly(&wire, 100_000);
        match get(&client).await {
            Ok(_) => assert_eq!(wire.times().len(), refused + 1),
            // More than the time of one call: to be gone on with later.
            Err(error) => {
                assert_eq!(error.kind(), Kind::RateLimited);
                assert!(error.delay().is_some());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_share_a_limit_and_both_get_everything() {
    let window = Mutex::new(VecDeque::new());
    let wire = Wire::new(move |_, _| {
        let (now, mut window) = (Instant::now(), window.lock().unwrap());
        while window
            .front()
            .is_some_and(|at| now - *at >= Duration::from_secs(1))
        {
            window.pop_front();
        }
        if window.len() >= 10 {
            return Wire::reply(429, &[], "{}");
        }
        window.push_back(now);
        Wire::reply(200, &[], "{}")
    });
    let start = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for process in ["one", "two"] {
        // Another secret beside the same key: in one process they would share a queue.
        let context = wire.context();
        let client = builder("https://two-processes.test", &context)
            .secrets(&[&Secret::new(process)])
            .retry(RetryPolicy::READ)
            .rate_limit(RateLimit::per_second(10))
            .quota(Quota::WeeklyFromSunday(100_000));
        let client = client.build().unwrap();
        for _ in 0..4 {
            let client = client.clone();
            all.spawn(async move {
                for _ in 0..75 {
                    get(&client).await.unwrap();
                }
            });
        }
    }
    all.join_all().await;
    // Six hundred requests take a minute at the full rate.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(150), "{took:?}");
    let refused = wire.times().len() - 600;
    assert!(refused < 200, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_403_that_means_a_rate_limit_is_waited_for() {
    let date = fmt_http_date(Timestamp::from_second(LONG_AGO).unwrap().into());
    let reset = (LONG_AGO + 6).to_string();
    let secondary =
        r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}"#;
    for (headers, body, least) in [
        (vec![("retry-after", "7")], "{}", 7),
        (
            vec![
                ("date", &*date),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", &*reset),
            ],
            "{}",
            7,
        ),
        (
            vec![("ratelimit", "limit=5, remaining=0, reset=7")],
            "{}",
            7,
        ),
        (vec![], secondary, 1),
    ] {
        let headers: Vec<(&'static str, String)> = headers
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        let wire = Wire::new(move |nth, _| {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect();
            match nth {
                0 => Wire::reply(403, &headers, body),
                _ => Wire::reply(200, &[], "{}"),
            }
        });
        let (client, _) = client(&wire);
        // Who takes a 403 for an answer does not mean this one.
        client
            .send(&Request::get("/things").accept(&[403]))
            .await
            .unwrap();
        let waited = span(&wire);
        assert!((least..least + 3).contains(&waited), "{waited}");
    }
    let wire = Wire::new(|_, _| Wire::reply(403, &[("retry-after", "3600")], "{}"));
    let error = get(&client(&wire).0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    assert_eq!(error.delay(), Some(Duration::from_secs(3600)));
    let wire = Wire::new(|_, _| Wire::reply(403, &[("x-ratelimit-remaining", "7")], "{}"));
    let error = get(&client(&wire).0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn a_probe_takes_a_403_for_what_it_means() {
    let wire = Wire::new(|_, _| Wire::reply(403, &[("retry-after", "7.5")], "{}"));
    let (client, _) = client(&wire);
    let prober = Prober {
        client: &client,
        address: "/base_url",
    };
    let asked = prober
        .access(
            "things",
            &Request::get("/things"),
            Records::Lists(&["/things"]),
        )
        .await;
    let Access::Unknown(check) = asked.access else {
        panic!("{asked:?}");
    };
    assert_eq!(
        (&*check.code, check.kind),
        ("throttled", Some(Kind::RateLimited))
    );
    assert!(check.remedy.unwrap().contains("8 seconds"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_be_read_is_told_and_counts_as_absent() {
    let shown = format!("when {SECRET} is free");
    let wire = Wire::new(move |_, _| Wire::reply(429, &[("retry-after", &shown)], "{}"));
    let start = Instant::now();
    let error = get(&client(&wire).0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    let told = error.to_string();
    assert!(
        told.contains(r#"retry-after "when [redacted] is free" cannot be read"#),
        "{told}"
    );
    assert!(start.elapsed() > Duration::from_secs(10));
}
