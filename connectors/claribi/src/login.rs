//! The login with an e-mail address and a password, for a token that replaces the key.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use headwater::{
    http::{Client, Grant, Request, TokenSource},
    prelude::*,
};
use serde::Deserialize;
use serde_json::json;

/// The message for an account with a second factor, in the probe and in a read.
pub(crate) const SECOND_FACTOR: &str =
    "this account has multi-factor authentication, and no one can enter the code here";
/// The remedy for it.
pub(crate) const WITHOUT_SECOND_FACTOR: &str = "create an API key and choose one of the API key headers, or use an account without multi-factor authentication";

/// A login at an address.
pub(crate) struct Login {
    client: Client,
    email: String,
    password: Secret,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login(at {:?})", self.client)
    }
}

/// The response to a login.
pub(crate) enum Answer {
    /// Tokens.
    Granted(Grant),
    /// A request for a code.
    SecondFactor,
    /// Neither.
    Other,
}

#[derive(Deserialize)]
struct TokenReply {
    access: Option<Secret>,
    refresh: Option<Secret>,
    mfa_required: Option<bool>,
}

impl Login {
    /// Makes a login. The client sends no credentials of its own, and its messages never contain the password.
    pub(crate) fn new(client: Client, email: &str, password: &Secret) -> Self {
        Self {
            client,
            email: email.to_owned(),
            password: password.clone(),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the login request. It changes nothing at the service, so it may be repeated.
    pub(crate) fn request(&self) -> Request {
        let body = json!({ "email": self.email, "password": self.password.expose() });
        Request::post("/api/auth/login/", &body).repeatable()
    }

    async fn log_in(&self) -> Result<Grant> {
        let response = self.client.send(&self.request()).await;
        let response = response.map_err(|error| error.during("logging in"))?;
        match Answer::read(&response.body) {
            Answer::Granted(grant) => Ok(grant),
            Answer::SecondFactor => Err(Error::new(
                Kind::Unauthenticated,
                format!("{SECOND_FACTOR}; {WITHOUT_SECOND_FACTOR}"),
            )),
            Answer::Other => Err(no_token("login")),
        }
    }

    async fn refresh(&self, refresh: &Secret) -> Result<Grant> {
        let body = json!({ "refresh": refresh.expose() });
        // The service may repeat the refused token in its message, so the message is dropped.
        let request = Request::post("/api/auth/token/refresh/", &body)
            .repeatable()
            .accept(&[400, 401, 403, 404]);
        let response = self.client.send(&request).await?;
        if !response.status.is_success() {
            return Err(Error::new(
                Kind::Unauthenticated,
                "the session cannot be renewed",
            ));
        }
        match Answer::read(&response.body) {
            Answer::Granted(grant) => Ok(Grant {
                // Not every service returns a new one each time.
                refresh: grant.refresh.or_else(|| Some(refresh.clone())),
                access: grant.access,
            }),
            Answer::SecondFactor | Answer::Other => Err(no_token("renewal of the session")),
        }
    }
}

impl Answer {
    pub(crate) fn read(body: &[u8]) -> Self {
        let Ok(answer) = serde_json::from_slice::<TokenReply>(body) else {
            return Self::Other;
        };
        match answer.access.filter(|access| !access.expose().is_empty()) {
            Some(access) => Self::Granted(Grant {
                access,
                refresh: answer.refresh,
            }),
            None if answer.mfa_required == Some(true) => Self::SecondFactor,
            None => Self::Other,
        }
    }
}

fn no_token(what: &str) -> Error {
    let text = format!("the response to the {what} has no token");
    Error::new(Kind::DataInvalid, text)
}

/// The login as a token source of the client.
pub(crate) struct Tokens(pub(crate) Arc<Login>);

#[async_trait]
impl TokenSource for Tokens {
    async fn obtain(&self, refresh: Option<&Secret>) -> Result<Grant> {
        match refresh {
            Some(refresh) => self.0.refresh(refresh).await,
            None => self.0.log_in().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body: &str) -> &'static str {
        match Answer::read(body.as_bytes()) {
            Answer::Granted(_) => "granted",
            Answer::SecondFactor => "second factor",
            Answer::Other => "other",
        }
    }

    #[test]
    fn an_answer_without_a_token_is_no_login() {
        assert_eq!(kind(r#"{"access":"a","refresh":"r"}"#), "granted");
        assert_eq!(kind(r#"{"access":"a","mfa_required":false}"#), "granted");
        assert_eq!(kind(r#"{"mfa_required":true}"#), "second factor");
        assert_eq!(
            kind(r#"{"access":"","mfa_required":true}"#),
            "second factor"
        );
        for other in [
            "{}",
            "[]",
            "",
            "<html>",
            r#"{"access":null}"#,
            r#"{"mfa_required":false}"#,
        ] {
            assert_eq!(kind(other), "other", "{other}");
        }
    }
}
