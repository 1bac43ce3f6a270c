//! The routes of the API.

use super::catalogue::Kind;

/// One of the two interfaces that the vendor's pages describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Under `/api/`.
    Rest,
    /// Under `/api/v1/`.
    External,
}

/// The endpoint of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Login,
    Refresh,
    /// `auth/status/`.
    Status,
    /// `auth/verify/`.
    Verify,
    Usage(Surface),
    List(Surface, Kind),
    Detail(Surface, Kind, String),
    Generate(String),
    /// The path lacks the slash at its end.
    Unslashed,
    Unknown,
}

impl Route {
    pub(crate) fn of(path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/api/") else {
            return Self::Unknown;
        };
        let (surface, rest) = match rest.strip_prefix("v1/") {
            Some(rest) => (Surface::External, rest),
            None => (Surface::Rest, rest),
        };
        let (rest, has_slash) = match rest.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let route = match surface {
            Surface::Rest => Self::rest(&parts),
            Surface::External => Self::external(&parts),
        };
        match route {
            Self::Unknown => Self::Unknown,
            route if has_slash || route.goes_without_slash() => route,
            _ => Self::Unslashed,
        }
    }

    fn rest(parts: &[&str]) -> Self {
        match parts {
            ["auth", "login"] => Self::Login,
            ["auth", "token", "refresh"] => Self::Refresh,
            ["auth", "status"] => Self::Status,
            ["billing", "usage"] => Self::Usage(Surface::Rest),
            _ => Self::records(Surface::Rest, parts),
        }
    }

    fn external(parts: &[&str]) -> Self {
        match parts {
            ["auth", "verify"] => Self::Verify,
            ["usage"] => Self::Usage(Surface::External),
            ["reports", id, "generate"] => Self::Generate((*id).to_owned()),
            _ => Self::records(Surface::External, parts),
        }
    }

    fn records(surface: Surface, parts: &[&str]) -> Self {
        let kinds = [Kind::DataSource, Kind::Report, Kind::Dashboard];
        let kind_of = |path: &str| kinds.into_iter().find(|kind| kind.path() == path);
        match parts {
            [list] => match kind_of(list) {
                Some(kind) => Self::List(surface, kind),
                None => Self::Unknown,
            },
            [list, id] if !id.is_empty() => match kind_of(list) {
                Some(kind) => Self::Detail(surface, kind, (*id).to_owned()),
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// The pages write these paths of the external interface without a slash; with one they are
    /// accepted too (proposed).
    fn goes_without_slash(&self) -> bool {
        matches!(
            self,
            Self::List(Surface::External, Kind::Report | Kind::Dashboard)
                | Self::Detail(Surface::External, Kind::Report | Kind::Dashboard, _)
                | Self::Generate(_)
        )
    }

    /// The one method that the path answers.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::Login | Self::Refresh | Self::Generate(_) => "POST",
            _ => "GET",
        }
    }

    /// Whether the path requires credentials.
    pub(crate) fn is_guarded(&self) -> bool {
        !matches!(
            self,
            Self::Login | Self::Refresh | Self::Unslashed | Self::Unknown
        )
    }

    /// Whether a key without any permission may use it.
    pub(crate) fn tells_whose_key_it_is(&self) -> bool {
        matches!(self, Self::Status | Self::Verify)
    }

    /// The interface of a guarded path.
    pub(crate) fn surface(&self) -> Surface {
        match self {
            Self::Usage(surface) | Self::List(surface, _) | Self::Detail(surface, _, _) => *surface,
            Self::Verify | Self::Generate(_) => Surface::External,
            _ => Surface::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_matter_where_the_pages_write_them() {
        let id = || "7".to_owned();
        for (path, expected) in [
            ("/api/auth/status/", Route::Status),
            ("/api/auth/status", Route::Unslashed),
            ("/api/reports/", Route::List(Surface::Rest, Kind::Report)),
            ("/api/reports", Route::Unslashed),
            (
                "/api/reports/7/",
                Route::Detail(Surface::Rest, Kind::Report, id()),
            ),
            ("/api/reports/7", Route::Unslashed),
            ("/api/reports/7/8/", Route::Unknown),
            ("/api/reports//", Route::Unknown),
            ("/api/v1/usage/", Route::Usage(Surface::External)),
            ("/api/v1/usage", Route::Unslashed),
            (
                "/api/v1/reports",
                Route::List(Surface::External, Kind::Report),
            ),
            ("/api/v1/reports/7/generate", Route::Generate(id())),
            ("/api/v1/data-sources", Route::Unslashed),
            ("/api/v1/billing/usage/", Route::Unknown),
            ("/api/", Route::Unknown),
            ("/reports/", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), expected, "{path}");
        }
    }
}
