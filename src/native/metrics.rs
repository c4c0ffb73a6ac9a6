//! Counters, gauges and the histogram.
//!
//! Responsible for their names and labels, which Envoy keeps as real labels: no `stats_tags` are needed to read them.

use crate::abi::{Fault, HostConfiguration, Metric, Stream};
use crate::feeds::{self, Tale};
use std::sync::atomic::{AtomicU64, Ordering};
use webhook_guard_core::decision::Decision;

/// The label of a request that no policy governs.
const NO_POLICY: &str = "none";

/// Configurations that were refused and not told to the host yet: it counts for requests only (Envoy 1.38), so the next one
/// tells it.
static REJECTED: AtomicU64 = AtomicU64::new(0);

/// Counts a configuration that was refused.
pub(crate) fn count_rejected_configuration() {
    REJECTED.fetch_add(1, Ordering::Relaxed);
}

/// The host's ids of the metrics of a configuration.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: usize,
    secrets: usize,
    body_bytes: usize,
    rejected: usize,
    deliveries: usize,
    forgotten: usize,
    feed_errors: usize,
    feed_age: usize,
    feed_prefixes: usize,
}

impl Metrics {
    /// Defines them.
    pub(crate) fn define(host: &HostConfiguration) -> Result<Self, Fault> {
        Ok(Self {
            requests: host.define(
                Metric::Counter,
                "webhook_guard_requests_total",
                &["policy", "verdict", "reason"],
            )?,
            secrets: host.define(
                Metric::Counter,
                "webhook_guard_secret_used_total",
                &["policy", "secret_id"],
            )?,
            body_bytes: host.define(Metric::Histogram, "webhook_guard_body_bytes", &[])?,
            deliveries: host.define(
                Metric::Counter,
                "webhook_guard_deliveries_total",
                &["policy", "outcome"],
            )?,
            forgotten: host.define(Metric::Counter, "webhook_guard_memory_forgotten_total", &[])?,
            feed_errors: host.define(Metric::Counter, "webhook_guard_feed_errors_total", &["feed"])?,
            feed_age: host.define(Metric::Gauge, "webhook_guard_feed_age_seconds", &["feed"])?,
            feed_prefixes: host.define(Metric::Gauge, "webhook_guard_feed_prefixes", &["feed"])?,
            rejected: host.define(Metric::Counter, "webhook_guard_config_rejected_total", &[])?,
        })
    }

    /// Tells the state of the feeds without a request; false where the host can be told for requests only.
    pub(crate) fn tell_feeds(&self, host: &HostConfiguration) -> bool {
        self.feeds(|kind, id, labels, value| host.record(kind, id, labels, value))
    }

    /// Tells the state of the feeds, where a request has to do it.
    pub(crate) fn tell_feeds_for(&self, stream: &Stream<'_>) {
        if feeds::are_untold() {
            self.feeds(|kind, id, labels, value| {
                stream.record(kind, id, labels, value);
                true
            });
        }
    }

    fn feeds(&self, record: impl Fn(Metric, usize, &[&str], u64) -> bool) -> bool {
        feeds::tell(|feed, tale| match tale {
            Tale::Errors(number) => record(Metric::Counter, self.feed_errors, &[feed], number),
            Tale::Age(seconds) => record(Metric::Gauge, self.feed_age, &[feed], seconds),
            Tale::Prefixes(number) => record(Metric::Gauge, self.feed_prefixes, &[feed], number),
        })
    }

    /// Counts what the memory of deliveries said, or was told.
    pub(crate) fn count_delivery(&self, stream: &Stream<'_>, policy: &str, outcome: &str) {
        stream.record(Metric::Counter, self.deliveries, &[policy, outcome], 1);
    }

    /// Counts deliveries that were forgotten before their time, since there was no room.
    pub(crate) fn count_forgotten(&self, stream: &Stream<'_>, number: u64) {
        if number > 0 {
            stream.record(Metric::Counter, self.forgotten, &[], number);
        }
    }

    /// Counts a decision.
    pub(crate) fn count(&self, stream: &Stream<'_>, decision: &Decision) {
        let (verdict, reason) = (decision.verdict.code(), decision.verdict.reason_code());
        let policy = decision.record.policy.as_deref().unwrap_or(NO_POLICY);
        stream.record(Metric::Counter, self.requests, &[policy, verdict, reason], 1);
        for id in &decision.record.secret_ids {
            stream.record(Metric::Counter, self.secrets, &[policy, id], 1);
        }
        if let Some(repeat) = decision.record.repeat {
            self.count_delivery(stream, policy, repeat.code());
        }
        if let Some(bytes) = decision.record.body_bytes {
            stream.record(Metric::Histogram, self.body_bytes, &[], bytes);
        }
        self.tell_feeds_for(stream);
        if REJECTED.load(Ordering::Relaxed) > 0 {
            stream.record(Metric::Counter, self.rejected, &[], REJECTED.swap(0, Ordering::Relaxed));
        }
    }
}
