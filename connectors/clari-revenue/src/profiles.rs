//! The documented ways to send a key to Clari. One integrator's guide names `Authorization: Bearer` under `/v1`; the
//! vendor's document and known production code use the header `apikey` under `/v4`.

use headwater::{
    http::{Client, RateLimit},
    prelude::*,
};

use crate::{AuthProfile, Config, SERVICE};

const HOST: &str = "https://api.clari.com";
/// The default versions of the documents.
const VERSIONS: [&str; 3] = ["v1", "v2", "v4"];

/// One way to authenticate.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Its name in the config.
    pub(crate) name: AuthProfile,
    /// The header, for sentences.
    pub(crate) header: &'static str,
    pub(crate) client: Client,
}

impl Profile {
    fn new(name: AuthProfile, base: &BaseUrl, config: &Config, context: &Context) -> Result<Self> {
        let builder = Client::builder(SERVICE, base, context)
            .rate_limit(RateLimit::per_second(config.requests_per_second));
        let (header, builder) = match name {
            AuthProfile::Bearer => (
                "Authorization: Bearer",
                builder.authorization("Bearer", &config.api_key),
            ),
            AuthProfile::Apikey | AuthProfile::Automatic => {
                ("apikey", builder.secret_header("apikey", &config.api_key))
            }
        };
        Ok(Self {
            name,
            header,
            client: builder.build()?,
        })
    }

    /// Returns the header and the version, for sentences.
    pub(crate) fn describe(&self) -> String {
        let path = self.client.base().as_url().path();
        let base = if path == "/" { "the base URL" } else { path };
        format!("the {} header under {base}", self.header)
    }
}

/// The profiles that a probe may try, the likeliest first; a single one if the user chose it.
#[derive(Debug)]
pub(crate) struct Profiles {
    pub(crate) candidates: Vec<Profile>,
    pub(crate) is_automatic: bool,
}

impl Profiles {
    pub(crate) fn new(config: &Config, context: &Context) -> Result<Self> {
        let is_automatic = config.auth_profile == AuthProfile::Automatic;
        let candidates = if is_automatic {
            vec![
                (AuthProfile::Apikey, version(&config.base_url, "v4")),
                (AuthProfile::Bearer, version(&config.base_url, "v1")),
            ]
        } else {
            vec![(config.auth_profile, config.base_url.clone())]
        };
        let candidates = candidates
            .into_iter()
            .map(|(name, base)| Profile::new(name, &base, config, context))
            .collect::<Result<_>>()?;
        Ok(Self {
            candidates,
            is_automatic,
        })
    }

    /// Returns the client for reading.
    pub(crate) fn chosen(&self) -> Option<&Client> {
        let only = self.candidates.first()?;
        (!self.is_automatic).then_some(&only.client)
    }
}

/// Returns another version of a known default address; any other address stays unchanged.
fn version(base: &BaseUrl, version: &str) -> BaseUrl {
    let is_default = VERSIONS
        .iter()
        .any(|known| base.as_url().as_str().trim_end_matches('/') == format!("{HOST}/{known}"));
    if !is_default {
        return base.clone();
    }
    BaseUrl::parse(&format!("{HOST}/{version}")).unwrap_or_else(|_| base.clone())
}

#[allow(
    clippy::expect_used,
    reason = "a constant, parsed in every test of the form"
)]
pub(crate) fn default_base_url() -> BaseUrl {
    BaseUrl::parse("https://api.clari.com/v1").expect("the default address is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_of_a_known_default_moves() {
        for (from, to) in [
            ("https://api.clari.com/v1", "https://api.clari.com/v4"),
            ("https://api.clari.com/v2/", "https://api.clari.com/v4"),
            ("https://api.clari.com/v3", "https://api.clari.com/v3"),
            ("https://api.clari.com", "https://api.clari.com"),
            ("https://api.clari.com/v1/x", "https://api.clari.com/v1/x"),
            (
                "https://api.clari.com:8443/v1",
                "https://api.clari.com:8443/v1",
            ),
            (
                "https://api.clari.com.example.com/v1",
                "https://api.clari.com.example.com/v1",
            ),
            ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
        ] {
            let moved = version(&BaseUrl::parse(from).unwrap(), "v4");
            assert_eq!(moved.as_url().as_str().trim_end_matches('/'), to, "{from}");
        }
    }
}
