//! The signed time and how far from now it may lie.
//!
//! Responsible for reading a time in the unit that the provider writes, and for arithmetic that no stranger's number
//! can overflow.

use crate::decision::Reason;
use crate::request::{Facts, Millis, decimal};
use crate::signature::field::{Field, Found};
use crate::signature::json_pointer::Answer;
use std::borrow::Cow;
use std::time::UNIX_EPOCH;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How a provider writes a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds since the Unix epoch, in ASCII digits.
    Seconds,
    /// Milliseconds since the Unix epoch, in ASCII digits.
    Milliseconds,
    /// RFC 3339, with `Z` or an offset, with or without fractions.
    Rfc3339,
    /// The date of HTTP (RFC 9110 5.6.7), or the one that Scalr sends: without the comma, and with `UTC`.
    HttpDate,
}

impl Unit {
    /// The word for it in a configuration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "s" => Self::Seconds,
            "ms" => Self::Milliseconds,
            "rfc3339" => Self::Rfc3339,
            "http-date" => Self::HttpDate,
            _ => return None,
        })
    }

    /// The instant that a text in this unit names.
    #[must_use]
    pub fn read(self, text: &[u8]) -> Option<Millis> {
        let millis = match self {
            Self::Seconds => i64::try_from(decimal(text)?).ok()?.checked_mul(1000)?,
            Self::Milliseconds => i64::try_from(decimal(text)?).ok()?,
            Self::Rfc3339 => return rfc3339(std::str::from_utf8(text).ok()?),
            Self::HttpDate => {
                let text = std::str::from_utf8(text).ok()?;
                let scalr = text.strip_suffix(" UTC").and_then(|rest| rest.split_once(' '));
                let own = scalr.map(|(day, rest)| format!("{day}, {rest} GMT"));
                let text = own.as_deref().unwrap_or(text);
                // The parser takes blanks around a date, too, and then one body and date could be cut into others.
                if text.trim() != text {
                    return None;
                }
                let date = httpdate::parse_http_date(text).ok()?;
                i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?
            }
        };
        Some(Millis(millis))
    }
}

/// The instant that a text in RFC 3339 names.
#[must_use]
pub fn rfc3339(text: &str) -> Option<Millis> {
    let nanoseconds = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanoseconds.div_euclid(1_000_000)).ok().map(Millis)
}

/// Where the signed time sits, how it is written, and how far from now it may lie.
#[derive(Clone, Debug)]
pub struct Freshness {
    /// Where it sits.
    pub field: Field,
    /// How it is written.
    pub unit: Unit,
    /// The age that is still admitted, in seconds.
    pub tolerance_seconds: u32,
    /// How far ahead of our clock it may lie, in seconds.
    pub future_seconds: u32,
}

impl Freshness {
    /// Judges the time, and hands back the sender's own bytes (those are signed, not our reading of them) with the
    /// instant that they name.
    ///
    /// # Errors
    /// `timestamp_missing`, `timestamp_malformed`, `timestamp_stale`, `timestamp_future`; `signature_ambiguous` when
    /// it is there more than once.
    pub fn judge<'a>(&self, facts: &Facts<'a>) -> Result<(Cow<'a, [u8]>, Millis), Reason> {
        let mut items = match self.field.read(facts) {
            Found::Absent | Found::Later => return Err(Reason::TimestampMissing),
            Found::Ambiguous => return Err(Reason::SignatureAmbiguous),
            Found::Items(items) => items.into_iter(),
        };
        let raw = items.next().ok_or(Reason::TimestampMissing)?;
        if items.next().is_some() {
            return Err(Reason::SignatureAmbiguous);
        }
        let sent = self.unit.read(&raw).ok_or(Reason::TimestampMalformed)?;
        self.admit(sent, facts.now)?;
        Ok((raw, sent))
    }

    /// Judges a time that sits in the body.
    ///
    /// # Errors
    /// As above; `timestamp_malformed` as well where the body has it in more than one reading.
    pub fn judge_answer(&self, answer: Answer, now: Millis) -> Result<(), Reason> {
        let value = match answer {
            Answer::Absent => return Err(Reason::TimestampMissing),
            Answer::Malformed => return Err(Reason::TimestampMalformed),
            Answer::Text(value) | Answer::Word(value) => value,
        };
        match self.field.items(&value).as_slice() {
            [] => Err(Reason::TimestampMissing),
            [raw] => self.admit(self.unit.read(raw).ok_or(Reason::TimestampMalformed)?, now),
            _ => Err(Reason::SignatureAmbiguous),
        }
    }

    /// Whether an instant is near enough to now.
    ///
    /// # Errors
    /// `timestamp_stale`, `timestamp_future`.
    pub fn admit(&self, sent: Millis, now: Millis) -> Result<(), Reason> {
        // A sender that writes whole seconds is compared with whole seconds.
        let now = match self.unit {
            Unit::Seconds | Unit::HttpDate => now.floor_to_second(),
            Unit::Milliseconds | Unit::Rfc3339 => now,
        };
        let age = now.0.saturating_sub(sent.0);
        if age > millis(self.tolerance_seconds) {
            return Err(Reason::TimestampStale);
        }
        if age < millis(self.future_seconds).saturating_neg() {
            return Err(Reason::TimestampFuture);
        }
        Ok(())
    }
}

fn millis(seconds: u32) -> i64 {
    i64::from(seconds).saturating_mul(1000)
}

/// The times that a signature says of itself, with how they are judged. They are judged again when the body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// It holds from then on.
    pub not_before: Option<Millis>,
    /// It was made then.
    pub issued: Option<Millis>,
    /// It holds until then.
    pub expires: Option<Millis>,
    /// The age that is admitted, in seconds, where it is judged.
    pub tolerance_seconds: Option<u32>,
    /// How far ahead of our clock it may begin to hold, or have been made, in seconds.
    pub future_seconds: u32,
}

impl Times {
    /// Whether they admit the signature now.
    ///
    /// # Errors
    /// `timestamp_stale`, `timestamp_future`.
    pub fn admit(&self, now: Millis) -> Result<(), Reason> {
        let now = now.floor_to_second().0;
        let millis = |seconds: u32| i64::from(seconds).saturating_mul(1000);
        let is_ahead = |time: Millis| time.0.saturating_sub(now) > millis(self.future_seconds);
        if self.not_before.is_some_and(is_ahead) || self.issued.is_some_and(is_ahead) {
            return Err(Reason::TimestampFuture);
        }
        // RFC 7519 4.1.4: on or after that time it must not be accepted.
        let is_over = self.expires.is_some_and(|expires| now >= expires.0);
        let age = self.issued.map(|issued| now.saturating_sub(issued.0));
        let is_old =
            self.tolerance_seconds.is_some_and(|tolerance| age.is_some_and(|age| age > millis(tolerance)));
        if is_over || is_old { Err(Reason::TimestampStale) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Headers;
    use crate::signature::field::Place;
    use std::sync::Arc;

    fn judge(unit: Unit, value: &str, now: i64) -> Result<(), Reason> {
        let headers = Headers::from_pairs([(&b"x-time"[..], value.as_bytes())]);
        let facts = Facts {
            headers: &headers,
            source: None,
            client_certificate: None,
            route_policy: None,
            now: Millis(now),
            ends_with_headers: true,
        };
        let field = Field::whole(Place::Header(Arc::from("x-time")));
        Freshness { field, unit, tolerance_seconds: 300, future_seconds: 60 }.judge(&facts).map(|_| ())
    }

    #[test]
    fn the_boundaries_of_the_tolerance_are_admitted_and_their_neighbours_are_not() {
        let now = 1_700_000_000_999;
        let stale = Err(Reason::TimestampStale);
        let future = Err(Reason::TimestampFuture);
        let malformed = Err(Reason::TimestampMalformed);
        for (unit, text, verdict) in [
            (Unit::Seconds, "1700000000", Ok(())),
            (Unit::Seconds, "01700000000", Ok(())),
            (Unit::Seconds, "1699999700", Ok(())),
            (Unit::Seconds, "1699999699", stale),
            (Unit::Seconds, "1700000060", Ok(())),
            (Unit::Seconds, "1700000061", future),
            (Unit::Seconds, "0", stale),
            (Unit::Seconds, "1700000000000", future),
            (Unit::Seconds, "9223372036854775807", malformed),
            (Unit::Seconds, "18446744073709551616", malformed),
            (Unit::Seconds, "", malformed),
            (Unit::Seconds, "-1", malformed),
            (Unit::Seconds, "+1700000000", malformed),
            (Unit::Seconds, "1700000000.0", malformed),
            (Unit::Milliseconds, "1700000000999", Ok(())),
            (Unit::Milliseconds, "1699999700999", Ok(())),
            (Unit::Milliseconds, "1699999700998", stale),
            (Unit::Milliseconds, "1700000060999", Ok(())),
            (Unit::Milliseconds, "1700000061000", future),
            (Unit::Milliseconds, "9223372036854775807", future),
            (Unit::Rfc3339, "2023-11-14T22:13:20Z", Ok(())),
            (Unit::Rfc3339, "2023-11-14T14:13:20.123456789-08:00", Ok(())),
            (Unit::Rfc3339, "2023-11-14T22:08:20.998Z", stale),
            (Unit::Rfc3339, "2023-11-14T22:15:00Z", future),
            (Unit::Rfc3339, "2023-11-14T22:13:20", malformed),
            (Unit::Rfc3339, "9999-12-31T23:59:59Z", future),
            (Unit::HttpDate, "Tue, 14 Nov 2023 22:13:20 GMT", Ok(())),
            (Unit::HttpDate, "Tue, 14 Nov 2023 22:08:19 GMT", stale),
            (Unit::HttpDate, "Tue 14 Nov 2023 22:13:20 UTC", Ok(())),
            (Unit::HttpDate, "Tue 14 Nov 2023 22:08:19 UTC", stale),
            (Unit::HttpDate, "Tue, 14 Nov 2023 22:13:20 UTC", malformed),
            (Unit::HttpDate, " Tue, 14 Nov 2023 22:13:20 GMT", malformed),
            (Unit::HttpDate, "Tue, 14 Nov 2023 22:13:20 GMT\u{b}", malformed),
            (Unit::HttpDate, "yesterday", malformed),
        ] {
            assert_eq!(judge(unit, text, now), verdict, "{unit:?} {text}");
        }
    }

    #[test]
    fn a_clock_at_its_ends_overflows_nothing() {
        assert_eq!(judge(Unit::Milliseconds, "0", i64::MAX), Err(Reason::TimestampStale));
        assert_eq!(judge(Unit::Milliseconds, "9223372036854775807", i64::MIN), Err(Reason::TimestampFuture));
    }
}
