//! `token`: the access tokens of the service.

use headwater_core::{Error, Kind, Timestamp};
use headwater_store::{Actor, Store};
use serde_json::{Value, json};

use crate::{
    Outcome,
    answers::env_file,
    args::{self, AddToken, TokenCommand},
    saved::open_store,
    terminal::{Terminal, say, table},
};

const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

pub(crate) fn token(options: &args::Token, terminal: &Terminal) -> Outcome {
    let mut store = open_store(&options.store, &env_file(None)?)?;
    match &options.command {
        TokenCommand::Add(add) => self::add(&mut store, add, terminal),
        TokenCommand::List => list(&mut store, terminal),
        TokenCommand::Remove { name } => {
            store.remove_token(name, &Actor::local())?;
            match terminal.json {
                true => terminal.print_json(&json!({ "token": name, "removed": true })),
                false => terminal.print(&format!("removed {name}")),
            }
        }
    }
}

fn add(store: &mut Store, options: &AddToken, terminal: &Terminal) -> Outcome {
    let expires = options.days.map(in_days).transpose()?;
    let text = store.add_token(&options.name, options.scope, expires, &Actor::local())?;
    if terminal.json {
        return terminal.print_json(&json!({
            "token": options.name, "scope": options.scope, "expires": expires, "text": text.expose(),
        }));
    }
    say("save it now; it is not shown again");
    terminal.print(text.expose())
}

fn in_days(days: u16) -> Result<Timestamp, Error> {
    let seconds = Timestamp::now().as_second() + i64::from(days) * SECONDS_OF_A_DAY;
    Timestamp::from_second(seconds).map_err(|error| {
        let text = "a token cannot last that long";
        Error::new(Kind::ConfigInvalid, text).caused_by(error)
    })
}

fn list(store: &mut Store, terminal: &Terminal) -> Outcome {
    let tokens = store.tokens()?;
    if terminal.json {
        let tokens: Vec<Value> = tokens
            .iter()
            .map(|token| {
                json!({
                    "token": token.name, "scope": token.scope, "created": token.created,
                    "last_used": token.last_used, "expires": token.expires,
                })
            })
            .collect();
        return terminal.print_json(&tokens);
    }
    if tokens.is_empty() {
        say("there are no tokens; `headwater token add NAME --scope SCOPE` creates one");
        return Ok(());
    }
    let shown = |time: Option<Timestamp>, never: &str| {
        let shown = time.map(|time| time.strftime("%Y-%m-%d %H:%M").to_string());
        shown.unwrap_or_else(|| never.to_owned())
    };
    let mut rows = vec![
        ["token", "scope", "created", "last used", "expires"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(tokens.into_iter().map(|token| {
        vec![
            token.name,
            token.scope.to_string(),
            shown(Some(token.created), ""),
            shown(token.last_used, "never"),
            shown(token.expires, "never"),
        ]
    }));
    table(&rows).iter().try_for_each(|row| terminal.print(row))
}
