//! Instants, clocks and the date form that clients parse.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Unix time in milliseconds, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);

/// Milliseconds in a day.
pub const DAY: Duration = Duration::from_secs(86_400);

impl Timestamp {
    /// The earliest instant.
    pub const ZERO: Timestamp = Timestamp(0);

    /// From unix milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From unix seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1000)
    }

    /// Unix milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole unix seconds.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Time since `earlier`, zero when that lies ahead.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved back, not before zero.
    pub fn before(self, by: Duration) -> Timestamp {
        Self(self.0.saturating_sub(by.as_millis() as u64))
    }

    /// 00:00 UTC of this instant's day.
    pub fn start_of_day(self) -> Timestamp {
        Self(self.0 - self.0 % DAY.as_millis() as u64)
    }

    /// 00:00 UTC of the first day of this instant's month.
    pub fn start_of_month(self) -> Timestamp {
        self.first_of_month(0)
    }

    /// 00:00 UTC of the first day of the month after this instant's.
    pub fn start_of_next_month(self) -> Timestamp {
        self.first_of_month(1)
    }

    fn first_of_month(self, later: i64) -> Timestamp {
        let first = || {
            let at = jiff::Timestamp::from_millisecond(i64::try_from(self.0).ok()?).ok()?;
            let date = at.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
            let date = date.checked_add(jiff::Span::new().months(later)).ok()?;
            let at = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
            u64::try_from(at.as_millisecond()).ok()
        };
        // Only beyond the calendar's last year is there no such day.
        first().map_or(self, Timestamp)
    }

    /// Days since 1970-01-01.
    pub fn day_number(self) -> u32 {
        (self.0 / DAY.as_millis() as u64) as u32
    }

    /// 00:00 UTC of a day since 1970-01-01.
    pub fn of_day(day: u32) -> Timestamp {
        Self::ZERO + DAY * day
    }

    /// The day in UTC, `2026-01-02`.
    pub fn to_date(self) -> String {
        self.to_rfc3339().split('T').next().unwrap_or_default().to_owned()
    }

    /// Hours since 1970-01-01T00.
    pub fn hour_number(self) -> u32 {
        (self.0 / 3_600_000) as u32
    }

    /// RFC 3339 in UTC with the fraction it has, e.g. `2026-01-02T03:04:05.678Z`: the form Go clients parse.
    pub fn to_rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0 as i64) {
            Ok(timestamp) => timestamp.to_string(),
            Err(_) => jiff::Timestamp::MAX.to_string(),
        }
    }

    /// As [`Timestamp::to_rfc3339`], always with milliseconds: `2018-03-10T07:14:06.065Z`.
    pub fn to_iso8601(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S.%3fZ")
    }

    /// The day in UTC in English words, `March 10, 2018`.
    pub fn to_long_date(self) -> String {
        self.format("%B %-d, %Y")
    }

    /// Day and time in UTC in English words, `March 10, 2018, 07:14:06 UTC`.
    pub fn to_words(self) -> String {
        self.format("%B %-d, %Y, %H:%M:%S UTC")
    }

    fn format(self, form: &str) -> String {
        jiff::Timestamp::from_millisecond(self.0 as i64).unwrap_or(jiff::Timestamp::MAX).strftime(form).to_string()
    }

    /// Reads RFC 3339; the fraction below a millisecond is cut off.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(timestamp.as_millisecond()).ok().map(Self)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, by: Duration) -> Timestamp {
        Self(self.0.saturating_add(by.as_millis() as u64))
    }
}

impl Sub<Timestamp> for Timestamp {
    type Output = Duration;
    fn sub(self, earlier: Timestamp) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC."))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

/// Where the time comes from: the system, or a test that sets it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicU64::new(at.0))))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(millis) => Timestamp(millis.load(Ordering::Relaxed)),
            None => {
                let since_epoch =
                    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Timestamp(since_epoch.as_millis() as u64)
            }
        }
    }

    /// Moves a manual clock forward; the system clock goes its own way.
    pub fn advance(&self, by: Duration) {
        if let Some(millis) = &self.0 {
            millis.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_have_forms_for_people() {
        let time = Timestamp::from_millis(1_520_666_046_065);
        assert_eq!(time.to_iso8601(), "2018-03-10T07:14:06.065Z");
        assert_eq!(Timestamp::from_secs(1_520_666_046).to_iso8601(), "2018-03-10T07:14:06.000Z");
        assert_eq!(time.to_long_date(), "March 10, 2018");
        assert_eq!(time.to_words(), "March 10, 2018, 07:14:06 UTC");
    }

    #[test]
    fn rfc3339_round_trips_and_drops_an_empty_fraction() {
        let at = Timestamp::from_millis(1_767_322_845_678);
        assert_eq!(at.to_rfc3339(), "2026-01-02T03:00:45.678Z");
        assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Some(at));
        assert_eq!(Timestamp::from_secs(0).to_rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp::from_secs(5));
        assert_eq!(clock.now(), Timestamp::from_secs(5));
        clock.clone().advance(Duration::from_secs(2));
        assert_eq!(clock.now(), Timestamp::from_secs(7));
    }

    #[test]
    fn months_start_at_midnight_utc_of_their_first_day() {
        let cases = [
            ("2026-02-03T04:05:06Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("2024-02-29T23:59:59.999Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ];
        for (at, first, next) in cases {
            let at = Timestamp::parse_rfc3339(at).unwrap();
            assert_eq!(at.start_of_month().to_rfc3339(), first);
            assert_eq!(at.start_of_next_month().to_rfc3339(), next);
        }
        let never = Timestamp::from_millis(u64::MAX);
        assert_eq!(never.start_of_month(), never);
    }

    #[test]
    fn days_start_at_midnight_utc() {
        let at = Timestamp::from_millis(86_400_000 * 3 + 5);
        assert_eq!(at.start_of_day(), Timestamp::from_millis(86_400_000 * 3));
        assert_eq!(at.day_number(), 3);
        assert_eq!(Timestamp::of_day(3), at.start_of_day());
        assert_eq!(at.to_date(), "1970-01-04");
        assert_eq!((at + Duration::from_secs(7200)).hour_number(), 3 * 24 + 2);
    }
}
