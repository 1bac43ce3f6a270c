//! `serve`: the service, until it is stopped.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use headwater_core::{Context, Egress, Error, Guard, Kind, Registry};
use headwater_host::create::{Access, make_folder};
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
    let (place, key) = find_store(&options.place, &env_file)?;
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
        destinations: destinations(&options.destinations, &place)?,
        allows_references: options.allow_references,
        env_file: Arc::new(env_file),
        schedules: !options.no_schedules,
        max_connections: usize::from(options.max_connections),
        author_file: None,
    };
    let is_in_the_clear = is_on_a_network && service.tls.is_none();
    let open_store: OpenStore = Arc::new(move || Store::open(&place, key.as_ref()));
    let context = context(&egress)?;
    server_runtime()?.block_on(run(registry, open_store, context, service, |address| {
        if is_in_the_clear {
            say(
                "tokens and secrets cross the network in the clear; put a TLS proxy before it or give --tls-certificate \
                 and --tls-key",
            );
        }
        if options.open {
            say(
                "no request needs a token, since --open was given; every client that reaches this address or its proxy \
                 may do everything",
            );
        }
        if terminal.json {
            return terminal.print(&json!({ "address": address }).to_string());
        }
        terminal.print(&format!("Headwater serves at {address}"))?;
        if options.development {
            say("base URLs may lead to this machine, since --development was given");
        }
        Ok(())
    }))
}

/// Serves until the process is asked to stop. `announce` is told the address once it can be called.
pub(crate) async fn run(
    registry: Registry,
    open_store: OpenStore,
    context: Context,
    options: Options,
    announce: impl FnOnce(&str) -> Outcome,
) -> Outcome {
    // Each connection is an open file, and many systems let a program have 1,024 of them, or fewer, unless it asks for
    // more. Where that is refused, the bound is reached earlier.
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

/// What was given as `NAME=DESTINATION`, or a file for each connection beside the store.
fn destinations(
    given: &[String],
    place: &StoreLocation,
) -> Result<BTreeMap<String, String>, Error> {
    let invalid = |text: String| Error::new(Kind::ConfigInvalid, text);
    let mut destinations = BTreeMap::new();
    for one in given {
        let Some((name, text)) = one.split_once('=') else {
            let text = "--to takes NAME=DESTINATION, as in --to default=sqlite:records.db";
            return Err(invalid(text.to_owned()));
        };
        let destination = Destination::parse(&text.replace("{connection}", "connection"))?;
        if destination.is_output() {
            return Err(invalid(format!(
                "--to {name}: a service has no output for records; name a database or a folder"
            )));
        }
        if destination.has_password() {
            return Err(invalid(format!(
                "--to {name}: arguments can be seen by everybody on this machine; leave the password to PGPASSWORD or to \
                 a password file"
            )));
        }
        destinations.insert(name.to_owned(), text.to_owned());
    }
    if destinations.is_empty() {
        let folder = match place {
            StoreLocation::File(path) => path.parent().unwrap_or(Path::new(".")).join("records"),
            StoreLocation::Server(_) => {
                let text = "say where records go with --to, as in --to default=postgres://USER@HOST/DATABASE";
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
