//! The log on standard error: spans and events of Headwater's own crates.
//!
//! Events of libraries are left out, since those of HTTP hold headers.

use std::{env, io, io::IsTerminal};

use headwater_core::{Error, Kind, Result};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::{Targets, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

const VARIABLE: &str = "RUST_LOG";

/// Starts the log where `-v` or `RUST_LOG` asks for one: lines for people, or one JSON object a line.
pub(crate) fn start(verbose: u8, is_json: bool) -> Result<()> {
    let Some(targets) = targets(verbose, env::var(VARIABLE).ok().as_deref())? else {
        return Ok(());
    };
    let ours = filter_fn(|event| event.target().starts_with("headwater"));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if is_json {
        lines.json().flatten_event(true).boxed()
    } else {
        let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        lines
            .with_ansi(io::stderr().is_terminal() && !is_plain)
            .boxed()
    };
    let lines = lines.with_filter(ours).with_filter(targets);
    // A host that links this library may have a log of its own, which then stays.
    let _ = Registry::default().with(lines).try_init();
    Ok(())
}

/// Returns the levels by target: those of the variable where it is set, else those of `-v`.
fn targets(verbose: u8, variable: Option<&str>) -> Result<Option<Targets>> {
    if let Some(text) = variable.filter(|text| !text.trim().is_empty()) {
        return text.parse().map(Some).map_err(|error| {
            let text = format!(
                "{VARIABLE} cannot be read ({error}); give a level such as debug, or TARGET=LEVEL parted by commas"
            );
            Error::new(Kind::ConfigInvalid, text)
        });
    }
    let level = match verbose {
        0 => return Ok(None),
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    Ok(Some(Targets::new().with_default(level)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_option() {
        assert!(targets(0, None).unwrap().is_none());
        assert!(targets(0, Some(" ")).unwrap().is_none());
        let default = |targets: Option<Targets>| targets.unwrap().default_level();
        assert_eq!(default(targets(1, None).unwrap()), Some(LevelFilter::INFO));
        assert_eq!(default(targets(9, None).unwrap()), Some(LevelFilter::TRACE));
        assert_eq!(
            default(targets(3, Some("warn")).unwrap()),
            Some(LevelFilter::WARN)
        );
        let error = targets(0, Some("headwater_http=loud")).unwrap_err();
        assert!(error.to_string().contains(VARIABLE), "{error}");
    }
}
