//! The account that a source reads. A position belongs to one account.

use serde::{Deserialize, Serialize};

use crate::base_url::BaseUrl;

/// The address of a source and its sign-in method, known without a request. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The normalised address.
    pub address: String,
    /// The sign-in method, as the form names it; empty where there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sign_in: String,
}

impl Identity {
    /// The identity of an address. Letter case of the host, the default port and slashes at the end do not count.
    pub fn new(address: &BaseUrl, sign_in: &str) -> Self {
        Self {
            address: address.as_str().to_owned(),
            sign_in: sign_in.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one_identity() {
        let identity = |text: &str| Identity::new(&BaseUrl::parse(text).unwrap(), "key");
        let one = identity("https://api.example.com/v4");
        for same in [
            "https://API.Example.com/v4/",
            "https://api.example.com:443/v4",
            "https://api.example.com/v4//",
        ] {
            assert_eq!(identity(same), one, "{same}");
        }
        for other in [
            "https://api.example.com/v1",
            "https://api.example.com:8443/v4",
            "https://api.example.org/v4",
        ] {
            assert_ne!(identity(other), one, "{other}");
        }
    }
}
