//! Opening the store and the connections in it, for every command that takes one by name.

use std::{env, sync::Arc};

use headwater_core::{AnyConnector, Error, Kind, Registry, Secret, ValidConfig};
use headwater_host::references::EnvFile;
use headwater_store::{Connection, Store, StoreLocation, key_text};

use crate::{
    Failure,
    answers::{env_file, form, gather, judged},
    args::{Config, StoreOption},
    runtime::runtime,
};

/// A saved connection with everything that a source is opened with.
pub(crate) struct OpenConnection<'r> {
    pub connector: &'r Arc<dyn AnyConnector>,
    pub connection: Connection,
    pub config: ValidConfig,
}

/// The store that the options or the environment name.
pub(crate) fn open_store(options: &StoreOption, env_file: &EnvFile) -> Result<Store, Failure> {
    let (place, key) = find_store(options, env_file)?;
    Ok(Store::open(&place, key.as_ref())?)
}

/// Where the store is, and its key where that was given.
pub(crate) fn find_store(
    options: &StoreOption,
    env_file: &EnvFile,
) -> Result<(StoreLocation, Option<Secret>), Failure> {
    let place = place(options)?;
    // Ctrl-C keeps its usual effect, also on the questions that are asked later.
    let key = runtime()?.block_on(key_text(options.key.as_deref(), env_file))?;
    Ok((place, key))
}

fn place(options: &StoreOption) -> Result<StoreLocation, Error> {
    if let Some(text) = &options.store {
        let place = StoreLocation::parse(text)?;
        if place.has_password() {
            let text = "arguments can be seen by everybody on this machine; put the URL of the store with its password into \
                        HEADWATER_STORE";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        return Ok(place);
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

/// What a command reads from: a connector with a config, or a saved connection.
pub(crate) struct Target<'r> {
    pub connector: &'r Arc<dyn AnyConnector>,
    pub config: ValidConfig,
    /// What the state and the tables of the run are kept under.
    pub name: String,
    /// The store with the connection, where it is a saved one.
    pub saved: Option<(Store, Connection)>,
}

/// The connector that the options name with the config that they give, or the saved connection that they name.
pub(crate) fn choose<'r>(
    registry: &'r Registry,
    options: &Config,
    place: &StoreOption,
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
    // A store is not made only to find nothing in it.
    if !self::place(place)?.exists() {
        registry.get(&name).map_err(|error| {
            let text = format!("{}; and no connection is saved", error.message());
            Error::new(Kind::NotFound, text)
        })?;
    }
    if options.config.is_some() || !options.set.is_empty() {
        let text = format!(
            "{name} is no connector; a saved connection has its config already, so that --config and --set say nothing"
        );
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    let env_file = env_file(options.env_file.as_deref())?;
    let mut store = open_store(place, &env_file)?;
    let opened = open_connection(registry, &mut store, &name, &env_file)?;
    Ok(Target {
        connector: opened.connector,
        config: opened.config,
        name,
        saved: Some((store, opened.connection)),
    })
}

/// A connection by name, with its secrets, and with what its references lead to.
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
    let config = judged(&**connector, &form, &answer, env_file)?;
    Ok(OpenConnection {
        connector,
        connection,
        config,
    })
}
