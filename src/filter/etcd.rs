//! The etcd of several gateways, asked over a cluster of the host.
//!
//! Responsible for carrying calls to it, and for the claims of this VM that are to be settled: after a request is over,
//! nobody hears of an answer but a root context, so they wait here for the next tick of one.

use super::hostcalls::{self, Buffer, Fault};
use proxy_wasm::hostcalls::dispatch_grpc_call;
use std::cell::RefCell;
use std::time::Duration;
use webhook_guard_core::memory::etcd::{Answer, Call, Etcd, Health, Settlements, UNAVAILABLE};
use webhook_guard_core::memory::{Claim, Settlement};
use webhook_guard_core::request::Millis;

/// How often, in milliseconds, it is looked for claims that are to be settled again.
pub(super) const RETRY_TICK: u32 = 100;
/// The same where none is known: a configuration that is gone may have left some.
pub(super) const IDLE_TICK: u32 = 1000;

/// The largest answer that is read. One to a transaction of 32 operations has some 2 kB.
const MOST_ANSWER: usize = 65_536;

#[derive(Debug, Default)]
struct Stores {
    /// There are few, and so they are lists.
    settlements: Vec<(Etcd, Settlements)>,
    /// The calls that are under way for settlements, by the host's tokens.
    calls: Vec<(u32, Etcd)>,
}

thread_local! {
    /// Of all configurations of this VM: one that is loaded anew settles what another has left.
    static STORES: RefCell<Stores> = RefCell::default();
}

/// Calls etcd from the effective context, which is told the answer, and gives the host's token of the call. Nothing is told
/// of a call that fails here: the cluster is not known, or has no endpoint.
pub(super) fn call(etcd: &Etcd, call: &Call) -> Result<u32, Fault> {
    // The name of a cluster by itself could be read as a serialized `GrpcService`, and end the whole Envoy. This is one:
    // field 1, `envoy_grpc`, whose field 1 is `cluster_name`.
    let name = &etcd.cluster;
    let length = |length: usize| u8::try_from(length).ok().filter(u8::is_ascii).map(char::from).ok_or(Fault);
    let service = format!("\n{}\n{}{name}", length(name.len().saturating_add(2))?, length(name.len())?);
    let timeout = Duration::from_millis(u64::from(call.timeout));
    let (of, method, message) = (call.method.service(), call.method.name(), Some(call.message.as_slice()));
    // By the SDK, which has to know the token. It panics on statuses that no host gives.
    dispatch_grpc_call(&service, of, method, Vec::new(), message, timeout).map_err(|_| Fault)
}

/// The answer that the host has just told.
#[derive(Debug)]
pub(super) enum Told {
    Message(Vec<u8>),
    Status(u32),
}

impl Told {
    pub(super) fn new(status: u32, size: usize) -> Self {
        if status != 0 {
            return Self::Status(status);
        }
        let message = hostcalls::buffer(Buffer::GrpcAnswer, 0, size.min(MOST_ANSWER));
        // The host has no buffer for a message without a byte.
        message.map_or(Self::Status(UNAVAILABLE), |message| Self::Message(message.unwrap_or_default()))
    }

    pub(super) fn answer(&self) -> Answer<'_> {
        match self {
            Self::Message(message) => Answer::Message(message),
            Self::Status(status) => Answer::Status(*status),
        }
    }
}

impl Stores {
    fn settlements(&mut self, etcd: &Etcd) -> Option<&mut Settlements> {
        self.settlements.iter_mut().find(|(of, _)| of == etcd).map(|(_, settlements)| settlements)
    }
}

/// Has a claim settled at the next tick, and says how many were given up for it.
pub(super) fn settle(etcd: &Etcd, claim: Claim, settlement: Settlement, now: Millis) -> u64 {
    STORES.with_borrow_mut(|stores| {
        if stores.settlements(etcd).is_none() {
            stores.settlements.push((etcd.clone(), Settlements::default()));
        }
        stores.settlements(etcd).map_or(1, |settlements| settlements.push(claim, settlement, now))
    })
}

/// Whether no claim waits to be settled.
pub(super) fn is_idle() -> bool {
    STORES.with_borrow(|stores| stores.settlements.iter().all(|(_, settlements)| settlements.is_idle()))
}

/// Makes the calls that are due, from a root context.
pub(super) fn flush(now: Millis) {
    STORES.with_borrow_mut(|stores| {
        let Stores { settlements, calls } = stores;
        for (etcd, settlements) in settlements.iter_mut() {
            let Some(due) = settlements.next(etcd, now) else { continue };
            match call(etcd, &due) {
                Ok(token) => {
                    // One call at a time: another of the same etcd's was never answered, nor will be.
                    calls.retain(|(_, of)| of != etcd);
                    calls.push((token, etcd.clone()));
                }
                Err(Fault) => tell(etcd, settlements.answered(etcd, Answer::Status(UNAVAILABLE), now)),
            }
        }
        settlements.retain(|(_, settlements)| !settlements.is_idle() || settlements.is_failing());
    });
}

/// The answer to a call of [`flush`].
pub(super) fn answered(token: u32, told: &Told, now: Millis) {
    STORES.with_borrow_mut(|stores| {
        let Some(index) = stores.calls.iter().position(|(of, _)| *of == token) else { return };
        let (_, etcd) = stores.calls.swap_remove(index);
        if let Some(settlements) = stores.settlements(&etcd) {
            tell(&etcd, settlements.answered(&etcd, told.answer(), now));
        }
    });
    flush(now);
}

fn tell(etcd: &Etcd, health: Option<Health>) {
    let Some(health) = health else { return };
    let line = health.line(etcd);
    match health {
        Health::Failing(_) => log::error!("{line}"),
        Health::Restored => log::info!("{line}"),
    }
}
