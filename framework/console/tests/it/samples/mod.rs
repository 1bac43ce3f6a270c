//! Every page of the console in its main states, with made-up content.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use headwater_console::{
    Access, Age, Authenticate, Author, Change, ConnectionDetail, ConnectionList, CredentialForm,
    Expiry, Frame, Frequency, Gallery, Login, Messages, Page, Preview, ProbeResult, Problem,
    Purpose, RunList, RunRow, RunState, RunView, Sample, SavedSecret, Schedule, ScheduleChange,
    Source, SourceTile, Status, StreamChoice, StreamProgress, StreamRow, Theme, Tile, Use,
    authenticate, author, connection, connections, credential, gallery, login, preview, problem,
    run, runs, streams,
};
use headwater_core::{
    Allowance, Check, ConfigPatch, FieldError, FormModel, GuideStep, Kind, Notice, Outcome,
    ProbeReport, Timestamp,
};
use headwater_forms::{Finding, ProbeClass, simulate};
use serde_json::{Value, json};

const GUIDE: &[GuideStep] = &[
    GuideStep {
        title: "Choose the user",
        text: "A token has the rights of its user and stops working when that user is deactivated. Choose a user who may read \
               the data, ideally a service user.",
    },
    GuideStep {
        title: "Create a token",
        text: "Open your profile > Settings > API tokens, generate a new token and copy it into the form. It is shown \
               only once.",
    },
    GuideStep {
        title: "Note the ids",
        text: "Open each tab that you want to read. Its id is the last part of the address.",
    },
    GuideStep {
        title: "Choose the account",
        text: "An account with a second factor cannot be used, because the connector cannot enter the code.",
    },
];

pub fn form(id: &str, title: &str) -> FormModel {
    // The tests of the whole show these pages too, from another folder.
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let path = folders.find_map(|folder| {
        let path = folder.join(format!("schemas/{id}/form.json"));
        path.exists().then_some(path)
    });
    let schema: Value = serde_json::from_str(&fs::read_to_string(path.unwrap()).unwrap()).unwrap();
    FormModel::from_schema(title, GUIDE, &schema).unwrap()
}

pub fn source(id: &str, name: &str, summary: &str) -> Source {
    Source {
        id: id.to_owned(),
        name: name.to_owned(),
        summary: summary.to_owned(),
        docs: "https://example.com/docs".to_owned(),
    }
}

pub fn revenue() -> Source {
    source(
        "clari-revenue",
        "Clari Revenue",
        "Reads forecasts by week and quarter, activities, audit events and opportunities.",
    )
}

pub fn copilot() -> Source {
    source(
        "clari-copilot",
        "Clari Copilot",
        "Reads calls, transcripts, summaries, scorecards and linked CRM records.",
    )
}

pub fn claribi() -> Source {
    source(
        "claribi",
        "clariBI",
        "Reads data sources, reports, dashboards, the account and the usage of the plan.",
    )
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn expiry(days: i32) -> Expiry {
    Expiry {
        on: "2026-05-21".parse().unwrap(),
        days,
    }
}

fn tile(name: &str, title: &str, description: &str, status: Status, used_by: usize) -> Tile {
    Tile {
        name: name.to_owned(),
        title: title.to_owned(),
        description: description.to_owned(),
        source_id: "clari-revenue".to_owned(),
        source_name: "Clari Revenue".to_owned(),
        status,
        expiry: (status == Status::Expiring).then(|| expiry(9)),
        checked_at: (status != Status::NotTested).then(|| at("2026-05-12T14:05:00Z")),
        owner: Some("Ana".to_owned()),
        used_by,
    }
}

fn tiles() -> Vec<Tile> {
    vec![
        tile(
            "revenue-emea",
            "Revenue EMEA",
            "Forecasts of the European teams, for the weekly board.",
            Status::Working,
            2,
        ),
        tile("revenue-us", "Revenue US", "", Status::NeedsAttention, 1),
        tile(
            "revenue-trial",
            "Trial account",
            "Kept until the end of the quarter.",
            Status::NotTested,
            0,
        ),
        tile("revenue-uk", "Revenue UK", "", Status::Expiring, 1),
        tile("revenue-old", "Old workspace", "", Status::Unreadable, 0),
    ]
}

fn allowance() -> Allowance {
    Allowance {
        name: "export_jobs".into(),
        title: "export jobs in 30 days".into(),
        limit: 1500.0,
        used: 412.0,
        resets_at: Some(at("2026-06-01T00:00:00Z")),
        counts_jobs: true,
    }
}

pub fn passed() -> ProbeResult {
    let checks = vec![
        Check::passed("reachable", "api.clari.com answered").took(Duration::from_millis(86)),
        Check::passed("tls", "the certificate of api.clari.com is valid"),
        Check::passed("api", "this is the Clari API"),
        Check::passed("credentials", "the key is accepted").took(Duration::from_millis(240)),
        Check::passed("access:forecasts", "can be read"),
    ];
    ProbeResult {
        report: ProbeReport {
            allowances: vec![allowance()],
            ..checks.into()
        },
        at: at("2026-05-12T14:05:00Z"),
        seconds: 1.4,
        request_id: Some("r-7f3a".to_owned()),
    }
}

pub fn offered() -> ProbeResult {
    let mut tested = passed();
    tested.report.checks.push(
        Check::warned(
            "access:audit_events",
            Kind::PermissionDenied,
            "permission_denied",
            "the key may not read audit events",
        )
        .remedy("ask an administrator of Clari for the role Audit Viewer, or leave the stream out"),
    );
    tested.report.patch = Some(ConfigPatch {
        message: "Clari takes this key in the header apikey, under /v4".to_owned(),
        set: BTreeMap::from([
            ("/auth_profile".into(), json!("apikey")),
            ("/base_url".into(), json!("https://api.clari.com/v4")),
        ]),
    });
    tested
}

pub fn failed() -> ProbeResult {
    let checks = vec![
        Check::passed("reachable", "api.clari.com answered").took(Duration::from_millis(86)),
        Check::passed("tls", "the certificate of api.clari.com is valid"),
        Check::passed("api", "this is the Clari API"),
        Check::failed(
            "credentials",
            Kind::Unauthenticated,
            "unauthenticated",
            "Clari did not accept this API key",
        )
        .at(["/api_key"])
        .remedy("create a new token under your profile > Settings > API tokens and copy all of it"),
        Check::skipped("access:forecasts"),
    ];
    ProbeResult {
        report: checks.into(),
        ..passed()
    }
}

pub fn new_form<'a>(source: &'a Source, form: &'a FormModel) -> CredentialForm<'a> {
    CredentialForm {
        purpose: Purpose::Add,
        path: format!("/sources/{}/add", source.id),
        back: format!("/sources/{}", source.id),
        source,
        form,
        connection: None,
        title: format!("{} - Ana", source.name),
        description: String::new(),
        expires: String::new(),
        expires_before: None,
        answer: json!({}),
        saved_answer: Value::Null,
        saved: BTreeMap::new(),
        asked_again: BTreeMap::new(),
        replacing: Default::default(),
        errors: Vec::new(),
        notices: Vec::new(),
        tested: None,
        offers_untested: true,
        may_save_untested: false,
        egress: vec!["203.0.113.7".to_owned(), "203.0.113.8".to_owned()],
    }
}

/// The preview of a form whose test ends like this.
fn authored<'a>(
    source: &'a Source,
    form: &'a FormModel,
    class: Option<ProbeClass>,
    findings: Vec<Finding>,
) -> Author<'a> {
    let report = class.map(|class| simulate(form, &json!({}), &["calls", "users"], class));
    let tested = report.map(|report| ProbeResult {
        report,
        at: at("2026-05-12T14:05:00Z"),
        seconds: 0.2,
        request_id: None,
    });
    Author {
        schema: "{\n  \"type\": \"object\"\n}".to_owned(),
        problem: None,
        connectors: vec![
            (source.id.clone(), source.name.clone()),
            ("other".to_owned(), "Other".to_owned()),
        ],
        connector: source.id.clone(),
        class,
        findings,
        form: Some(CredentialForm {
            path: "/author".to_owned(),
            back: "#author-schema".to_owned(),
            tested,
            ..new_form(source, form)
        }),
        model: "{}".to_owned(),
        file: None,
    }
}

/// One finding that refuses a form and one that does not.
fn findings() -> Vec<Finding> {
    let finding = |pointer: &str, is_refused| Finding {
        pointer: pointer.to_owned(),
        rule: "the form keeps the profile",
        message: "every field has a <b>title</b>".to_owned(),
        remedy: "add a title".to_owned(),
        is_refused,
    };
    vec![finding("/api_key", true), finding("", false)]
}

pub fn saved_form<'a>(
    source: &'a Source,
    form: &'a FormModel,
    config: Value,
    secrets: &[&str],
) -> CredentialForm<'a> {
    let saved = SavedSecret {
        at: at("2026-05-12T14:05:00Z"),
        by: Some("Ana".to_owned()),
        ending: Some("4f2c".to_owned()),
    };
    CredentialForm {
        purpose: Purpose::Edit,
        path: "/connections/revenue-emea/edit".to_owned(),
        back: "/connections/revenue-emea".to_owned(),
        connection: Some(("revenue-emea".to_owned(), "3".to_owned())),
        title: "Revenue EMEA".to_owned(),
        description: "Forecasts of the European teams, for the weekly board.".to_owned(),
        answer: config.clone(),
        saved_answer: config,
        saved: secrets
            .iter()
            .map(|pointer| ((*pointer).to_owned(), saved.clone()))
            .collect(),
        ..new_form(source, form)
    }
}

fn error(pointer: &str, message: &str) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        code: "required".into(),
        message: message.to_owned(),
    }
}

fn row(id: &str, state: RunState, seconds: f64, records: u64) -> RunRow {
    RunRow {
        id: id.to_owned(),
        connection: "revenue-emea".to_owned(),
        title: "Revenue EMEA".to_owned(),
        state,
        started: at("2026-05-12T14:05:00Z"),
        seconds,
        records,
    }
}

fn progress(
    stream: &str,
    state: RunState,
    records: u64,
    expected: Option<u64>,
    message: Option<&str>,
) -> StreamProgress {
    StreamProgress {
        stream: stream.to_owned(),
        state,
        records,
        expected,
        bytes: records * 731,
        requests: records / 100 + 1,
        retries: u64::from(state == RunState::Partial) * 3,
        wait_seconds: records as f64 / 4000.0,
        message: message.map(str::to_owned),
    }
}

fn run_view(state: RunState) -> RunView {
    let is_over = state != RunState::Running;
    let samples = (0..40_u64).map(|n| Sample {
        second: n as f64 * 2.0,
        records: n.min(30) * 1200 + n * n * 3,
        wait_seconds: (n / 6) as f64 * 1.4,
    });
    RunView {
        row: row("s-20260512-1", state, 81.0, 61_482),
        destination: "sqlite:revenue.db".to_owned(),
        streams: vec![
            progress("forecasts", RunState::Complete, 41_200, None, None),
            if is_over {
                progress(
                    "activities",
                    RunState::Partial,
                    20_282,
                    None,
                    Some(
                        "one window is quarantined: the service answered with a page that is not JSON",
                    ),
                )
            } else {
                progress(
                    "activities",
                    RunState::Running,
                    20_282,
                    Some(48_000),
                    Some("waits for the limit of the service"),
                )
            },
            progress(
                "audit_events",
                if is_over {
                    RunState::Failed
                } else {
                    RunState::Waiting
                },
                0,
                None,
                is_over.then_some("the key may not read audit events"),
            ),
        ],
        samples: samples.collect(),
        message: is_over
            .then(|| "Two of three streams are complete; the next run reads the rest.".to_owned()),
    }
}

fn detail<'a>(source: &'a Source, form: &'a FormModel, status: Status) -> ConnectionDetail<'a> {
    let is_working = status == Status::Working;
    ConnectionDetail {
        tile: tile(
            "revenue-emea",
            "Revenue EMEA",
            "Forecasts of the European teams",
            status,
            2,
        ),
        source,
        form,
        config: json!({ "auth_profile": "apikey", "base_url": "https://api.clari.com/v4", "forecast_ids": ["net_arr", "new_business"] }),
        saved: saved_form(source, form, json!({}), &["/api_key"]).saved,
        version: "3".to_owned(),
        created: Some(at("2026-03-02T09:12:00Z")),
        updated: Some(at("2026-05-12T14:05:00Z")),
        problem: None,
        can_be_entered: true,
        tested: match status {
            Status::Working | Status::Expiring => Some(passed()),
            Status::NeedsAttention => Some(failed()),
            _ => None,
        },
        last_sync: matches!(status, Status::Unfinished | Status::Incomplete)
            .then(|| "calls: the service is not there".to_owned()),
        expires: (status == Status::Expiring).then(|| expiry(0).on),
        age: match status {
            Status::Working => Age {
                days: Some(412),
                left_by: Some("ana".to_owned()),
            },
            _ => Age::default(),
        },
        access: vec![
            Access {
                stream: "forecasts".to_owned(),
                outcome: Outcome::Passed,
                message: "can be read".to_owned(),
            },
            Access {
                stream: "audit_events".to_owned(),
                outcome: Outcome::Warned,
                message: "the key may not read audit events".to_owned(),
            },
            Access {
                stream: "opportunities".to_owned(),
                outcome: Outcome::Skipped,
                message: "not checked: no ids were given".to_owned(),
            },
        ],
        allowances: if is_working {
            vec![allowance()]
        } else {
            Vec::new()
        },
        used_by: vec![
            Use {
                title: "Forecasts to the warehouse".to_owned(),
                path: "/syncs/s-1".to_owned(),
            },
            Use {
                title: "Weekly board".to_owned(),
                path: "/syncs/s-2".to_owned(),
            },
        ],
        history: vec![
            Change {
                at: at("2026-05-12T14:05:00Z"),
                who: "Ana".to_owned(),
                what: "The API key was replaced.".to_owned(),
                request_id: Some("r-7f3a".to_owned()),
            },
            Change {
                at: at("2026-03-02T09:12:00Z"),
                who: "Ben".to_owned(),
                what: "It was saved.".to_owned(),
                request_id: None,
            },
        ],
        runs: vec![
            row("s-20260512-1", RunState::Complete, 81.0, 61_482),
            row("s-20260511-1", RunState::Suspended, 4020.0, 1_204_000),
        ],
        undo_until: is_working.then(|| at("2026-05-12T14:35:00Z")),
        done: is_working.then(|| "The API key was replaced.".to_owned()),
        refused: None,
    }
}

fn stream_choice() -> StreamChoice {
    let stream = |name: &str,
                  description: &str,
                  access: Option<Outcome>,
                  is_personal: bool,
                  message: &str| StreamRow {
        name: name.to_owned(),
        description: description.to_owned(),
        is_incremental: is_personal,
        is_personal,
        access,
        message: message.to_owned(),
        is_chosen: access == Some(Outcome::Passed),
    };
    StreamChoice {
        connection: "revenue-emea".to_owned(),
        title: "Revenue EMEA".to_owned(),
        streams: vec![
            stream(
                "forecasts",
                "One entry of a forecast: a call, a quota or a total, of one user in one week.",
                Some(Outcome::Passed),
                true,
                "",
            ),
            stream(
                "audit_events",
                "One thing that a user did.",
                Some(Outcome::Failed),
                true,
                "the key may not read audit events",
            ),
            stream(
                "opportunities",
                "One opportunity of the CRM with its history.",
                None,
                false,
                "",
            ),
        ],
        destination: "sqlite:revenue.db".to_owned(),
        schedule: Schedule {
            frequency: Frequency::Cron,
            cron: "0 6 * * 1-5".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            is_paused: false,
            next: vec![at("2026-05-13T04:00:41Z"), at("2026-05-14T04:00:41Z")],
        },
        can_schedule: true,
        version: "3".to_owned(),
        done: Some(ScheduleChange::Saved),
        is_redacted: true,
        is_same_account: false,
        errors: Vec::new(),
    }
}

fn first_records(is_masked: bool) -> Preview {
    let rows = (0..8).map(|n| {
        let user = if is_masked {
            "•••••".to_owned()
        } else {
            format!("user{n}@example.com")
        };
        [
            format!("f-{n}"),
            user,
            "2026_Q2".to_owned(),
            format!("{}00.50", n + 1),
            "net_arr".to_owned(),
            "2026-05-12T00:00:00Z".to_owned(),
        ]
        .to_vec()
    });
    Preview {
        connection: "revenue-emea".to_owned(),
        title: "Revenue EMEA".to_owned(),
        stream: "forecasts".to_owned(),
        streams: vec!["forecasts".to_owned(), "activities".to_owned()],
        columns: [
            "id",
            "user_email",
            "time_period",
            "value",
            "forecast_id",
            "updated_at",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
        is_masked,
        at: at("2026-05-12T14:05:00Z"),
        problem: None,
    }
}

/// Every page and state by a name.
pub fn pages(text: &Messages) -> Vec<(&'static str, Page)> {
    let (revenue, copilot, claribi) = (revenue(), copilot(), claribi());
    let revenue_form = form("clari-revenue", "Clari Revenue");
    let copilot_form = form("clari-copilot", "Clari Copilot");
    let claribi_form = form("claribi", "clariBI");
    let source_tile = |source: &Source, connections, attention| SourceTile {
        source: source.clone(),
        connections,
        attention,
        expiring: attention,
    };
    let sources = vec![
        source_tile(&revenue, 4, 1),
        source_tile(&copilot, 1, 0),
        source_tile(&claribi, 0, 0),
    ];
    let config = json!({ "base_url": "https://eu.api.clari.com/v1", "forecast_ids": ["net_arr", "new_business"], "currency": "EUR" });
    let edit = || saved_form(&revenue, &revenue_form, config.clone(), &["/api_key"]);
    let bi_config = json!({ "auth": { "style": "x_api_key" } });
    let problem_view = Problem {
        status: 404,
        title: "There is no such page".to_owned(),
        detail: "There is no connection revenue-emae; did you mean revenue-emea?".to_owned(),
        request_id: Some("r-7f3b".to_owned()),
        back: "/connections".to_owned(),
    };
    let form = |view: CredentialForm<'_>| credential(&view, text);
    vec![
        (
            "gallery",
            gallery(
                &Gallery {
                    tiles: sources,
                    query: String::new(),
                },
                text,
            ),
        ),
        (
            "gallery-none",
            gallery(
                &Gallery {
                    tiles: Vec::new(),
                    query: "zzz".to_owned(),
                },
                text,
            ),
        ),
        (
            "authenticate",
            authenticate(
                &Authenticate {
                    source: revenue.clone(),
                    tiles: tiles(),
                    selected: Some("revenue-emea".to_owned()),
                    added: Some("revenue-emea".to_owned()),
                },
                text,
            ),
        ),
        (
            "authenticate-first",
            authenticate(
                &Authenticate {
                    source: claribi.clone(),
                    tiles: Vec::new(),
                    selected: None,
                    added: None,
                },
                text,
            ),
        ),
        ("add-revenue", form(new_form(&revenue, &revenue_form))),
        ("add-copilot", form(new_form(&copilot, &copilot_form))),
        ("add-claribi", form(new_form(&claribi, &claribi_form))),
        (
            "add-errors",
            form(CredentialForm {
                errors: vec![
                    error("/title", "Credential name is required"),
                    error("/expires", "this is no day"),
                    error("/api_key", "API Key is required"),
                    error(
                        "/base_url",
                        "Base URL must be an https:// address without user name, query or fragment",
                    ),
                    error(
                        "/forecast_ids/0",
                        "Forecast ids must be forecast ids of letters, digits, _ and -",
                    ),
                ],
                title: String::new(),
                answer: json!({ "base_url": "http://api.clari.com", "forecast_ids": ["net arr"] }),
                ..new_form(&revenue, &revenue_form)
            }),
        ),
        (
            "add-failed",
            form(CredentialForm {
                tested: Some(failed()),
                offers_untested: true,
                may_save_untested: true,
                errors: vec![error("/api_key", "Clari did not accept this API key")],
                ..new_form(&revenue, &revenue_form)
            }),
        ),
        (
            "add-offer",
            form(CredentialForm {
                tested: Some(offered()),
                notices: vec![Notice {
                    pointer: "/api_key".to_owned(),
                    message: "API Key: surrounding spaces or quotes were removed".to_owned(),
                }],
                ..new_form(&revenue, &revenue_form)
            }),
        ),
        ("edit", form(edit())),
        (
            "edit-again",
            form(CredentialForm {
                asked_again: BTreeMap::from([(
                    "/api_key".to_owned(),
                    "Base URL was changed, so enter this again: it would be sent elsewhere."
                        .to_owned(),
                )]),
                ..edit()
            }),
        ),
        (
            "edit-branch",
            form(saved_form(
                &claribi,
                &claribi_form,
                bi_config,
                &["/auth/api_key"],
            )),
        ),
        (
            "repair",
            form(CredentialForm {
                purpose: Purpose::Repair(vec!["/api_key".to_owned()]),
                tested: Some(failed()),
                errors: vec![error("/api_key", "Clari did not accept this API key")],
                ..edit()
            }),
        ),
        (
            "rotate",
            form(CredentialForm {
                purpose: Purpose::Rotate,
                expires_before: Some(expiry(9).on),
                ..edit()
            }),
        ),
        (
            "again",
            form(CredentialForm {
                purpose: Purpose::Again,
                saved: BTreeMap::new(),
                saved_answer: Value::Null,
                ..edit()
            }),
        ),
        (
            "connection",
            connection(&detail(&revenue, &revenue_form, Status::Working), text),
        ),
        (
            "connection-expiring",
            connection(&detail(&revenue, &revenue_form, Status::Expiring), text),
        ),
        (
            "connection-broken",
            connection(
                &detail(&revenue, &revenue_form, Status::NeedsAttention),
                text,
            ),
        ),
        (
            "connection-unfinished",
            connection(&detail(&revenue, &revenue_form, Status::Unfinished), text),
        ),
        (
            "connection-unreadable",
            connection(&detail(&revenue, &revenue_form, Status::Unreadable), text),
        ),
        (
            "connections",
            connections(
                &ConnectionList {
                    tiles: tiles(),
                    query: String::new(),
                    status: None,
                    next: Some("/connections?after=x".to_owned()),
                    retested: Some((3, 2)),
                },
                text,
            ),
        ),
        ("streams", streams(&stream_choice(), text)),
        (
            "streams-errors",
            streams(
                &StreamChoice {
                    errors: vec![
                        error("/streams", "choose at least one stream"),
                        error("/destination", "sqlite: names no file"),
                        error("/cron", "this is no cron expression"),
                        error("/time_zone", "there is no such time zone"),
                        error("", "this was changed in the meantime"),
                    ],
                    ..stream_choice()
                },
                text,
            ),
        ),
        ("preview", preview(&first_records(true), text)),
        ("preview-shown", preview(&first_records(false), text)),
        ("run", run(&run_view(RunState::Running), text)),
        ("run-over", run(&run_view(RunState::Partial), text)),
        (
            "runs",
            runs(
                &RunList {
                    runs: vec![
                        row("s-2", RunState::Running, 12.0, 4_100),
                        row("s-1", RunState::Failed, 3.0, 0),
                    ],
                    next: None,
                },
                text,
            ),
        ),
        (
            "login",
            login(
                &Login {
                    next: "/".to_owned(),
                    error: Some("this token is not known, or it has ended".to_owned()),
                },
                text,
            ),
        ),
        ("problem", problem(&problem_view, text)),
        (
            "author",
            author(authored(&copilot, &copilot_form, None, Vec::new()), text),
        ),
        (
            "author-failed",
            author(
                authored(
                    &copilot,
                    &copilot_form,
                    Some(ProbeClass::Unauthenticated),
                    findings(),
                ),
                text,
            ),
        ),
        (
            "author-branches",
            author(
                authored(
                    &claribi,
                    &claribi_form,
                    Some(ProbeClass::NoTest),
                    Vec::new(),
                ),
                text,
            ),
        ),
        (
            "author-unreadable",
            author(
                authored(
                    &claribi,
                    &claribi_form,
                    Some(ProbeClass::Unreadable),
                    Vec::new(),
                ),
                text,
            ),
        ),
        (
            "author-refused",
            author(
                Author {
                    form: None,
                    model: String::new(),
                    findings: findings(),
                    file: Some("form.json".to_owned()),
                    ..authored(&copilot, &copilot_form, None, Vec::new())
                },
                text,
            ),
        ),
        (
            "author-broken",
            author(
                Author {
                    problem: Some("this is not JSON: expected value at line 1 column 2".to_owned()),
                    ..authored(&copilot, &copilot_form, None, Vec::new())
                },
                text,
            ),
        ),
    ]
}

/// The viewer of a page.
pub fn frame(theme: Theme) -> Frame {
    Frame {
        theme,
        user: Some("Ana".to_owned()),
        path: "/".to_owned(),
    }
}
