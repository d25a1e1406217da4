//! Times as people write and read them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use std::str::FromStr;

/// A moment: `2026-11-23`, `2026-11-23T18:00:00`, either in UTC, `2026-11-23T18:00:00+01:00`, or a span from now such as `10m` or
/// `2 days`. Whether that lies ahead or behind is the command's affair.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// That moment.
    At(Timestamp),
    /// So far from now.
    Span(Span),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(When::At(at));
        }
        let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from));
        if let Some(at) = civil.ok().and_then(|civil| civil.to_zoned(TimeZone::UTC).ok()) {
            return Ok(When::At(at.timestamp()));
        }
        text.parse::<Span>().map(|span| When::Span(span.abs())).map_err(|_| {
            "say a day such as 2026-11-23, a time such as 2026-11-23T18:00:00Z, or a span such as 10m or 2 days"
                .to_owned()
        })
    }
}

impl When {
    /// In milliseconds since 1970; a span lies behind `now`.
    pub fn past_ms(self, now: Timestamp) -> Option<u64> {
        self.ms(now, |now, span| now.checked_sub(span).ok())
    }

    /// In milliseconds since 1970; a span lies ahead of `now`.
    pub fn future_ms(self, now: Timestamp) -> Option<u64> {
        self.ms(now, |now, span| now.checked_add(span).ok())
    }

    fn ms(self, now: Timestamp, shift: impl Fn(Zoned, Span) -> Option<Zoned>) -> Option<u64> {
        let at = match self {
            When::At(at) => at,
            When::Span(span) => shift(now.to_zoned(TimeZone::UTC), span)?.timestamp(),
        };
        u64::try_from(at.as_millisecond()).ok()
    }
}

/// A time for people, in UTC.
pub fn shown(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| format!("{ms} ms after 1970"), |at| format!("{at:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_times_and_spans() {
        let now: Timestamp = "2026-11-23T18:00:00Z".parse().unwrap();
        let past = |text: &str| text.parse::<When>().unwrap().past_ms(now).map(shown);
        assert_eq!(past("2026-11-20").as_deref(), Some("2026-11-20T00:00:00Z"));
        assert_eq!(past("2026-11-20T12:30:00").as_deref(), Some("2026-11-20T12:30:00Z"));
        assert_eq!(past("2026-11-20T12:30:00+01:00").as_deref(), Some("2026-11-20T11:30:00Z"));
        assert_eq!(past("10m").as_deref(), Some("2026-11-23T17:50:00Z"));
        assert_eq!(past("2 days").as_deref(), Some("2026-11-21T18:00:00Z"));
        let future = "1 month".parse::<When>().unwrap().future_ms(now).map(shown);
        assert_eq!(future.as_deref(), Some("2026-12-23T18:00:00Z"));
        for wrong in ["", "soon", "2026-13-01", "10"] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
        assert_eq!(shown(u64::MAX), "18446744073709551615 ms after 1970");
    }
}
