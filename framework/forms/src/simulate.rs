//! Shows the author of a form the result of a probe without a request.
//!
//! The messages of the first checks are those of every probe. Each connector words the checks of credentials itself;
//! the messages here are similar.

use std::time::Duration;

use headwater_core::{
    Allowance, Check, Failure, Field, FieldKind, FormModel, Kind, ProbeReport, Target,
    TransportError,
};
use serde_json::Value;
use url::Url;

const LATENCY: Duration = Duration::from_millis(240);

/// How a probe can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeClass {
    /// All checks passed.
    Working,
    /// The service does not accept the credentials.
    Unauthenticated,
    /// The credentials are valid but may read nothing.
    PermissionDenied,
    /// The credentials may read some streams.
    PartlyDenied,
    /// The address answers, but the path does not exist.
    WrongPath,
    /// The address belongs to another service.
    NotThisApi,
    /// The address redirects to another origin.
    Redirected,
    /// The operator does not permit the address.
    NotAllowed,
    /// The host name does not resolve.
    NameUnknown,
    /// The host does not accept connections.
    Refused,
    /// The host does not answer.
    Timeout,
    /// The connection broke off.
    Interrupted,
    /// The certificate is not trusted.
    Tls,
    /// The service asks to wait.
    Throttled,
    /// The service has a problem.
    ServiceProblem,
    /// The source has no probe.
    NoTest,
    /// The saved secrets cannot be opened, so no request is sent.
    Unreadable,
}

impl ProbeClass {
    /// All classes.
    pub const ALL: [Self; 17] = [
        Self::Working,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::PartlyDenied,
        Self::WrongPath,
        Self::NotThisApi,
        Self::Redirected,
        Self::NotAllowed,
        Self::NameUnknown,
        Self::Refused,
        Self::Timeout,
        Self::Interrupted,
        Self::Tls,
        Self::Throttled,
        Self::ServiceProblem,
        Self::NoTest,
        Self::Unreadable,
    ];

    /// Returns a stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::PartlyDenied => "partly_denied",
            Self::WrongPath => "wrong_path",
            Self::NotThisApi => "not_this_api",
            Self::Redirected => "redirected",
            Self::NotAllowed => "not_allowed",
            Self::NameUnknown => "name_unknown",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Tls => "tls",
            Self::Throttled => "throttled",
            Self::ServiceProblem => "service_problem",
            Self::NoTest => "no_test",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Returns the report of a probe of this answer with this result. Sends no request.
pub fn simulate(
    form: &FormModel,
    answer: &Value,
    streams: &[&str],
    class: ProbeClass,
) -> ProbeReport {
    let inputs = form.inputs();
    let destination = inputs.iter().find(|field| field.destination);
    let default = destination.and_then(|field| field.default.as_ref()?.as_str());
    let url = default.and_then(|text| Url::parse(text).ok());
    let target = Target {
        service: &form.title,
        host: url
            .as_ref()
            .and_then(Url::host_str)
            .unwrap_or("api.example.com"),
        is_https: true,
        address: destination.map_or("", |field| &field.pointer),
    };
    let names: Vec<String> = streams
        .iter()
        .map(|name| format!("access:{name}"))
        .collect();
    let with_access = |mut checks: Vec<Check>, last: Check| {
        checks.push(last);
        checks.extend(names.iter().map(Check::skipped));
        ProbeReport::from(checks)
    };
    let unreachable = |failure, detail: &str| {
        let failed = TransportError {
            failure,
            before_send: true,
            detail: detail.to_owned(),
        };
        with_access(
            target.unreachable(&failed, LATENCY),
            Check::skipped("credentials"),
        )
    };
    let elsewhere = |check: Check| {
        let mut checks = target.reached(LATENCY);
        checks.push(check.took(LATENCY));
        with_access(checks, Check::skipped("credentials"))
    };
    let reached = |credentials: Check| {
        let mut checks = target.reached(LATENCY);
        checks.push(target.right_service());
        (checks, credentials.took(LATENCY))
    };
    let service = &form.title;
    match class {
        ProbeClass::Working | ProbeClass::PartlyDenied => {
            let accepted = format!("{service} accepted these credentials");
            let (mut checks, credentials) = reached(Check::passed("credentials", accepted));
            checks.push(credentials);
            let is_partly = class == ProbeClass::PartlyDenied;
            checks.extend(streams.iter().enumerate().map(|(number, stream)| {
                match is_partly && number == 0 {
                    true => denied(stream),
                    false => granted(stream),
                }
            }));
            ProbeReport {
                allowances: vec![allowance()],
                ..ProbeReport::from(checks)
            }
        }
        ProbeClass::Unauthenticated => {
            let (checks, check) = reached(unauthenticated(service, &secrets(&form.fields, answer)));
            with_access(checks, check)
        }
        ProbeClass::PermissionDenied => {
            let text = format!(
                "{service} accepted these credentials, but they may read nothing (status 403)"
            );
            let check = Check::failed("credentials", Kind::PermissionDenied, "forbidden", text);
            let remedy = format!("ask an administrator of {service} to allow access to the API");
            let (checks, check) = reached(check.remedy(remedy));
            with_access(checks, check)
        }
        ProbeClass::WrongPath => elsewhere(target.wrong_path()),
        ProbeClass::NotThisApi => elsewhere(target.web_page(200)),
        ProbeClass::Redirected => elsewhere(target.redirected("https://login.example.com")),
        ProbeClass::NotAllowed => unreachable(
            Failure::NotAllowed,
            "this installation does not permit the address",
        ),
        ProbeClass::NameUnknown => unreachable(Failure::NameUnknown, ""),
        ProbeClass::Refused => unreachable(Failure::Refused, ""),
        ProbeClass::Timeout => unreachable(Failure::Timeout, ""),
        ProbeClass::Interrupted => unreachable(Failure::Interrupted, ""),
        ProbeClass::Tls => unreachable(Failure::Tls, "the certificate has expired"),
        ProbeClass::Throttled => {
            let wait = Duration::from_secs(60);
            with_access(
                target.reached(LATENCY),
                target.throttled("credentials", wait),
            )
        }
        ProbeClass::ServiceProblem => with_access(
            target.reached(LATENCY),
            target.service_problem("credentials", 503),
        ),
        ProbeClass::NoTest | ProbeClass::Unreadable => ProbeReport::default(),
    }
}

/// Returns the secret fields of an answer: of alternatives those of the chosen one, else of the first.
fn secrets<'a>(fields: &'a [Field], answer: &Value) -> Vec<&'a Field> {
    let inside = |field: &'a Field| match &field.kind {
        FieldKind::Secret => vec![field],
        FieldKind::Group { fields } => secrets(fields, answer),
        FieldKind::OneOf { tag, branches } => {
            let chosen = answer.pointer(&field.pointer).and_then(|one| one.get(tag));
            let branch = branches.iter().find(|branch| chosen == Some(&branch.value));
            let branch = branch.or(branches.first());
            branch.map_or_else(Vec::new, |branch| secrets(&branch.fields, answer))
        }
        _ => Vec::new(),
    };
    fields.iter().flat_map(inside).collect()
}

fn unauthenticated(service: &str, secrets: &[&Field]) -> Check {
    let text = format!("{service} did not accept these credentials");
    let hints: Vec<&str> = secrets
        .iter()
        .filter_map(|field| field.help.as_deref())
        .collect();
    let remedy = match hints.first() {
        Some(hint) => {
            format!("copy them again without spaces ({hint}); replace revoked credentials")
        }
        None => "copy them again without spaces; replace revoked credentials".to_owned(),
    };
    Check {
        pointers: secrets.iter().map(|field| field.pointer.clone()).collect(),
        ..Check::failed(
            "credentials",
            Kind::Unauthenticated,
            "unauthenticated",
            text,
        )
    }
    .remedy(remedy)
}

fn granted(stream: &str) -> Check {
    let text = format!("{stream} can be read");
    Check::passed(format!("access:{stream}"), text).took(LATENCY)
}

fn denied(stream: &str) -> Check {
    let text = format!("these credentials may not read {stream} (status 403)");
    let name = format!("access:{stream}");
    Check::warned(name, Kind::PermissionDenied, "permission_denied", text)
        .remedy(format!(
            "leave {stream} out, or ask an administrator to allow it"
        ))
        .took(LATENCY)
}

fn allowance() -> Allowance {
    Allowance {
        name: "requests".into(),
        title: "requests today".into(),
        limit: 1000.0,
        used: 240.0,
        resets_at: None,
        counts_jobs: false,
    }
}
