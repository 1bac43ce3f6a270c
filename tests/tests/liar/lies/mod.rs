//! The catalogue of lies. Each is a small struct that sees requests on their way in and answers on their way out.

mod data;
mod lag;
mod limits;
mod lists;
mod moving;
mod wire;

use std::fmt::Debug;

use crate::exchange::{Answer, Ask};

/// Draws what a lie decides for one request.
pub type Dice = fastrand::Rng;

/// What becomes of a request instead of its answer.
#[derive(Debug)]
pub enum Fate {
    /// The connection breaks without an answer, and the service never saw the request.
    Drop,
    /// This is the answer, and the service never saw the request.
    Instead(Answer),
}

/// What an honest client may make of a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honesty {
    /// The records are all there once.
    Exact,
    /// They are, or the receipt names the gap.
    MayFlag,
}

/// A lie.
pub trait Lie: Debug + Send {
    fn name(&self) -> &'static str;

    /// Whether it makes sense for a connector.
    fn applies_to(&self, _connector: &str) -> bool {
        true
    }

    fn honesty(&self) -> Honesty {
        Honesty::Exact
    }

    /// Whether it changes what the service holds, and not only what it says of that: the truth has it, too.
    fn is_of_data(&self) -> bool {
        false
    }

    /// Whether a client has to wait for long, which only a virtual clock makes short.
    fn waits(&self) -> bool {
        false
    }

    /// Whether it shows a record again as it was before, which says nothing good where records change.
    fn keeps_versions(&self) -> bool {
        false
    }

    /// Sees a request, and may change it or say what becomes of it.
    fn ask(&mut self, _ask: &mut Ask, _dice: &mut Dice) -> Option<Fate> {
        None
    }

    /// Sees an answer, may change it, and says whether it lied.
    fn answer(&mut self, _ask: &Ask, _answer: &mut Answer, _dice: &mut Dice) -> bool {
        false
    }

    /// Records that were there once: streams and ids.
    fn deleted(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Draws how a lie is told in one seed.
pub type Draw = fn(&mut Dice) -> Box<dyn Lie>;

/// What a seed draws from.
pub const CATALOGUE: &[Draw] = &[
    wire::Compressed::draw,
    wire::Reused::draw,
    wire::Dated::draw,
    wire::Stumbles::draw,
    wire::Marked::draw,
    wire::Escaped::draw,
    limits::Forbidden::draw,
    limits::RetryAfter::draw,
    limits::EndedToken::draw,
    lists::TextTotal::draw,
    lists::SamePage::draw,
    lists::Endless::draw,
    lists::NullForNothing::draw,
    lists::NoContent::draw,
    lists::Repeats::draw,
    lists::Pinned::draw,
    // It sees how many rows a page has in the end.
    lists::WrongTotal::draw,
    lag::LateJob::draw,
    lag::LateResult::draw,
    lag::LateInList::draw,
    lag::LateRows::draw,
    lag::LateDetail::draw,
    moving::Vanishing::draw,
    data::OddMembers::draw,
    data::Future::draw,
    data::SharedKeys::draw,
    data::ReusedIds::draw,
];

/// Pages of fewer records than were asked for. Half of all seeds have them, since most lies need several pages.
pub const SHORT_PAGES: Draw = lists::ShortPages::draw;

/// Whether a share of so many of a hundred is met.
pub fn chance(dice: &mut Dice, percent: u8) -> bool {
    dice.u8(..100) < percent
}
