//! Opens the store and its connections, for every command that takes one by name.

use std::{env, sync::Arc};

use headwater_core::{AnyConnector, Error, Kind, Registry, Secret, ValidConfig};
use headwater_host::references::EnvFile;
use headwater_store::{Connection, Store, StoreLocation, key_text};

use crate::{
    Failure,
    answers::{env_file, form, gather, validated},
    args::{Config, StoreOption},
    runtime::runtime,
};

/// A saved connection, ready to open its source.
pub(crate) struct OpenConnection<'r> {
    pub connector: &'r Arc<dyn AnyConnector>,
    pub connection: Connection,
    pub config: ValidConfig,
}

/// The store that the options or the environment name.
pub(crate) fn open_store(options: &StoreOption, env_file: &EnvFile) -> Result<Store, Failure> {
    let (location, key) = find_store(options, env_file)?;
    Ok(Store::open(&location, key.as_ref())?)
}

/// The location of the store, and its key if one is set.
pub(crate) fn find_store(
    options: &StoreOption,
    env_file: &EnvFile,
) -> Result<(StoreLocation, Option<Secret>), Failure> {
    let location = location(options)?;
    // Ctrl-C keeps its usual effect, also during later questions.
    let key = runtime()?.block_on(key_text(options.key.as_deref(), env_file))?;
    Ok((location, key))
}

fn location(options: &StoreOption) -> Result<StoreLocation, Error> {
    if let Some(text) = &options.store {
        let location = StoreLocation::parse(text)?;
        if location.has_password() {
            let text = "every user of this machine can see arguments; put the URL of the store with its password into \
                        HEADWATER_STORE";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        return Ok(location);
    }
    match env::var("HEADWATER_STORE") {
        Ok(text) if !text.is_empty() => StoreLocation::parse(&text),
        Err(env::VarError::NotUnicode(_)) => Err(Error::new(
            Kind::ConfigInvalid,
            "HEADWATER_STORE is not UTF-8 text",
        )),
        _ => StoreLocation::standard(),
    }
}

/// The source of a command: a connector with a config, or a saved connection.
pub(crate) struct Target<'r> {
    pub connector: &'r Arc<dyn AnyConnector>,
    pub config: ValidConfig,
    /// The name of the run in states and tables.
    pub name: String,
    /// The store and the connection, if it is a saved one.
    pub saved: Option<(Store, Connection)>,
}

/// The connector of the options with their config, or the saved connection of that name.
pub(crate) fn choose<'r>(
    registry: &'r Registry,
    options: &Config,
    store: &StoreOption,
) -> Result<Target<'r>, Failure> {
    let name = options.connector.clone();
    if registry.get(&name).is_ok() {
        let (connector, config) = gather(registry, options)?;
        return Ok(Target {
            connector,
            config,
            name,
            saved: None,
        });
    }
    // A missing store is not created.
    if !location(store)?.exists() {
        registry.get(&name).map_err(|error| {
            let text = format!("{}; and no connection is saved", error.message());
            Error::new(Kind::NotFound, text)
        })?;
    }
    if options.config.is_some() || !options.set.is_empty() {
        let text = format!(
            "{name} is not a connector; a saved connection has its own config, so leave out --config and --set"
        );
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    let env_file = env_file(options.env_file.as_deref())?;
    let mut store = open_store(store, &env_file)?;
    let opened = open_connection(registry, &mut store, &name, &env_file)?;
    Ok(Target {
        connector: opened.connector,
        config: opened.config,
        name,
        saved: Some((store, opened.connection)),
    })
}

/// A connection by name, with its secrets and its resolved references.
pub(crate) fn open_connection<'r>(
    registry: &'r Registry,
    store: &mut Store,
    name: &str,
    env_file: &EnvFile,
) -> Result<OpenConnection<'r>, Failure> {
    let connection = store.get(name)?;
    let connector = registry.get(&connection.connector)?;
    let form = form(&**connector)?;
    let mut answer = connection.config.clone();
    store.unseal(&form, &connection, &mut answer)?;
    let config = validated(&**connector, &form, &answer, env_file)?;
    Ok(OpenConnection {
        connector,
        connection,
        config,
    })
}
