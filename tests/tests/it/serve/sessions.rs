//! What a session is worth when its token is gone.

use acceptance::{
    binary::command,
    service::{Answer, Service},
};
use headwater_core::{SignedDuration, Timestamp};
use headwater_store::{Actor, Scope, Store, StoreLocation};
use reqwest::{Method, header};

use crate::serve::{HEADWATER, token, until};

const API: &str = "/api/v1/connections";

fn service(home: tempfile::TempDir) -> Service {
    Service::start_in(home, HEADWATER, &["--require-token"])
}

/// Signs in and returns the cookie.
pub async fn sign_in(service: &Service, token: &str) -> String {
    let kind = "application/x-www-form-urlencoded";
    let request = service.request(Method::POST, "/login");
    let request = request.header(header::CONTENT_TYPE, kind);
    let request = request.body(format!("token={token}"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// Status of the API and of a page, and where the page leads to.
async fn seen(service: &Service, cookie: &str) -> (u16, u16, String) {
    let get = async |path| {
        let request = service.request(Method::GET, path);
        let answer = request.header(header::COOKIE, cookie).send().await;
        answer.unwrap()
    };
    let (api, page) = (get(API).await, get("/connections").await);
    let location = page.headers().get(header::LOCATION);
    let location = location.map_or("", |location| location.to_str().unwrap());
    let statuses = (api.status().as_u16(), page.status().as_u16());
    (statuses.0, statuses.1, location.to_owned())
}

fn is_over() -> (u16, u16, String) {
    (401, 303, "/login?next=%2Fconnections".to_owned())
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let home = tempfile::tempdir().unwrap();
    let (admin, reader) = (token(home.path(), "admin"), token(home.path(), "read"));
    let service = service(home);
    let (cookie, other) = (
        sign_in(&service, &admin).await,
        sign_in(&service, &reader).await,
    );
    assert_eq!(seen(&service, &cookie).await, (200, 200, String::new()));
    let removed = command(HEADWATER)
        .args(["token", "remove", "admin"])
        .env("HEADWATER_HOME", service.path().join("home"))
        .status();
    assert!(removed.unwrap().success());
    assert_eq!(seen(&service, &cookie).await, is_over());
    let bearer = service.request(Method::GET, API).bearer_auth(&admin);
    let bearer = Answer::of(bearer.send().await.unwrap()).await;
    assert_eq!(bearer.problem(), (401, "token_unknown".to_owned()));
    // A new token has the name, and is another one.
    let new = token(service.path(), "admin");
    assert_eq!(seen(&service, &cookie).await, is_over());
    let cookie = sign_in(&service, &new).await;
    for cookie in [cookie, other] {
        assert_eq!(seen(&service, &cookie).await, (200, 200, String::new()));
    }
}

#[tokio::test]
async fn a_token_whose_time_is_over_opens_nothing_and_neither_does_its_session() {
    let home = tempfile::tempdir().unwrap();
    let reader = token(home.path(), "read");
    let place = StoreLocation::File(home.path().join("home/store.db"));
    let expires = Timestamp::now() + SignedDuration::from_secs(5);
    let admin = Store::open(&place, None)
        .unwrap()
        .add_token("admin", Scope::Admin, Some(expires), &Actor::local())
        .unwrap();
    let admin = admin.expose();
    let service = service(home);
    let cookie = sign_in(&service, admin).await;
    assert_eq!(seen(&service, &cookie).await, (200, 200, String::new()));
    until("the end of the token", async || {
        seen(&service, &cookie).await == is_over()
    })
    .await;
    assert!(Timestamp::now() >= expires);
    for (token, status) in [(admin, 401), (&*reader, 200)] {
        let request = service.request(Method::GET, API).bearer_auth(token);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_session_ends_where_its_token_is_another_one() {
    let home = tempfile::tempdir().unwrap();
    let admin = token(home.path(), "admin");
    let service = service(home);
    let cookie = sign_in(&service, &admin).await;
    let audit = async || {
        let request = service.request(Method::GET, "/api/v1/audit");
        let answer = request.header(header::COOKIE, &cookie).send().await;
        answer.unwrap().status()
    };
    assert_eq!(audit().await, 200);
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    let statement = "UPDATE headwater_tokens SET scope = 'read'";
    assert_eq!(store.execute(statement, []).unwrap(), 1);
    // Headwater did not write this one.
    assert_eq!(audit().await, 401);
}
