//! The caller: a key in one of three headers, or a user with a token.

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::API_KEY;
use super::options::KeyHeaders;
use super::problem::Problem;
use super::route::Surface;
use super::token::{TokenKind, Tokens};

/// A caller; each has a rate limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Key,
    User,
}

/// Identifies the caller. Under `/api/v1/` only a key after `Bearer` is valid.
pub(crate) fn identify(
    headers: &HeaderMap,
    surface: Surface,
    accepted: KeyHeaders,
    tokens: &Tokens,
) -> Result<Caller, Problem> {
    let accepted = match surface {
        Surface::Rest => accepted,
        Surface::External => KeyHeaders::Bearer,
    };
    let accepts = |header| accepted == KeyHeaders::Any || accepted == header;
    if accepts(KeyHeaders::XApiKey)
        && let Some(key) = headers.get("x-api-key")
    {
        return check_key(key.to_str().unwrap_or_default());
    }
    let authorization = headers.get(AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    match authorization.and_then(|value| value.split_once(' ')) {
        Some(("Api-Key", key)) if accepts(KeyHeaders::ApiKey) => check_key(key),
        Some(("Bearer", key))
            if accepts(KeyHeaders::Bearer)
                && (key.starts_with("claribi_") || surface == Surface::External) =>
        {
            check_key(key)
        }
        Some(("Bearer", token)) if surface == Surface::Rest => {
            let checked = tokens.check(TokenKind::Access, token);
            checked.map_err(Problem::BadAccessToken)?;
            Ok(Caller::User)
        }
        _ => Err(Problem::NoCredentials),
    }
}

fn check_key(key: &str) -> Result<Caller, Problem> {
    match key == API_KEY {
        true => Ok(Caller::Key),
        false => Err(Problem::WrongKey),
    }
}
