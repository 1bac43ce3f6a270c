//! `state`: shows and changes the positions of runs.

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
        StateCommand::Show(location) => show(&LocatedState::look(location)?, terminal),
        StateCommand::Explain { config, store, at } => {
            let chosen = choose(registry, config, store)?;
            let (connector, answer) = (chosen.connector, chosen.config);
            let location = StateLocation {
                location: at.at.clone(),
                connection: Some(config.connector.clone()),
            };
            let state = of_connector(LocatedState::look(&location)?, &**connector, &at.at)?;
            let source = connector.open(&answer, &context(&Egress::Anywhere)?)?;
            explain(&state, &*source, terminal)
        }
        StateCommand::Reset {
            location,
            streams,
            all,
        } => {
            // Tried on a copy first, because a refused reset must not even raise the epoch.
            reset(&mut LocatedState::look(location)?, streams, *all)?;
            let mut located = LocatedState::open(location)?;
            let read_anew = reset(&mut located.state, streams, *all)?;
            located.save()?;
            terminal.print(&format!("{read_anew} will be read from the start"))
        }
        StateCommand::Retry { location, stream } => {
            LocatedState::look(location)?.retry(stream)?;
            let mut located = LocatedState::open(location)?;
            let positions = located.state.retry(stream)?;
            located.save()?;
            terminal.print(&format!(
                "{} of {stream} will be read again",
                count(positions, "position")
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
            let location = StateLocation {
                location: at.at.clone(),
                connection: Some(config.connector.clone()),
            };
            of_connector(LocatedState::look(&location)?, &**connector, &at.at)?
                .rewind(&*source, stream, to)?;
            let mut located = LocatedState::open(&location)?;
            let names = located.state.rewind(&*source, stream, to)?;
            located.save()?;
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

/// The state, if it belongs to this connector and its streams.
fn of_connector(state: State, connector: &dyn AnyConnector, at: &str) -> Result<State, Error> {
    let location = format!("the state at {at}");
    let state = state.of(connector.about().id, &location)?;
    let known = connector.catalog();
    let names: Vec<&str> = known.iter().map(|stream| stream.name).collect();
    state.belongs_to(&names, &location)?;
    Ok(state)
}

/// Forgets streams, and returns their names.
fn reset(state: &mut State, streams: &[String], all: bool) -> Result<String, Error> {
    if all {
        state.clear();
        return Ok("everything".to_owned());
    }
    let mut names: Vec<String> = Vec::new();
    for stream in streams {
        // A main stream has reset its group already.
        if !names.contains(stream) {
            names.extend(state.reset(stream)?);
        }
    }
    Ok(names.join(", "))
}

/// A state and its location.
struct LocatedState {
    state: State,
    home: StateHome,
}

enum StateHome {
    File(std::path::PathBuf),
    Sink(Box<dyn Sink>),
}

impl LocatedState {
    /// The state at a location, without locking it.
    fn look(location: &StateLocation) -> Result<State, Error> {
        let Some((destination, connection)) = destination(location)? else {
            return State::open(Path::new(&location.location));
        };
        state_of(&destination, connection)?.ok_or_else(|| nothing(location))
    }

    /// The state at a location, for a change. A running run locks it.
    fn open(location: &StateLocation) -> Result<Self, Error> {
        let Some((destination, connection)) = destination(location)? else {
            let path = Path::new(&location.location);
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
        let known = state_of(&destination, connection)?.ok_or_else(|| nothing(location))?;
        let mut sink = destination.open(connection)?;
        let state = State::held_by(&mut *sink, known.connector())?;
        let state = state.ok_or_else(|| nothing(location))?;
        Ok(Self {
            state,
            home: StateHome::Sink(sink),
        })
    }

    fn save(mut self) -> Result<(), Error> {
        match &mut self.home {
            StateHome::File(path) => self.state.save(path),
            StateHome::Sink(sink) => sink.commit(&mut self.state),
        }
    }
}

/// The destination at a location, and the connection; `None` for a file.
fn destination(location: &StateLocation) -> Result<Option<(Destination, &str)>, Error> {
    let text = &location.location;
    if !text.contains(':') && Path::new(text).extension().is_none_or(|one| one == "json") {
        return Ok(None);
    }
    let destination = Destination::parse(text)?;
    let connection = location.connection.as_deref();
    if connection.is_none() && destination.state_file().is_none() {
        let text = format!(
            "{destination} may hold several connections; choose one with --connection NAME"
        );
        return Err(Error::new(Kind::ConfigInvalid, text));
    }
    Ok(Some((destination, connection.unwrap_or_default())))
}

/// The state that a destination keeps for a connection, if there is one.
pub(crate) fn state_of(
    destination: &Destination,
    connection: &str,
) -> Result<Option<State>, Error> {
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

fn nothing(location: &StateLocation) -> Error {
    let connection = location.connection.as_deref().unwrap_or_default();
    Error::new(
        Kind::NotFound,
        format!("the location has no state of {connection:?}; no run has written to it"),
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
            "quarantined",
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
                .map_or_else(String::new, |left| count(left, "position")),
            match stream.set_aside.len() {
                0 => String::new(),
                positions => count(positions, "position"),
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

/// A moment; a date is its midnight in UTC.
fn moment(text: &str) -> Result<Timestamp, Error> {
    let midnight = format!("{text}T00:00:00Z");
    text.parse().or_else(|_| midnight.parse()).map_err(|_| {
        Error::new(
            Kind::ConfigInvalid,
            format!("--to {text:?} is not a time; write 2026-01-31 or 2026-01-31T12:00:00Z"),
        )
    })
}
