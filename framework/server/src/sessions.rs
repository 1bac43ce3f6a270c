//! Browsers that signed in with a token: a random cookie stands for it until the token, the service or the day is over.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use headwater_core::{Error, Kind, Result};
use headwater_store::TokenHash;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};

/// How long a session lasts.
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);
const COOKIE: &str = "headwater_session";
/// Over TLS, where a browser keeps the cookie to exactly this host.
const SECURE_COOKIE: &str = "__Host-headwater_session";

/// Sessions by the hash of their cookie: what is in memory opens nothing.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

struct Session {
    /// Who it stands for is asked anew each time.
    token: TokenHash,
    began: Instant,
}

impl Sessions {
    /// Begins a session and returns the header that keeps it.
    pub(crate) fn begin(&self, token: TokenHash, is_secure: bool) -> Result<String> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            Error::new(Kind::Unexpected, "the system gives no random numbers").caused_by(error)
        })?;
        let value: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.began.elapsed() < LIFE);
        let began = Instant::now();
        sessions.insert(hash(&value), Session { token, began });
        let (name, secure) = match is_secure {
            true => (SECURE_COOKIE, "; Secure"),
            false => (COOKIE, ""),
        };
        Ok(format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}"
        ))
    }

    /// Ends the session of a request and returns the header that forgets it.
    pub(crate) fn end(&self, headers: &HeaderMap) -> Option<String> {
        let (name, value) = cookie(headers)?;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&hash(value));
        let secure = if name == SECURE_COOKIE {
            "; Secure"
        } else {
            ""
        };
        Some(format!(
            "{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}"
        ))
    }

    /// The token that somebody signed in with who has the cookie of a request.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Option<TokenHash> {
        let (_, value) = cookie(headers)?;
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&hash(value))?;
        (session.began.elapsed() < LIFE).then(|| session.token.clone())
    }
}

fn hash(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

fn cookie(headers: &HeaderMap) -> Option<(&str, &str)> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| [COOKIE, SECURE_COOKIE].contains(name))
}
