//! The location of a store.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use headwater_core::{Error, Kind, Result, Secret};

/// The location of a store: a SQLite file, or a PostgreSQL database.
#[derive(Clone, Debug)]
pub enum StoreLocation {
    /// A file.
    File(PathBuf),
    /// A database by URL, which may hold a password.
    Server(Secret),
}

impl StoreLocation {
    /// Parses a path, or a URL that starts with `postgres://`.
    ///
    /// # Errors
    ///
    /// Fails if the text is empty, or a URL of another kind.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some((scheme, rest)) = text.split_once("://")
            && ["postgres", "postgresql"].contains(&scheme.to_ascii_lowercase().as_str())
        {
            // The driver knows the scheme in lower case only.
            return Ok(Self::Server(Secret::new(format!("postgres://{rest}"))));
        }
        if text.is_empty() || text.contains("://") {
            let text = "a store is a file, or a database postgres://USER@HOST/DATABASE";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        Ok(Self::File(PathBuf::from(text)))
    }

    /// The store of this user: `store.db` in `HEADWATER_HOME`, else in `headwater` below `XDG_DATA_HOME` or
    /// `~/.local/share`.
    ///
    /// # Errors
    ///
    /// Fails if none of these variables names an absolute path, and there is no home folder.
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

    /// Whether the store exists, as far as is known without opening it.
    pub fn exists(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Server(_) => true,
        }
    }

    /// Whether the URL contains a password, which is not allowed in arguments.
    pub fn has_password(&self) -> bool {
        let Self::Server(url) = self else {
            return false;
        };
        let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        user.contains(':') || rest.contains("password=")
    }

    /// The file of the key, unless the key is given; a database has none, since each host would have its own.
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

/// A path in the same folder: the name with an ending appended.
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
            let location = StoreLocation::parse(url).unwrap();
            assert_eq!(location.to_string(), shown);
            assert_eq!(location.has_password(), has_password, "{url}");
            assert!(!format!("{location:?}").contains("hidden"));
        }
        for text in ["", "mysql://h/db", "https://h"] {
            StoreLocation::parse(text).unwrap_err();
        }
    }
}
