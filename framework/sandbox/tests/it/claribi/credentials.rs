//! Keys, tokens, permissions, and the entry in the list of simulations.

use std::time::Duration;

use headwater_sandbox::claribi::{
    API_KEY, EMAIL, KeyHeaders, PASSWORD, Permissions, RateLimit, Tier,
};
use headwater_sandbox::{ClaribiOptions, Sandbox, Service, Setup, Simulation, simulations};
use serde_json::{Value, json};

use crate::claribi::support::{Answer, Claribi, send, unlimited};

const STATUS: &str = "/api/auth/status/";

#[tokio::test]
async fn a_key_is_taken_from_the_chosen_header() {
    let headers = [
        (
            KeyHeaders::ApiKey,
            "Authorization",
            format!("Api-Key {API_KEY}"),
        ),
        (KeyHeaders::XApiKey, "X-API-Key", API_KEY.to_owned()),
        (
            KeyHeaders::Bearer,
            "Authorization",
            format!("Bearer {API_KEY}"),
        ),
    ];
    for accepted in [
        KeyHeaders::Any,
        KeyHeaders::ApiKey,
        KeyHeaders::XApiKey,
        KeyHeaders::Bearer,
    ] {
        let api = Claribi::start(ClaribiOptions {
            key_headers: accepted,
            ..unlimited()
        })
        .await;
        for (header, name, value) in &headers {
            let expected = match accepted == KeyHeaders::Any || accepted == *header {
                true => 200,
                false => 401,
            };
            let answer = send(api.with_header(STATUS, name, value)).await;
            assert_eq!(answer.status, expected, "{accepted:?} {header:?}");
        }
        let (access, _) = login(&api).await;
        assert_eq!(send(api.bearer(STATUS, &access)).await.status, 200);
    }
}

#[tokio::test]
async fn missing_and_wrong_keys_are_told_apart() {
    let api = Claribi::unlimited().await;
    let missing = "Authentication credentials were not provided.";
    let wrong = "Invalid API key.";
    for (name, value, expected) in [
        ("X-Other", "", missing),
        ("Authorization", "", missing),
        ("Authorization", "Basic abc", missing),
        ("Authorization", "Api-Key claribi_sk_other", wrong),
        ("Authorization", "Bearer claribi_other", wrong),
        ("X-API-Key", "claribi_sk_live_other", wrong),
    ] {
        let answer = send(api.with_header(STATUS, name, value)).await;
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.json(),
            json!({"detail": expected}),
            "{name}: {value}"
        );
        assert_eq!(answer.header("www-authenticate"), Some("Api-Key"));
    }
}

async fn login(api: &Claribi) -> (String, String) {
    let answer = api
        .post(
            "/api/auth/login/",
            &json!({"email": EMAIL, "password": PASSWORD}),
        )
        .await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let token = |name: &str| body[name].as_str().unwrap().to_owned();
    (token("access"), token("refresh"))
}

fn not_valid(answer: &Answer, message: &str) {
    assert_eq!(answer.status, 401);
    let body = answer.json();
    assert_eq!(body["code"], "token_not_valid");
    assert_eq!(body["messages"][0]["message"], message);
}

#[tokio::test]
async fn a_login_gives_tokens_that_expire_and_are_refreshed() {
    let api = Claribi::start(ClaribiOptions {
        access_life: Duration::from_millis(500),
        refresh_life: Duration::from_secs(2),
        ..unlimited()
    })
    .await;
    let (access, refresh) = login(&api).await;
    assert_eq!(access.split('.').count(), 3);
    assert_eq!(send(api.bearer(STATUS, &access)).await.status, 200);
    not_valid(
        &send(api.bearer(STATUS, &refresh)).await,
        "Token has wrong type",
    );
    not_valid(
        &send(api.bearer(STATUS, "nonsense")).await,
        "Token is invalid",
    );
    tokio::time::sleep(Duration::from_millis(600)).await;
    not_valid(&send(api.bearer(STATUS, &access)).await, "Token is expired");

    let renewed = api
        .post("/api/auth/token/refresh/", &json!({"refresh": refresh}))
        .await;
    assert_eq!(renewed.status, 200);
    let renewed = renewed.json();
    assert_eq!(renewed.as_object().unwrap().len(), 1);
    let access = renewed["access"].as_str().unwrap();
    assert_eq!(send(api.bearer(STATUS, access)).await.status, 200);

    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for (refresh, message) in [
        (refresh.as_str(), "Token is expired"),
        ("nonsense", "Token is invalid"),
    ] {
        let answer = api
            .post("/api/auth/token/refresh/", &json!({"refresh": refresh}))
            .await;
        assert_eq!(answer.status, 401);
        let expected = json!({"detail": message, "code": "token_not_valid"});
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn a_login_can_fail() {
    let api = Claribi::unlimited().await;
    for (email, password) in [(EMAIL, "wrong"), ("someone@example.com", PASSWORD)] {
        let body = json!({"email": email, "password": password});
        let answer = api.post("/api/auth/login/", &body).await;
        let message = "No active account found with the given credentials";
        assert_eq!(
            (answer.status, answer.json()),
            (401, json!({"detail": message}))
        );
    }
    for (path, body, field, message) in [
        (
            "/api/auth/login/",
            json!({"email": EMAIL}),
            "password",
            "This field is required.",
        ),
        (
            "/api/auth/login/",
            json!({"email": ""}),
            "email",
            "This field may not be blank.",
        ),
        (
            "/api/auth/login/",
            json!({"email": 7}),
            "email",
            "Not a valid string.",
        ),
        (
            "/api/auth/token/refresh/",
            json!({}),
            "refresh",
            "This field is required.",
        ),
    ] {
        let answer = api.post(path, &body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({field: [message]}))
        );
    }
    assert_eq!(api.post("/api/auth/login/", &json!([])).await.status, 400);
    assert_eq!(api.get("/api/auth/login/").await.status, 405);
}

#[tokio::test]
async fn a_second_factor_leaves_the_login_incomplete() {
    let api = Claribi::start(ClaribiOptions {
        mfa: true,
        ..unlimited()
    })
    .await;
    let body = json!({"email": EMAIL, "password": PASSWORD});
    let answer = api.post("/api/auth/login/", &body).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"mfa_required": true}))
    );
    let wrong = json!({"email": EMAIL, "password": "wrong"});
    assert_eq!(api.post("/api/auth/login/", &wrong).await.status, 401);
}

#[tokio::test]
async fn a_key_may_lack_permissions() {
    let start = |permissions| {
        Claribi::start(ClaribiOptions {
            permissions,
            ..unlimited()
        })
    };
    let none = start(Permissions::None).await;
    assert_eq!(none.get(STATUS).await.status, 200);
    for path in [
        "/api/data-sources/",
        "/api/reports/",
        "/api/reports/1/",
        "/api/dashboards/",
        "/api/billing/usage/",
    ] {
        let answer = none.get(path).await;
        let message = "You do not have permission to perform this action.";
        assert_eq!(
            (answer.status, answer.json()),
            (403, json!({"detail": message}))
        );
    }
    let (access, _) = login(&none).await;
    assert_eq!(
        send(none.bearer("/api/reports/", &access)).await.status,
        200
    );
    let read_only = start(Permissions::ReadOnly).await;
    assert_eq!(read_only.get("/api/reports/").await.status, 200);
}

fn simulation() -> &'static Simulation {
    simulations()
        .iter()
        .find(|one| one.id == "claribi")
        .unwrap()
}

#[tokio::test]
async fn the_forms_hold_good_and_wrong_keys() {
    let api = Claribi::unlimited().await;
    let base_url = api.sandbox.base_url();
    for (form, expected) in [
        ((simulation().form)(&base_url), 200),
        ((simulation().wrong_form)(&base_url), 401),
    ] {
        assert_eq!(form["auth"]["style"], "api_key_authorization");
        let key = form["auth"]["api_key"].as_str().unwrap();
        assert!(key.starts_with("claribi_sk_"));
        let request = api
            .http
            .get(format!("{}{STATUS}", form["base_url"].as_str().unwrap()));
        let request = request.header("Authorization", format!("Api-Key {key}"));
        assert_eq!(send(request).await.status, expected);
    }
}

#[tokio::test]
async fn a_setup_turns_switches_and_names_what_it_does_not_know() {
    let service = |size, per_second, switches: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        (simulation().service)(&Setup {
            size,
            per_second,
            switches: switches.iter().map(own).collect(),
            ..Setup::default()
        })
    };
    let claribi = |service| match service {
        Ok(Service::Claribi(options)) => options,
        other => panic!("not clariBI: {other:?}"),
    };
    let options = claribi(service(
        Some(7),
        Some(0),
        &[("tier", "trial"), ("auth", "bearer")],
    ));
    assert_eq!(options.data_sources, 7);
    assert_eq!(options.rate_limit, RateLimit::None);
    assert_eq!(
        (options.tier, options.key_headers),
        (Tier::Trial, KeyHeaders::Bearer)
    );
    let sandbox = Sandbox::start(options).await.unwrap();
    assert_eq!(sandbox.keys("data_sources").map(|keys| keys.len()), Some(7));

    let limited = claribi(service(None, Some(3), &[])).rate_limit;
    let window = Duration::from_secs(1);
    assert_eq!(
        limited,
        RateLimit::Of {
            requests: 3,
            window
        }
    );
    assert_eq!(
        claribi(service(None, None, &[])).rate_limit,
        RateLimit::OfTier
    );
    for (size, switch, part) in [
        (Some(0), ("tier", "trial"), "1..=1000000"),
        (None, ("tiers", "trial"), "rate_headers"),
        (None, ("tier", "gold"), "enterprise"),
    ] {
        let error = service(size, None, &[switch]).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn tokens_hold_when_they_expire() {
    let api = Claribi::unlimited().await;
    let (access, _) = login(&api).await;
    let payload = access.split('.').nth(1).unwrap();
    let payload: Value = serde_json::from_slice(&decode_base64(payload)).unwrap();
    assert_eq!(payload["token_type"], "access");
    let life = payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap();
    assert_eq!(life, 3_600);
}

fn decode_base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for character in text.chars() {
        bits = bits << 6 | u32::try_from(alphabet.find(character).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}
