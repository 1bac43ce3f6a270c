//! Tests the credentials and the access to each stream.

use headwater::{
    http::{Access, Client, Prober, Records, Request},
    prelude::*,
};

use crate::streams::{CALLS, SCORECARDS, TEMPLATES, TOPICS, USERS};

const PAIR: [&str; 2] = ["/api_key", "/api_password"];
const WHERE: &str = "Workspace Settings > Integrations > Copilot API";

/// Sends one light request per list. `/users` is first: it is the vendor's own example of a first call.
pub(crate) async fn probe(client: &Client, probe: &mut Probe) {
    let prober = Prober {
        client,
        address: "/base_url",
    };
    let first = prober.first(&Request::get("/users"), USERS).await;
    probe.extend(first.checks);
    let mut lists = lists();
    match first.access {
        Access::Granted => {
            probe.push(
                Check::passed("credentials", "Clari Copilot accepted the key pair")
                    .took(first.latency),
            );
            probe.push(granted("users").took(first.latency));
        }
        Access::Unauthenticated => {
            let text = "Clari Copilot did not accept this API key and password";
            probe.push(
                Check::failed("credentials", Kind::Unauthenticated, "unauthenticated", text)
                    .at(PAIR)
                    .remedy(format!("copy both again from {WHERE}; if the pair was regenerated, only the new one works"))
                    .took(first.latency),
            );
            return skip_rest(probe);
        }
        // A gateway answers 403 to a wrong pair and to a missing permission: a second list distinguishes them.
        Access::Denied => {
            let calls = lists.remove(0);
            let result = prober
                .access(calls.stream, &calls.request, calls.records)
                .await;
            let (access, latency) = (result.access, result.latency);
            if access != Access::Granted {
                let text =
                    "Clari Copilot refuses this key pair for users and for calls (status 403)";
                probe.push(
                    Check::failed("credentials", Kind::PermissionDenied, "forbidden", text)
                        .at(PAIR)
                        .remedy(format!(
                            "copy both again from {WHERE}; if they are right, ask an admin whether API access is enabled"
                        ))
                        .took(latency),
                );
                return skip_rest(probe);
            }
            probe.push(
                Check::passed("credentials", "Clari Copilot accepted the key pair").took(latency),
            );
            probe.push(denied("users").took(first.latency));
            probe.push(granted("calls").took(latency));
        }
        Access::Unknown(check) => {
            probe.push(*check);
            return skip_rest(probe);
        }
    }
    for list in lists {
        let result = prober
            .access(list.stream, &list.request, list.records)
            .await;
        let check = match result.access {
            Access::Granted => granted(list.stream),
            Access::Denied | Access::Unauthenticated => denied(list.stream),
            Access::Unknown(check) => Check {
                name: format!("access:{}", list.stream),
                ..*check
            },
        };
        probe.push(check.took(result.latency));
    }
}

struct List {
    stream: &'static str,
    request: Request,
    records: Records,
}

/// Returns the lists other than users. Details and CRM objects need an id and come with the calls.
fn lists() -> Vec<List> {
    let calls = Request::get("/calls")
        .query("limit", 1)
        .query("includePagination", false);
    vec![
        List {
            stream: "calls",
            request: calls,
            records: CALLS,
        },
        List {
            stream: "topics",
            request: Request::get("/v2/topics"),
            records: TOPICS,
        },
        List {
            stream: "scorecards",
            request: Request::get("/scorecard").query("limit", 1),
            records: SCORECARDS,
        },
        List {
            stream: "scorecard_templates",
            request: Request::get("/scorecard-template"),
            records: TEMPLATES,
        },
    ]
}

fn granted(stream: &str) -> Check {
    Check::passed(format!("access:{stream}"), format!("{stream} can be read"))
}

fn denied(stream: &str) -> Check {
    let text = format!("the key pair may not read {stream} (status 403)");
    Check::warned(
        format!("access:{stream}"),
        Kind::PermissionDenied,
        "permission_denied",
        text,
    )
    .remedy(format!(
        "leave {stream} out, or ask an admin of the workspace to allow it for the API"
    ))
}

fn skip_rest(probe: &mut Probe) {
    let streams = [
        "users",
        "calls",
        "topics",
        "scorecards",
        "scorecard_templates",
    ];
    probe.extend(streams.map(|stream| Check::skipped(format!("access:{stream}"))));
}
