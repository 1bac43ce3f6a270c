//! Credentials that are exchanged for a token which ends: obtained when needed, renewed when refused.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use headwater_core::{Error, Result, Secret};
use tokio::sync::Mutex;

/// A token, and what a new one can be obtained with.
#[derive(Clone)]
pub struct Grant {
    /// Sent as `authorization: Bearer …`.
    pub access: Secret,
    /// Lets a new token be obtained without the credentials.
    pub refresh: Option<Secret>,
}

/// How a service hands out tokens.
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// A new grant; with what the last one left for that, or from the credentials.
    async fn obtain(&self, refresh: Option<&Secret>) -> Result<Grant>;
}

/// The token in use.
pub(crate) struct Tokens {
    source: Arc<dyn TokenSource>,
    /// Held while a token is obtained, so that many requests wait for one login.
    current: Mutex<Current>,
    /// Tries to obtain a token that are over.
    tries: AtomicU64,
    /// For redaction.
    known: RwLock<Vec<Secret>>,
}

#[derive(Default)]
struct Current {
    grant: Option<Grant>,
    /// Why the last try failed, if it did. Whoever waited for it does not try again: that would be as many logins in a
    /// row as there are requests, and services lock accounts for less.
    failure: Option<Error>,
}

impl Tokens {
    pub(crate) fn new(source: impl TokenSource) -> Self {
        Self {
            source: Arc::new(source),
            current: Mutex::default(),
            tries: AtomicU64::default(),
            known: RwLock::default(),
        }
    }

    /// The token, obtained if there is none.
    pub(crate) async fn get(&self) -> Result<Secret> {
        let tries = self.tries.load(Ordering::SeqCst);
        let mut current = self.current.lock().await;
        if let Some(grant) = &current.grant {
            return Ok(grant.access.clone());
        }
        self.has_failed_since(tries, &current)?;
        let obtained = self.source.obtain(None).await;
        self.keep(&mut current, obtained)
    }

    /// A token other than the refused one.
    pub(crate) async fn renew(&self, refused: &Secret) -> Result<Secret> {
        let tries = self.tries.load(Ordering::SeqCst);
        let mut current = self.current.lock().await;
        let refresh = match &current.grant {
            // Somebody else has renewed it meanwhile.
            Some(grant) if grant.access.expose() != refused.expose() => {
                return Ok(grant.access.clone());
            }
            Some(grant) => grant.refresh.clone(),
            None => None,
        };
        self.has_failed_since(tries, &current)?;
        let obtained = match &refresh {
            // What renews a token ends as well, later.
            Some(refresh) => match self.source.obtain(Some(refresh)).await {
                Ok(grant) => Ok(grant),
                Err(_) => self.source.obtain(None).await,
            },
            None => self.source.obtain(None).await,
        };
        self.keep(&mut current, obtained)
    }

    /// The error of a try that was made while its caller waited.
    fn has_failed_since(&self, tries: u64, current: &Current) -> Result<()> {
        match &current.failure {
            Some(failure) if self.tries.load(Ordering::SeqCst) != tries => Err(repeated(failure)),
            _ => Ok(()),
        }
    }

    /// Tokens that no message may repeat.
    pub(crate) fn known(&self) -> Vec<Secret> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, current: &mut Current, obtained: Result<Grant>) -> Result<Secret> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        let grant = match obtained {
            Ok(grant) => grant,
            Err(error) => {
                current.failure = Some(repeated(&error));
                return Err(error);
            }
        };
        let access = grant.access.clone();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.clear();
        // Those before as well: an answer to what was sent with them may still be on its way.
        for grant in current.grant.iter().chain([&grant]) {
            known.push(grant.access.clone());
            known.extend(grant.refresh.clone());
        }
        *current = Current {
            grant: Some(grant),
            failure: None,
        };
        Ok(access)
    }
}

/// The same error for somebody else, without what caused it.
fn repeated(error: &Error) -> Error {
    let mut same = Error::new(error.kind(), error.message()).with_status(error.status());
    if let Some(delay) = error.delay() {
        same = same.retry_after(delay);
    }
    if !error.operation().is_empty() {
        same = same.during(error.operation().to_owned());
    }
    error
        .context()
        .fold(same, |same, (name, value)| same.with(name, value))
}
