//! The one error type: kind, status, operation and time to wait.

use std::{borrow::Cow, fmt, time::Duration};

/// Result with our [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of a failure, by the action that it needs.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Something the user typed (a form, a state file, an argument) cannot be used.
    ConfigInvalid,
    /// The service does not accept the credentials.
    Unauthenticated,
    /// The credentials are valid but do not permit this.
    PermissionDenied,
    /// The named thing does not exist.
    NotFound,
    /// The service asks to slow down.
    RateLimited,
    /// The service cannot be reached or has a problem of its own.
    Unavailable,
    /// A daily, weekly or monthly allowance is used up.
    QuotaExhausted,
    /// The service answered with something that does not follow its own API.
    DataInvalid,
    /// This build or this connector does not support the operation.
    Unsupported,
    /// The destination of the records cannot be written.
    OutputFailed,
    /// The user stopped the work.
    Cancelled,
    /// A defect in Headwater or in a connector.
    Unexpected,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::ConfigInvalid,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::RateLimited,
        Self::Unavailable,
        Self::QuotaExhausted,
        Self::DataInvalid,
        Self::Unsupported,
        Self::OutputFailed,
        Self::Cancelled,
        Self::Unexpected,
    ];

    /// Returns the process exit code of the command line for this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::ConfigInvalid => 2,
            Self::Unauthenticated | Self::PermissionDenied => 3,
            Self::NotFound => 4,
            Self::RateLimited | Self::Unavailable | Self::QuotaExhausted => 5,
            Self::DataInvalid => 6,
            Self::Unsupported => 7,
            Self::Unexpected => 70,
            Self::OutputFailed => 74,
            Self::Cancelled => 130,
        }
    }

    /// Returns the kind of a response with this HTTP status, from the status alone: the same for reads and probes. No
    /// status is a defect of ours, so the result is never [`Kind::Unexpected`].
    pub const fn of_status(status: u16) -> Self {
        match status {
            // Some frameworks and gateways send 419, 440 and 498 for an ended session.
            401 | 419 | 440 | 498 => Self::Unauthenticated,
            // Not permitted by the plan, by the role, or in the region.
            402 | 403 | 451 => Self::PermissionDenied,
            404 | 410 => Self::NotFound,
            420 | 429 => Self::RateLimited,
            408 | 425 | 500..=599 => Self::Unavailable,
            // A request that the service does not understand, a redirect, or a status without a meaning.
            _ => Self::DataInvalid,
        }
    }

    const fn default_status(self) -> Status {
        match self {
            Self::RateLimited | Self::Unavailable | Self::QuotaExhausted => Status::Temporary,
            _ => Status::Permanent,
        }
    }
}

/// Whether a retry can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// The same request fails the same way.
    Permanent,
    /// It may work later and was not retried yet.
    Temporary,
    /// It was temporary and the retries are used up. Callers must not retry at once.
    Persistent,
}

/// An error with kind, status, operation, context and, where known, the time to wait.
///
/// Texts are lower case without a full stop. They never hold a secret, a URL with its query, or a body.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    status: Status,
    operation: Cow<'static, str>,
    message: String,
    context: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error of this kind; the message states the problem and, where the user can act, the remedy.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            status: kind.default_status(),
            operation: Cow::Borrowed(""),
            message: message.into(),
            context: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// Names the operation that failed. The outermost caller wins, since it knows the user's request best.
    #[must_use]
    pub fn during(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.0.operation = operation.into();
        self
    }

    /// Adds a fact, shown as `name value` in brackets.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Replaces the status that follows from the kind.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.0.status = status;
        self
    }

    /// Sets the time to wait before a retry.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Keeps the cause for `Debug` and for the error chain.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns whether a retry can help.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// Returns the operation named by the outermost caller; empty without one.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// Returns the sentence without operation and context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Iterates over the facts, in the order of their addition.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .context
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// Returns the time to wait, where the service or the limiter set one.
    pub fn delay(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.operation.is_empty() {
            write!(f, "{}: ", self.0.operation)?;
        }
        f.write_str(&self.0.message)?;
        for (index, (name, value)) in self.0.context.iter().enumerate() {
            let open = if index == 0 { " (" } else { ", " };
            write!(f, "{open}{name} {value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({:?}) {self}", self.0.kind, self.0.status)?;
        if let Some(delay) = self.0.retry_after {
            write!(f, "\nretry after {delay:?}")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, "\ncaused by {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new kind does not compile here before it is in the list.
    #[test]
    fn the_list_of_kinds_has_each_of_them_once() {
        let index_of = |kind: Kind| match kind {
            Kind::ConfigInvalid => 0,
            Kind::Unauthenticated => 1,
            Kind::PermissionDenied => 2,
            Kind::NotFound => 3,
            Kind::RateLimited => 4,
            Kind::Unavailable => 5,
            Kind::QuotaExhausted => 6,
            Kind::DataInvalid => 7,
            Kind::Unsupported => 8,
            Kind::OutputFailed => 9,
            Kind::Cancelled => 10,
            Kind::Unexpected => 11,
        };
        assert_eq!(Kind::ALL.map(index_of), std::array::from_fn(|index| index));
    }

    #[test]
    fn display_names_operation_message_and_context_in_one_line() {
        let error = Error::new(
            Kind::Unauthenticated,
            "the service did not accept this API key",
        )
        .with("status", 401)
        .with("path", "/users")
        .during("check");
        assert_eq!(
            error.to_string(),
            "check: the service did not accept this API key (status 401, path /users)"
        );
    }

    #[test]
    fn no_status_is_a_defect_of_ours() {
        for status in 0..=1000 {
            assert_ne!(Kind::of_status(status), Kind::Unexpected, "{status}");
        }
        for (status, code) in [
            (302, 6),
            (400, 6),
            (401, 3),
            (403, 3),
            (404, 4),
            (409, 6),
            (422, 6),
            (429, 5),
            (503, 5),
        ] {
            assert_eq!(Kind::of_status(status).exit_code(), code, "{status}");
        }
    }

    #[test]
    fn only_remote_trouble_is_temporary() {
        assert_eq!(
            Error::new(Kind::Unavailable, "").status(),
            Status::Temporary
        );
        assert_eq!(
            Error::new(Kind::DataInvalid, "").status(),
            Status::Permanent
        );
    }
}
