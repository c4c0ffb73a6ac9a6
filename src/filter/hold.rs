//! Whether the host can hold a request's head, and what is done when it cannot.
//!
//! Responsible for telling a host that never delivers the body (`allow_on_headers_stop_iteration` is missing) from a
//! sender that is slow: the option cannot be read, but the bytes that have come for the request can.

use super::hostcalls;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use webhook_guard_core::decision::Record;
use webhook_guard_core::request::Millis;

/// How often held requests are looked at, in milliseconds.
pub(super) const TICK: u32 = 1000;
/// How long a body that has come may stay undelivered.
const PATIENCE: i64 = 2000;

/// How many held requests are looked at in one tick: each costs calls to the host, and a stranger can hold many.
const LOOKS: usize = 1000;

/// The first Envoy with the option.
const FIRST_ENVOY: (u64, u64) = (1, 35);

/// What to do about it, for the log.
pub(super) const REMEDY: &str = "the host does not deliver request bodies while their head is held: set \
     allow_on_headers_stop_iteration: true in the filter's PluginConfig (Envoy 1.35 or newer), or hold_request_head: \
     false in this configuration with envoy.filters.http.buffer directly behind this filter";

/// A request whose head is held while its body is waited for.
#[derive(Clone, Debug)]
pub(super) struct HeldRequest {
    since: Millis,
    size: u64,
    /// What there is to say about the request.
    pub(super) record: Record,
    /// Its id.
    pub(super) request_id: String,
}

/// All held requests of a VM, by context.
#[derive(Debug, Default)]
pub(super) struct Holding {
    held: RefCell<BTreeMap<u32, HeldRequest>>,
    /// The last context that was looked at.
    looked_at: Cell<u32>,
    is_proven: Cell<bool>,
    is_version_checked: Cell<bool>,
}

impl Holding {
    /// Watches a request whose head is held from now on. Nothing is watched once a body has come: the host can hold.
    pub(super) fn watch(
        &self,
        context: u32,
        since: Millis,
        record: impl FnOnce() -> Record,
        request_id: &str,
    ) {
        if !self.is_proven.get() {
            let held =
                HeldRequest { since, size: received(), record: record(), request_id: request_id.to_owned() };
            self.held.borrow_mut().insert(context, held);
        }
    }

    /// Notes that the host delivers bodies.
    pub(super) fn prove(&self) {
        if !self.is_proven.replace(true) {
            self.held.borrow_mut().clear();
        }
    }

    /// Forgets a request that is over.
    pub(super) fn forget(&self, context: u32) {
        if !self.is_proven.get() {
            self.held.borrow_mut().remove(&context);
        }
    }

    /// Whether bodies have been delivered.
    pub(super) const fn is_proven(&self) -> bool {
        self.is_proven.get()
    }

    /// Takes the requests whose body has come and was not delivered in time, each with its own context effective. Looks
    /// at so many a call, in turn.
    pub(super) fn each_stuck(&self, now: Millis, mut refuse: impl FnMut(HeldRequest)) {
        let due: Vec<(u32, u64)> = {
            let held = self.held.borrow();
            let after = self.looked_at.get();
            let in_turn = held.range(after.saturating_add(1)..).chain(held.range(..=after));
            let is_due = |held: &HeldRequest| now.0.saturating_sub(held.since.0) >= PATIENCE;
            let due = in_turn.take(LOOKS).filter(|(_, held)| is_due(held));
            due.map(|(context, held)| (*context, held.size)).collect()
        };
        for (context, size) in due {
            self.looked_at.set(context);
            if hostcalls::set_effective_context(context).is_err() || received() <= size {
                continue;
            }
            let stuck = self.held.borrow_mut().remove(&context);
            if let Some(stuck) = stuck {
                refuse(stuck);
            }
        }
    }

    /// Once a VM: whether the host is too old to have the option. An Envoy that does not tell its version is not.
    pub(super) fn old_host(&self) -> Option<(u64, u64)> {
        if self.is_version_checked.replace(true) {
            return None;
        }
        let part = |name| number(&format!("xds\0node\0user_agent_build_version\0version\0{name}"));
        let version = (part("major_number")?, part("minor_number").unwrap_or_default());
        (version < FIRST_ENVOY).then_some(version)
    }
}

/// The bytes that have come for the request of the effective context.
fn received() -> u64 {
    number("request\0total_size").unwrap_or_default()
}

fn number(path: &str) -> Option<u64> {
    let bytes = hostcalls::property(path).ok()??;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}
