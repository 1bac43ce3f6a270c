//! Browsers that signed in with a token: a random cookie represents it until the token ends, the service stops or 12
//! hours are over.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use headwater_core::{Error, Kind, Result};
use headwater_store::TokenHash;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};

/// How long a session lasts.
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);
const COOKIE: &str = "headwater_session";
/// The cookie over TLS, which browsers send to exactly this host.
const SECURE_COOKIE: &str = "__Host-headwater_session";

/// Sessions by the hash of their cookie: the memory holds nothing that opens one.
pub(crate) struct Sessions {
    /// Whether the service serves TLS itself: a cookie without the prefix may then come from a neighbouring host.
    is_secure: bool,
    open: Mutex<HashMap<[u8; 32], Session>>,
}

struct Session {
    /// Each request looks its caller up again.
    token: TokenHash,
    began: Instant,
}

impl Sessions {
    pub(crate) fn new(is_secure: bool) -> Self {
        Self {
            is_secure,
            open: Mutex::default(),
        }
    }

    /// Begins a session and returns the header that keeps it.
    pub(crate) fn begin(&self, token: TokenHash) -> Result<String> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            Error::new(Kind::Unexpected, "the system cannot provide random numbers")
                .caused_by(error)
        })?;
        let value: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut open = self.open();
        open.retain(|_, session| session.began.elapsed() < LIFE);
        let began = Instant::now();
        open.insert(hash(&value), Session { token, began });
        Ok(self.header(&value, ""))
    }

    /// Ends every session that a request names and returns the header that forgets the cookie.
    pub(crate) fn end(&self, headers: &HeaderMap) -> Option<String> {
        let mut open = self.open();
        let mut is_named = false;
        for value in self.cookies(headers) {
            is_named = true;
            open.remove(&hash(value));
        }
        is_named.then(|| self.header("", "; Max-Age=0"))
    }

    /// Returns the token of the session that a request names. A request with two sessions has none: another host has
    /// set one of them.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Option<TokenHash> {
        let mut cookies = self.cookies(headers);
        let (Some(value), None) = (cookies.next(), cookies.next()) else {
            return None;
        };
        let open = self.open();
        let session = open.get(&hash(value))?;
        (session.began.elapsed() < LIFE).then(|| session.token.clone())
    }

    fn header(&self, value: &str, more: &str) -> String {
        let (name, secure) = match self.is_secure {
            true => (SECURE_COOKIE, "; Secure"),
            false => (COOKIE, ""),
        };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{more}{secure}")
    }

    /// The cookies that may name a session, of plain HTTP or of TLS, never both.
    fn cookies<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        let name = match self.is_secure {
            true => SECURE_COOKIE,
            false => COOKIE,
        };
        let all = headers.get_all(header::COOKIE).iter();
        all.filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(move |(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        headers
    }

    #[test]
    fn a_session_is_named_once_and_by_its_own_cookie() {
        for (is_secure, own, other) in [
            (true, SECURE_COOKIE, COOKIE),
            (false, COOKIE, SECURE_COOKIE),
        ] {
            let sessions = Sessions::new(is_secure);
            let begin = || {
                let header = sessions.begin(TokenHash::of("hw_x")).unwrap();
                header.split([';', '=']).nth(1).unwrap().to_owned()
            };
            let (mine, planted) = (begin(), begin());
            let (mine, planted) = (&mine, &planted);
            let is_known = |cookies: &[&str]| sessions.token(&request(cookies)).is_some();
            assert!(is_known(&[&format!("{own}={mine}")]));
            assert!(is_known(&[&format!(
                "a=b; {other}={planted}; {own}={mine}"
            )]));
            for refused in [
                &[&*format!("{other}={planted}")][..],
                &[&format!("{own}={planted}; {own}={mine}")],
                &[&format!("{own}={mine}; {own}={mine}")],
                &[&format!("{own}={mine}"), &format!("{own}={planted}")],
                &[&format!("{}={mine}", own.to_uppercase())],
                &[],
            ] {
                assert!(!is_known(refused), "{refused:?}");
            }
            // A log-out ends all sessions of the request, and no other.
            let third = begin();
            let sent = format!("{own}={planted}; {own}={mine}; {other}={third}");
            let forgets = sessions.end(&request(&[&sent])).unwrap();
            assert!(forgets.starts_with(&format!("{own}=;")), "{forgets}");
            assert!(!is_known(&[&format!("{own}={mine}")]));
            assert!(!is_known(&[&format!("{own}={planted}")]));
            assert!(is_known(&[&format!("{own}={third}")]));
        }
    }
}
