//! An opened store: its database and its keys.

use std::fs;

use headwater_core::{Error, Kind, Result, Secret};
use headwater_files::create::remove_leftovers;

use crate::{
    database::{Database, first},
    key::{Key, Keyring},
    ledger::{OpenLedger, StoreTable},
    location::{StoreLocation, with_ending},
    lock::Locks,
    schema,
    sqlite::Sqlite,
};

/// A store of connections. Its calls block; none needs a runtime.
pub struct Store {
    pub(crate) database: Box<dyn Database>,
    pub(crate) keyring: Keyring,
    pub(crate) location: StoreLocation,
    /// Whether the caller gave the keys, instead of the store's own key file.
    pub(crate) has_given_keys: bool,
    /// `None` unless all users of the store are on one host.
    pub(crate) locks: Option<Locks>,
    /// The last ledger read.
    pub(crate) opened: Option<OpenLedger>,
    /// The highest number of rows of the audit that this process has seen.
    pub(crate) seen: i64,
}

impl Store {
    /// Opens or creates a store. `keys` is the key as [`Keyring::parse`] reads it; without it the key is in a file next
    /// to the store, which is created with it. Refuses a key that is not the store's, and then writes nothing.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot be opened, if the key is missing or not that of the store, or if a newer version
    /// wrote the store.
    pub fn open(location: &StoreLocation, keys: Option<&Secret>) -> Result<Self> {
        let keyring = keys.map(Keyring::parse).transpose()?;
        if keyring.is_none() && location.key_file().is_none() {
            let text = "a store in PostgreSQL has one key for all hosts, so you have to give it: set \
                        HEADWATER_STORE_KEY, or name it with --key REFERENCE";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        let has_given_keys = keyring.is_some();
        let mut database = database(location)?;
        let key_id = key_id(&mut *database)?;
        let keyring = match keyring {
            Some(keyring) => keyring,
            None => keys_of_file(location, key_id.is_some())?,
        };
        if let Some(id) = key_id.filter(|id| keyring.get(id).is_none()) {
            let text = format!(
                "the key is not that of the store {location}: the store's is {id}, this one is {}",
                keyring.primary().id
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        schema::prepare(&mut *database, &location.to_string(), &keyring)?;
        let locks = match location {
            StoreLocation::File(path) => Some(Locks(with_ending(path, "-locks"))),
            StoreLocation::Server(_) => None,
        };
        let mut store = Self {
            database,
            keyring,
            location: location.clone(),
            has_given_keys,
            locks,
            opened: None,
            seen: 0,
        };
        // Every seal is readable without this. If it fails, the next opening tries again.
        let _: Result<()> = store.end_interrupted_rekey();
        Ok(store)
    }

    /// Its location, without a password.
    pub fn place(&self) -> &StoreLocation {
        &self.location
    }
}

/// The key for the next seal: the store's, once it has one.
pub(crate) fn sealing_key(database: &mut dyn Database, keyring: &Keyring) -> Result<Key> {
    let key = match key_id(database)? {
        Some(id) => keyring.get(&id),
        None => Some(keyring.primary().clone()),
    };
    key.ok_or_else(|| {
        let text = "the store now has another key; try again with that key";
        Error::new(Kind::ConfigInvalid, text)
    })
}

fn key_id(database: &mut dyn Database) -> Result<Option<String>> {
    let statement = format!("SELECT {} FROM headwater_store", StoreTable::KEY_ID);
    match first(database.query(&statement, &[])?) {
        Some(row) => row.get(StoreTable::KEY_ID),
        None => Ok(None),
    }
}

fn keys_of_file(location: &StoreLocation, is_needed: bool) -> Result<Keyring> {
    let Some(path) = location.key_file() else {
        return Err(Error::new(Kind::Unexpected, "the store has no key file"));
    };
    remove_leftovers(&fs::canonicalize(&path).unwrap_or_else(|_| path.clone()));
    match Keyring::load(&path)? {
        Some(keyring) => Ok(keyring),
        // A new key would open nothing, and would hide the loss of the right one.
        None if is_needed => {
            let text = format!(
                "the store {location} has sealed secrets, but its key file {} is missing; restore the file, or give \
                 the key in HEADWATER_STORE_KEY or with --key",
                path.display()
            );
            Err(Error::new(Kind::ConfigInvalid, text))
        }
        None => Keyring::create(&path),
    }
}

fn database(location: &StoreLocation) -> Result<Box<dyn Database>> {
    match location {
        StoreLocation::File(path) => {
            let mut database = Sqlite::open(path)?;
            schema::begin(&mut database, &location.to_string())?;
            database.keep_log()?;
            Ok(Box::new(database))
        }
        #[cfg(feature = "postgres")]
        StoreLocation::Server(url) => {
            let mut database = crate::postgres::Postgres::open(url)?;
            schema::begin(&mut database, &location.to_string())?;
            Ok(Box::new(database))
        }
        #[cfg(not(feature = "postgres"))]
        StoreLocation::Server(_) => {
            let text =
                "this build has no stores in PostgreSQL; build it with `--features postgres`";
            Err(Error::new(Kind::Unsupported, text))
        }
    }
}
