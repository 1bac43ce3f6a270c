//! Which connectors there are.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    connector::{AnyConnector, Connector, ErasedConnector},
    error::{Error, Kind, Result},
    suggest::nearest,
};

/// A connector's entry in the program, const so that it needs no start-up code of its own.
#[derive(Clone, Copy)]
pub struct Registration {
    id: &'static str,
    make: fn() -> Arc<dyn AnyConnector>,
}

inventory::collect!(Registration);

impl Registration {
    /// The entry of a connector.
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
/// A crate that is named in a manifest but in no code is not linked at all; the bundle's `use … as _` lines and the
/// refusal of an empty [`Registry`] guard against that.
#[macro_export]
macro_rules! register {
    ($connector:ty) => {
        $crate::__private::inventory::submit! { $crate::Registration::of::<$connector>() }
    };
}

/// Connectors by id, sorted. A value: collected from the program, or made by hand in a test.
pub struct Registry(BTreeMap<&'static str, Arc<dyn AnyConnector>>);

impl Registry {
    /// All connectors linked into this program.
    pub fn collect() -> Result<Self> {
        Self::from_entries(inventory::iter::<Registration>().copied())
    }

    /// The given connectors: for tests, static libraries and WASM. Refuses none at all and two of one id.
    pub fn from_entries(entries: impl IntoIterator<Item = Registration>) -> Result<Self> {
        let mut connectors = BTreeMap::new();
        for entry in entries {
            if connectors.insert(entry.id, (entry.make)()).is_some() {
                return Err(Error::new(
                    Kind::Unexpected,
                    format!(
                        "two connectors call themselves {:?}; remove one from the bundle",
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

    /// The connectors in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<dyn AnyConnector>> {
        self.0.values()
    }

    /// A connector by id; the error names the nearest, or all.
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
