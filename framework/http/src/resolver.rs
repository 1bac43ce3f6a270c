//! Finds the addresses of a name and passes on only permitted ones.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use headwater_core::Egress;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

tokio::task_local! {
    /// The port of the request. reqwest passes only the name to its resolver, but the permitted addresses depend on the
    /// port.
    static PORT: u16;
}

/// Sends a request with its port set for the resolver.
pub(crate) async fn dialling<T>(port: u16, sending: impl Future<Output = T>) -> T {
    PORT.scope(port, sending).await
}

/// Finds the addresses of a name.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// Returns all addresses; an error without any.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the system: its files, then its name servers.
pub(crate) struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// The error for a forbidden address. It names neither address nor reason, which would reveal the service's network to
/// callers.
#[derive(Debug)]
pub(crate) struct NotAllowed;

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this installation does not permit the address")
    }
}

impl Error for NotAllowed {}

/// Passes on the addresses of a name if all of them are permitted, otherwise none: a name with one forbidden address is
/// a trap or a mistake.
pub(crate) struct GuardedResolver<R> {
    egress: Arc<Egress>,
    resolver: Arc<R>,
}

impl<R: Resolver> GuardedResolver<R> {
    pub(crate) fn new(egress: &Arc<Egress>, resolver: R) -> Self {
        Self {
            egress: Arc::clone(egress),
            resolver: Arc::new(resolver),
        }
    }
}

impl<R: Resolver> Resolve for GuardedResolver<R> {
    fn resolve(&self, name: Name) -> Resolving {
        let (egress, resolver) = (Arc::clone(&self.egress), Arc::clone(&self.resolver));
        // Read now: the lookup itself may continue in another task. Port 0 permits nothing, so a missing port does
        // neither.
        let port = PORT.try_with(|port| *port).unwrap_or_default();
        Box::pin(async move {
            let name = name.as_str();
            let found = resolver.resolve(name).await?;
            let is_permitted = |address: &IpAddr| egress.permits_address(name, port, *address);
            if !found.iter().all(is_permitted) {
                return Err(NotAllowed.into());
            }
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
