//! Numbers that look random and are not: every one is a pure function of a seed and an index,
//! so that a workspace of a million calls needs no memory and is the same on every machine.

/// The purpose of a number. One call has many independent numbers, one per purpose.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Purpose {
    CallTime = 1,
    CallDelay,
    CallStatus,
    CallType,
    CallDuration,
    CallUsers,
    CallAccount,
    CallTopics,
    CallSource,
    CallText,
    CallId,
    Transcript,
    User,
    Account,
    Contact,
    Deal,
    Person,
    Topic,
    Scorecard,
    Scorer,
    Template,
    Media,
    Created,
    ForecastValue,
    AuditEvent,
    Activity,
    Opportunity,
    ExportJob,
    ExportError,
    Organization,
    DataSource,
    Report,
    Dashboard,
    Fault,
}

/// The finishing step of SplitMix64: spreads every input bit over every output bit.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The number of `(seed, purpose, index)`, uniform over all 64-bit values.
pub(crate) fn draw(seed: u64, purpose: Purpose, index: u64) -> u64 {
    const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let salted = mix(seed.wrapping_add((purpose as u64).wrapping_mul(GOLDEN_GAMMA)));
    mix(salted ^ index.wrapping_mul(GOLDEN_GAMMA))
}

/// Scales a uniform 64-bit number to `0..bound` (0 when `bound` is 0).
pub(crate) fn scale(number: u64, bound: u64) -> u64 {
    let wide = u128::from(number) * u128::from(bound);
    u64::try_from(wide >> 64).unwrap_or_default()
}

/// A number of `(seed, purpose, index)` in `0..bound`.
pub(crate) fn draw_below(seed: u64, purpose: Purpose, index: u64, bound: u64) -> u64 {
    scale(draw(seed, purpose, index), bound)
}

/// A sequence of numbers for building one record, started from `(seed, purpose, index)`.
#[derive(Clone, Debug)]
pub(crate) struct Rolls {
    start: u64,
    taken: u64,
}

impl Rolls {
    pub(crate) fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        Self {
            start: draw(seed, purpose, index),
            taken: 0,
        }
    }

    /// The next number, uniform over all 64-bit values.
    pub(crate) fn next(&mut self) -> u64 {
        self.taken += 1;
        mix(self.start ^ mix(self.taken))
    }

    /// The next number in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        scale(self.next(), bound)
    }

    /// The next number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in about `percent` of a hundred draws.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`; the lists of this crate are never empty, an empty one would give `""`.
    pub(crate) fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        let position = self.below(choices.len() as u64);
        pick_at(choices, position)
    }
}

/// The entry of `choices` at `position`, counted round and round.
pub(crate) fn pick_at(choices: &[&'static str], position: u64) -> &'static str {
    let length = choices.len().max(1) as u64;
    let position = usize::try_from(position % length).unwrap_or_default();
    choices.get(position).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_inputs_draw_the_same_number() {
        assert_eq!(
            draw(7, Purpose::CallTime, 42),
            draw(7, Purpose::CallTime, 42)
        );
        assert_ne!(
            draw(7, Purpose::CallTime, 42),
            draw(8, Purpose::CallTime, 42)
        );
        assert_ne!(
            draw(7, Purpose::CallTime, 42),
            draw(7, Purpose::CallStatus, 42)
        );
    }

    #[test]
    fn scaled_numbers_stay_below_the_bound_and_cover_it() {
        let mut seen = [false; 10];
        for index in 0..1_000 {
            let number = draw_below(1, Purpose::CallTime, index, 10);
            seen[usize::try_from(number).unwrap()] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(scale(u64::MAX, 0), 0);
    }
}
