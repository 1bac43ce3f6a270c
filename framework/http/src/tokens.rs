//! Credentials that are exchanged for a token which ends: obtained when needed, renewed when refused.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use headwater_core::{Result, Secret};
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
    current: Mutex<Option<Grant>>,
    /// For redaction.
    known: RwLock<Vec<Secret>>,
}

impl Tokens {
    pub(crate) fn new(source: impl TokenSource) -> Self {
        Self {
            source: Arc::new(source),
            current: Mutex::default(),
            known: RwLock::default(),
        }
    }

    /// The token, obtained if there is none.
    pub(crate) async fn get(&self) -> Result<Secret> {
        let mut current = self.current.lock().await;
        if let Some(grant) = &*current {
            return Ok(grant.access.clone());
        }
        let grant = self.source.obtain(None).await?;
        Ok(self.keep(&mut current, grant))
    }

    /// A token other than the refused one.
    pub(crate) async fn renew(&self, refused: &Secret) -> Result<Secret> {
        let mut current = self.current.lock().await;
        let refresh = match &*current {
            // Somebody else has renewed it meanwhile.
            Some(grant) if grant.access.expose() != refused.expose() => {
                return Ok(grant.access.clone());
            }
            Some(grant) => grant.refresh.clone(),
            None => None,
        };
        let grant = match &refresh {
            // What renews a token ends as well, later.
            Some(refresh) => match self.source.obtain(Some(refresh)).await {
                Ok(grant) => grant,
                Err(_) => self.source.obtain(None).await?,
            },
            None => self.source.obtain(None).await?,
        };
        Ok(self.keep(&mut current, grant))
    }

    /// Tokens that no message may repeat.
    pub(crate) fn known(&self) -> Vec<Secret> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, current: &mut Option<Grant>, grant: Grant) -> Secret {
        let access = grant.access.clone();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.clear();
        // Those before as well: an answer to what was sent with them may still be on its way.
        for grant in current.iter().chain([&grant]) {
            known.push(grant.access.clone());
            known.extend(grant.refresh.clone());
        }
        *current = Some(grant);
        access
    }
}
