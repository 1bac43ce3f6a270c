//! Write a connector with this crate alone (next to serde, schemars and async-trait for their derives).
//!
//! A connector is a config type, a short description, a list of streams and a probe. The framework renders the
//! form, validates answers, sends requests under the service's limits, retries, pages, checkpoints and resumes.
//!
//! ```
//! use std::sync::Arc;
//! use headwater::http::{Access, Client, Prober, RateLimit, Records, Request, RestStream};
//! use headwater::prelude::*;
//!
//! /// The fields of the form.
//! #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     #[schemars(title = "API Key", description = "Sent with every request.")]
//!     #[schemars(transform = Hint::order(1).help("Settings > API").guide_step(1))]
//!     api_key: Secret,
//!     #[schemars(title = "Address", description = "The address of the service.")]
//!     #[schemars(transform = Hint::order(2))]
//!     base_url: BaseUrl,
//! }
//!
//! /// The shape of a record, for its schema. Personal data has a class.
//! #[derive(schemars::JsonSchema)]
//! struct User {
//!     id: Option<String>,
//!     #[schemars(transform = DataClass::PersonName)]
//!     name: Option<String>,
//! }
//!
//! const USERS: Records = Records::Lists(&["/users"]);
//!
//! struct Acme { client: Client }
//!
//! impl Connector for Acme {
//!     type Config = Config;
//!     const ABOUT: About = About {
//!         id: "acme",
//!         name: "Acme",
//!         summary: "Reads users from Acme.",
//!         docs: "https://example.com/docs",
//!         guide: &[GuideStep { title: "Get a key", text: "Open Settings > API and copy the key." }],
//!     };
//!
//!     fn catalog() -> Vec<StreamSpec> {
//!         vec![StreamSpec {
//!             name: "users",
//!             description: "One person.",
//!             key: &["id"],
//!             cursor: None,
//!             incremental: false,
//!             schema: record_schema::<User>,
//!         }]
//!     }
//!
//!     fn open(config: &Config, context: &Context) -> Result<Arc<dyn Source>> {
//!         let client = Client::builder("Acme", &config.base_url, context)
//!             .secret_header("x-api-key", &config.api_key)
//!             .rate_limit(RateLimit::per_second(10))
//!             .build()?;
//!         Ok(Arc::new(Acme { client }))
//!     }
//! }
//!
//! #[async_trait::async_trait]
//! impl Source for Acme {
//!     async fn probe(&self, probe: &mut Probe) {
//!         let prober = Prober { client: &self.client, address: "/base_url" };
//!         let first = prober.first(&Request::get("/users"), USERS).await;
//!         probe.extend(first.checks);
//!         probe.push(match first.access {
//!             Access::Granted => Check::passed("credentials", "Acme accepted the key"),
//!             Access::Unknown(check) => *check,
//!             _ => Check::failed("credentials", Kind::Unauthenticated, "unauthenticated", "Acme refused the key")
//!                 .at(["/api_key"])
//!                 .remedy("copy the key again from Settings > API"),
//!         });
//!     }
//!
//!     fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
//!         let users = RestStream::new(&self.client, Acme::catalog().remove(0), "/users", USERS);
//!         vec![Arc::new(users)]
//!     }
//! }
//!
//! register!(Acme);
//!
//! # let registry = headwater_core::Registry::collect()?;
//! # assert!(registry.get("acme")?.form().is_ok());
//! # Ok::<(), Error>(())
//! ```
//!
//! The rules for a connector: it reads no environment, clock or file, spawns no task, builds no HTTP client except
//! [`http::Client`], and passes its secrets only to `secret_header`. `docs/connectors.md` has the details.

#![warn(clippy::missing_errors_doc)]

pub use headwater_core::{
    About, Allowance, AnyStream, BaseUrl, Check, ConfigPatch, Connector, Context, DataClass, Date,
    Error, Gap, GuideStep, Hint, Identity, Kind, Mend, Note, Outcome, Page, Part, PartitionRange,
    Probe, Result, Scope, ScopeValue, Secret, SignedDuration, Source, Status, Stream, StreamSpec,
    TimeZone, Timestamp, Wait, Watermark, record_schema, register,
};

/// The HTTP kit: the client, streams for the usual kinds of APIs, the first checks of a probe.
pub mod http {
    pub use headwater_http::{
        Access, BookmarkLimit, ChildStream, ChildToken, Client, ClientBuilder, Download, Ending,
        Export, ExportStream, ExportToken, FingerprintSet, Grace, Grant, JobPolicy, JobStatus,
        Jobs, LimitHeaders, OffsetPaging, OrderOutcome, Paging, Prober, Progress, Quota, RateLimit,
        Records, Request, Response, RestStream, RestToken, RetryPolicy, Route, ServiceTime,
        Snapshot, Split, StreamAccess, TokenSource, Verdict, Window, WindowBookmark, WindowToken,
        WindowedList, cursor, document, total, without,
    };
}

/// The items that nearly every connector uses.
pub mod prelude {
    pub use headwater_core::{
        About, AnyStream, BaseUrl, Check, Connector, Context, DataClass, Date, Error, GuideStep,
        Hint, Kind, Page, Part, PartitionRange, Probe, Result, Secret, SignedDuration, Source,
        Stream, StreamSpec, TimeZone, Timestamp, Watermark, record_schema, register,
    };
}
