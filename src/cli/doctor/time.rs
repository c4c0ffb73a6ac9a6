//! Near misses of the time: another unit, and a delivery that is merely old.
//!
//! Responsible for what is wrong with a time, and by how much.

use super::delivery::Delivery;
use super::miss::{Candidate, Candidates, Miss};
use webhook_guard_core::request::{Millis, decimal};
use webhook_guard_core::signature::timestamp::{Freshness, Unit};

/// Whose clock says what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// `--now`.
    Given,
    /// The capture's own time.
    Captured,
    /// This machine's.
    Machine,
}

impl Clock {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Given => "the time of --now",
            Self::Captured => "the time of the capture",
            Self::Machine => "this machine's clock",
        }
    }
}

/// What is wrong with the time of a delivery whose signature holds; nothing where the filter would take it.
pub(crate) fn trouble(delivery: &Delivery, clock: Clock) -> Option<Miss> {
    let freshness = delivery.scheme()?.freshness.as_ref()?;
    let (sent, now) = (delivery.sent()?, delivery.now);
    let age = now.0.saturating_sub(sent.0);
    let tolerance = i64::from(freshness.tolerance_seconds);
    let future = i64::from(freshness.future_seconds);
    // The filter compares whole seconds where the sender writes whole seconds.
    let seconds = age.div_euclid(1000);
    if (future.saturating_neg()..=tolerance).contains(&seconds) {
        return None;
    }
    if let Some(miss) = other_unit(delivery, freshness) {
        return Some(miss);
    }
    let (clock_name, span) = (clock.name(), duration(age.unsigned_abs()));
    let hint = match clock {
        Clock::Machine => {
            "; an old capture always is: give the time of the refusal with --now to judge it as the gateway did"
        }
        Clock::Given | Clock::Captured => "",
    };
    let fresh = "sign anew for every attempt, and keep the clock right (NTP)";
    Some(if age > 0 {
        Miss::new(
            "stale",
            format!(
                "The signature holds, and its time lies {span} before {clock_name}: the scheme admits {tolerance} s{hint}."
            ),
            fresh,
            "keep the gateway's clock right; `tolerance_seconds` admits more, and as long a replay",
        )
    } else {
        Miss::new(
            "future",
            format!(
                "The signature holds, and its time lies {span} after {clock_name}: the scheme admits {future} s."
            ),
            "keep the clock right (NTP)",
            "keep the gateway's clock right",
        )
    })
}

/// A time in milliseconds that is read as seconds lies in the far future, and the other way round in 1970.
fn other_unit(delivery: &Delivery, freshness: &Freshness) -> Option<Miss> {
    let (unit, miss) = match freshness.unit {
        Unit::Seconds => (Unit::Milliseconds, milliseconds_for_seconds()),
        Unit::Milliseconds => (Unit::Seconds, seconds_for_milliseconds()),
        Unit::Rfc3339 | Unit::HttpDate => return None,
    };
    let distance = |unit: Unit| {
        let sent = unit.read(&delivery.time_text(freshness)?)?;
        Some(delivery.now.0.abs_diff(sent.0))
    };
    let (own, other) = (distance(freshness.unit)?, distance(unit)?);
    (other < own.checked_div(2)?).then_some(miss)
}

fn milliseconds_for_seconds() -> Miss {
    Miss::new(
        "milliseconds-for-seconds",
        "The sender writes the time in milliseconds, and the scheme expects seconds.",
        "write the time in seconds since 1970, before it signs",
        "a custom `scheme` with `\"unit\": \"ms\"` in `timestamp`",
    )
}

fn seconds_for_milliseconds() -> Miss {
    Miss::new(
        "seconds-for-milliseconds",
        "The sender writes the time in seconds, and the scheme expects milliseconds.",
        "write the time in milliseconds since 1970, before it signs",
        "a custom `scheme` with `\"unit\": \"s\"` in `timestamp`",
    )
}

/// Times that cannot be read in the scheme's unit, and times that were signed in another one than they are sent in.
pub(crate) fn candidates(delivery: &Delivery) -> Candidates<'_> {
    let Some(freshness) = delivery.scheme().and_then(|scheme| scheme.freshness.as_ref()) else {
        return Box::new(std::iter::empty());
    };
    let Some(text) = delivery.time_text(freshness) else { return Box::new(std::iter::empty()) };
    if freshness.unit.read(&text).is_none() {
        let units = [
            (Unit::Seconds, "seconds since 1970", "s"),
            (Unit::Milliseconds, "milliseconds since 1970", "ms"),
            (Unit::Rfc3339, "a date in RFC 3339", "rfc3339"),
            (Unit::HttpDate, "a date of HTTP", "http-date"),
        ];
        let readable = units.into_iter().filter(move |(unit, ..)| unit.read(&text).is_some());
        return Box::new(readable.map(|(unit, words, name)| Candidate {
            delivery: delivery.with_scheme(|scheme| {
                if let Some(freshness) = &mut scheme.freshness {
                    freshness.unit = unit;
                }
            }),
            miss: Miss::new(
                "time-unit",
                format!("The sender writes the time as {words}, which the scheme does not expect."),
                "write the time as the provider documents",
                format!("a custom `scheme` with `\"unit\": \"{name}\"` in `timestamp`"),
            ),
        }));
    }
    let (Some(name), Some(number)) = (Delivery::header_of(&freshness.field), decimal(&text)) else {
        return Box::new(std::iter::empty());
    };
    let prefix = freshness.field.prefix.as_deref().unwrap_or_default().to_owned();
    let split = freshness.field.split;
    let signed = [
        (number.checked_div(1000), "milliseconds-for-seconds", "in milliseconds and signs it in seconds"),
        (number.checked_mul(1000), "seconds-for-milliseconds", "in seconds and signs it in milliseconds"),
    ];
    Box::new(signed.into_iter().filter_map(move |(number, code, words)| {
        let item = [prefix.as_bytes(), &text].concat();
        let by = format!("{prefix}{}", number?);
        Some(Candidate {
            delivery: delivery.replacing(&name, split, &item, by.as_bytes()),
            miss: Miss::new(
                code,
                format!("The sender sends the time {words}."),
                "sign the very text that it sends",
                "nothing: what is sent must be what is signed",
            ),
        })
    }))
}

/// A span of time, for people.
pub(crate) fn duration(millis: u64) -> String {
    let of = |unit: u64| millis.checked_div(unit).unwrap_or_default();
    match millis {
        0..120_000 => format!("{} s", of(1000)),
        120_000..7_200_000 => format!("{} min", of(60_000)),
        7_200_000..172_800_000 => format!("{} h", of(3_600_000)),
        _ => format!("{} days", of(86_400_000)),
    }
}

/// The time that the filter compares with.
pub(crate) const fn clock(
    given: Option<Millis>,
    captured: Option<Millis>,
    machine: Millis,
) -> (Millis, Clock) {
    match (given, captured) {
        (Some(given), _) => (given, Clock::Given),
        (None, Some(captured)) => (captured, Clock::Captured),
        (None, None) => (machine, Clock::Machine),
    }
}
