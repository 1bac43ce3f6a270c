//! The address of an API as a user may type it.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

/// `https://host[:port][/path]`, or `http://` for a loopback name; no user, query or fragment. Schemes and names ignore
/// case, and browsers have no flag for that.
///
/// The pattern keeps credentials out of URLs and plain HTTP off the network before anything is dialled.
const PATTERN: &str = r"^([Hh][Tt][Tt][Pp][Ss]://[^\s/?#@\\]+|[Hh][Tt][Tt][Pp]://([Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)(/[^\s?#@\\]*)?$";

/// The message for an address that the pattern refuses.
const RULE: &str = "must be an https:// address without user name, query or fragment \
                    (http:// is allowed only for this machine)";

/// A base URL that is safe to send credentials to and safe to print.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Parses user input; the error states the rule, not the value.
    ///
    /// # Errors
    ///
    /// Fails if the text is no URL, if it is neither https nor on this machine, or if it has a user, a query or a
    /// fragment.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let is_allowed = match url.scheme() {
            "https" => url.host_str().is_some_and(|host| !host.is_empty()),
            "http" => is_loopback,
            _ => false,
        };
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_allowed || !is_bare {
            return Err(RULE.to_owned());
        }
        Ok(Self(url))
    }

    /// Returns the parsed URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Returns the text without a trailing slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for BaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for BaseUrl {
    fn schema_name() -> Cow<'static, str> {
        "BaseUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "uri",
            "maxLength": 2048,
            "pattern": PATTERN,
            "x-headwater": { "invalid": RULE, "destination": true },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_public_https_and_loopback_http() {
        for text in [
            "https://api.example.com",
            "https://api.example.com/v1/",
            "https://api.example.com:8443/v1",
            "http://127.0.0.1:8080",
            "http://localhost:8080/x",
            "http://[::1]:9",
        ] {
            assert!(BaseUrl::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_scheme_has_no_case() {
        for text in ["Https://api.example.com/V1", "HTTPS://API.example.com/V1"] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!(url.as_str(), "https://api.example.com/V1");
        }
        let here = BaseUrl::parse("Http://LocalHost:8080").unwrap();
        assert_eq!(here.as_str(), "http://localhost:8080");
        assert!(BaseUrl::parse("Http://api.example.com").is_err());
    }

    #[test]
    fn refuses_everything_that_could_carry_a_secret_elsewhere() {
        for text in [
            "",
            "api.example.com",
            "http://api.example.com",
            "ftp://api.example.com",
            "https://user:pass@api.example.com",
            "https://api.example.com@169.254.169.254/",
            "https://api.example.com/?token=x",
            "https://api.example.com/#x",
            "http://127.0.0.1.example.com",
            "file:///etc/passwd",
        ] {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
    }
}
