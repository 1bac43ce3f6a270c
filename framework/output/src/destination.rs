//! Where records go, as it is said on the command line: `sqlite:calls.db?mode=append`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use headwater_core::{
    Error, Kind, Result, Secret, nearest,
    sink::{Deletes, Delivery, Sink},
};

use crate::{JsonLinesFolder, JsonLinesWriter};

/// What there is, for every sentence that refuses something else.
const CHOICES: &str = "sqlite:FILE, postgres://HOST/DATABASE, parquet:FOLDER, s3://BUCKET/PREFIX, jsonl:FOLDER, \
                       jsonl:- or arrow:-";
/// Options that PostgreSQL's driver takes; they stay in the URL.
const DRIVER_OPTIONS: &[&str] = &["sslmode"];

/// Where records go.
#[derive(Clone)]
#[non_exhaustive]
pub enum Destination {
    /// A table per stream in an SQLite file: `sqlite:FILE`, or a path that ends in `.db`, `.sqlite` or `.sqlite3`.
    Sqlite {
        /// The file, which is made where it is missing.
        path: PathBuf,
        /// `?mode=` and `?prefix=`.
        tables: TableOptions,
    },
    /// A table per stream in a PostgreSQL database: `postgres://` or `postgresql://`.
    Postgres {
        /// The URL without our own options. A secret, since it may hold a password.
        url: Secret,
        /// The host and the database, for people.
        place: String,
        /// `?schema=`: where the tables are. None is the default of the database.
        schema: Option<String>,
        /// `?mode=` and `?prefix=`.
        tables: TableOptions,
    },
    /// Parquet files in a local folder: `parquet:FOLDER`.
    Parquet {
        /// The folder, which is made where it is missing.
        folder: PathBuf,
    },
    /// Parquet files in object storage: `s3://BUCKET/PREFIX`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What the names of all objects begin with, without a slash at either end; may be empty.
        prefix: String,
    },
    /// JSON lines in a local folder: `jsonl:FOLDER`.
    JsonLines {
        /// The folder, which is made where it is missing.
        folder: PathBuf,
        /// `?lines=keyed`: each line says what tells its record from others.
        is_keyed: bool,
    },
    /// JSON lines to standard output, each with the name of its stream: `-` or `jsonl:-`.
    JsonLinesOutput,
    /// Arrow IPC to standard output: `arrow:-`.
    ArrowOutput,
}

/// How the tables of a database are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableOptions {
    /// None takes [`Mode::Upsert`] for each stream that has a key, and [`Mode::Append`] for the others.
    pub mode: Option<Mode>,
    /// What the names of all tables begin with.
    pub prefix: String,
    /// What becomes of rows whose records were deleted at the service.
    pub deletes: Deletes,
}

/// What becomes of a record whose key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// It replaces the one that is there.
    Upsert,
    /// It is one more row.
    Append,
}

impl Mode {
    /// The word for it in options and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Append => "append",
        }
    }
}

impl Destination {
    /// Parses the argument of `--to`. Opens nothing.
    ///
    /// # Errors
    ///
    /// Fails if the text is not a destination, or has an unknown option.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "-" {
            return Ok(Self::JsonLinesOutput);
        }
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("sqlite") => sqlite(after_scheme(text)),
            Some("postgres" | "postgresql") => postgres(text),
            Some("parquet") => {
                let (path, mut options) = split_options(after_scheme(text))?;
                options.keep_deleted("Parquet")?;
                options.end("parquet:", &[])?;
                let folder = folder("parquet", path)?;
                Ok(Self::Parquet { folder })
            }
            Some("s3") => s3(after_scheme(text)),
            Some("jsonl") if after_scheme(text) == "-" => Ok(Self::JsonLinesOutput),
            Some("jsonl") => {
                let (path, mut options) = split_options(after_scheme(text))?;
                let is_keyed = match options.take("lines").as_deref() {
                    None | Some("bare") => false,
                    Some("keyed") => true,
                    Some(_) => return Err(invalid("the option \"lines\" is bare or keyed")),
                };
                options.keep_deleted("JSON lines")?;
                options.end("jsonl:", &["lines"])?;
                let folder = folder("jsonl", path)?;
                Ok(Self::JsonLines { folder, is_keyed })
            }
            Some("arrow") if after_scheme(text) == "-" => Ok(Self::ArrowOutput),
            Some("arrow") => Err(invalid(
                "arrow: goes to standard output only, as arrow:-; for files there is parquet:FOLDER",
            )),
            _ if is_database_file(text) => sqlite(text),
            Some(other) if is_word(other) => Err(invalid(format!(
                "there is no destination {other:?}; there are {CHOICES}"
            ))),
            _ => Err(invalid(format!(
                "the destination does not say what it is; there are {CHOICES}"
            ))),
        }
    }

    /// Whether records go to standard output.
    pub const fn is_output(&self) -> bool {
        matches!(self, Self::JsonLinesOutput | Self::ArrowOutput)
    }

    /// Whether the URL holds a password.
    pub fn has_password(&self) -> bool {
        let Self::Postgres { url, .. } = self else {
            return false;
        };
        let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
        let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
        user.contains(':')
    }

    /// The state of a destination after an interrupted run.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Sqlite { .. }
            | Self::Postgres { .. }
            | Self::Parquet { .. }
            | Self::S3 { .. } => Delivery::Together,
            Self::JsonLines { .. } | Self::JsonLinesOutput | Self::ArrowOutput => {
                Delivery::RecordsFirst
            }
        }
    }

    /// The file that keeps the position, for a destination that does not keep it itself.
    pub fn state_file(&self) -> Option<PathBuf> {
        match self {
            Self::JsonLines { folder, .. } => Some(folder.join("_headwater_state.json")),
            _ => None,
        }
    }

    /// The sink for a connection. The destination does not change until the run begins.
    ///
    /// # Errors
    ///
    /// Fails if the destination cannot be used, or if this build does not have it.
    pub fn open(&self, connection: &str) -> Result<Box<dyn Sink>> {
        match self {
            Self::Sqlite { path, tables } => open_sqlite(path, connection, tables),
            Self::Postgres {
                url,
                place,
                schema,
                tables,
            } => open_postgres(url, place, connection, schema.as_deref(), tables),
            Self::Parquet { folder } => open_parquet(folder, connection),
            Self::S3 { bucket, prefix } => open_s3(bucket, prefix, connection),
            Self::JsonLines { folder, is_keyed } => {
                let lines = JsonLinesFolder::new(folder)?;
                Ok(Box::new(if *is_keyed { lines.keyed() } else { lines }))
            }
            Self::JsonLinesOutput => Ok(Box::new(JsonLinesWriter::new(io::stdout(), true))),
            Self::ArrowOutput => open_arrow(),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path, .. } => write!(f, "sqlite:{}", path.display()),
            Self::Postgres { place, .. } => write!(f, "postgres://{place}"),
            Self::Parquet { folder } => write!(f, "parquet:{}", folder.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::JsonLines { folder, .. } => write!(f, "jsonl:{}", folder.display()),
            Self::JsonLinesOutput => f.write_str("jsonl:-"),
            Self::ArrowOutput => f.write_str("arrow:-"),
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({self})")
    }
}

#[cfg(feature = "sqlite")]
fn open_sqlite(path: &Path, connection: &str, tables: &TableOptions) -> Result<Box<dyn Sink>> {
    let sink = crate::SqliteSink::new(path, connection, tables.clone())?;
    Ok(Box::new(sink))
}

#[cfg(not(feature = "sqlite"))]
fn open_sqlite(_path: &Path, _connection: &str, _tables: &TableOptions) -> Result<Box<dyn Sink>> {
    Err(missing_feature("SQLite", "sqlite"))
}

#[cfg(feature = "postgres")]
fn open_postgres(
    url: &Secret,
    place: &str,
    connection: &str,
    schema: Option<&str>,
    tables: &TableOptions,
) -> Result<Box<dyn Sink>> {
    let sink = crate::PostgresSink::new(url, place, connection, schema, tables)?;
    Ok(Box::new(sink))
}

#[cfg(not(feature = "postgres"))]
fn open_postgres(
    _url: &Secret,
    _place: &str,
    _connection: &str,
    _schema: Option<&str>,
    _tables: &TableOptions,
) -> Result<Box<dyn Sink>> {
    Err(missing_feature("PostgreSQL", "postgres"))
}

#[cfg(feature = "parquet")]
fn open_parquet(folder: &Path, connection: &str) -> Result<Box<dyn Sink>> {
    Ok(Box::new(crate::ParquetSink::in_folder(folder, connection)?))
}

#[cfg(not(feature = "parquet"))]
fn open_parquet(_folder: &Path, _connection: &str) -> Result<Box<dyn Sink>> {
    Err(missing_feature("Parquet", "parquet"))
}

#[cfg(feature = "s3")]
fn open_s3(bucket: &str, prefix: &str, connection: &str) -> Result<Box<dyn Sink>> {
    Ok(Box::new(crate::ParquetSink::in_bucket(
        bucket, prefix, connection,
    )?))
}

#[cfg(not(feature = "s3"))]
fn open_s3(_bucket: &str, _prefix: &str, _connection: &str) -> Result<Box<dyn Sink>> {
    Err(missing_feature("object storage", "s3"))
}

#[cfg(feature = "parquet")]
fn open_arrow() -> Result<Box<dyn Sink>> {
    Ok(Box::new(crate::ArrowStream::new(io::stdout())))
}

#[cfg(not(feature = "parquet"))]
fn open_arrow() -> Result<Box<dyn Sink>> {
    Err(missing_feature("Arrow", "parquet"))
}

fn sqlite(text: &str) -> Result<Destination> {
    let (path, mut options) = split_options(text)?;
    if path.is_empty() || path == ":memory:" {
        return Err(invalid("sqlite: needs a file, as in sqlite:calls.db"));
    }
    if path.starts_with("//") {
        return Err(invalid(
            "the file comes right after sqlite:, without slashes of its own, as in sqlite:calls.db or sqlite:/data/calls.db",
        ));
    }
    let tables = options.take_tables()?;
    options.end("sqlite:", &["mode", "prefix", "deletes"])?;
    let path = PathBuf::from(path);
    Ok(Destination::Sqlite { path, tables })
}

fn postgres(text: &str) -> Result<Destination> {
    let Some((_, rest)) = text.split_once("://") else {
        return Err(invalid(
            "a PostgreSQL database is given as postgres://USER@HOST/DATABASE",
        ));
    };
    // A password may hold any character, question marks and slashes too, so that its end is looked for first.
    let (user, rest) = match rest.rfind('@') {
        Some(at) => rest.split_at(at + 1),
        None => ("", rest),
    };
    let (place, mut options) = split_options(rest)?;
    let host = place.split('/').next().unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    // Without an `@`, what follows the colon may well be a password.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(']') {
        return Err(invalid(
            "the port of the PostgreSQL host is no number; a user and a password end with an @",
        ));
    }
    let tables = options.take_tables()?;
    let schema = options.take("schema");
    if schema.as_deref() == Some("") {
        return Err(invalid("the option \"schema\" of postgres:// is empty"));
    }
    let mut url = format!("postgres://{user}{place}");
    let mut separator = '?';
    for name in DRIVER_OPTIONS {
        if let Some(value) = options.take(name) {
            let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            url.push_str(&format!("{separator}{name}={value}"));
            separator = '&';
        }
    }
    options.end(
        "postgres://",
        &["mode", "prefix", "deletes", "schema", "sslmode"],
    )?;
    Ok(Destination::Postgres {
        url: Secret::new(url),
        place: place.to_owned(),
        schema,
        tables,
    })
}

fn s3(text: &str) -> Result<Destination> {
    let (place, mut options) = split_options(text)?;
    options.keep_deleted("Parquet")?;
    options.end("s3://", &[])?;
    let place = place.strip_prefix("//").unwrap_or_default();
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(invalid(
            "object storage is given as s3://BUCKET or s3://BUCKET/PREFIX",
        ));
    }
    if bucket.contains('@') {
        return Err(invalid(
            "an s3:// destination holds no credentials; they come from the AWS environment variables",
        ));
    }
    Ok(Destination::S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
    })
}

fn folder(scheme: &str, path: &str) -> Result<PathBuf> {
    if path.is_empty() || path == "-" {
        return Err(invalid(format!(
            "{scheme}: needs a folder, as in {scheme}:exports"
        )));
    }
    Ok(PathBuf::from(path))
}

/// The query of a destination.
struct Options(Vec<(String, String)>);

fn split_options(text: &str) -> Result<(&str, Options)> {
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let mut options: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if options.iter().any(|(known, _)| *known == name) {
            return Err(invalid(format!("the option {name:?} is given twice")));
        }
        options.push((name.into_owned(), value.into_owned()));
    }
    Ok((place, Options(options)))
}

impl Options {
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    fn take_tables(&mut self) -> Result<TableOptions> {
        let mode = match self.take("mode").as_deref() {
            None => None,
            Some("upsert") => Some(Mode::Upsert),
            Some("append") => Some(Mode::Append),
            Some(_) => {
                return Err(invalid("the option \"mode\" is upsert or append"));
            }
        };
        let prefix = self.take("prefix").unwrap_or_default();
        if !prefix.is_empty() && !is_word(&prefix) {
            return Err(invalid(
                "the option \"prefix\" has letters, digits and underscores only, and begins with a letter",
            ));
        }
        let deletes = match self.take("deletes").as_deref() {
            None | Some("keep") => Deletes::Keep,
            Some("mark") => Deletes::Mark,
            Some("remove") => Deletes::Remove,
            Some(_) => {
                return Err(invalid("the option \"deletes\" is keep, mark or remove"));
            }
        };
        if mode == Some(Mode::Append) && deletes != Deletes::Keep {
            return Err(invalid(
                "with mode=append no row is known to be deleted; leave out the option \"deletes\"",
            ));
        }
        Ok(TableOptions {
            mode,
            prefix,
            deletes,
        })
    }

    /// Refuses to mark or remove rows, for destinations whose files only grow.
    fn keep_deleted(&mut self, scheme: &str) -> Result<()> {
        match self.take("deletes").as_deref() {
            None | Some("keep") => Ok(()),
            Some("mark" | "remove") => Err(invalid(format!(
                "{scheme} files only grow, so that nothing in them can be marked or removed; leave out the option \
                 \"deletes\", or choose sqlite: or postgres://"
            ))),
            Some(_) => Err(invalid("the option \"deletes\" is keep, mark or remove")),
        }
    }

    /// Refuses an option that no reader took.
    fn end(&self, scheme: &str, known: &[&str]) -> Result<()> {
        let Some((unknown, _)) = self.0.first() else {
            return Ok(());
        };
        let hint = match (nearest(unknown, known.iter().copied()), known) {
            (Some(name), _) => format!("did you mean {name:?}?"),
            (None, []) => "it has none".to_owned(),
            (None, known) => format!("it has {}", known.join(", ")),
        };
        Err(invalid(format!(
            "{scheme} has no option {unknown:?}; {hint}"
        )))
    }
}

fn after_scheme(text: &str) -> &str {
    text.split_once(':').map_or("", |(_, rest)| rest)
}

fn is_database_file(text: &str) -> bool {
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    let extension = Path::new(path).extension().and_then(|name| name.to_str());
    !path.contains("://") && matches!(extension, Some("db" | "sqlite" | "sqlite3"))
}

/// Whether a text can be shown and used as a name. Anything else may be part of a secret.
fn is_word(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.len() <= 32
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(is_part)
}

#[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "s3")))]
fn missing_feature(what: &str, feature: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("this build has no {what}; build it with the feature `{feature}`"),
    )
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Kind::ConfigInvalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let error = Destination::parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::ConfigInvalid);
        error.to_string()
    }

    #[test]
    fn each_destination_is_known_by_its_scheme() {
        for (text, shown) in [
            ("sqlite:calls.db", "sqlite:calls.db"),
            ("sqlite:/data/calls?mode=append", "sqlite:/data/calls"),
            ("SQLite:calls.db", "sqlite:calls.db"),
            (
                "data/calls.sqlite3?prefix=acme_",
                "sqlite:data/calls.sqlite3",
            ),
            (
                "postgres://me:pw@host:5433/base?schema=raw",
                "postgres://host:5433/base",
            ),
            ("postgresql://host/base", "postgres://host/base"),
            ("parquet:out", "parquet:out"),
            ("s3://bucket/some/where/", "s3://bucket/some/where"),
            ("s3://bucket", "s3://bucket/"),
            ("jsonl:out", "jsonl:out"),
            ("jsonl:-", "jsonl:-"),
            ("-", "jsonl:-"),
            ("arrow:-", "arrow:-"),
        ] {
            assert_eq!(
                Destination::parse(text).unwrap().to_string(),
                shown,
                "{text}"
            );
        }
    }

    #[test]
    fn options_are_read_and_those_of_the_driver_stay_in_the_url() {
        let text =
            "postgres://me:p%40ss@host/base?mode=append&sslmode=require&schema=raw&prefix=acme_";
        let Destination::Postgres {
            url,
            schema,
            tables,
            ..
        } = Destination::parse(text).unwrap()
        else {
            panic!("not PostgreSQL");
        };
        assert_eq!(
            url.expose(),
            "postgres://me:p%40ss@host/base?sslmode=require"
        );
        assert_eq!(schema.as_deref(), Some("raw"));
        let expected = TableOptions {
            mode: Some(Mode::Append),
            prefix: "acme_".to_owned(),
            ..TableOptions::default()
        };
        assert_eq!(tables, expected);
    }

    #[test]
    fn what_is_wrong_is_named_together_with_what_there_is() {
        for (text, part) in [
            ("", "there are sqlite:FILE"),
            ("calls", "there are sqlite:FILE"),
            (
                "mysql://host/calls.db",
                "no destination \"mysql\"; there are sqlite:FILE",
            ),
            ("sqlite:", "needs a file"),
            ("sqlite::memory:", "needs a file"),
            ("sqlite:///data/calls.db", "right after sqlite:"),
            (
                "sqlite:calls.db?mod=append",
                "no option \"mod\"; did you mean \"mode\"?",
            ),
            ("sqlite:calls.db?colour=red", "it has mode, prefix, deletes"),
            ("sqlite:calls.db?deletes=drop", "keep, mark or remove"),
            (
                "sqlite:calls.db?deletes=mark&mode=append",
                "no row is known to be deleted",
            ),
            ("parquet:out?deletes=remove", "files only grow"),
            ("s3://bucket?deletes=mark", "files only grow"),
            ("jsonl:out?deletes=mark", "files only grow"),
            ("sqlite:calls.db?mode=replace", "upsert or append"),
            ("sqlite:calls.db?mode=append&mode=upsert", "given twice"),
            ("sqlite:calls.db?prefix=a;b", "\"prefix\" has letters"),
            (
                "parquet:out?mode=upsert",
                "parquet: has no option \"mode\"; it has none",
            ),
            ("parquet:-", "needs a folder"),
            ("jsonl:", "needs a folder"),
            ("s3:bucket", "s3://BUCKET"),
            ("arrow:out", "arrow:-"),
            ("postgres:base", "postgres://USER@HOST"),
            (
                "postgres://host/base?schema=",
                "\"schema\" of postgres:// is empty",
            ),
        ] {
            let said = refused(text);
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn a_password_is_in_no_text() {
        for text in [
            "postgres://me:hunter2@host/base",
            "postgres://me:hunter2?x@host/base",
            "postgres://me:hunter2/x@host/base",
            "postgres://me:hunter2@x@host/base",
        ] {
            let destination = Destination::parse(text).unwrap();
            let opened = destination.open("c").err();
            let shown = format!("{destination} {destination:?} {opened:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        for text in [
            "postgres://host/base?password=hunter2",
            "postgres://me:hunter2@host/base?mode=hunter2",
            "mysql://me:hunter2@host/base",
            "postgres://me:hunter2",
            "me:hunter2@host",
            "s3://key:hunter2@bucket/prefix",
        ] {
            assert!(!refused(text).contains("hunter2"), "{text}");
        }
    }
}
