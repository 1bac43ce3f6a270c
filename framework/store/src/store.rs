//! An opened store: its database and its keys.

use headwater_core::{Error, Kind, Result, Secret};

use crate::{
    database::{Database, Value, first},
    key::{Key, Keyring},
    ledger::OpenLedger,
    location::{StoreLocation, with_ending},
    lock::Locks,
    schema,
    sqlite::Sqlite,
};

/// A store of connections. Its calls block; none needs a runtime.
pub struct Store {
    pub(crate) database: Box<dyn Database>,
    pub(crate) keyring: Keyring,
    pub(crate) place: StoreLocation,
    /// Whether the keys were given, and are not in a file of the store's own.
    pub(crate) has_given_keys: bool,
    /// Only where all users of the store are on one host.
    pub(crate) locks: Option<Locks>,
    /// The ledger that was read last.
    pub(crate) opened: Option<OpenLedger>,
    /// The most rows of the audit that this process has seen.
    pub(crate) seen: i64,
}

impl Store {
    /// Opens a store, or makes it. `keys` holds the key, as [`Keyring::parse`] reads it; without it the key is in a file
    /// beside the store, which is made with it. A key that is not the store's is refused, and nothing is written then.
    pub fn open(place: &StoreLocation, keys: Option<&Secret>) -> Result<Self> {
        let given = keys.map(Keyring::parse).transpose()?;
        if given.is_none() && place.key_file().is_none() {
            let text = "a store in PostgreSQL has one key for all hosts, so it has to be given: set HEADWATER_STORE_KEY, \
                        or name it with --key REFERENCE";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        let has_given_keys = given.is_some();
        let mut database = database(place)?;
        let key_id = key_id(&mut *database)?;
        let keyring = match given {
            Some(keyring) => keyring,
            None => keys_of_file(place, key_id.is_some())?,
        };
        if let Some(id) = key_id.filter(|id| keyring.get(id).is_none()) {
            let text = format!(
                "the key is not that of the store {place}: the store's is {id}, this one is {}",
                keyring.primary().id
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        schema::prepare(&mut *database, &place.to_string(), &keyring)?;
        let locks = match place {
            StoreLocation::File(path) => Some(Locks(with_ending(path, "-locks"))),
            StoreLocation::Server(_) => None,
        };
        Ok(Self {
            database,
            keyring,
            place: place.clone(),
            has_given_keys,
            locks,
            opened: None,
            seen: 0,
        })
    }

    /// Where it is, without a password.
    pub fn place(&self) -> &StoreLocation {
        &self.place
    }
}

/// The key that the next seal is made with: the store's, once it has one.
pub(crate) fn sealing_key(database: &mut dyn Database, keyring: &Keyring) -> Result<Key> {
    let key = match key_id(database)? {
        Some(id) => keyring.get(&id),
        None => Some(keyring.primary().clone()),
    };
    key.ok_or_else(|| {
        let text = "the store has got another key meanwhile; try again with that one";
        Error::new(Kind::ConfigInvalid, text)
    })
}

fn key_id(database: &mut dyn Database) -> Result<Option<String>> {
    let rows = database.query("SELECT key_id FROM headwater_store", &[] as &[Value])?;
    match first(rows) {
        Some(row) => row.optional_text(0),
        None => Ok(None),
    }
}

fn keys_of_file(place: &StoreLocation, is_needed: bool) -> Result<Keyring> {
    let Some(path) = place.key_file() else {
        return Err(Error::new(Kind::Unexpected, "the store has no key file"));
    };
    match Keyring::load(&path)? {
        Some(keyring) => Ok(keyring),
        // Another key would open nothing, and would hide that the right one is lost.
        None if is_needed => {
            let text = format!(
                "the store {place} has sealed secrets, but its key file {} is not there; restore the file, or give the key \
                 in HEADWATER_STORE_KEY or with --key",
                path.display()
            );
            Err(Error::new(Kind::ConfigInvalid, text))
        }
        None => Keyring::create(&path),
    }
}

fn database(place: &StoreLocation) -> Result<Box<dyn Database>> {
    match place {
        StoreLocation::File(path) => {
            let mut database = Sqlite::open(path)?;
            schema::begin(&mut database, &place.to_string())?;
            database.keep_log()?;
            Ok(Box::new(database))
        }
        #[cfg(feature = "postgres")]
        StoreLocation::Server(url) => {
            let mut database = crate::postgres::Postgres::open(url)?;
            schema::begin(&mut database, &place.to_string())?;
            Ok(Box::new(database))
        }
        #[cfg(not(feature = "postgres"))]
        StoreLocation::Server(_) => {
            let text =
                "this build leaves stores in PostgreSQL out; build it with `--features postgres`";
            Err(Error::new(Kind::Unsupported, text))
        }
    }
}
