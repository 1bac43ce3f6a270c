//! `cargo dev preview`: the page for authors of connectors, on a free port of this machine.
//!
//! It is the console of a service that has nothing to lose: its store is gone when it ends, and it reaches nobody.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    Body, Context, Error, Failure, Kind, Registry, Result, Transport, TransportError,
};
use headwater_server::{OpenStore, Options, Service};
use headwater_store::{Place, Store};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Serves the page until the process is told to stop. `announce` gets its address.
pub fn serve(registry: Registry, file: Option<PathBuf>, announce: fn(&str)) -> Result<()> {
    if let Some(path) = &file {
        std::fs::metadata(path).map_err(|error| {
            let text = format!("{} cannot be read: {error}", path.display());
            Error::new(Kind::NotFound, text)
        })?;
    }
    let broken = |text: &'static str| {
        move |error: std::io::Error| Error::new(Kind::Unexpected, text).caused_by(error)
    };
    let home = tempfile::tempdir().map_err(broken("there is no place for a store"))?;
    let place = Place::File(home.path().join("store.db"));
    let open_store: OpenStore = Arc::new(move || Store::open(&place, None));
    let options = Options {
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        needs_token: false,
        hosts: Vec::new(),
        tls: None,
        destinations: BTreeMap::new(),
        allows_references: false,
        schedules: false,
        most_connections: 64,
        author_file: file,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(broken("the runtime cannot start"))?;
    runtime.block_on(async {
        let service = Service::bind(registry, open_store, Context::new(Nowhere), options).await?;
        let (stop, stopped) = watch::channel(false);
        let cannot_stop = broken("signals cannot be heard");
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot_stop)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot_stop)?;
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let _ = stop.send(true);
        });
        announce(&format!("http://{}/author", service.address()?));
        service.run(stopped).await
    })
}

/// The way to no network.
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> std::result::Result<http::Response<Body>, TransportError> {
        Err(TransportError {
            failure: Failure::NotAllowed,
            before_send: true,
            detail: "a preview reaches nobody".to_owned(),
        })
    }
}
