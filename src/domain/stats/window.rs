//! The stretch of time that a question is about.
//!
//! It reaches back from now and is counted in whole hours: the hour in which it begins counts whole. Days are UTC, and
//! every day that it touches has a key in the answer.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::record::HOUR_MILLIS;
use crate::time::{DAY, Timestamp};

/// The shortest window.
pub const SHORTEST: Duration = Duration::from_secs(3600);

/// The longest window, and how far back anything is kept that can be asked for.
pub const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A stretch of time that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Where it begins.
    pub start: Timestamp,
    /// Now.
    pub end: Timestamp,
}

impl Window {
    /// The last so long before `now`, within [`SHORTEST`] and [`LONGEST`].
    pub fn last(length: Duration, now: Timestamp) -> Self {
        Self { start: now.before(length.clamp(SHORTEST, LONGEST)), end: now }
    }

    /// As asked: `last_n` hours when positive, else `lookback` days when positive, else a default.
    pub fn asked(last_n: f64, lookback: i64, default: Duration, now: Timestamp) -> Self {
        let longest_hours = LONGEST.as_secs_f64() / 3600.0;
        let length = if last_n > 0.0 {
            Duration::from_secs_f64(last_n.min(longest_hours) * 3600.0)
        } else if lookback > 0 {
            DAY * u32::try_from(lookback).unwrap_or(u32::MAX).min(366)
        } else {
            default
        };
        Self::last(length, now)
    }

    /// Its length in days, rounded up.
    pub fn lookback(&self) -> u64 {
        self.end.since(self.start).as_millis().div_ceil(DAY.as_millis()) as u64
    }

    /// Its length.
    pub fn length(&self) -> Duration {
        self.end.since(self.start)
    }

    /// Every day it touches, since 1970.
    pub fn days(&self) -> RangeInclusive<u32> {
        self.start.day_number()..=self.end.day_number()
    }

    /// The hours of a day that are in it.
    pub fn hours(&self, day: u32) -> RangeInclusive<usize> {
        let first = if day == self.start.day_number() { self.start.hour_number() % 24 } else { 0 };
        let last = if day == self.end.day_number() { self.end.hour_number() % 24 } else { 23 };
        first as usize..=last as usize
    }

    /// Those hours as bits.
    pub fn hour_mask(&self, day: u32) -> u32 {
        self.hours(day).fold(0, |mask, hour| mask | 1 << hour)
    }

    /// Whether all hours of a day are in it that have been so far.
    pub fn is_whole(&self, day: u32) -> bool {
        *self.hours(day).start() == 0
    }

    /// How many milliseconds of an hour are in it.
    pub fn millis_of(&self, day: u32, hour: usize) -> u64 {
        let from = u64::from(day) * 24 * HOUR_MILLIS + hour as u64 * HOUR_MILLIS;
        let to = (from + HOUR_MILLIS).min(self.end.as_millis());
        to.saturating_sub(from.max(self.start.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// 2026-02-03T04:05:06Z.
    const NOW: Timestamp = Timestamp::from_secs(1_770_091_506);

    fn asked(last_n: f64, lookback: i64) -> Window {
        Window::asked(last_n, lookback, DAY, NOW)
    }

    #[test]
    fn hours_go_before_days_and_both_before_the_default() {
        assert_eq!(asked(72.0, 5).length(), 72 * HOUR);
        assert_eq!(asked(0.0, 5).length(), 5 * DAY);
        assert_eq!(asked(-5.0, -1).length(), DAY);
        assert_eq!(asked(1.5, 0).length(), Duration::from_secs(5400));
    }

    #[test]
    fn windows_are_clamped_to_an_hour_and_366_days() {
        for (window, length, lookback) in [
            (asked(0.5, 0), HOUR, 1),
            (asked(f64::MIN_POSITIVE, 0), HOUR, 1),
            (asked(1.0, 0), HOUR, 1),
            (asked(24.0, 0), DAY, 1),
            (asked(25.0, 0), 25 * HOUR, 2),
            (asked(1e9, 0), LONGEST, 366),
            (asked(1e300, 0), LONGEST, 366),
            (asked(8784.0, 0), LONGEST, 366),
            (asked(0.0, i64::MAX), LONGEST, 366),
            (asked(-1e300, i64::MIN), DAY, 1),
        ] {
            assert_eq!((window.length(), window.lookback()), (length, lookback), "{window:?}");
        }
    }

    #[test]
    fn a_window_touches_one_more_day_than_it_is_long_unless_it_begins_at_midnight() {
        let days = |window: Window| window.days().count();
        assert_eq!(days(asked(24.0, 0)), 2);
        assert_eq!(days(asked(0.0, 90)), 91);
        assert_eq!(days(asked(1.0, 0)), 1);
        let midnight = NOW.start_of_day();
        assert_eq!(days(Window::last(HOUR, midnight)), 2, "the new day has just begun");
        assert_eq!(days(Window::last(HOUR, midnight + HOUR)), 1);
        assert_eq!(days(Window::last(HOUR, midnight + Duration::from_millis(3_599_999))), 2);
    }

    #[test]
    fn the_first_hour_counts_whole_and_the_rest_of_its_day_too() {
        let window = asked(24.0, 0);
        let (yesterday, today) = (window.start.day_number(), window.end.day_number());
        assert_eq!((window.hours(yesterday), window.hours(today)), (4..=23, 0..=4));
        assert_eq!(window.hour_mask(today), 0b11111);
        assert!(!window.is_whole(yesterday) && window.is_whole(today));
        let sum: u64 =
            window.days().flat_map(|day| window.hours(day).map(move |hour| window.millis_of(day, hour))).sum();
        assert_eq!(sum, DAY.as_millis() as u64, "clipped to the millisecond");
    }
}
