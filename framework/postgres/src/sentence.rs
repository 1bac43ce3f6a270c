//! The reports of a server as sentences, without details that may show values.

use std::error::Error as _;

use headwater_core::{Error, Kind};
use postgres::error::DbError;

use crate::Server;

impl Server {
    /// The error of a connection that could not be made.
    pub(crate) fn unreachable(&self, error: postgres::Error) -> Error {
        let subject = self.subject();
        if error.as_db_error().is_some() {
            return self.failed(error, "connect");
        }
        let cause = error
            .source()
            .map_or(String::new(), |cause| format!(": {cause}"));
        let message = format!("{error}{cause}");
        let (kind, text) = if message.contains("server does not support TLS") {
            (
                Kind::ConfigInvalid,
                format!(
                    "{subject} offers no TLS; add sslmode=disable to the URL if data and password may travel in clear"
                ),
            )
        } else if message.contains("TLS") {
            (
                Kind::ConfigInvalid,
                format!(
                    "the certificate of {subject} is not trusted; name a file with its authority in SSL_CERT_FILE"
                ),
            )
        } else if message.contains("password missing") {
            (
                Kind::Unauthenticated,
                format!("{subject} asks for a password; write it into the URL"),
            )
        } else {
            (
                Kind::Unavailable,
                format!("{subject} cannot be reached{cause}"),
            )
        };
        Error::new(kind, text).caused_by(error)
    }

    /// The error of a statement; `doing` says what it was for, as a verb: "store rows". Where the reason is temporary, the
    /// kind is [`Kind::Unavailable`].
    pub fn failed(&self, error: postgres::Error, doing: &str) -> Error {
        match error.as_db_error() {
            Some(answer) => {
                let (kind, text) = self.sentence(answer, doing);
                Error::new(kind, text)
            }
            None => {
                let text = format!(
                    "the connection to {} was lost; {}",
                    self.subject(),
                    self.usage.after_loss
                );
                Error::new(Kind::Unavailable, text).caused_by(error)
            }
        }
    }

    fn sentence(&self, answer: &DbError, doing: &str) -> (Kind, String) {
        let subject = self.subject();
        // Names tables, users and hosts, never a value, for the codes where it is shown.
        let message = answer.message();
        match answer.code().code() {
            "28P01" => (
                Kind::Unauthenticated,
                format!("{subject} does not accept this user and password; check the URL"),
            ),
            "28000" if message.contains("no encryption") || message.contains("SSL off") => (
                Kind::ConfigInvalid,
                format!(
                    "{subject} asks for TLS, or for another host or user; add sslmode=require to the URL"
                ),
            ),
            "28000" => (
                Kind::Unauthenticated,
                format!(
                    "{subject} does not let this user in; check user, database and pg_hba.conf"
                ),
            ),
            "3D000" => (
                Kind::NotFound,
                format!("{subject}: there is no such database; create it, or name another one"),
            ),
            "42501" => (
                Kind::PermissionDenied,
                format!("{subject}: {message}; grant it to the user of the URL"),
            ),
            "25006" => (
                Kind::ConfigInvalid,
                format!(
                    "{subject} takes no writes, it is a standby or set to read only; name the primary server"
                ),
            ),
            "53100" => (
                Kind::OutputFailed,
                format!("the disk of {subject} is full; make room and run again"),
            ),
            "53300" => (
                Kind::Unavailable,
                format!(
                    "{subject} has no connection left; try again later, or raise max_connections"
                ),
            ),
            "55P03" => (
                Kind::Unavailable,
                format!(
                    "another program has locked a table of {subject}; run again once it has finished"
                ),
            ),
            "57014" => (
                Kind::Unavailable,
                format!("{subject} took too long to {doing}; run again when it has less to do"),
            ),
            "57P01" | "57P02" | "57P03" | "08006" => (
                Kind::Unavailable,
                format!("{subject} ended the connection; {}", self.usage.after_loss),
            ),
            "42703" | "42804" => (
                Kind::ConfigInvalid,
                format!(
                    "a table of {subject} is not as it was made: {message}; restore it, or name another schema"
                ),
            ),
            // Data exceptions show data.
            code if code.starts_with("22") || code.starts_with("23") => (
                Kind::OutputFailed,
                format!(
                    "{subject} refused to {doing}: {} (SQLSTATE {code})",
                    class(code)
                ),
            ),
            code if ["40", "55", "57"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                (
                    Kind::Unavailable,
                    format!("{subject} refused to {doing}: {message} (SQLSTATE {code})"),
                )
            }
            code => (
                Kind::OutputFailed,
                format!("{subject} refused to {doing}: {message} (SQLSTATE {code})"),
            ),
        }
    }
}

/// The reason behind a code whose message would show data.
fn class(code: &str) -> &'static str {
    match code {
        "23505" => "the key is there already, since another program writes to the table",
        code if code.starts_with("23") => "a constraint that was added to the table forbids it",
        _ => "a value does not fit its column",
    }
}
