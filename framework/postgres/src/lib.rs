//! The connection to a PostgreSQL server: its URL, the default of TLS, and what the server reports as a sentence.
//!
//! Destinations and the store share it, so that both use TLS by the same rule and name a problem in the same words.

mod sentence;

use std::time::Duration;

use headwater_core::{Error, Kind, Result, Secret};
use postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Probes of a silent connection before it counts as lost.
const PROBES: u32 = 3;

/// How a part of the program uses a server.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The name of the URL in errors: `the destination`.
    pub url_name: &'static str,
    /// The subject of errors: `PostgreSQL at HOST/DATABASE`.
    pub subject: String,
    /// How long a connection may be silent before it counts as lost.
    pub silence: Duration,
    /// Statements that every new connection begins with.
    pub settings: &'static str,
    /// The remedy for a lost connection.
    pub after_loss: &'static str,
}

/// A server to connect to.
#[derive(Clone, Debug)]
pub struct Server {
    config: Config,
    usage: Usage,
}

impl Server {
    /// Reads a URL. Connects to nothing. Errors do not show the URL, which may hold a password.
    pub fn parse(url: &Secret, usage: Usage) -> Result<Self> {
        let url = url.expose();
        // The driver takes the first `@` for the end of the password; it may well be a part of it.
        let url = match url.rsplit_once('@') {
            Some((user, rest)) => format!("{}@{rest}", user.replace('@', "%40")),
            None => url.to_owned(),
        };
        // Certificates are always checked in full; the driver knows one word for it.
        let verified = ["sslmode=verify-full", "sslmode=verify-ca"];
        let verified = verified.iter().find_map(|mode| url.strip_suffix(mode));
        let url = verified.map_or(url.clone(), |url| format!("{url}sslmode=require"));
        // The driver's own complaint would show parts of the URL.
        let mut config: Config = url.parse().map_err(|_| {
            let text = format!(
                "{} is not a PostgreSQL URL; write postgres://USER:PASSWORD@HOST/DATABASE, with %XX for special \
                 characters in the password, and sslmode as disable, require or verify-full",
                usage.url_name
            );
            Error::new(Kind::ConfigInvalid, text)
        })?;
        if config.get_hosts().is_empty() {
            let text = "the PostgreSQL URL names no host; write postgres://USER@HOST/DATABASE";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(usage.silence);
        }
        // Half of the silence before the first probe, the other half for all of them.
        config
            .keepalives_idle(usage.silence / 2)
            .keepalives_interval(usage.silence / 2 / PROBES)
            .keepalives_retries(PROBES)
            .application_name("headwater");
        if config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(default_tls(&config));
        }
        Ok(Self { config, usage })
    }

    /// The subject of its errors.
    pub fn subject(&self) -> &str {
        &self.usage.subject
    }

    /// The URL as the driver reads it, with its timeouts.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Connects, and applies the settings.
    pub fn connect(&self) -> Result<Client> {
        let connected = if self.config.get_ssl_mode() == SslMode::Disable {
            self.config.connect(NoTls)
        } else {
            // Fails only when a provider is installed already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let (tls, _) = MakeRustlsConnect::with_native_certs().map_err(|_| {
                let text = "this machine has no certificates to check those of PostgreSQL with; install \
                            ca-certificates, or name a file of them in SSL_CERT_FILE";
                Error::new(Kind::ConfigInvalid, text)
            })?;
            self.config.connect(tls)
        };
        let mut client = connected.map_err(|error| self.unreachable(error))?;
        client
            .batch_execute(self.usage.settings)
            .map_err(|error| self.failed(error, "begin"))?;
        Ok(client)
    }
}

/// Nothing leaves this machine in clear unless the URL says so.
fn default_tls(config: &Config) -> SslMode {
    let is_local = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
        Host::Unix(_) => true,
    });
    if is_local {
        SslMode::Disable
    } else {
        SslMode::Require
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server> {
        let usage = Usage {
            url_name: "the destination",
            subject: "PostgreSQL at here".to_owned(),
            silence: Duration::from_secs(60),
            settings: "",
            after_loss: "run again",
        };
        Server::parse(&Secret::new(url), usage)
    }

    #[test]
    fn tls_is_the_default_for_every_other_machine() {
        for (url, mode) in [
            ("postgres://me@localhost/a", SslMode::Disable),
            ("postgres://me@127.0.0.1/a", SslMode::Disable),
            ("postgres://me@db.example/a", SslMode::Require),
            (
                "postgres://me@db.example/a?sslmode=disable",
                SslMode::Disable,
            ),
            (
                "postgres://me@localhost/a?sslmode=verify-full",
                SslMode::Require,
            ),
        ] {
            let server = server(url).unwrap();
            assert_eq!(server.config().get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn a_password_may_have_an_at_sign_and_no_error_shows_it() {
        let parsed = server("postgres://me:p@ss@db.example/a").unwrap();
        assert_eq!(parsed.config().get_password(), Some(&b"p@ss"[..]));
        for url in [
            "postgres://me:hunter2@db.example/a?sslmode=maybe",
            "postgres:///a",
        ] {
            let error = server(url).err().unwrap();
            assert_eq!(error.kind(), Kind::ConfigInvalid);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_silent_connection_is_lost_after_the_time_that_its_user_allows() {
        let server = server("postgres://me@db.example/a").unwrap();
        let config = server.config();
        let interval = config.get_keepalives_interval().unwrap();
        let silence = config.get_keepalives_idle() + interval * PROBES;
        assert_eq!(silence, Duration::from_secs(60));
    }
}
