//! Counters, gauges and the histogram.
//!
//! Responsible for their names, with labels in the form that Istio's bootstrap and our `stats_tags` cut out:
//! `policy=.=github;.;…;.;webhook_guard_requests_total`. A metric is defined when it is first counted and kept; names
//! are made of the configuration's and of closed lists, so there are only so many.

use super::hostcalls::{self, Metric};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use webhook_guard_core::decision::Decision;

/// The label of a request that no policy governs.
const NO_POLICY: &str = "none";

/// The host's ids of counters that were counted already, by their labels.
type Counters<Labels> = RefCell<BTreeMap<Labels, u32>>;

/// The metrics of a VM.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: Counters<(Option<Arc<str>>, &'static str, &'static str)>,
    secrets: Counters<(Option<Arc<str>>, Arc<str>)>,
    deliveries: Counters<(Option<Arc<str>>, &'static str)>,
    forgotten: Counters<()>,
    feeds: Counters<(Arc<str>, &'static str)>,
    body_bytes: Cell<Option<u32>>,
}

impl Metrics {
    /// Counts a decision. A metric that the host refuses is not counted: it decides nothing.
    pub(super) fn count(&self, decision: &Decision) {
        let (verdict, reason) = (decision.verdict.code(), decision.verdict.reason_code());
        let policy = &decision.record.policy;
        let name = policy.as_deref().unwrap_or(NO_POLICY);
        counted(&self.requests, (policy.clone(), verdict, reason), 1, || {
            format!(
                "policy=.={name};.;verdict=.={verdict};.;reason=.={reason};.;webhook_guard_requests_total"
            )
        });
        for id in &decision.record.secret_ids {
            counted(&self.secrets, (policy.clone(), id.clone()), 1, || {
                format!("policy=.={name};.;secret_id=.={id};.;webhook_guard_secret_used_total")
            });
        }
        if let Some(repeat) = decision.record.repeat {
            self.count_delivery(policy.as_ref(), repeat.code());
        }
        if let Some(bytes) = decision.record.body_bytes {
            let define = || hostcalls::define_metric(Metric::Histogram, "webhook_guard_body_bytes").ok();
            if let Some(id) = self.body_bytes.get().or_else(define) {
                self.body_bytes.set(Some(id));
                hostcalls::record(id, bytes).unwrap_or_default();
            }
        }
    }
}

impl Metrics {
    /// Counts a fetch of a feed that failed.
    pub(super) fn count_feed_error(&self, feed: &Arc<str>) {
        let name = "webhook_guard_feed_errors_total";
        counted(&self.feeds, (feed.clone(), name), 1, || format!("feed=.={feed};.;{name}"));
    }

    /// Sets a gauge of a feed. Every worker sets it, to the same.
    pub(super) fn set_feed_gauge(&self, feed: &Arc<str>, name: &'static str, value: u64) {
        let mut gauges = self.feeds.borrow_mut();
        let define = || hostcalls::define_metric(Metric::Gauge, &format!("feed=.={feed};.;{name}")).ok();
        let known = gauges.get(&(feed.clone(), name)).copied();
        if let Some(id) = known.or_else(define) {
            hostcalls::record(id, value).unwrap_or_default();
            gauges.insert((feed.clone(), name), id);
        }
    }

    /// Counts what the memory of deliveries said, or was told.
    pub(super) fn count_delivery(&self, policy: Option<&Arc<str>>, outcome: &'static str) {
        let name = policy.map_or(NO_POLICY, Arc::as_ref);
        counted(&self.deliveries, (policy.cloned(), outcome), 1, || {
            format!("policy=.={name};.;outcome=.={outcome};.;webhook_guard_deliveries_total")
        });
    }

    /// Counts deliveries that were forgotten before their time, since there was no room.
    pub(super) fn count_forgotten(&self, number: u64) {
        if number > 0 {
            counted(&self.forgotten, (), number, || "webhook_guard_memory_forgotten_total".to_owned());
        }
    }
}

/// Counts a configuration that was refused.
pub(super) fn count_rejected_configuration() {
    if let Ok(id) = hostcalls::define_metric(Metric::Counter, "webhook_guard_config_rejected_total") {
        hostcalls::increment(id, 1).unwrap_or_default();
    }
}

fn counted<K: Ord>(counters: &Counters<K>, key: K, number: u64, name: impl Fn() -> String) {
    let mut counters = counters.borrow_mut();
    let known = counters.get(&key).copied();
    if let Some(id) = known.or_else(|| hostcalls::define_metric(Metric::Counter, &name()).ok()) {
        hostcalls::increment(id, number).unwrap_or_default();
        counters.insert(key, id);
    }
}
