//! Tests the key, its header and the access to each stream.

use std::time::Duration;

use headwater::{
    ConfigPatch,
    http::{Access, Client, Prober, Records, Request, Response, StreamAccess, Verdict},
    prelude::*,
};
use serde_json::{Value, json};

use crate::{
    AuthProfile, Config, audit,
    jobs::{self, code},
    limits::{self, Limits},
    opportunities,
    profiles::{Profile, Profiles},
};

const KEY: &str = "/api_key";
const ADDRESS: &str = "/base_url";
const PROFILE: &str = "/auth_profile";
const WHERE: &str = "your profile > Settings > API tokens";
const LIMITS: Records = Records::One(limits::RECORD);
/// The lists in the document of a current week.
const ENTRIES: Records = Records::Lists(&["/entries"]);

/// Requests the limits with each profile until Clari accepts one, then one light page of each stream.
pub(crate) async fn probe(profiles: &Profiles, config: &Config, probe: &mut Probe) {
    let mut tried = Vec::new();
    for profile in &profiles.candidates {
        let prober = Prober {
            client: &profile.client,
            address: ADDRESS,
        };
        let first = prober.first(&Request::get(limits::PATH), LIMITS).await;
        if first.access == Access::Granted {
            return accepted(profiles, profile, config, first, None, probe).await;
        }
        if let Some(hidden) = hidden(&first) {
            // The list of jobs still shows that the key works.
            let jobs = prober
                .first(&Request::get("/export/jobs"), jobs::JOBS)
                .await;
            if jobs.access == Access::Granted {
                return accepted(profiles, profile, config, jobs, Some(hidden), probe).await;
            }
        }
        let may_differ = first
            .response
            .as_ref()
            .is_some_and(|response| matches!(response.status.as_u16(), 401 | 403 | 404));
        tried.push((profile, first));
        if !may_differ {
            break;
        }
    }
    refused(profiles, tried, probe);
}

/// Returns the status of a response that may concern the limits alone: the user may not see them, or this account's API
/// has no limits.
fn hidden(first: &Verdict) -> Option<u16> {
    let is_no_route = || first.checks.iter().any(|check| check.code == "wrong_path");
    let response = first.response.as_ref()?;
    (first.access == Access::Denied || is_no_route()).then(|| status(response))
}

/// Reports an accepted key. `first` is the response with the limits, unless those are hidden.
async fn accepted(
    profiles: &Profiles,
    profile: &Profile,
    config: &Config,
    first: Verdict,
    hidden: Option<u16>,
    probe: &mut Probe,
) {
    probe.extend(first.checks);
    let text = format!("Clari accepts this key in {}", profile.describe());
    probe.push(Check::passed("credentials", text.clone()).took(first.latency));
    if profiles.is_automatic {
        let base = profile.client.base();
        let mut patch = ConfigPatch {
            message: text,
            set: [(PROFILE.into(), json!(profile.name))].into(),
        };
        if *base != config.base_url {
            patch
                .set
                .insert(ADDRESS.into(), Value::from(base.to_string()));
        }
        probe.patch = Some(patch);
    }
    match (hidden, first.response) {
        (None, Some(response)) => match Limits::parse(&profile.client, &response.body) {
            Ok(limits) => {
                probe.push(budget(&limits).took(first.latency));
                probe.allowances = limits.allowances(None);
            }
            Err(error) => {
                let check =
                    Check::warned("access:limits", error.kind(), "unreadable", error.message());
                probe.push(check);
            }
        },
        (hidden, _) => probe.push(denied("limits", hidden.unwrap_or_default(), first.latency)),
    }
    streams(&profile.client, config, probe).await;
}

fn budget(limits: &Limits) -> Check {
    let (at_once, month) = (
        limits.available_concurrent_limit,
        limits.available_monthly_quota,
    );
    let text = format!("{month} export jobs left this month, up to {at_once} at a time");
    if month > 0 {
        return Check::passed("access:limits", text);
    }
    Check::warned("access:limits", Kind::QuotaExhausted, "quota_used_up", text).remedy(
        "read the current week only, which costs no job; otherwise wait, or ask Clari for a higher quota",
    )
}

/// Adds one check per stream that a request without costs can test.
async fn streams(client: &Client, config: &Config, probe: &mut Probe) {
    let prober = Prober {
        client,
        address: ADDRESS,
    };
    if config.forecast_ids.is_empty() {
        probe.push(Check::unknown(
            "access:forecast_entries",
            "no forecast ids set; take them from the address of a Forecast Tab",
        ));
    }
    for id in &config.forecast_ids {
        let request = Request::get(format!("/forecast/{id}"));
        let name = format!("forecast_entries:{id}");
        let result = prober.access(&name, &request, ENTRIES).await;
        probe.push(forecast(id, &name, result));
    }
    probe.push(Check::unknown(
        "access:activities",
        "not tested: it would use an export job",
    ));
    match config.opportunity_ids.first() {
        Some(id) => {
            let request = opportunities::request(std::slice::from_ref(id));
            let result = prober
                .access("opportunities", &request, opportunities::records())
                .await;
            probe.push(list("opportunities", result));
        }
        None => probe.push(Check::unknown(
            "access:opportunities",
            "not tested: Clari returns opportunities by id only",
        )),
    }
    let events = Request::get("/audit/events").query("limit", 1);
    let result = prober.access("audit_events", &events, audit::EVENTS).await;
    probe.push(list("audit_events", result));
    let jobs = Request::get("/export/jobs");
    let result = prober.access("export_jobs", &jobs, jobs::JOBS).await;
    probe.push(list("export_jobs", result));
}

fn forecast(id: &str, name: &str, result: StreamAccess) -> Check {
    let code = result.response.as_ref().map(code).unwrap_or_default();
    let status = result.response.as_ref().map_or(0, status);
    let name = format!("access:{name}");
    let check = match (status, code.as_str()) {
        (401, "no_optin") => Check::warned(
            name,
            Kind::PermissionDenied,
            "no_optin",
            format!("the key is valid, but its user is not opted in to the forecast {id}"),
        )
        .at(["/forecast_ids"])
        .remedy("opt the user in at Clari, at the top of the hierarchy, or leave out the forecast"),
        (404, _) | (400, "no_such_forecast_config") => Check::warned(
            name,
            Kind::NotFound,
            "no_such_forecast",
            format!("Clari has no forecast {id}"),
        )
        .at(["/forecast_ids"])
        .remedy("take the id from the address of its Forecast Tab, app.clari.com/forecast/ID"),
        _ => return list_named(&name, &format!("the forecast {id}"), result),
    };
    check.took(result.latency)
}

fn list(stream: &str, result: StreamAccess) -> Check {
    list_named(&format!("access:{stream}"), stream, result)
}

fn list_named(name: &str, what: &str, result: StreamAccess) -> Check {
    let latency = result.latency;
    match result.access {
        Access::Granted => Check::passed(name, format!("{what} can be read")).took(latency),
        Access::Denied | Access::Unauthenticated => {
            let status = result.response.as_ref().map_or(403, status);
            Check {
                name: name.to_owned(),
                ..denied(what, status, latency)
            }
        }
        Access::Unknown(check) => Check {
            name: name.to_owned(),
            outcome: headwater::Outcome::Warned,
            ..check.took(latency)
        },
    }
}

fn denied(stream: &str, status: u16, latency: Duration) -> Check {
    let text = format!("the key's user may not read {stream} (status {status})");
    Check::warned(
        format!("access:{stream}"),
        Kind::PermissionDenied,
        "permission_denied",
        text,
    )
    .remedy(format!(
        "leave {stream} out, or ask your Clari admin to allow it for the key's user"
    ))
    .took(latency)
}

fn status(response: &Response) -> u16 {
    response.status.as_u16()
}

/// Reports that no profile works: the checks of the first one, with the responses of the others.
fn refused(profiles: &Profiles, tried: Vec<(&Profile, Verdict)>, probe: &mut Probe) {
    let answers: Vec<String> = tried
        .iter()
        .map(|(profile, verdict)| {
            let answer = match &verdict.response {
                Some(response) => format!("status {}", status(response)),
                None => "no answer".to_owned(),
            };
            format!("{} ({answer})", profile.describe())
        })
        .collect();
    // A 401 or 403 is more useful than a 404: it proves the address.
    let clearest = tried
        .iter()
        .position(|(_, verdict)| !matches!(verdict.access, Access::Unknown(_)))
        .unwrap_or(0);
    let Some((profile, verdict)) = tried.into_iter().nth(clearest) else {
        return;
    };
    let mut checks: Vec<Check> = verdict.checks.into_iter().map(explain).collect();
    let attempts = answers.join(" and ");
    let check = match verdict.access {
        Access::Unauthenticated => {
            let text = format!("Clari did not accept this API key: tried {attempts}");
            let mut remedy = format!(
                "create a new token under {WHERE} and copy it without spaces; a token stops working when it is revoked or its \
                 user is deactivated"
            );
            if !profiles.is_automatic {
                remedy.push_str(
                    ", or set Authentication to automatic to try the other header as well",
                );
            }
            let fields: &[&str] = if profiles.is_automatic {
                &[KEY]
            } else {
                &[KEY, PROFILE]
            };
            let mut check = Check::failed(
                "credentials",
                Kind::Unauthenticated,
                "unauthenticated",
                text,
            )
            .remedy(remedy);
            check.pointers = fields.iter().map(|&field| field.to_owned()).collect();
            check.took(verdict.latency)
        }
        Access::Denied => {
            let text =
                format!("Clari accepted this key, but it may read nothing: tried {attempts}");
            Check::failed("credentials", Kind::PermissionDenied, "forbidden", text)
                .at([KEY])
                .remedy("ask your Clari admin to give the token's user access to the API, or use another user's token")
                .took(verdict.latency)
        }
        Access::Granted => Check::skipped("credentials"),
        Access::Unknown(check) => explain(*check),
    };
    checks.push(check);
    for check in &mut checks {
        if check.code == "wrong_path" {
            check.message =
                format!("the address answers, but has no Clari API at this path: tried {attempts}");
            check.remedy = Some(wrong_version(profile.name));
        }
    }
    let names = [
        "limits",
        "forecast_entries",
        "activities",
        "opportunities",
        "audit_events",
        "export_jobs",
    ];
    probe.extend(checks);
    probe.extend(names.map(|stream| Check::skipped(format!("access:{stream}"))));
}

fn wrong_version(profile: AuthProfile) -> String {
    let usual = match profile {
        AuthProfile::Bearer => "https://api.clari.com/v1",
        AuthProfile::Apikey | AuthProfile::Automatic => "https://api.clari.com/v4",
    };
    format!("correct the address and its version; the usual address is {usual}")
}

/// Adds Clari's likely reason for a refused connection.
fn explain(check: Check) -> Check {
    match &*check.code {
        "refused" | "timeout" | "interrupted" => check.remedy(
            "check the address; Clari may restrict access to listed addresses: ask your Clari admin to add this machine's \
             address to the allow-list",
        ),
        _ => check,
    }
}
