//! The origins of pages that may embed the form of a connection.

use std::{fmt, net::Ipv4Addr, str::FromStr};

const FORM: &str = "an origin is https:// and a host, with any port but 443, in lower case and without a path; for \
                    example https://app.example";
const HTTP: &str = "only pages of this machine (localhost, 127.0.0.1) may use http; any other origin starts with \
                    https://";

/// The origin of a page, exactly as browsers write it. It needs no escaping in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The origin as browsers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    /// The refusal does not repeat the text, which may be a URL with a password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, authority) = text.split_once("://").ok_or(FORM)?;
        let standard_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(FORM),
        };
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        if !is_host(host) || port.is_some_and(|port| !is_port(port, standard_port)) {
            return Err(FORM);
        }
        if scheme == "http" && !is_loopback(host) {
            return Err(HTTP);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A name or an IPv4 address. A Content-Security-Policy cannot name IPv6 addresses.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !label.is_empty()
            && label.bytes().all(|byte| is_known(byte) || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

fn is_port(port: &str, standard: u16) -> bool {
    let is_canonical = !port.starts_with(['0', '+']);
    is_canonical && port.parse().is_ok_and(|port: u16| port != standard)
}

fn is_loopback(host: &str) -> bool {
    let address: Option<Ipv4Addr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_as_browsers_write_it() {
        for text in [
            "https://app.example",
            "https://app.example:8443",
            "https://xn--bcher-kva.example",
            "https://192.0.2.7",
            "http://localhost",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
        ] {
            let origin: Origin = text.parse().unwrap_or_else(|refused| {
                panic!("{text}: {refused}");
            });
            assert_eq!(origin.as_str(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "app.example",
            "https://",
            "https://*",
            "https://*.app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?x",
            "https://app.example#x",
            "https://user:secret@app.example",
            "https://App.example",
            "HTTPS://app.example",
            "https://app.example.",
            "https://app..example",
            "https://-app.example",
            "https://app.example:443",
            "https://app.example:0443",
            "https://app.example:0",
            "https://app.example:+1",
            "https://app.example:65536",
            "https://app.example:",
            "https://app.example:1:2",
            "https://[::1]",
            "https://bücher.example",
            "https://app.example 'self'",
            "https://app.example;script-src *",
            "https://app.example\r\nx: y",
            "https://a, https://b",
            "http://app.example",
            "http://10.0.0.1",
            "http://localhost.app.example",
            "http://localhost:80",
            "ws://app.example",
            "file:///app",
            "data:text/html,x",
        ] {
            assert!(Origin::from_str(text).is_err(), "{text:?}");
        }
    }
}
