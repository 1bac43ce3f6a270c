//! The delivery guarantee of each stream, computed from its key, the sink and the state.

use std::{fmt, str::FromStr};

use headwater_core::{Error, Kind, Result, StreamSpec};
use serde::{Deserialize, Serialize};

use crate::Delivery;

/// How often a record gets to the sink when runs are killed and resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// Once or more often.
    AtLeastOnce,
    /// Exactly once in effect.
    ExactlyOnce,
}

/// The guarantee of a stream, and why it is not a higher one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Guarantee {
    /// The level.
    pub level: Level,
    /// One sentence for people.
    pub reason: String,
}

impl Guarantee {
    /// The guarantee of a stream in a sink, with or without a stored position.
    pub fn of(spec: &StreamSpec, delivery: Delivery, keeps_position: bool) -> Self {
        let at_least = |reason: String| Self {
            level: Level::AtLeastOnce,
            reason,
        };
        match delivery {
            Delivery::Together => Self {
                level: Level::ExactlyOnce,
                reason: "records and position are committed in one step".to_owned(),
            },
            Delivery::RecordsFirst if !keeps_position => at_least(
                "no state is kept, so every run reads everything again".to_owned(),
            ),
            Delivery::RecordsFirst if spec.key.is_empty() => at_least(
                "the position is kept after the records: a crash repeats at most one page of each partition, and these \
                 records have no key to tell repeats by"
                    .to_owned(),
            ),
            Delivery::RecordsFirst => at_least(format!(
                "the position is kept after the records: a crash repeats at most one page of each partition; the key \
                 ({}) tells repeats",
                spec.key.join(", ")
            )),
        }
    }

    /// Refuses a level above this guarantee, with the reason.
    ///
    /// # Errors
    ///
    /// Fails if the level is above this guarantee.
    pub fn meets(&self, wanted: Level, stream: &str) -> Result<()> {
        if self.level >= wanted {
            return Ok(());
        }
        let text = format!(
            "{wanted} is not possible for the stream {stream}: {}; write to SQLite, PostgreSQL or Parquet, or choose {}",
            self.reason, self.level
        );
        Err(Error::new(Kind::Unsupported, text))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
        })
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "at-least-once" => Ok(Self::AtLeastOnce),
            "exactly-once" => Ok(Self::ExactlyOnce),
            _ => Err("a guarantee is exactly-once or at-least-once".to_owned()),
        }
    }
}
