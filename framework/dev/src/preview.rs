//! `cargo dev preview`: the page for authors of connectors, on a free port of this machine.
//!
//! It is the console of a service without valuable data: its store is gone when it ends, and it sends no request.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    Body, Context, Error, Failure, Kind, Registry, Result, Transport, TransportError,
};
use headwater_server::{OpenStore, Options, Service};
use headwater_store::{Store, StoreLocation};
use tempfile::TempDir;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// The page for authors, with a store that is removed with it.
pub struct Preview {
    service: Service,
    _home: TempDir,
}

impl Preview {
    /// Listens on a free port. With `file`, shows the schema in it and follows its changes.
    pub async fn bind(registry: Registry, file: Option<PathBuf>) -> Result<Self> {
        if let Some(path) = &file {
            std::fs::metadata(path).map_err(|error| {
                let text = format!("{} cannot be read: {error}", path.display());
                Error::new(Kind::NotFound, text)
            })?;
        }
        let home = tempfile::tempdir().map_err(broken("the folder of the store cannot be made"))?;
        let location = StoreLocation::File(home.path().join("store.db"));
        let open_store: OpenStore = Arc::new(move || Store::open(&location, None));
        let options = Options {
            author_file: file,
            ..Options::on_this_machine()
        };
        let service = Service::bind(registry, open_store, Context::new(Nowhere), options).await?;
        Ok(Self {
            service,
            _home: home,
        })
    }

    /// Its address, `http://127.0.0.1:PORT`.
    pub fn address(&self) -> Result<String> {
        Ok(format!("http://{}", self.service.address()?))
    }

    /// Serves until `stop` turns true.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<()> {
        self.service.run(stop).await
    }
}

/// Serves the page until a signal stops the process. `announce` gets its address.
pub fn serve(registry: Registry, file: Option<PathBuf>, announce: fn(&str)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(broken("the runtime cannot start"))?;
    runtime.block_on(async {
        let preview = Preview::bind(registry, file).await?;
        let (stop, stopped) = watch::channel(false);
        let cannot_hear = broken("signals cannot be heard");
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot_hear)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot_hear)?;
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let _ = stop.send(true);
        });
        announce(&format!("{}/author", preview.address()?));
        preview.run(stopped).await
    })
}

fn broken(text: &'static str) -> impl Fn(std::io::Error) -> Error + Copy {
    move |error| Error::new(Kind::Unexpected, text).caused_by(error)
}

/// A transport without a network.
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
            detail: "a preview sends no requests".to_owned(),
        })
    }
}
