//! The connectors of a program.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    connector::{AnyConnector, Connector, ErasedConnector},
    error::{Error, Kind, Result},
    suggest::nearest,
};

/// A connector's entry in the program. It is const, so it needs no start-up code.
#[derive(Clone, Copy)]
pub struct Registration {
    id: &'static str,
    make: fn() -> Arc<dyn AnyConnector>,
}

inventory::collect!(Registration);

impl Registration {
    /// Returns the entry of a connector.
    pub const fn of<C: Connector>() -> Self {
        Self {
            id: C::ABOUT.id,
            make: || Arc::new(ErasedConnector::<C>::new()),
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration({})", self.id)
    }
}

/// Registers a [`Connector`] with every program that links this crate.
///
/// Rust does not link a crate that a manifest names but no code uses; the bundle's `use … as _` lines and the
/// refusal of an empty [`Registry`] guard against that.
#[macro_export]
macro_rules! register {
    ($connector:ty) => {
        $crate::__private::inventory::submit! { $crate::Registration::of::<$connector>() }
    };
}

/// Connectors, sorted by id. A value: collected from the program, or made by hand in a test.
pub struct Registry(BTreeMap<&'static str, Arc<dyn AnyConnector>>);

impl Registry {
    /// Collects all connectors linked into this program.
    ///
    /// # Errors
    ///
    /// Fails if the program has no connector, or two with the same id.
    pub fn collect() -> Result<Self> {
        Self::from_entries(inventory::iter::<Registration>().copied())
    }

    /// Takes the given connectors: for tests, static libraries and WASM. Refuses an empty list and duplicate ids.
    ///
    /// # Errors
    ///
    /// Fails if there is no entry, or if two have the same id.
    pub fn from_entries(entries: impl IntoIterator<Item = Registration>) -> Result<Self> {
        let mut connectors = BTreeMap::new();
        for entry in entries {
            if connectors.insert(entry.id, (entry.make)()).is_some() {
                return Err(Error::new(
                    Kind::Unexpected,
                    format!(
                        "two connectors have the id {:?}; remove one from the bundle",
                        entry.id
                    ),
                ));
            }
        }
        if connectors.is_empty() {
            return Err(Error::new(
                Kind::Unexpected,
                "no connector is linked into this program; name each one in the bundle: `use my_connector as _;`",
            ));
        }
        Ok(Self(connectors))
    }

    /// Iterates over the connectors in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<dyn AnyConnector>> {
        self.0.values()
    }

    /// Returns a connector by id; the error names the nearest, or all.
    ///
    /// # Errors
    ///
    /// Fails if there is no connector with this id.
    pub fn get(&self, id: &str) -> Result<&Arc<dyn AnyConnector>> {
        self.0.get(id).ok_or_else(|| {
            let hint = match nearest(id, self.0.keys().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!(
                    "there are {}",
                    self.0.keys().copied().collect::<Vec<_>>().join(", ")
                ),
            };
            Error::new(
                Kind::NotFound,
                format!("there is no connector {id:?}; {hint}"),
            )
        })
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
