//! Bookmarks in the future: a clock was ahead when they were written, or is behind now.

use headwater_core::{AnyStream, Error, Kind, Position, Result, SignedDuration, Timestamp};

/// Clocks of machines that take turns differ by this much, and a bookmark's watermark is earlier.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(1);
/// The suggested command rewinds by this much: a clock that is set to another zone is ahead by less.
const REMEDY: SignedDuration = SignedDuration::from_hours(24);

/// Refuses to plan from a bookmark in the future: no run has read, or would ever read, the changes between the true
/// time of its pass and the bookmark.
pub(crate) fn refuse_beyond(
    stream: &dyn AnyStream,
    bookmark: Option<&Position>,
    now: Timestamp,
) -> Result<()> {
    match bookmark {
        Some(bookmark) => match beyond(stream, bookmark, now)? {
            Some(sentence) => Err(Error::new(Kind::ConfigInvalid, sentence)),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// The message for a bookmark in the future, with its remedies; `None` for any other bookmark.
pub(crate) fn beyond(
    stream: &dyn AnyStream,
    bookmark: &Position,
    now: Timestamp,
) -> Result<Option<String>> {
    let Some(until) = stream.watermark(bookmark)?.until else {
        return Ok(None);
    };
    if until.duration_since(now) <= TOLERANCE {
        return Ok(None);
    }
    let name = stream.spec().name;
    let back = now.checked_sub(REMEDY).unwrap_or(now);
    Ok(Some(format!(
        "{name} was read up to {} by its state, and the clock of this machine says {}: either this clock is behind, then \
         set it right; or the clock of an earlier run was ahead, and changes since that run are missing: read them with \
         `headwater state rewind --stream {name} --to {}`, or with an earlier moment if that run was before it",
        written(until),
        written(now),
        written(back),
    )))
}

/// Refuses to rewind a stream to a moment that has not come.
pub(crate) fn refuse_future(stream: &str, to: Timestamp, now: Timestamp) -> Result<()> {
    if to.duration_since(now) <= TOLERANCE {
        return Ok(());
    }
    let text = format!(
        "{stream} cannot be read again from {} on: the clock of this machine says {}",
        written(to),
        written(now)
    );
    Err(Error::new(Kind::ConfigInvalid, text))
}

/// A moment to the second, as commands take it.
fn written(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
