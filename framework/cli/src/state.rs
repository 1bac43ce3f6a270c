//! `state`: how far runs got, in words; and the few ways to change that.

use std::path::Path;

use headwater_core::{AnyConnector, Egress, Error, Kind, Registry, Timestamp};
use headwater_host::{Sink, State};
use headwater_output::Destination;
use serde_json::json;

use crate::{
    NewContext, Outcome,
    args::{StateCommand, StateLocation},
    saved::choose,
    terminal::{Terminal, count, table, thousands},
};

pub(crate) fn state(
    registry: &Registry,
    command: &StateCommand,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    match command {
        StateCommand::Show(place) => show(&LocatedState::look(place)?, terminal),
        StateCommand::Explain { config, store, at } => {
            let chosen = choose(registry, config, store)?;
            let (connector, answer) = (chosen.connector, chosen.config);
            let place = StateLocation {
                place: at.at.clone(),
                connection: Some(config.connector.clone()),
            };
            let state = of_connector(LocatedState::look(&place)?, &**connector, &at.at)?;
            let source = connector.open(&answer, &context(&Egress::Anywhere)?)?;
            explain(&state, &*source, terminal)
        }
        StateCommand::Reset {
            place,
            streams,
            all,
        } => {
            // Looked at first: what is refused changes nothing, not even who wrote there last.
            reset(&mut LocatedState::look(place)?, streams, *all)?;
            let mut kept = LocatedState::take(place)?;
            let read_anew = reset(&mut kept.state, streams, *all)?;
            kept.keep()?;
            terminal.print(&format!("{read_anew} will be read from the start"))
        }
        StateCommand::Retry { place, stream } => {
            LocatedState::look(place)?.retry(stream)?;
            let mut kept = LocatedState::take(place)?;
            let places = kept.state.retry(stream)?;
            kept.keep()?;
            terminal.print(&format!(
                "{} of {stream} will be read again",
                count(places, "place")
            ))
        }
        StateCommand::Rewind {
            config,
            store,
            at,
            stream,
            to,
        } => {
            let to = moment(to)?;
            let chosen = choose(registry, config, store)?;
            let (connector, answer) = (chosen.connector, chosen.config);
            let source = connector.open(&answer, &context(&Egress::Anywhere)?)?;
            let place = StateLocation {
                place: at.at.clone(),
                connection: Some(config.connector.clone()),
            };
            of_connector(LocatedState::look(&place)?, &**connector, &at.at)?
                .rewind(&*source, stream, to)?;
            let mut kept = LocatedState::take(&place)?;
            let names = kept.state.rewind(&*source, stream, to)?;
            kept.keep()?;
            terminal.print(&format!(
                "{} will be read again from {to} on",
                names.join(", ")
            ))
        }
        StateCommand::Diff { first, second } => {
            diff(&State::open(first)?, &State::open(second)?, terminal)
        }
    }
}

/// The state, if it is one of this connector and of streams that it has.
fn of_connector(state: State, connector: &dyn AnyConnector, at: &str) -> Result<State, Error> {
    let place = format!("the state at {at}");
    let state = state.of(connector.about().id, &place)?;
    let known = connector.catalog();
    let names: Vec<&str> = known.iter().map(|stream| stream.name).collect();
    state.belongs_to(&names, &place)?;
    Ok(state)
}

/// Forgets streams, and says which.
fn reset(state: &mut State, streams: &[String], all: bool) -> Result<String, Error> {
    if all {
        state.clear();
        return Ok("everything".to_owned());
    }
    let mut names: Vec<String> = Vec::new();
    for stream in streams {
        // One that leads a group has taken it along.
        if !names.contains(stream) {
            names.extend(state.reset(stream)?);
        }
    }
    Ok(names.join(", "))
}

/// A state, and where to put it back.
struct LocatedState {
    state: State,
    home: StateHome,
}

enum StateHome {
    File(std::path::PathBuf),
    Sink(Box<dyn Sink>),
}

impl LocatedState {
    /// The state of a place, without getting hold of it.
    fn look(place: &StateLocation) -> Result<State, Error> {
        let Some((destination, connection)) = destination(place)? else {
            return State::open(Path::new(&place.place));
        };
        kept_in(&destination, connection)?.ok_or_else(|| nothing(place))
    }

    /// The state of a place, for changing it. A run that is under way there keeps it to itself.
    fn take(place: &StateLocation) -> Result<Self, Error> {
        let Some((destination, connection)) = destination(place)? else {
            let path = Path::new(&place.place);
            return Ok(Self {
                state: State::open(path)?,
                home: StateHome::File(path.to_owned()),
            });
        };
        if let Some(path) = destination.state_file() {
            return Ok(Self {
                state: State::open(&path)?,
                home: StateHome::File(path),
            });
        }
        let known = kept_in(&destination, connection)?.ok_or_else(|| nothing(place))?;
        let mut sink = destination.open(connection)?;
        let state = sink
            .load(known.connector())?
            .ok_or_else(|| nothing(place))?;
        Ok(Self {
            state,
            home: StateHome::Sink(sink),
        })
    }

    fn keep(mut self) -> Result<(), Error> {
        match &mut self.home {
            StateHome::File(path) => self.state.save(path),
            StateHome::Sink(sink) => sink.commit(&mut self.state),
        }
    }
}

/// The destination that a place names, and the connection; none where it is a file.
fn destination(place: &StateLocation) -> Result<Option<(Destination, &str)>, Error> {
    let text = &place.place;
    if !text.contains(':') && Path::new(text).extension().is_none_or(|one| one == "json") {
        return Ok(None);
    }
    let destination = Destination::parse(text)?;
    let connection = place.connection.as_deref();
    if connection.is_none() && destination.state_file().is_none() {
        let text =
            format!("{destination} may hold several connections; say which with --connection NAME");
        return Err(Error::new(Kind::ConfigInvalid, text));
    }
    Ok(Some((destination, connection.unwrap_or_default())))
}

/// The state that a destination keeps for a connection, if there is one.
pub(crate) fn kept_in(destination: &Destination, connection: &str) -> Result<Option<State>, Error> {
    if let Some(path) = destination.state_file() {
        return if path.exists() {
            State::open(&path).map(Some)
        } else {
            Ok(None)
        };
    }
    let bytes = destination.open(connection)?.peek()?;
    bytes
        .map(|bytes| State::parse(&bytes, &format!("the state in {destination}")))
        .transpose()
}

fn nothing(place: &StateLocation) -> Error {
    let connection = place.connection.as_deref().unwrap_or_default();
    Error::new(
        Kind::NotFound,
        format!("there is no state of {connection:?} there; no run has written to it"),
    )
}

fn show(state: &State, terminal: &Terminal) -> Outcome {
    let status = state.status();
    if terminal.json {
        return terminal.print_json(&json!({ "connector": state.connector(), "streams": status }));
    }
    if status.is_empty() {
        return terminal.print("nothing was read yet");
    }
    let mut rows = vec![
        [
            "stream",
            "read to its end",
            "under way",
            "set aside",
            "records",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(status.into_iter().map(|stream| {
        let is_read = stream.has_bookmark || stream.last_records.is_some();
        vec![
            stream.stream,
            if is_read { "yes" } else { "not yet" }.to_owned(),
            stream
                .places_left
                .map_or_else(String::new, |places| count(places, "place")),
            match stream.set_aside.len() {
                0 => String::new(),
                places => count(places, "place"),
            },
            stream.last_records.map_or_else(String::new, thousands),
        ]
    }));
    table(&rows).iter().try_for_each(|row| terminal.print(row))
}

fn explain(state: &State, source: &dyn headwater_core::Source, terminal: &Terminal) -> Outcome {
    let explanations = state.explain(source)?;
    if terminal.json {
        return terminal.print_json(&explanations);
    }
    for one in explanations {
        terminal.print(&one.stream)?;
        for sentence in one.sentences {
            terminal.print(&format!("  {sentence}"))?;
        }
    }
    Ok(())
}

fn diff(first: &State, second: &State, terminal: &Terminal) -> Outcome {
    if first.connector() != second.connector() {
        let text = format!(
            "the states belong to different connectors, {} and {}",
            first.connector(),
            second.connector()
        );
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    let differences = first.difference(second);
    if terminal.json {
        return terminal.print_json(&differences);
    }
    if differences.is_empty() {
        return terminal.print("no difference");
    }
    for one in differences {
        terminal.print(&one.stream)?;
        for change in one.changes {
            terminal.print(&format!("  {change}"))?;
        }
    }
    Ok(())
}

/// A moment as people write it: a date is its midnight in UTC.
fn moment(text: &str) -> Result<Timestamp, Error> {
    let midnight = format!("{text}T00:00:00Z");
    text.parse().or_else(|_| midnight.parse()).map_err(|_| {
        Error::new(
            Kind::ConfigInvalid,
            format!("--to {text:?} is no time; write 2026-01-31 or 2026-01-31T12:00:00Z"),
        )
    })
}
