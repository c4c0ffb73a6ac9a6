//! The etcd of several gateways, asked over a cluster of the host.
//!
//! Responsible for gRPC over the HTTP requests that the host makes for a module, and for the claims that are to be settled:
//! those of all workers wait here until the main thread carries them, many at a time.

use crate::abi::{self, Callout, CalloutAnswer, Event, HostConfiguration, LogLevel};
use crate::main_thread;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use webhook_guard_core::memory::etcd::{Answer, Call, Etcd, Health, Settlements, UNAVAILABLE, UNKNOWN};
use webhook_guard_core::memory::{Claim, Settlement};
use webhook_guard_core::request::Millis;

/// How often it is looked for claims that are to be settled again.
const RETRY: Duration = Duration::from_millis(100);

/// The bytes before a gRPC message: whether it is compressed, and its length
/// (grpc/grpc, doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message).
const FRAME: usize = 5;

#[derive(Debug)]
struct Stores {
    settlements: BTreeMap<Etcd, Settlements>,
    /// The calls that are under way for settlements, by the configuration that made them and the host's number.
    calls: BTreeMap<(usize, u64), Etcd>,
    /// Whether the main thread has been called and has not come yet.
    is_scheduled: bool,
    has_thread: bool,
}

static STORES: Mutex<Stores> = Mutex::new(Stores {
    settlements: BTreeMap::new(),
    calls: BTreeMap::new(),
    is_scheduled: false,
    has_thread: false,
});

/// Told when there is something to settle.
static SETTLES: Condvar = Condvar::new();

/// A lock that a panic left behind is taken all the same: at worst a claim runs out.
fn stores() -> MutexGuard<'static, Stores> {
    STORES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stores {
    fn is_idle(&self) -> bool {
        self.settlements.values().all(Settlements::is_idle)
    }

    /// Calls the main thread, if it has not been called already.
    fn schedule(&mut self) {
        if !std::mem::replace(&mut self.is_scheduled, true) {
            main_thread::call(Event::Settle);
        }
    }
}

/// Makes sure that what cannot be settled at once is tried again.
pub(crate) fn watch() -> Result<(), String> {
    let mut stores = stores();
    if !stores.has_thread {
        let thread = thread::Builder::new().name("webhook_guard".to_owned());
        thread.spawn(retry).map_err(|error| format!("there is no thread to be had: {error}"))?;
        stores.has_thread = true;
    }
    Ok(())
}

fn retry() {
    loop {
        let stores = stores();
        drop(SETTLES.wait_while(stores, |stores| stores.is_idle()).unwrap_or_else(PoisonError::into_inner));
        thread::sleep(RETRY);
        let mut stores = self::stores();
        // One that was called and has gone with its configuration never comes.
        stores.is_scheduled = false;
        stores.schedule();
    }
}

/// Has a claim settled soon, and says how many were given up for it.
pub(crate) fn settle(etcd: &Etcd, claim: Claim, settlement: Settlement, now: Millis) -> u64 {
    let mut stores = stores();
    let settlements = match stores.settlements.get_mut(etcd) {
        Some(settlements) => settlements,
        None => stores.settlements.entry(etcd.clone()).or_default(),
    };
    let lost = settlements.push(claim, settlement, now);
    stores.schedule();
    SETTLES.notify_one();
    lost
}

/// Makes the calls that are due, on the main thread.
pub(crate) fn flush(host: &HostConfiguration, now: Millis) {
    let due: Vec<(Etcd, Call)> = {
        let mut stores = stores();
        stores.is_scheduled = false;
        stores.settlements.retain(|_, settlements| !settlements.is_idle() || settlements.is_failing());
        let due = stores.settlements.iter_mut();
        due.filter_map(|(etcd, settlements)| Some((etcd.clone(), settlements.next(etcd, now)?))).collect()
    };
    // Not under the lock: the host may have hooks called.
    for (etcd, call) in due {
        let made = with_callout(&etcd, &call, |callout| host.call_out(callout));
        let mut stores = stores();
        match made {
            Ok(id) => {
                // One call at a time: another of the same etcd's was never answered, nor will be.
                stores.calls.retain(|_, of| *of != etcd);
                stores.calls.insert((host.id(), id), etcd);
            }
            Err(_) => stores.answered(&etcd, Answer::Status(UNAVAILABLE), now),
        }
    }
}

/// The answer to a call of [`flush`].
pub(crate) fn answered(host: &HostConfiguration, id: u64, answer: Option<&CalloutAnswer>, now: Millis) {
    {
        let mut stores = stores();
        let Some(etcd) = stores.calls.remove(&(host.id(), id)) else { return };
        stores.answered(&etcd, read(answer), now);
    }
    flush(host, now);
}

impl Stores {
    fn answered(&mut self, etcd: &Etcd, answer: Answer<'_>, now: Millis) {
        let health = self.settlements.get_mut(etcd).and_then(|one| one.answered(etcd, answer, now));
        let Some(health) = health else { return };
        let level = if let Health::Failing(_) = health { LogLevel::Error } else { LogLevel::Info };
        abi::log(level, &health.line(etcd));
    }
}

/// A call as the HTTP request that it is.
pub(crate) fn with_callout<T>(etcd: &Etcd, call: &Call, make: impl FnOnce(&Callout<'_>) -> T) -> T {
    let path = format!("/{}/{}", call.method.service(), call.method.name());
    let timeout = format!("{}m", call.timeout);
    let length = u32::try_from(call.message.len()).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(call.message.len().saturating_add(FRAME));
    body.push(0);
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(&call.message);
    make(&Callout {
        cluster: &etcd.cluster,
        headers: &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", &path),
            (":authority", &etcd.cluster),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("grpc-timeout", &timeout),
        ],
        body: &body,
        timeout: call.timeout,
    })
}

/// What an HTTP response says as a gRPC answer. The host tells no trailers. A success has a message and no other place for
/// its status; a failure has no message, and its status in the trailers, or in the headers where there is nothing else
/// (grpc/grpc, doc/PROTOCOL-HTTP2.md, Trailers-Only: so an etcd without TLS; with TLS, Go's own HTTP/2 server stands before it).
pub(crate) fn read(answer: Option<&CalloutAnswer>) -> Answer<'_> {
    let unavailable = Answer::Status(UNAVAILABLE);
    let Some(answer) = answer.filter(|answer| answer.headers.first(b":status") == Some(b"200")) else {
        return unavailable;
    };
    if let Some(status) = answer.headers.first(b"grpc-status") {
        let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
        return status.filter(|status| *status > 0).map_or(unavailable, Answer::Status);
    }
    let is_grpc =
        answer.headers.first(b"content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
    match answer.body.split_at_checked(FRAME) {
        _ if !is_grpc => unavailable,
        Some(([0, length @ ..], message)) if is_length(length, message.len()) => Answer::Message(message),
        None if answer.body.is_empty() => Answer::Status(UNKNOWN),
        _ => unavailable,
    }
}

fn is_length(prefix: &[u8], length: usize) -> bool {
    let prefix =
        prefix.try_into().map(u32::from_be_bytes).ok().and_then(|prefix| usize::try_from(prefix).ok());
    prefix == Some(length)
}
