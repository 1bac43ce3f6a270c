//! Metrics for the operator, in the text format of Prometheus.

use std::sync::atomic::AtomicU64;

use http::Method;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The labels of an answered request. The route is the pattern, so that labels contain no name of a connection, and the
/// method is one of a few, since any invented value would be kept for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u32,
}

/// The label of an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    connector: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectorLabel {
    connector: &'static str,
}

/// The metrics of a service.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    probes: Family<OutcomeLabels, Counter>,
    probe_seconds: Histogram,
    syncs: Family<OutcomeLabels, Counter>,
    records: Family<ConnectorLabel, Counter<u64, AtomicU64>>,
    /// Syncs under way.
    pub running: Gauge,
    /// Open connections.
    pub open: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("headwater");
        let (requests, probes, syncs) = (Family::default(), Family::default(), Family::default());
        let (records, running, open) = (Family::default(), Gauge::default(), Gauge::default());
        let probe_seconds = Histogram::new(exponential_buckets(0.05, 2.0, 10));
        registry.register(
            "http_requests",
            "Answered requests",
            Family::clone(&requests),
        );
        registry.register("probes", "Probes by how they ended", Family::clone(&probes));
        registry.register(
            "probe_seconds",
            "How long probes took",
            probe_seconds.clone(),
        );
        registry.register("syncs", "Syncs by how they ended", Family::clone(&syncs));
        registry.register("sync_records", "Records written", Family::clone(&records));
        registry.register("syncs_running", "Syncs under way", Gauge::clone(&running));
        registry.register("http_connections", "Open connections", Gauge::clone(&open));
        Self {
            registry,
            requests,
            probes,
            probe_seconds,
            syncs,
            records,
            running,
            open,
        }
    }

    pub(crate) fn request(&self, method: &Method, route: &str, status: u16) {
        let labels = RequestLabels {
            method: known(method),
            route: route.to_owned(),
            status: status.into(),
        };
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn probe(&self, connector: &'static str, outcome: &'static str, seconds: f64) {
        self.probes
            .get_or_create(&OutcomeLabels { connector, outcome })
            .inc();
        self.probe_seconds.observe(seconds);
    }

    pub(crate) fn sync(&self, connector: &'static str, outcome: &'static str, records: u64) {
        self.syncs
            .get_or_create(&OutcomeLabels { connector, outcome })
            .inc();
        self.records
            .get_or_create(&ConnectorLabel { connector })
            .inc_by(records);
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
