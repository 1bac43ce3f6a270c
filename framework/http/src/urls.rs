//! Joins a base URL with a path, and restricts links to its origin.

use headwater_core::{BaseUrl, Error, Kind, Result};
use url::Url;

/// Appends `path` to the path of `base` and adds `query`.
///
/// Unlike `Url::join`, it keeps the last segment of the base (`/v1`), and a path cannot leave the host.
pub(crate) fn join(base: &BaseUrl, path: &str, query: &[(&'static str, String)]) -> Url {
    let mut url = base.as_url().clone();
    let joined = format!(
        "{}/{}",
        url.path().trim_end_matches('/'),
        path.trim_start_matches(['/', '\\'])
    );
    url.set_path(&joined);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Resolves a service's link against the base and refuses it if it leaves the base's origin.
///
/// Services behind a proxy send links with `http` instead of `https` on the same host without a port; those keep our
/// own scheme.
pub(crate) fn follow(base: &BaseUrl, link: &str) -> Result<Url> {
    let bad = |why: &str| {
        Error::new(
            Kind::DataInvalid,
            format!("the link to the next page {why}"),
        )
    };
    let base = base.as_url();
    let mut url = base.join(link).map_err(|_| bad("is not a URL"))?;
    if base.scheme() == "https"
        && url.scheme() == "http"
        && url.port().is_none()
        && base.port().is_none()
    {
        url.set_scheme("https")
            .map_err(|()| bad("has a scheme that cannot be used"))?;
    }
    if url.origin() != base.origin() || !url.username().is_empty() || url.password().is_some() {
        return Err(bad(
            "leads to another host; it was not followed, since the credentials belong to the base URL",
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> BaseUrl {
        BaseUrl::parse(text).unwrap()
    }

    #[test]
    fn join_keeps_the_base_path_and_the_host() {
        for (from, path, to) in [
            ("https://h.test", "/users", "https://h.test/users"),
            (
                "https://h.test/v1",
                "/admin/limits",
                "https://h.test/v1/admin/limits",
            ),
            (
                "https://h.test/v1/",
                "admin/limits",
                "https://h.test/v1/admin/limits",
            ),
            (
                "https://h.test/v1",
                "//evil.test/x",
                "https://h.test/v1/evil.test/x",
            ),
            (
                "https://h.test/v1",
                r"\\evil.test\x",
                "https://h.test/v1/evil.test/x",
            ),
            (
                "https://h.test/v1",
                "/a b?c#d",
                "https://h.test/v1/a%20b%3Fc%23d",
            ),
            (
                "https://h.test/v1",
                "/trailing/",
                "https://h.test/v1/trailing/",
            ),
        ] {
            assert_eq!(join(&base(from), path, &[]).as_str(), to, "{from} + {path}");
        }
    }

    #[test]
    fn query_values_are_encoded() {
        let url = join(
            &base("https://h.test"),
            "/c",
            &[("since", "2020-01-01T00:00:00+0000 &x=1".to_owned())],
        );
        assert_eq!(
            url.query(),
            Some("since=2020-01-01T00%3A00%3A00%2B0000+%26x%3D1")
        );
    }

    #[test]
    fn links_stay_on_the_origin() {
        let from = base("https://h.test/v1");
        assert_eq!(
            follow(&from, "/v1/x?page=2").unwrap().as_str(),
            "https://h.test/v1/x?page=2"
        );
        assert_eq!(
            follow(&from, "?page=2").unwrap().as_str(),
            "https://h.test/v1?page=2"
        );
        assert_eq!(
            follow(&from, "http://h.test/v1/x").unwrap().as_str(),
            "https://h.test/v1/x"
        );
        for link in [
            "https://evil.test/x",
            "//evil.test/x",
            r"\\evil.test\x",
            "https://h.test:8443/x",
            "http://h.test:81/x",
            "https://user@h.test/x",
            "javascript:alert(1)",
        ] {
            assert!(follow(&from, link).is_err(), "{link}");
        }
    }
}
