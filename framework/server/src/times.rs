//! The due times of schedules. Nothing here reads a clock: callers pass the time.
//!
//! Each connection is due a little later than its schedule, so that many connections with one schedule do not start
//! together. The delay depends on the name of the connection and is the same in every process.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use headwater_core::{SignedDuration, TimeZone, Timestamp};
use headwater_store::When;
use jiff::Zoned;
use sha2::{Digest, Sha256};

/// The shortest and the longest interval, in seconds: a minute and a leap year.
pub(crate) const SHORTEST: u32 = 60;
pub(crate) const LONGEST: u32 = 366 * 24 * 60 * 60;
/// How long an expression may be, in bytes.
const LONGEST_EXPRESSION: usize = 200;
/// A connection is late by less than a tenth of its interval, and by less than this.
const JITTER_SHARE: i64 = 10;
const MAX_JITTER: i64 = 5 * 60 * 1000;

/// The times of a valid schedule.
#[derive(Debug)]
pub(crate) enum Times {
    /// At an interval in seconds.
    Every(u32),
    /// At the times of an expression in a time zone.
    Cron(Box<Cron>, TimeZone),
}

/// The reason why a schedule is invalid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ScheduleError {
    /// The invalid member of the body.
    pub member: &'static str,
    /// The sentence.
    pub message: String,
}

impl Times {
    /// Parses the times of a schedule from the store or from a request.
    pub(crate) fn of(when: &When, now: Timestamp) -> Result<Self, ScheduleError> {
        match when {
            When::Every(seconds) if (SHORTEST..=LONGEST).contains(seconds) => {
                Ok(Self::Every(*seconds))
            }
            When::Every(_) => Err(ScheduleError {
                member: "every_seconds",
                message: format!(
                    "an interval is {SHORTEST} to {LONGEST} seconds; for example, 3600 is every hour"
                ),
            }),
            When::Cron { expression, zone } => {
                let zone = TimeZone::get(zone).map_err(|_| ScheduleError {
                    member: "time_zone",
                    message: "unknown time zone; use a name such as Europe/Berlin or UTC"
                        .to_owned(),
                })?;
                let cron = parse(expression).ok_or_else(|| ScheduleError {
                    member: "cron",
                    message: "not a valid cron expression; write minute, hour, day of the month, month and day of the \
                              week, for example 30 6 * * 1-5 (6:30 on weekdays)"
                        .to_owned(),
                })?;
                let is_ever = cron.find_next_occurrence(&now.to_zoned(zone.clone()), false);
                is_ever.map_err(|_| ScheduleError {
                    member: "cron",
                    message: "this cron expression never matches a date; for example, 0 6 1 * * is 6:00 on the first \
                              of each month"
                        .to_owned(),
                })?;
                Ok(Self::Cron(Box::new(cron), zone))
            }
        }
    }

    /// The first due time of a connection.
    pub(crate) fn first(&self, connection: &str, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(seconds) => {
                let interval = milliseconds(*seconds);
                later(now, interval + jitter(connection, interval))
            }
            Self::Cron(..) => self.after(connection, now, now),
        }
    }

    /// The next due time after now of a connection with the previous due time. Skips missed times in between.
    pub(crate) fn after(
        &self,
        connection: &str,
        due: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match self {
            Self::Every(_) if due > now => Some(due),
            Self::Every(seconds) => {
                let interval = milliseconds(*seconds);
                let passed = (now.as_millisecond() - due.as_millisecond()) / interval;
                later(due, (passed + 1) * interval)
            }
            Self::Cron(cron, zone) => {
                // A time that has passed may still be due.
                let before = now.checked_sub(SignedDuration::from_millis(MAX_JITTER));
                let before = before.ok()?.to_zoned(zone.clone());
                let next = |after: &Zoned| cron.find_next_occurrence(after, false).ok();
                let mut time = next(&before)?;
                loop {
                    let following = next(&time)?;
                    let interval = time.duration_until(&following).as_millis();
                    let late = jitter(connection, i64::try_from(interval).ok()?);
                    let due = later(time.timestamp(), late)?;
                    if due > now {
                        return Some(due);
                    }
                    time = following;
                }
            }
        }
    }
}

/// Parses five fields, or a word such as `@daily`.
fn parse(expression: &str) -> Option<Cron> {
    if expression.len() > LONGEST_EXPRESSION {
        return None;
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    parser.parse(expression).ok()
}

fn milliseconds(seconds: u32) -> i64 {
    i64::from(seconds) * 1000
}

fn later(time: Timestamp, milliseconds: i64) -> Option<Timestamp> {
    let later = time.checked_add(SignedDuration::from_millis(milliseconds));
    later.ok()
}

/// The delay of a connection after its schedule, in milliseconds.
fn jitter(connection: &str, interval: i64) -> i64 {
    let longest = (interval / JITTER_SHARE).min(MAX_JITTER);
    let [one, two, three, four, ..] = <[u8; 32]>::from(Sha256::digest(connection));
    let share = u32::from_be_bytes([one, two, three, four]);
    (longest * i64::from(share)) >> u32::BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(expression: &str, zone: &str) -> Times {
        let when = When::Cron {
            expression: expression.to_owned(),
            zone: zone.to_owned(),
        };
        Times::of(&when, time("2026-01-01T00:00:00Z")).unwrap()
    }

    /// The first times of an expression after a time, without the delay of a connection.
    fn times(expression: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let Times::Cron(cron, zone) = cron(expression, zone) else {
            panic!("this is an expression");
        };
        let from = time(from).to_zoned(zone);
        let all = cron.iter_after(from).take(count);
        all.map(|time| time.timestamp().to_string()).collect()
    }

    #[test]
    fn a_daily_run_at_an_hour_that_is_left_out_is_made_right_after_it() {
        // In Berlin, 2026-03-29 has no time from 02:00 to 03:00.
        let all = times("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3);
        let expected = [
            "2026-03-28T01:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_daily_run_at_an_hour_that_comes_twice_is_made_once() {
        // In Berlin, 2026-10-25 has the time from 02:00 to 03:00 twice.
        let all = times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(all, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let all = times("30 2 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
        assert_eq!(all, ["2026-11-01T07:30:00Z", "2026-11-02T07:30:00Z"]);
        let all = times("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
        assert_eq!(all, ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
    }

    #[test]
    fn an_hourly_run_is_made_every_hour_whatever_the_clocks_do() {
        for from in ["2026-03-28T20:15:00Z", "2026-10-24T20:15:00Z"] {
            let all = times("0 * * * *", "Europe/Berlin", from, 12);
            let apart = all.windows(2).map(|two| time(&two[1]) - time(&two[0]));
            for apart in apart {
                assert_eq!(apart.get_seconds(), 3600, "{all:?}");
            }
        }
    }

    #[test]
    fn ends_of_months_and_leap_days_are_those_of_the_calendar() {
        let all = times("0 0 L * *", "UTC", "2028-01-15T00:00:00Z", 3);
        let expected = [
            "2028-01-31T00:00:00Z",
            "2028-02-29T00:00:00Z",
            "2028-03-31T00:00:00Z",
        ];
        assert_eq!(all, expected);
        let all = times("0 0 31 * *", "UTC", "2026-03-31T12:00:00Z", 2);
        assert_eq!(all, ["2026-05-31T00:00:00Z", "2026-07-31T00:00:00Z"]);
        let all = times("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2);
        assert_eq!(all, ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
        // 2100 is no leap year.
        let all = times("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1);
        assert_eq!(all, ["2104-02-29T00:00:00Z"]);
    }

    #[test]
    fn midnight_is_that_of_the_time_zone() {
        let all = times("@daily", "Asia/Kolkata", "2026-06-01T00:00:00Z", 1);
        assert_eq!(all, ["2026-06-01T18:30:00Z"]);
    }

    #[test]
    fn an_interval_keeps_its_beat_and_makes_up_for_nothing() {
        let times = Times::Every(600);
        let due = time("2026-06-01T10:00:00Z");
        // A late start does not delay the next run.
        let next = times.after("calls", due, time("2026-06-01T10:00:07Z"));
        assert_eq!(next, Some(time("2026-06-01T10:10:00Z")));
        // After a day without runs there is one next run, at the regular time.
        let next = times.after("calls", due, time("2026-06-02T10:03:00Z"));
        assert_eq!(next, Some(time("2026-06-02T10:10:00Z")));
        // A run that is not due yet keeps its time.
        let next = times.after("calls", due, time("2026-06-01T09:59:59Z"));
        assert_eq!(next, Some(due));
    }

    #[test]
    fn missed_times_of_an_expression_are_left_out() {
        let times = cron("0 6 * * *", "UTC");
        let due = time("2026-06-01T06:00:00Z");
        let now = time("2026-06-09T08:00:00Z");
        let next = times.after("calls", due, now).unwrap();
        let late = (next - time("2026-06-10T06:00:00Z")).get_milliseconds();
        assert!((0..MAX_JITTER).contains(&late), "{next}");
    }

    #[test]
    fn what_is_due_next_is_later_and_late_by_a_share_at_most() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"];
        let day = 24 * 60 * 60;
        for _ in 0..500 {
            let second = random.i64(1_767_225_600..1_767_225_600 + 800 * day);
            let now = Timestamp::from_second(second).unwrap();
            let name = format!("c{}", random.u32(..));
            let (minute, hour) = (random.u32(0..60), random.u32(0..24));
            let expression = match random.u32(0..4) {
                0 => "* * * * *".to_owned(),
                1 => format!("*/{} * * * *", random.u32(1..60)),
                2 => format!("{minute} {hour} * * *"),
                _ => format!("{minute} {hour} {} * *", random.u32(1..32)),
            };
            let zone = random.choice(zones).unwrap();
            let shown = format!("{expression} in {zone} for {name} at {now}");
            let times = cron(&expression, zone);
            let due = times.after(&name, now, now).unwrap();
            assert!(due > now, "{shown}: {due}");
            // The delay is less than the limit, and less than a tenth of the time to the next run.
            let Times::Cron(cron, zone) = &times else {
                panic!("this is an expression");
            };
            let at = due.to_zoned(zone.clone());
            let time = cron.find_previous_occurrence(&at, true).unwrap();
            let following = cron.find_next_occurrence(&at, false).unwrap();
            let interval =
                following.timestamp().as_millisecond() - time.timestamp().as_millisecond();
            let late = due.as_millisecond() - time.timestamp().as_millisecond();
            assert!((0..MAX_JITTER).contains(&late), "{shown}: {late}");
            assert!(
                late * JITTER_SHARE <= interval,
                "{shown}: {late} of {interval}"
            );
            // A moment before the due time the answer is the same; no time lies between.
            let moment = SignedDuration::from_millis(1);
            let again = times.after(&name, now, due - moment);
            assert_eq!(again, Some(due), "{shown}");
        }
    }

    #[test]
    fn a_thousand_connections_do_not_start_together() {
        let now = time("2026-06-01T10:00:00Z");
        for (times, latest) in [
            (Times::Every(3600), 300_000),
            (Times::Every(600), 60_000),
            (cron("0 11 * * *", "UTC"), 300_000),
        ] {
            let due = |number| times.first(&format!("calls-{number}"), now).unwrap();
            let mut all: Vec<i64> = (0..1000).map(|n| due(n).as_millisecond()).collect();
            all.sort_unstable();
            assert!(all[999] - all[0] < latest);
            // No hundredth of the time has many of them.
            let shortest = all.windows(40).map(|some| some[39] - some[0]).min();
            assert!(shortest.unwrap() > latest / 100, "{times:?}");
        }
    }

    #[test]
    fn what_cannot_be_kept_names_the_member_and_gives_an_example() {
        let now = time("2026-01-01T00:00:00Z");
        let member = |when: When| {
            let refused = Times::of(&when, now).unwrap_err();
            assert!(refused.message.contains(['0', '/']), "{}", refused.message);
            refused.member
        };
        for seconds in [0, 1, 59, LONGEST + 1, u32::MAX] {
            assert_eq!(member(When::Every(seconds)), "every_seconds");
        }
        let of = |expression: &str, zone: &str| When::Cron {
            expression: expression.to_owned(),
            zone: zone.to_owned(),
        };
        for zone in [
            "",
            "Mars/Olympus",
            "../../etc/passwd",
            "local",
            "Europe/Berlin\0",
        ] {
            assert_eq!(member(of("0 6 * * *", zone)), "time_zone", "{zone}");
        }
        let long = format!("0{} * * * *", ",0".repeat(100));
        for expression in [
            "",
            " ",
            "*",
            "daily",
            "@reboot",
            "0 6 * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "0 0 6 * * *",
            "0 0 6 * * * 2027",
            "a b c d e",
            "\u{0661} * * * *",
            "0 0 30 2 *",
            "0 0 31 4,6,9,11 *",
            &long,
        ] {
            assert_eq!(member(of(expression, "UTC")), "cron", "{expression}");
        }
    }
}
