//! `serve`: runs the service until it is stopped.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use headwater_core::{Context, Egress, Error, Guard, Kind, Registry};
use headwater_files::create::{Access, make_folder};
use headwater_output::Destination;
use headwater_server::{OpenStore, Options, Service};
use headwater_store::{Store, StoreLocation};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    NewContext, Outcome,
    answers::env_file,
    args::Serve,
    read::on_signal,
    runtime::server_runtime,
    saved::find_store,
    terminal::{Terminal, say},
};

pub(crate) fn serve(
    registry: Registry,
    options: &Serve,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let env_file = env_file(options.env_file.as_deref())?;
    let (location, key) = find_store(&options.store, &env_file)?;
    let egress = Egress::Guarded(Guard {
        allowed: options.allowed.clone(),
        permits_loopback: options.development,
    });
    let is_on_a_network = !options.listen.ip().is_loopback();
    let tls = options.tls_certificate.clone().zip(options.tls_key.clone());
    let service = Options {
        bind: options.listen,
        needs_token: options.require_token || is_on_a_network,
        hosts: options.hosts.clone(),
        is_open: options.open,
        trusted_proxies: options.trusted_proxies.clone(),
        calls_from: options.calls_from.clone(),
        embed_origins: options.embed_origins.clone(),
        tls,
        destinations: destinations(&options.destinations, &location)?,
        allows_references: options.allow_references,
        env_file: Arc::new(env_file),
        schedules: !options.no_schedules,
        max_connections: usize::from(options.max_connections),
        author_file: None,
    };
    let is_in_the_clear = is_on_a_network && service.tls.is_none();
    let open_store: OpenStore = Arc::new(move || Store::open(&location, key.as_ref()));
    let context = context(&egress)?;
    server_runtime()?.block_on(run(registry, open_store, context, service, |address| {
        if is_in_the_clear {
            say(
                "tokens and secrets cross the network unencrypted; put a TLS proxy in front or set --tls-certificate \
                 and --tls-key",
            );
        }
        if options.open {
            say(
                "no request needs a token because of --open; every client that reaches this address or its proxy \
                 may do everything",
            );
        }
        if terminal.json {
            return terminal.print(&json!({ "address": address }).to_string());
        }
        terminal.print(&format!("Headwater serves at {address}"))?;
        if options.development {
            say("base URLs may lead to this machine because of --development");
        }
        Ok(())
    }))
}

/// Serves until a stop signal. `announce` gets the address once the service is reachable.
pub(crate) async fn run(
    registry: Registry,
    open_store: OpenStore,
    context: Context,
    options: Options,
    announce: impl FnOnce(&str) -> Outcome,
) -> Outcome {
    // Each connection is an open file, and many systems allow a program 1,024 of them, or fewer, unless it requests
    // more. If that is refused, the limit is reached earlier.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let service = Service::bind(registry, open_store, context, options).await?;
    let (stop, stopped) = watch::channel(false);
    on_signal(stop);
    announce(&format!("{scheme}://{}", service.address()?))?;
    Ok(service.run(stopped).await?)
}

/// The destinations as `NAME=DESTINATION`, or a file for each connection next to the store.
fn destinations(
    options: &[String],
    location: &StoreLocation,
) -> Result<BTreeMap<String, String>, Error> {
    let invalid = |text: String| Error::new(Kind::ConfigInvalid, text);
    let mut destinations = BTreeMap::new();
    for option in options {
        let Some((name, text)) = option.split_once('=') else {
            let text = "--to takes NAME=DESTINATION, as in --to default=sqlite:records.db";
            return Err(invalid(text.to_owned()));
        };
        let destination = Destination::parse(&text.replace("{connection}", "connection"))?;
        if destination.is_output() {
            return Err(invalid(format!(
                "--to {name}: a service cannot write records to its output; name a database or a folder"
            )));
        }
        if destination.has_password() {
            return Err(invalid(format!(
                "--to {name}: every user of this machine can see arguments; put the password into PGPASSWORD or \
                 a password file"
            )));
        }
        destinations.insert(name.to_owned(), text.to_owned());
    }
    if destinations.is_empty() {
        let folder = match location {
            StoreLocation::File(path) => path.parent().unwrap_or(Path::new(".")).join("records"),
            StoreLocation::Server(_) => {
                let text =
                    "set a destination with --to, as in --to default=postgres://USER@HOST/DATABASE";
                return Err(invalid(text.to_owned()));
            }
        };
        Access::of_records()
            .and_then(|access| make_folder(&folder, access))
            .map_err(|error| invalid(format!("{} cannot be made: {error}", folder.display())))?;
        let text = format!("sqlite:{}/{{connection}}.db", folder.display());
        destinations.insert("default".to_owned(), text);
    }
    Ok(destinations)
}
