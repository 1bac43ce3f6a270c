//! Tokens that expire: obtained with the credentials at the first use, renewed after a refusal.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use headwater_core::{Error, Result, Secret};
use tokio::sync::Mutex;

/// A token, and the means to obtain a new one.
#[derive(Clone)]
pub struct Grant {
    /// Sent as `authorization: Bearer …`.
    pub access: Secret,
    /// Obtains a new token without the credentials.
    pub refresh: Option<Secret>,
}

/// A source of tokens.
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// Returns a new grant, from the last refresh token or from the credentials.
    async fn obtain(&self, refresh: Option<&Secret>) -> Result<Grant>;
}

/// The current token.
pub(crate) struct Tokens {
    source: Arc<dyn TokenSource>,
    /// Locked during a login, so that many requests wait for one login.
    current: Mutex<Current>,
    /// The number of finished logins.
    tries: AtomicU64,
    /// The tokens to redact.
    known: RwLock<Vec<Secret>>,
}

#[derive(Default)]
struct Current {
    grant: Option<Grant>,
    /// The error of the last login, if it failed. Requests that waited for it do not try again: one login per request
    /// would lock the account at some services.
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

    /// Returns the token, and obtains one first if necessary.
    pub(crate) async fn get(&self) -> Result<Secret> {
        let tries = self.tries.load(Ordering::SeqCst);
        let mut current = self.current.lock().await;
        if let Some(grant) = &current.grant {
            return Ok(grant.access.clone());
        }
        self.failure_since(tries, &current)?;
        let obtained = self.source.obtain(None).await;
        self.store(&mut current, obtained)
    }

    /// Returns a token other than the refused one.
    pub(crate) async fn renew(&self, refused: &Secret) -> Result<Secret> {
        let tries = self.tries.load(Ordering::SeqCst);
        let mut current = self.current.lock().await;
        let refresh = match &current.grant {
            // Another request renewed it meanwhile.
            Some(grant) if grant.access.expose() != refused.expose() => {
                return Ok(grant.access.clone());
            }
            Some(grant) => grant.refresh.clone(),
            None => None,
        };
        self.failure_since(tries, &current)?;
        let obtained = match &refresh {
            // A refresh token expires as well, later.
            Some(refresh) => match self.source.obtain(Some(refresh)).await {
                Ok(grant) => Ok(grant),
                Err(_) => self.source.obtain(None).await,
            },
            None => self.source.obtain(None).await,
        };
        self.store(&mut current, obtained)
    }

    /// Returns the error of a login that failed while the caller waited.
    fn failure_since(&self, tries: u64, current: &Current) -> Result<()> {
        match &current.failure {
            Some(failure) if self.tries.load(Ordering::SeqCst) != tries => Err(repeated(failure)),
            _ => Ok(()),
        }
    }

    /// Returns the tokens that no message may contain.
    pub(crate) fn known(&self) -> Vec<Secret> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn store(&self, current: &mut Current, obtained: Result<Grant>) -> Result<Secret> {
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
        // Includes the previous tokens: a response to a request with them may still be on its way.
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

/// Returns the same error for another request, without its cause.
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
