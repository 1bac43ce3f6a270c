//! Tests the credentials, the access to each stream, the plan and the health of the data sources.

use headwater::{
    ConfigPatch,
    http::{Access, Client, Prober, Records, Request, StreamAccess},
    prelude::*,
};

use crate::{
    Claribi, Identity, KeyStyle, SERVICE,
    account::Account,
    freshness::{self, Sources},
    list::{self, List},
    login::{Answer, Login, SECOND_FACTOR, WITHOUT_SECOND_FACTOR},
    streams::{DASHBOARDS, DATA_SOURCES, REPORTS, STATUS, USAGE},
    usage,
};

const ADDRESS: &str = "/base_url";
const WHERE: &str = "Settings > Developer";
/// The body stays unread until its sender is known.
const OBJECT: Records = Records::One("");

/// The data sources, if the probe already had to read them; or the check that ends the probe.
type SourcesOrCheck = Result<Option<Sources>, Box<Check>>;

/// Requests the account first, the cheapest request that needs credentials; then the plan, then each list.
pub(crate) async fn probe(source: &Claribi, probe: &mut Probe) {
    let prober = prober(&source.client);
    let credentials = match &source.identity {
        Identity::Key { style, others } => by_key(&prober, *style, others, probe).await,
        Identity::User(login) => by_login(&prober, login, probe).await,
    };
    let sources = match credentials {
        Ok(sources) => sources,
        Err(last) => return end(probe, *last),
    };
    plan(&prober, probe).await;
    let sources = match sources {
        Some(sources) => sources,
        None => data_sources(&prober).await,
    };
    probe.push(access("data_sources", &sources.result));
    for (stream, path) in [("reports", REPORTS), ("dashboards", DASHBOARDS)] {
        let request = List::new(prober.client, path).peek();
        let result = prober.access(stream, &request, list::RECORDS).await;
        probe.push(access(stream, &result));
    }
    probe.push(sources.check(source.stale_after));
}

fn prober(client: &Client) -> Prober<'_> {
    Prober {
        client,
        address: ADDRESS,
    }
}

fn status() -> Request {
    Request::get(STATUS)
}

async fn data_sources(prober: &Prober<'_>) -> Sources {
    freshness::read(prober, &List::new(prober.client, DATA_SOURCES)).await
}

/// Tests a key. Returns the data sources if it had to read them.
async fn by_key(
    prober: &Prober<'_>,
    style: KeyStyle,
    others: &[(KeyStyle, Client)],
    probe: &mut Probe,
) -> SourcesOrCheck {
    let first = prober.first(&status(), OBJECT).await;
    let latency = first.latency;
    let is_denied = first.access == Access::Denied;
    let body = first.response.map(|response| response.body);
    let account = body.as_deref().and_then(Account::read);
    let is_claribi = first.access != Access::Granted || account.is_some();
    take(probe, first.checks, is_claribi);
    match first.access {
        Access::Granted => {
            let Some(account) = account else {
                return Err(Box::new(not_this_api().took(latency)));
            };
            probe.push(account.accepted("API key").took(latency));
            probe.push(granted("account_status").took(latency));
            return Ok(None);
        }
        Access::Unknown(check) => return Err(check),
        Access::Unauthenticated | Access::Denied => {}
    }
    for (other, client) in others {
        if accepts_key(client).await {
            probe.patch = Some(ConfigPatch {
                message: format!("clariBI accepts this key in the {} header", other.header()),
                set: [("/auth/style".into(), other.tag().into())].into(),
            });
            return Err(Box::new(wrong_header(style, *other).took(latency)));
        }
    }
    if !is_denied {
        let text = "clariBI does not accept this API key (status 401)";
        let check = Check::failed("credentials", Kind::Unauthenticated, "unauthenticated", text)
            .at(["/auth/api_key"])
            .remedy(format!(
                "copy the whole key again from {WHERE}; if it expired or was revoked, create a new key there"
            ));
        return Err(Box::new(check.took(latency)));
    }
    // A 403 may concern the account alone: a list decides.
    let sources = data_sources(prober).await;
    if sources.result.access != Access::Granted {
        let text = "clariBI refuses this API key for the account and for data sources (status 403)";
        let check = Check::failed("credentials", Kind::PermissionDenied, "forbidden", text)
            .at(["/auth/api_key"])
            .remedy(format!(
                "check in {WHERE} that the key may read; ask an administrator whether the plan and the role of the key's \
                 creator include access to the API"
            ));
        return Err(Box::new(check.took(latency)));
    }
    let text = "clariBI accepted the API key";
    probe.push(Check::passed("credentials", text).took(sources.result.latency));
    probe.push(denied("account_status").took(latency));
    Ok(Some(sources))
}

/// Tries the key in another header, only after a refusal and only at the same address.
async fn accepts_key(client: &Client) -> bool {
    let result = prober(client)
        .access("account_status", &status(), OBJECT)
        .await;
    let body = result.response.map(|response| response.body);
    result.access == Access::Granted && body.as_deref().and_then(Account::read).is_some()
}

/// Tests an e-mail address and a password.
async fn by_login(prober: &Prober<'_>, login: &Login, probe: &mut Probe) -> SourcesOrCheck {
    let login_prober = self::prober(login.client());
    let first = login_prober.first(&login.request(), OBJECT).await;
    let latency = first.latency;
    let answer = first
        .response
        .map_or(Answer::Other, |response| Answer::read(&response.body));
    let is_claribi = first.access != Access::Granted || !matches!(answer, Answer::Other);
    take(probe, first.checks, is_claribi);
    match first.access {
        Access::Granted => {}
        Access::Unknown(check) => return Err(check),
        Access::Unauthenticated | Access::Denied => {
            let text = "clariBI does not accept this e-mail address and password";
            let check =
                Check::failed("credentials", Kind::Unauthenticated, "unauthenticated", text)
                    .at(["/auth/email", "/auth/password"])
                    .remedy("enter both again; if you log in through another service, create an API key instead");
            return Err(Box::new(check.took(latency)));
        }
    }
    match answer {
        Answer::Granted(_) => {}
        Answer::SecondFactor => {
            let check = Check::failed(
                "credentials",
                Kind::Unauthenticated,
                "mfa_required",
                SECOND_FACTOR,
            )
            .at(["/auth/style"])
            .remedy(WITHOUT_SECOND_FACTOR);
            return Err(Box::new(check.took(latency)));
        }
        Answer::Other => return Err(Box::new(not_this_api().took(latency))),
    }
    let result = prober.access("account_status", &status(), OBJECT).await;
    let body = result.response.as_ref().map(|response| &response.body);
    let account = body.and_then(|body| Account::read(body));
    probe.push(match account {
        Some(account) => account.accepted("login"),
        None => Check::passed("credentials", "clariBI accepted the login"),
    });
    probe.push(access("account_status", &result));
    Ok(None)
}

/// Checks the use of the plan.
async fn plan(prober: &Prober<'_>, probe: &mut Probe) {
    let result = prober
        .access("billing_usage", &Request::get(USAGE), OBJECT)
        .await;
    let mut check = access("billing_usage", &result);
    if let (Access::Granted, Some(response)) = (&result.access, &result.response) {
        let fields = usage::fields(&response.body);
        probe.allowances = usage::allowances(&fields);
        check = usage::with_facts(check, &fields);
    }
    probe.push(check);
}

/// Returns the check of a request for the records of a stream.
fn access(stream: &str, result: &StreamAccess) -> Check {
    let check = match &result.access {
        Access::Granted => granted(stream),
        Access::Denied | Access::Unauthenticated => denied(stream),
        Access::Unknown(check) => Check {
            name: format!("access:{stream}"),
            ..(**check).clone()
        },
    };
    check.took(result.latency)
}

fn granted(stream: &str) -> Check {
    Check::passed(format!("access:{stream}"), format!("{stream} can be read"))
}

fn denied(stream: &str) -> Check {
    Check::warned(
        format!("access:{stream}"),
        Kind::PermissionDenied,
        "permission_denied",
        format!("these credentials may not read {stream} (status 403)"),
    )
    .remedy(format!(
        "leave {stream} out, or ask an administrator to allow it for the person or the key"
    ))
}

fn wrong_header(style: KeyStyle, other: KeyStyle) -> Check {
    let (sent, accepted) = (style.header(), other.header());
    let text =
        format!("clariBI does not accept this API key in the {sent} header, but in {accepted}");
    Check::failed("credentials", Kind::Unauthenticated, "wrong_header", text)
        .at(["/auth/style"])
        .remedy(format!(
            "choose {} as the authentication style",
            other.tag()
        ))
}

fn not_this_api() -> Check {
    let text = format!("the address does not answer like the {SERVICE} API");
    Check::failed("api", Kind::DataInvalid, "not_this_api", text)
        .at([ADDRESS])
        .remedy("check the address; the form's default is the usual address")
}

/// Adds the checks of the first request, which looked like clariBI. If its body is another one, the check that ends the
/// probe reports it.
fn take(probe: &mut Probe, checks: Vec<Check>, is_claribi: bool) {
    let is_valid = |check: &Check| is_claribi || check.name != "api";
    probe.extend(checks.into_iter().filter(is_valid));
}

/// Adds the check that ends the probe and skips the remaining checks.
fn end(probe: &mut Probe, last: Check) {
    let is_about_api = last.name == "api";
    probe.push(last);
    if is_about_api {
        probe.push(Check::skipped("credentials"));
    }
    let streams = [
        "account_status",
        "billing_usage",
        "data_sources",
        "reports",
        "dashboards",
    ];
    probe.extend(streams.map(|stream| Check::skipped(format!("access:{stream}"))));
    probe.push(Check::skipped(freshness::NAME));
}
