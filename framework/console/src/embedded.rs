//! The page in a frame of another page. It is empty: its script asks the page around it for a token, and with that for the
//! form.

use maud::{DOCTYPE, html};

use crate::{
    messages::Messages,
    page::{head, icons},
};

/// The state of the form in the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Embedded {
    /// It waits for the page around it.
    Open {
        /// The origin of the page around it, the only one that gets messages.
        origin: String,
    },
    /// It has expired.
    Expired {
        /// The origin of the page around it.
        origin: String,
    },
    /// It was saved.
    Spent {
        /// The origin of the page around it.
        origin: String,
    },
    /// It does not exist, or no longer.
    Unknown,
}

/// The document in the frame.
pub fn embedded(state: &Embedded, text: &Messages) -> String {
    let (page, own) = (&text.page, &text.embedded);
    let (origin, code, message) = match state {
        Embedded::Open { origin } => (Some(origin), None, &own.waiting),
        Embedded::Expired { origin } => (Some(origin), Some("expired"), &own.expired),
        Embedded::Spent { origin } => (Some(origin), Some("spent"), &own.spent),
        Embedded::Unknown => (None, None, &own.unknown),
    };
    html! {
        (DOCTYPE)
        html.framed lang=(page.lang) dir=(page.dir) {
            (head(&own.title, text))
            body {
                main #main tabindex="-1" data-embedded=[origin] data-code=[code] {
                    div.narrow {
                        h1 { (own.title) }
                        p { (message) }
                        @if origin.is_some() { button.after type="button" data-close hidden { (text.credential.close) } }
                    }
                }
                (icons())
            }
        }
    }
    .into_string()
}
