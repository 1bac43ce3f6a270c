//! The embedded form of a connection: an empty page, to which the other page passes a token, and the form, which the
//! frame loads with that token.

use std::time::Instant;

use axum::{
    Extension,
    response::{Html, IntoResponse, Response},
};
use headwater_console::{EMBED_SCRIPT, Embedded, embedded};
use http::{HeaderName, StatusCode, header};

use super::{
    Visit,
    credential::{adding, changing, open},
};
use crate::{
    body::Path,
    embeds::{EmbedTarget, Progress, Purpose},
    guard,
    origin::Origin,
    problem::Problem,
};

const PLACE: &str = "/embed/";
/// How long browsers cache the script: its URL stays the same, so that other pages need not change with it.
const SCRIPT_AGE: &str = "public, max-age=300";

/// The only origin whose pages may show a page in a frame.
#[derive(Clone)]
pub(super) struct FramedBy(pub Origin);

/// Whether this is the path of a frame.
pub(crate) fn is_frame(path: &str) -> bool {
    let id = path.strip_prefix(PLACE);
    id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

/// The page in the frame. It is the same for all clients, since none has sent a token yet.
pub(super) async fn frame(Extension(visit): Extension<Visit>, Path(id): Path<String>) -> Response {
    let Some((embed, progress)) = visit.app.embeds.find(&id, Instant::now()) else {
        return page(&visit, StatusCode::NOT_FOUND, &Embedded::Unknown);
    };
    let origin = embed.origin.to_string();
    let (status, state) = match progress {
        Progress::Open | Progress::Saving => (StatusCode::OK, Embedded::Open { origin }),
        Progress::Spent => (StatusCode::GONE, Embedded::Spent { origin }),
        Progress::Expired => (StatusCode::GONE, Embedded::Expired { origin }),
    };
    let mut answer = page(&visit, status, &state);
    let framed_by = FramedBy(embed.origin.clone());
    answer.extensions_mut().insert(framed_by);
    answer
}

fn page(visit: &Visit, status: StatusCode, state: &Embedded) -> Response {
    let html = embedded(state, &visit.app.texts);
    (status, Html(html)).into_response()
}

/// The form itself, only for the token of the embed.
pub(super) async fn form(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let caller = visit.caller.as_ref().ok_or_else(guard::missing_token)?;
    let embed = caller.embed.as_ref().filter(|embed| embed.id == id);
    let Some(embed) = embed else {
        let text = "this needs the token of the embed";
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "embed_token_missing",
            text,
        ));
    };
    let form = match &embed.target {
        EmbedTarget::New { connector } => adding(&visit, connector)?,
        EmbedTarget::Saved {
            connection,
            purpose,
            ..
        } => {
            let purpose = match purpose {
                Purpose::Edit => headwater_console::Purpose::Edit,
                Purpose::Repair => headwater_console::Purpose::Repair(Vec::new()),
                Purpose::Rotate => headwater_console::Purpose::Rotate,
            };
            changing(&visit, connection.clone(), purpose).await?
        }
    };
    Ok(open(&visit, &form))
}

/// The script with which another page opens the frame.
pub(super) async fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, SCRIPT_AGE),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ),
    ];
    (headers, EMBED_SCRIPT).into_response()
}
