//! The tokens of the service. The store knows only their hashes; each token is shown once, when it is created.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use headwater_core::{Error, Kind, Result, Secret, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    audit::{Actor, Event, audited},
    connections::timestamp,
    database::{COUNT, Database, Row, table},
    key::{fill, hex},
    ledger::Ledger,
    names::check_name,
    refusal::Refusal,
    store::Store,
};

/// The prefix of every token, which makes it recognisable wherever it appears.
const PREFIX: &str = "hw_";
const BYTES: usize = 32;
/// The actors of the audit that are not tokens.
const RESERVED: [&str; 5] = ["anonymous", "embed", "local", "schedule", "service"];
/// The most tokens of a store: each request compares all of them.
const MAX: i64 = 1000;
/// The store keeps the last use to the minute, so that not every request writes.
const USE_MILLISECONDS: i64 = 60_000;

table! {
    /// Tokens.
    TokensTable = "headwater_tokens" {
        NAME: String = "name",
        HASH: String = "hash",
        SCOPE: String = "scope",
        CREATED: i64 = "created",
        LAST_USED: Option<i64> = "last_used",
        EXPIRES: Option<i64> = "expires",
    }
}

/// The permissions of a token; each scope includes the ones before it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Reading connections, runs and the audit.
    Read,
    /// Probing, previewing and running connections.
    Use,
    /// Changing connections and tokens.
    Admin,
}

impl Scope {
    const ALL: [(Self, &str); 3] = [
        (Self::Read, "read"),
        (Self::Use, "use"),
        (Self::Admin, "admin"),
    ];
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(scope, _)| scope == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let scope = Self::ALL.iter().find(|(_, name)| *name == text);
        scope.map(|(scope, _)| *scope).ok_or_else(|| {
            let text = "unknown scope; a token has the scope read, use or admin";
            Error::new(Kind::ConfigInvalid, text)
        })
    }
}

/// The hash of a token, all that the store knows of its text. It opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    /// A token has 256 random bits, so its hash needs neither salt nor effort.
    pub fn of(text: &str) -> Self {
        Self(hex(&Sha256::digest(text.as_bytes())))
    }
}

/// A token without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// Its scope.
    pub scope: Scope,
    /// When it was created.
    pub created: Timestamp,
    /// When it was used last, to the minute.
    pub last_used: Option<Timestamp>,
    /// When it expires.
    pub expires: Option<Timestamp>,
}

impl Store {
    /// Creates a token and returns its text, which cannot be read again.
    ///
    /// # Errors
    ///
    /// Fails if the name is invalid, reserved or taken, or if the store has too many tokens.
    pub fn add_token(
        &mut self,
        name: &str,
        scope: Scope,
        expires: Option<Timestamp>,
        actor: &Actor,
    ) -> Result<Secret> {
        check_name("token", name)?;
        let mut bytes = Zeroizing::new([0; BYTES]);
        fill(&mut bytes[..])?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(&bytes[..]));
        let text = Zeroizing::new(format!("{PREFIX}{}", &*text));
        refuse_reserved(name)?;
        let created = timestamp(self.database.now()?)?;
        audited(self, actor, |change| {
            let database = &mut *change.database;
            let statement = format!("SELECT {COUNT} FROM headwater_tokens");
            let rows = database.query(&statement, &[])?;
            if rows.first().map_or(Ok(0), |row| row.get(COUNT))? >= MAX {
                let text = format!("the store has {MAX} tokens already; remove unused ones");
                return Err(Error::new(Kind::ConfigInvalid, text));
            }
            let statement = "INSERT INTO headwater_tokens (name, hash, scope, created, expires) \
                             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO NOTHING";
            let hash = TokenHash::of(&text);
            let token = Token {
                name: name.to_owned(),
                scope,
                created,
                last_used: None,
                expires,
            };
            let parameters = [
                name.into(),
                hash.0.as_str().into(),
                scope.to_string().as_str().into(),
                created.as_millisecond().into(),
                expires.map(Timestamp::as_millisecond).into(),
            ];
            if database.execute(statement, &parameters)? == 0 {
                let text = format!("the token {name} exists already; remove it first");
                return Err(Refusal::Taken.error(Kind::ConfigInvalid, text));
            }
            let digest = token.digest(&hash);
            change.ledger.tokens.insert(name.to_owned(), digest);
            Ok(((), Event::new("token added").named(name)))
        })?;
        Ok(Secret::new(text.as_str()))
    }

    /// All tokens by name, also expired ones. Leaves out rows that headwater did not write.
    ///
    /// # Errors
    ///
    /// Fails if the store or its ledger cannot be read.
    pub fn tokens(&mut self) -> Result<Vec<Token>> {
        // Unknown rows are left out, so no list shows whether it is complete.
        let never = |_: &Vec<Token>| false;
        self.with_ledger(never, |store, ledger| {
            let rows = token_rows(&mut *store.database)?;
            let known = rows.iter().filter_map(|row| known(row, ledger));
            Ok(known.map(|(token, _)| token).collect())
        })
    }

    /// Removes a token, which ends at once.
    ///
    /// # Errors
    ///
    /// Fails if there is no such token, or if the store cannot be written.
    pub fn remove_token(&mut self, name: &str, actor: &Actor) -> Result<()> {
        check_name("token", name)?;
        audited(self, actor, |change| {
            let statement = "DELETE FROM headwater_tokens WHERE name = ?1";
            change.ledger.tokens.remove(name);
            match change.database.execute(statement, &[name.into()])? {
                0 => {
                    let text = format!(
                        "there is no token {name:?}; `headwater token list` lists all tokens"
                    );
                    Err(Refusal::Missing.error(Kind::NotFound, text))
                }
                _ => Ok(((), Event::new("token removed").named(name))),
            }
        })?;
        self.database.forget_deleted();
        Ok(())
    }

    /// Finds the token of a hash, unless it has expired. The time it takes reveals nothing about other tokens.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read or written.
    pub fn find_token(&mut self, hash: &TokenHash) -> Result<Option<Token>> {
        let found = self.with_ledger(Option::is_some, |store, ledger| {
            let mut found = None;
            for row in token_rows(&mut *store.database)? {
                if let Some((token, known_hash)) = known(&row, ledger)
                    && bool::from(known_hash.0.as_bytes().ct_eq(hash.0.as_bytes()))
                {
                    found = Some(token);
                }
            }
            Ok(found)
        })?;
        let now = self.database.now()?;
        let is_over = |expires: Timestamp| expires.as_millisecond() <= now;
        let Some(found) = found.filter(|token| !token.expires.is_some_and(is_over)) else {
            return Ok(None);
        };
        let used = found.last_used.map_or(i64::MIN, Timestamp::as_millisecond);
        if now.saturating_sub(used) >= USE_MILLISECONDS {
            let statement = "UPDATE headwater_tokens SET last_used = ?1 WHERE name = ?2";
            let parameters = [now.into(), found.name.as_str().into()];
            self.database.execute(statement, &parameters)?;
        }
        Ok(Some(found))
    }
}

impl Token {
    /// The digest of this token with its scope and its date of expiry.
    pub(crate) fn digest(&self, hash: &TokenHash) -> String {
        let expires = self.expires.map(Timestamp::as_millisecond);
        let created = self.created.as_millisecond();
        let row = json!([self.name, hash.0, self.scope, created, expires]);
        hex(&Sha256::digest(row.to_string()))
    }
}

/// The rows of all tokens.
pub(crate) fn token_rows(database: &mut dyn Database) -> Result<Vec<Row>> {
    let statement = format!(
        "SELECT {} FROM headwater_tokens ORDER BY name",
        TokensTable::ALL
    );
    database.query(&statement, &[])
}

/// Reads the token of a row, with its hash.
pub(crate) fn token(row: &Row) -> Result<(Token, TokenHash)> {
    let time = |column| row.get::<Option<i64>>(column)?.map(timestamp).transpose();
    let token = Token {
        name: row.get(TokensTable::NAME)?,
        scope: row.get(TokensTable::SCOPE)?.parse()?,
        created: timestamp(row.get(TokensTable::CREATED)?)?,
        last_used: time(TokensTable::LAST_USED)?,
        expires: time(TokensTable::EXPIRES)?,
    };
    Ok((token, TokenHash(row.get(TokensTable::HASH)?)))
}

/// Reads the token of a row that the ledger vouches for.
fn known(row: &Row, ledger: &Ledger) -> Option<(Token, TokenHash)> {
    let (token, hash) = token(row).ok()?;
    let digest = ledger.tokens.get(&token.name)?;
    let is_known = *digest == token.digest(&hash);
    is_known.then_some((token, hash))
}

/// The audit names these for changes without a token.
fn refuse_reserved(name: &str) -> Result<()> {
    if !RESERVED.contains(&name) {
        return Ok(());
    }
    let text = format!(
        "a token cannot be called {name}, which means headwater itself in the audit; choose another name"
    );
    Err(Error::new(Kind::ConfigInvalid, text))
}
