//! Where Envoy calls in: a configuration, a route's configuration, and each request.
//!
//! Responsible for telling an [`Exchange`] what the host tells, and for carrying out what it answers. Nothing is decided
//! here; what fails on the way is told as a fault, a panic included, and a request of which nothing is known is stopped.

use crate::abi::{
    self, Attribute, Body, CalloutAnswer, Event, Fault, HostConfiguration, LogLevel, Map, Scheduler, Stream,
};
use crate::etcd;
use crate::feeds::{self, Feeds};
use crate::main_thread;
use crate::memory::Memory;
use crate::metrics::{self, Metrics};
use crate::secrets;
use crate::unwind::guarded;
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};
use webhook_guard_core::budget::Held;
use webhook_guard_core::config::Configuration;
use webhook_guard_core::decision::{Decision, Level};
use webhook_guard_core::exchange::{Acts, Exchange, Next};
use webhook_guard_core::memory::etcd::{Answer, Etcd, UNAVAILABLE};
use webhook_guard_core::memory::{Claimed, Delivery, Response, Settlement, Store};
use webhook_guard_core::policy::Edits;
use webhook_guard_core::request::{CertificateAttribute, ClientCertificate, Facts, Millis};

/// What is held for requests of every configuration and worker: they share one process.
static HELD: LazyLock<Held> = LazyLock::new(Held::default);

/// What the host is to do with what has come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Let it go on, with all that was held of it.
    Continue,
    /// Hold it: more is awaited.
    Hold,
    /// Drop it: the request has been answered.
    Stop,
}

/// A configuration, and what requests need of it.
#[derive(Debug)]
pub(crate) struct Guard {
    configuration: Arc<Configuration>,
    needs_source: bool,
    needs_client_certificate: bool,
    /// Where deliveries are remembered, if any are.
    memory: Remembered,
    /// Its address feeds.
    feeds: Arc<Feeds>,
}

/// Where the deliveries of a configuration are remembered.
#[derive(Debug)]
enum Remembered {
    Nowhere,
    /// In this process.
    Locally(Arc<Memory>),
    /// In an etcd, with this configuration of it.
    InEtcd(Etcd),
}

/// A filter in a listener's chain: its configuration, and where its requests are counted.
#[derive(Debug)]
pub(crate) struct Plugin {
    guard: Arc<Guard>,
    metrics: Metrics,
    /// By which the main thread is reached, for as long as the filter is there.
    _scheduler: Arc<Scheduler>,
}

/// One request of the host.
#[derive(Debug)]
pub(crate) struct Request {
    plugin: Arc<Plugin>,
    /// The configuration by which it is judged: the route's, or that of the filter.
    guard: Arc<Guard>,
    /// What becomes of it; nothing before its headers came.
    exchange: Option<Exchange>,
}

/// Makes the configuration of a filter; nothing where it is refused, which the log explains.
pub(crate) fn new_plugin(host: &HostConfiguration, bytes: &[u8]) -> Option<Arc<Plugin>> {
    let made = guarded(|| {
        let metrics =
            Metrics::define(host).map_err(|Fault| "the host defines no metrics for it".to_owned())?;
        let guard = configure(bytes)?;
        let scheduler = Arc::new(host.scheduler());
        main_thread::register(&scheduler);
        Ok(Plugin { guard, metrics, _scheduler: scheduler })
    });
    accepted(made).map(Arc::new)
}

/// Makes the configuration of a route; nothing where it is refused, which the log explains.
pub(crate) fn new_guard(bytes: &[u8]) -> Option<Arc<Guard>> {
    accepted(guarded(|| configure(bytes)))
}

fn accepted<T>(made: Option<Result<T, String>>) -> Option<T> {
    match made? {
        Ok(made) => Some(made),
        Err(message) => {
            abi::log(LogLevel::Error, &format!("configuration refused: {message}"));
            metrics::count_rejected_configuration();
            None
        }
    }
}

fn configure(bytes: &[u8]) -> Result<Arc<Guard>, String> {
    let mut configuration = secrets::configuration(bytes).map_err(|error| error.to_string())?;
    configuration.policies.count_held_in(&HELD);
    for warning in &configuration.warnings {
        abi::log(LogLevel::Warn, &format!("configuration: {warning}"));
    }
    let needs_source = configuration.policies.needs_source();
    let needs_client_certificate = configuration.policies.needs_client_certificate();
    let memory = match &configuration.memory {
        _ if !configuration.policies.remembers() => Remembered::Nowhere,
        Store::Local(layout) => Remembered::Locally(Memory::of(*layout)),
        Store::Etcd(etcd) => {
            etcd::watch()?;
            Remembered::InEtcd(etcd.clone())
        }
    };
    let feeds = Feeds::new(configuration.feeds.clone())?;
    let configuration = Arc::new(configuration);
    Ok(Arc::new(Guard { configuration, needs_source, needs_client_certificate, memory, feeds }))
}

/// Makes a request; nothing where that fails, and the host ends it.
pub(crate) fn new_request(plugin: Arc<Plugin>) -> Option<Request> {
    guarded(|| Request { guard: plugin.guard.clone(), plugin, exchange: None })
}

/// Ends something.
pub(crate) fn end(end: impl FnOnce()) {
    guarded(end).unwrap_or_default();
}

/// The headers of a request have come.
pub(crate) fn headers(stream: &Stream<'_>, request: &RefCell<Request>, end_of_stream: bool) -> Flow {
    hook(stream, request, |request| request.headers(stream, end_of_stream))
}

/// A piece of its body has come.
pub(crate) fn body(stream: &Stream<'_>, request: &RefCell<Request>, end_of_stream: bool) -> Flow {
    hook(stream, request, |request| request.body(stream, end_of_stream))
}

/// Its trailers have come, and with them its end.
pub(crate) fn trailers(stream: &Stream<'_>, request: &RefCell<Request>) -> Flow {
    hook(stream, request, |request| request.trailers(stream))
}

/// It is over.
pub(crate) fn complete(stream: &Stream<'_>, request: &RefCell<Request>) {
    guarded(|| {
        // A request that is answered while a hook of it runs goes no further, and has nothing to settle.
        if let Ok(mut request) = request.try_borrow_mut() {
            request.settle(stream).unwrap_or_default();
        }
    })
    .unwrap_or_default();
}

/// The answer has come to a request that it made, and that it waits for.
pub(crate) fn called_out(stream: &Stream<'_>, request: &RefCell<Request>, answer: Option<&CalloutAnswer>) {
    if hook(stream, request, |request| request.answered(stream, etcd::read(answer))) == Flow::Continue {
        guarded(|| stream.resume()).unwrap_or_default();
    }
}

/// What was scheduled is due, on the main thread.
pub(crate) fn scheduled(host: &HostConfiguration, plugin: &Plugin, event: Event) {
    let due = |now| match event {
        Event::Settle => etcd::flush(host, now),
        Event::Feeds => feeds::tick(host, &plugin.metrics, now),
    };
    guarded(|| now().map(due).unwrap_or_default()).unwrap_or_default();
}

/// The answer has come to a request that a configuration made, on the main thread.
pub(crate) fn configuration_called_out(host: &HostConfiguration, id: u64, answer: Option<&CalloutAnswer>) {
    let answered = |now| {
        etcd::answered(host, id, answer, now);
        feeds::answered(host, id, answer, now);
    };
    guarded(|| now().map(answered).unwrap_or_default()).unwrap_or_default();
}

/// Runs a hook of a request. Where it fails, or panics, the request is refused; where even that fails, it is stopped.
fn hook(
    stream: &Stream<'_>,
    request: &RefCell<Request>,
    event: impl FnOnce(&mut Request) -> Result<Flow, Fault>,
) -> Flow {
    let run = |event: &mut dyn FnMut(&mut Request) -> Result<Flow, Fault>| {
        guarded(|| event(&mut *request.try_borrow_mut().map_err(|_| Fault)?)).unwrap_or(Err(Fault))
    };
    let mut event = Some(event);
    run(&mut |request| event.take().ok_or(Fault)?(request))
        .or_else(|Fault| run(&mut |request| request.fault(stream)))
        .unwrap_or(Flow::Stop)
}

impl Request {
    fn headers(&mut self, stream: &Stream<'_>, end_of_stream: bool) -> Result<Flow, Fault> {
        if let Some(guard) = stream.route_guard() {
            self.guard = guard;
        }
        let guard = self.guard.clone();
        let exchange = self.exchange.insert(Exchange::new(guard.configuration.clone()));
        let headers = stream.headers(Map::RequestHeaders)?;
        let route_policy = route_policy(stream, &guard.configuration)?;
        let source = if guard.needs_source { stream.text(Attribute::SourceAddress) } else { None };
        let client_certificate =
            if guard.needs_client_certificate { client_certificate(stream)? } else { None };
        let facts = Facts {
            headers: &headers,
            source: source.as_deref(),
            client_certificate: client_certificate.as_ref(),
            route_policy: route_policy.as_deref(),
            now: now()?,
            ends_with_headers: end_of_stream,
        };
        let acts = exchange.headers(&facts, &guard.feeds.lists());
        #[cfg(feature = "panic-for-tests")]
        panic_where_asked(&headers, b"headers");
        self.act(stream, acts)
    }

    fn body(&mut self, stream: &Stream<'_>, end_of_stream: bool) -> Result<Flow, Fault> {
        #[cfg(feature = "panic-for-tests")]
        panic_where_the_request_asks(stream, b"body")?;
        let exchange = self.exchange.as_mut().ok_or(Fault)?;
        if !exchange.is_reading() {
            let acts = exchange.body(&[]);
            return self.act(stream, acts);
        }
        let mut settled = None;
        stream.body(Body::Received, |piece| {
            let acts = exchange.body(piece);
            if !exchange.is_reading() {
                settled = Some(acts);
            }
            settled.is_none()
        })?;
        match settled {
            Some(acts) => self.act(stream, acts),
            None if end_of_stream => self.end(stream),
            None => Ok(Flow::Hold),
        }
    }

    /// A request with trailers ends here: the last body hook did not say that it was the last.
    fn trailers(&mut self, stream: &Stream<'_>) -> Result<Flow, Fault> {
        #[cfg(feature = "panic-for-tests")]
        panic_where_the_request_asks(stream, b"trailers")?;
        let exchange = self.exchange.as_mut().ok_or(Fault)?;
        let trailers = stream.headers(Map::RequestTrailers)?;
        for name in exchange.trailers(&trailers) {
            stream.remove_header(Map::RequestTrailers, name)?;
        }
        self.end(stream)
    }

    fn end(&mut self, stream: &Stream<'_>) -> Result<Flow, Fault> {
        let exchange = self.exchange.as_mut().ok_or(Fault)?;
        // Every byte that the host holds is to have been judged.
        let length =
            bodies(stream).iter().map(|body| stream.body_length(*body)).fold(0, usize::saturating_add);
        if exchange.is_reading() && exchange.received() != length {
            return Err(Fault);
        }
        let acts = exchange.end(now()?);
        self.act(stream, acts)
    }

    /// The host failed in the middle of a request: nothing is known, so it is refused.
    fn fault(&mut self, stream: &Stream<'_>) -> Result<Flow, Fault> {
        let configuration = &self.guard.configuration;
        let acts = self.exchange.get_or_insert_with(|| Exchange::new(configuration.clone())).fault();
        self.act(stream, acts)
    }

    /// Tells the memory what became of a delivery.
    fn settle(&mut self, stream: &Stream<'_>) -> Result<(), Fault> {
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.has_claim()) else {
            return Ok(());
        };
        let details = stream.text(Attribute::ResponseCodeDetails).unwrap_or_default();
        let response = Response {
            status: stream.number(Attribute::ResponseCode),
            details: &details,
            has_upstream: stream.text(Attribute::UpstreamAddress).is_some_and(|address| !address.is_empty()),
            flags: stream.number(Attribute::ResponseFlags).unwrap_or_default(),
        };
        let Some((claim, settlement)) = exchange.responded(&response) else { return Ok(()) };
        let metrics = &self.plugin.metrics;
        match &self.guard.memory {
            Remembered::Nowhere => {}
            Remembered::Locally(memory) => memory.settle(&claim, settlement, now()?),
            Remembered::InEtcd(etcd) => {
                metrics.count_forgotten(stream, etcd::settle(etcd, claim, settlement, now()?));
            }
        }
        if let (Settlement::Forgotten, Some(policy)) = (settlement, exchange.policy()) {
            metrics.count_delivery(stream, policy, "forgotten");
        }
        Ok(())
    }

    /// The answer to a call that the request waits for.
    fn answered(&mut self, stream: &Stream<'_>, answer: Answer<'_>) -> Result<Flow, Fault> {
        let exchange = self.exchange.as_mut().ok_or(Fault)?;
        if let Answer::Status(status) = answer
            && abi::is_logged(LogLevel::Debug)
        {
            let line = format!("etcd: gRPC status {status} request_id={}", exchange.request_id());
            abi::log(LogLevel::Debug, &line);
        }
        let acts = exchange.answered(answer, now()?);
        self.act(stream, acts)
    }

    /// Carries out what is to be done, and tells the exchange what it asks for.
    fn act(&mut self, stream: &Stream<'_>, mut acts: Acts) -> Result<Flow, Fault> {
        let exchange = self.exchange.as_mut().ok_or(Fault)?;
        loop {
            apply(stream, &acts.edits)?;
            if let Some(decision) = &acts.decision {
                if let Some(wish) = &decision.record.wish {
                    self.guard.feeds.wish(wish, now()?);
                }
                publish(stream, &self.plugin.metrics, decision, exchange.request_id());
            }
            for (name, value) in &acts.record {
                stream.set_filter_state(name, value);
            }
            acts = match acts.next {
                Next::Continue => return Ok(Flow::Continue),
                Next::Pause if exchange.is_held() => return Ok(Flow::Hold),
                Next::Pause => return Ok(Flow::Stop),
                Next::Reply(reply) => {
                    let details = acts.decision.as_ref().map(Decision::details).unwrap_or_default();
                    stream.reply(reply.status, &reply.headers, &reply.body, &details);
                    return Ok(Flow::Stop);
                }
                Next::ReadBody(length) => exchange.whole_body(start_of_body(stream, length)?, now()?),
                Next::ReadStart(length) => exchange.recorded(start_of_body(stream, length)?),
                Next::Claim(delivery) => {
                    let claimed = claim(stream, &self.guard, &self.plugin.metrics, delivery)?;
                    exchange.claimed(claimed)
                }
                Next::Call(call) => {
                    let made = match &self.guard.memory {
                        Remembered::InEtcd(etcd) => {
                            etcd::with_callout(etcd, &call, |callout| stream.call_out(callout))
                        }
                        Remembered::Nowhere | Remembered::Locally(_) => Err(Fault),
                    };
                    if made.is_ok() {
                        return Ok(Flow::Hold);
                    }
                    exchange.answered(Answer::Status(UNAVAILABLE), now()?)
                }
                Next::ConfirmRoute => {
                    let policy = route_policy(stream, exchange.configuration())?;
                    exchange.route(policy.as_deref())
                }
                Next::Redact => {
                    let headers = stream.headers(Map::RequestHeaders)?;
                    exchange.redact(&headers)
                }
            };
        }
    }
}

/// What the memory says of a delivery.
fn claim(
    stream: &Stream<'_>,
    guard: &Guard,
    metrics: &Metrics,
    delivery: Delivery,
) -> Result<Claimed, Fault> {
    let Remembered::Locally(memory) = &guard.memory else { return Ok(Claimed::Unavailable) };
    let (claimed, forgotten) = memory.claim(delivery, now()?);
    metrics.count_forgotten(stream, forgotten);
    Ok(claimed)
}

/// What Envoy says of the client certificate of the connection. The header `x-forwarded-client-cert`, which a sender could
/// write, is not read for it.
fn client_certificate(stream: &Stream<'_>) -> Result<Option<ClientCertificate>, Fault> {
    ClientCertificate::read(|attribute| {
        Ok(stream.text(match attribute {
            CertificateAttribute::Sha256 => Attribute::PeerCertificateSha256,
            CertificateAttribute::Subject => Attribute::PeerCertificateSubject,
            CertificateAttribute::Dns => Attribute::PeerCertificateDns,
            CertificateAttribute::Uri => Attribute::PeerCertificateUri,
        }))
    })
}

/// The policy that the metadata of the route names.
fn route_policy(stream: &Stream<'_>, configuration: &Configuration) -> Result<Option<Vec<u8>>, Fault> {
    stream.route_metadata(&configuration.policy_namespace, "policy")
}

fn now() -> Result<Millis, Fault> {
    #[expect(clippy::disallowed_methods, reason = "a shell asks for the time for the core")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Fault)?;
    i64::try_from(now.as_millis()).map(Millis).map_err(|_| Fault)
}

fn apply(stream: &Stream<'_>, edits: &Edits) -> Result<(), Fault> {
    for name in &edits.remove {
        stream.remove_header(Map::RequestHeaders, name)?;
    }
    if let Some(target) = &edits.target {
        stream.set_header(Map::RequestHeaders, b":path", target)?;
    }
    // Whatever the sender had under these names is among what has been removed.
    for (name, value) in &edits.set {
        stream.add_header(Map::RequestHeaders, name.as_bytes(), value.as_bytes())?;
    }
    Ok(())
}

/// What the body consists of, in order: what the host holds, and what came with this event, unless both are the same.
fn bodies(stream: &Stream<'_>) -> &'static [Body] {
    if stream.is_received_buffered() { &[Body::Received] } else { &[Body::Buffered, Body::Received] }
}

/// The first bytes of the body.
fn start_of_body(stream: &Stream<'_>, length: usize) -> Result<Vec<u8>, Fault> {
    let mut start = Vec::new();
    start.try_reserve_exact(length).map_err(|_| Fault)?;
    for body in bodies(stream) {
        stream.body(*body, |piece| {
            let left = length.saturating_sub(start.len());
            start.extend_from_slice(piece.get(..left).unwrap_or(piece));
            start.len() < length
        })?;
    }
    if start.len() == length { Ok(start) } else { Err(Fault) }
}

/// Makes the decision known: filter state, metrics, log.
fn publish(stream: &Stream<'_>, metrics: &Metrics, decision: &Decision, request_id: &str) {
    for (name, value) in decision.filter_state() {
        if let Some(value) = value {
            stream.set_filter_state(name, &value);
        }
    }
    metrics.count(stream, decision);
    match decision.log_line(request_id) {
        Some((Level::Error, line)) => abi::log(LogLevel::Error, &line),
        Some((Level::Info, line)) => abi::log(LogLevel::Info, &line),
        None => {}
    }
    if abi::is_logged(LogLevel::Debug) {
        decision.check_lines(request_id).for_each(|line| abi::log(LogLevel::Debug, &line));
    }
}

/// Panics where a header of the request asks for it, with that header in the message.
#[cfg(feature = "panic-for-tests")]
#[expect(clippy::panic, reason = "the tests show what becomes of one")]
fn panic_where_asked(headers: &webhook_guard_core::request::Headers, place: &[u8]) {
    if headers.first(b"x-panic-in") == Some(place) {
        panic!("asked for by {headers:?}");
    }
}

#[cfg(feature = "panic-for-tests")]
fn panic_where_the_request_asks(stream: &Stream<'_>, place: &[u8]) -> Result<(), Fault> {
    panic_where_asked(&stream.headers(Map::RequestHeaders)?, place);
    Ok(())
}
