//! Where a store is.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use headwater_core::{Error, Kind, Result, Secret};

/// The place of a store: a SQLite file, or a PostgreSQL database.
#[derive(Clone, Debug)]
pub enum StoreLocation {
    /// A file.
    File(PathBuf),
    /// A database by URL, which may hold a password.
    Server(Secret),
}

impl StoreLocation {
    /// Reads what a user wrote: a path, or a URL that starts with `postgres://`.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some((scheme, rest)) = text.split_once("://")
            && ["postgres", "postgresql"].contains(&scheme.to_ascii_lowercase().as_str())
        {
            // The driver knows the scheme in lower case only.
            return Ok(Self::Server(Secret::new(format!("postgres://{rest}"))));
        }
        if text.is_empty() || text.contains("://") {
            let text = "a store is a file, or a database at postgres://USER@HOST/DATABASE";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        Ok(Self::File(PathBuf::from(text)))
    }

    /// The store of this user: `store.db` in `HEADWATER_HOME`, else in `headwater` below `XDG_DATA_HOME` or
    /// `~/.local/share`.
    pub fn standard() -> Result<Self> {
        let folder = |name| {
            let path = env::var_os(name).map(PathBuf::from)?;
            path.is_absolute().then_some(path)
        };
        let home = folder("HEADWATER_HOME")
            .or_else(|| Some(folder("XDG_DATA_HOME")?.join("headwater")))
            .or_else(|| Some(folder("HOME")?.join(".local/share/headwater")));
        let Some(home) = home else {
            let text = "there is no home folder for the store; name one with --store FILE or in HEADWATER_HOME, as an \
                        absolute path";
            return Err(Error::new(Kind::ConfigInvalid, text));
        };
        Ok(Self::File(home.join("store.db")))
    }

    /// Whether there is something at the place, as far as can be told without opening it.
    pub fn exists(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Server(_) => true,
        }
    }

    /// Whether the URL holds a password, which arguments must not.
    pub fn has_password(&self) -> bool {
        let Self::Server(url) = self else {
            return false;
        };
        let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        user.contains(':') || rest.contains("password=")
    }

    /// The file that the key is kept in, unless it is given; a database has none, since its hosts would have several.
    pub(crate) fn key_file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(with_ending(path, ".key")),
            Self::Server(_) => None,
        }
    }
}

/// The path, or the address without user, password and options.
impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(url) => {
                let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
                let bare = rest.split('?').next().unwrap_or_default();
                let bare = bare.rsplit_once('@').map_or(bare, |(_, bare)| bare);
                write!(f, "postgres://{bare}")
            }
        }
    }
}

/// A path beside another one: its name with something after it.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown, has_password) in [
            (
                "postgres://me:hidden@h:5/db?sslmode=require",
                "postgres://h:5/db",
                true,
            ),
            (
                "postgresql://me@h/db?password=hidden",
                "postgres://h/db",
                true,
            ),
            ("postgres://me@h/db", "postgres://h/db", false),
            ("postgres://h:5432/db", "postgres://h:5432/db", false),
            ("Postgres://me@h/db", "postgres://h/db", false),
        ] {
            let place = StoreLocation::parse(url).unwrap();
            assert_eq!(place.to_string(), shown);
            assert_eq!(place.has_password(), has_password, "{url}");
            assert!(!format!("{place:?}").contains("hidden"));
        }
        for text in ["", "mysql://h/db", "https://h"] {
            StoreLocation::parse(text).unwrap_err();
        }
    }
}
