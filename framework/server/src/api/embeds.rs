//! Embeds: forms of connections in a frame of another page. The backend of that page requests a token and passes it on.

use std::{sync::Arc, time::Instant};

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use headwater_core::{Error, Kind, Timestamp};
use headwater_store::Scope;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connections::{actor, find};
use crate::{
    answer::json,
    app::App,
    embeds::{EmbedTarget, LIFE, Purpose},
    guard::Caller,
    once::{self, once},
    operations::Operation,
    origin::Origin,
    probing::connector,
    problem::Problem,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        // Only a caller with the right to save may pass it on.
        Operation::new(
            Method::POST,
            "/api/v1/embeds",
            "createEmbed",
            Some(Scope::Admin),
            create,
        )
        .summary("Creates a token that opens one form in a frame of another page, for 15 minutes and until it is saved")
        .header(once::HEADER.0, once::HEADER.1, false)
        .body::<New>()
        .answer::<View>(201, "The embed. Only this answer shows its token.")
        .problems([404, 409, 422]),
    ]
}

/// A form to embed: of a new connection, with `connector`, or of a saved one, with `connection` and `purpose`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewEmbed")]
#[serde(deny_unknown_fields)]
struct New {
    /// The origin of the page, as browsers write it. It has to be one that the operator named with `--embed-origin`.
    origin: String,
    /// The connector of a new connection.
    connector: Option<String>,
    /// The name of a saved connection.
    connection: Option<String>,
    /// The purpose of the change of the saved connection.
    purpose: Option<Purpose>,
}

/// The data that the page needs to open the form.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Embed")]
struct View {
    /// Identifies the embed in the audit; it opens nothing.
    id: String,
    /// For the script of the page. Do not put it into a URL and do not store it.
    token: String,
    /// When the token expires unless the form was saved before.
    expires_at: Timestamp,
    /// The path of the frame at this service.
    url: String,
}

/// An embed as it is kept for a repeated request.
#[derive(Serialize, Deserialize)]
struct EmbedReply {
    id: String,
    expires_at: Timestamp,
}

async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let shown = once::to_its_end(async move {
        let carry_out = async |new, _| make(&app, &caller, new).await;
        let answer = async |made| shown(&app, made);
        once(
            &app,
            &caller,
            request,
            StatusCode::CREATED,
            carry_out,
            answer,
        )
        .await
    });
    Ok(json(StatusCode::CREATED, &shown.await?))
}

async fn make(app: &App, caller: &Caller, new: New) -> Result<EmbedReply, Problem> {
    let origin = permitted(app, &new.origin)?;
    let (target, what) = target(app, &new).await?;
    let unexpected = |error| Error::new(Kind::Unexpected, "the clock is wrong").caused_by(error);
    let expires_at = Timestamp::now().checked_add(LIFE).map_err(unexpected)?;
    let id = app
        .embeds
        .make(origin, target, &caller.name, Instant::now())?;
    let (actor, what) = (actor(caller), format!("embed:{id} made to {what}"));
    // Without its row of the audit, the token is not given out.
    app.store(move |store| store.note(&actor, &what, new.connection.as_deref(), "done"))
        .await
        .map_err(Problem::of_store)?;
    Ok(EmbedReply { id, expires_at })
}

fn shown(app: &App, made: EmbedReply) -> Result<View, Problem> {
    let Some(token) = app.embeds.token(&made.id) else {
        let text = "the embed of this Idempotency-Key has expired; use a new key";
        return Err(Problem::new(StatusCode::CONFLICT, "embed_unknown", text));
    };
    Ok(View {
        url: format!("/embed/{}", made.id),
        id: made.id,
        token,
        expires_at: made.expires_at,
    })
}

fn permitted(app: &App, origin: &str) -> Result<Origin, Problem> {
    let origin: Origin = origin
        .parse()
        .map_err(|refused| Problem::parameter("origin", refused))?;
    let refused = |text: String| {
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            text,
        ))
    };
    if app.options.embed_origins.contains(&origin) {
        return Ok(origin);
    }
    match app.options.embed_origins.as_slice() {
        [] => refused(format!(
            "no page may embed a form of this service; its operator can allow this page with --embed-origin {origin}"
        )),
        _ => refused(format!(
            "pages of {origin} may not embed a form of this service; its operator can allow them with --embed-origin \
             {origin}"
        )),
    }
}

/// The requested form, and its description for the audit.
async fn target(app: &App, new: &New) -> Result<(EmbedTarget, String), Problem> {
    match (&new.connector, &new.connection, new.purpose) {
        (Some(id), None, None) => {
            let connector = connector(app, id)?.about().id.to_owned();
            let what = format!("add {connector}");
            Ok((EmbedTarget::New { connector }, what))
        }
        (None, Some(name), Some(purpose)) => {
            let found = find(app, name.clone()).await?;
            let what = match purpose {
                Purpose::Edit => "edit",
                Purpose::Repair => "repair",
                Purpose::Rotate => "rotate",
            };
            let target = EmbedTarget::Saved {
                connection: found.connection.name,
                connector: found.connection.connector,
                purpose,
            };
            Ok((target, what.to_owned()))
        }
        (None, Some(_), None) => {
            let text = "give the purpose of the change: edit, repair or rotate";
            Err(Problem::parameter("purpose", text))
        }
        _ => {
            let text = "give either the connector of a new connection, or a saved connection and the purpose of the \
                        change";
            Err(Problem::parameter("connector", text))
        }
    }
}
