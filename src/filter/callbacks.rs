//! Where Envoy calls in: the callbacks of the plugin and of each request.
//!
//! Responsible for telling an [`Exchange`] what the host tells, and for carrying out what it answers. Nothing is decided
//! here; what fails on the way is told as a fault, and a request of which nothing is known is paused.

use crate::etcd::{self, Told};
use crate::feeds::Feeds;
use crate::hold::{self, Holding};
use crate::hostcalls::{self, Buffer, Fault, Map};
use crate::memory::Memory;
use crate::metrics::{self, Metrics};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use webhook_guard_core::budget::Held;
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::decision::{Decision, Level, Reason};
use webhook_guard_core::exchange::{Acts, Exchange, Next};
use webhook_guard_core::memory::etcd::{Answer, Etcd, UNAVAILABLE};
use webhook_guard_core::memory::{Claimed, Delivery, Response, Settlement, Store};
use webhook_guard_core::policy::Edits;
use webhook_guard_core::reply::Reply;
use webhook_guard_core::request::{CertificateAttribute, ClientCertificate, Facts, Headers, Millis};

proxy_wasm::main! {{
    // Everything is handed to the host, whose own `wasm` logger decides what is written.
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { guard: None }) });
}}

/// The body is copied into the VM in pieces of at most this many bytes: one large read grows its memory for good.
const SLICE: usize = 65_536;

/// What requests of any size need in passing: one slice, and as much again for headers and what is made of them.
const ROOM: usize = 2 * SLICE;

thread_local! {
    /// What is held for requests of every configuration in this VM: its memory is one.
    static HELD: Held = Held::default();
}

/// The plugin's configuration, and what all its requests share.
struct Guard {
    configuration: Arc<Configuration>,
    needs_source: bool,
    needs_client_certificate: bool,
    /// The property that holds the policy of the route.
    route_policy_path: String,
    metrics: Metrics,
    holding: Holding,
    /// Where deliveries are remembered, if any are.
    memory: Remembered,
    /// The configuration's address feeds.
    feeds: Feeds,
    /// How often there is a tick, in milliseconds; never at 0.
    tick: Cell<u32>,
}

/// Where the deliveries of a configuration are remembered.
enum Remembered {
    Nowhere,
    /// In the data that all workers share.
    Locally(Memory),
    /// In an etcd, with this configuration of it.
    InEtcd(Etcd),
}

struct Root {
    guard: Option<Rc<Guard>>,
}

impl Context for Root {
    /// A feed has been fetched, or could not be.
    fn on_http_call_response(&mut self, call: u32, headers: usize, body_size: usize, _trailers: usize) {
        if let (Some(guard), Ok(now)) = (&self.guard, now()) {
            guard.feeds.answered(call, headers > 0, body_size, now, &guard.metrics);
        }
    }

    /// The answer to a call that settles claims.
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        if let (Some(guard), Ok(now)) = (&self.guard, now()) {
            etcd::answered(token, &Told::new(status, size), now);
            guard.schedule();
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match configure() {
            Ok(guard) => {
                guard.schedule();
                self.guard = Some(Rc::new(guard));
                true
            }
            Err(message) => {
                log::error!("configuration refused: {message}");
                metrics::count_rejected_configuration();
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request { guard: self.guard.clone(), context, exchange: None }))
    }

    fn on_tick(&mut self) {
        let (Some(guard), Ok(now)) = (&self.guard, now()) else { return };
        // First what is this context's own: to refuse a request makes another one effective.
        etcd::flush(now);
        guard.feeds.tick(now, &guard.metrics);
        if !guard.holding.is_proven() {
            guard.refuse_stuck(now);
        }
        guard.schedule();
    }
}

fn configure() -> Result<Guard, String> {
    let bytes = hostcalls::buffer(Buffer::PluginConfiguration, 0, usize::MAX)
        .map_err(|Fault| "the host does not hand it over".to_owned())?;
    // The environment of the Wasm VM, not of a process: `vm_config.environment_variables`.
    #[expect(clippy::disallowed_methods, reason = "here the environment is asked for what the core needs")]
    let env = |name: &str| std::env::var(name).ok();
    let mut configuration =
        config::parse(&bytes.unwrap_or_default(), &env).map_err(|error| error.to_string())?;
    HELD.with(|held| configuration.policies.count_held_in(held));
    // The memory of a VM grows by pages and never shrinks: the room for a slice is taken now, and not when the first large
    // body comes.
    drop(black_box(Vec::<u8>::with_capacity(ROOM)));
    for warning in &configuration.warnings {
        log::warn!("configuration: {warning}");
    }
    let needs_source = configuration.policies.needs_source();
    let needs_client_certificate = configuration.policies.needs_client_certificate();
    let namespace = &configuration.policy_namespace;
    let route_policy_path = format!("xds\0route_metadata\0filter_metadata\0{namespace}\0policy");
    let memory = match &configuration.memory {
        _ if !configuration.policies.remembers() => Remembered::Nowhere,
        Store::Local(layout) => Memory::new(*layout)
            .map(Remembered::Locally)
            .map_err(|Fault| "the host's shared data cannot keep a memory of deliveries".to_owned())?,
        Store::Etcd(etcd) => Remembered::InEtcd(etcd.clone()),
    };
    let (metrics, holding) = (Metrics::default(), Holding::default());
    let configuration = Arc::new(configuration);
    let feeds = Feeds::new(configuration.feeds.clone());
    let tick = Cell::new(0);
    Ok(Guard {
        configuration,
        needs_source,
        needs_client_certificate,
        route_policy_path,
        metrics,
        holding,
        memory,
        feeds,
        tick,
    })
}

fn now() -> Result<Millis, Fault> {
    let milliseconds = hostcalls::nanoseconds()? / 1_000_000;
    i64::try_from(milliseconds).map(Millis).map_err(|_| Fault)
}

/// One request of the host.
struct Request {
    guard: Option<Rc<Guard>>,
    context: u32,
    /// What becomes of it; nothing before its headers came.
    exchange: Option<Exchange>,
}

impl Context for Request {
    /// The answer to a call that the request waits for.
    fn on_grpc_call_response(&mut self, _token: u32, status: u32, size: usize) {
        let (Some(guard), Some(exchange)) = (&self.guard, &mut self.exchange) else { return };
        let told = Told::new(status, size);
        if let Told::Status(status) = told
            && hostcalls::is_debug()
        {
            log::debug!("etcd: gRPC status {status} request_id={}", exchange.request_id());
        }
        let action = guard.answered(exchange, told.answer()).unwrap_or_else(|Fault| guard.fault(exchange));
        if matches!(action, Action::Continue) && hostcalls::resume_request().is_err() {
            log::error!("the host resumes no request request_id={}", exchange.request_id());
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(guard) = &self.guard {
            guard.holding.forget(self.context);
        }
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let Some(guard) = self.guard.clone() else { return Action::Pause };
        let mut exchange = Exchange::new(guard.configuration.clone());
        let action = match guard.headers(&mut exchange, self.context, end_of_stream) {
            Ok(action) => action,
            Err(Fault) => guard.fault(&mut exchange),
        };
        self.exchange = Some(exchange);
        action
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.with(|guard, exchange| guard.body(exchange, size, end_of_stream))
    }

    /// The response is over, or the request has ended without one.
    fn on_log(&mut self) {
        if let (Some(guard), Some(exchange)) = (&self.guard, &mut self.exchange)
            && exchange.has_claim()
        {
            guard.settle(exchange).unwrap_or_else(|Fault| log::error!("a delivery could not be settled"));
        }
    }

    /// A request with trailers ends here: the last body callback did not say that it was the last (measured).
    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.with(Guard::trailers)
    }
}

impl Request {
    /// What comes after the headers. The body of a request that is awaited has come, so the host can hold; that of any
    /// other proves nothing.
    fn with(&mut self, event: impl FnOnce(&Guard, &mut Exchange) -> Result<Action, Fault>) -> Action {
        let (Some(guard), Some(exchange)) = (&self.guard, &mut self.exchange) else { return Action::Pause };
        if exchange.is_reading() {
            guard.holding.prove();
        }
        event(guard, exchange).unwrap_or_else(|Fault| guard.fault(exchange))
    }
}

impl Guard {
    fn headers(&self, exchange: &mut Exchange, context: u32, end_of_stream: bool) -> Result<Action, Fault> {
        let headers = hostcalls::header_map(Map::RequestHeaders)?.and_then(Headers::from_abi).ok_or(Fault)?;
        let route_policy = self.route_policy()?;
        let source = if self.needs_source { hostcalls::property("source\0address")? } else { None };
        let client_certificate =
            if self.needs_client_certificate { ClientCertificate::read(certificate_property)? } else { None };
        let facts = Facts {
            headers: &headers,
            source: source.as_deref(),
            client_certificate: client_certificate.as_ref(),
            route_policy: route_policy.as_deref(),
            now: now()?,
            ends_with_headers: end_of_stream,
        };
        let acts = exchange.headers(&facts, &self.feeds.lists());
        let is_held = matches!(acts.next, Next::Pause);
        let action = self.act(exchange, acts)?;
        if is_held && exchange.is_reading() {
            if let Some((major, minor)) = self.holding.old_host() {
                log::error!("this is Envoy {major}.{minor}: {}", hold::REMEDY);
            }
            let record = || exchange.record().unwrap_or_default();
            self.holding.watch(context, facts.now, record, exchange.request_id());
        }
        Ok(action)
    }

    fn body(&self, exchange: &mut Exchange, size: usize, end_of_stream: bool) -> Result<Action, Fault> {
        if !exchange.is_reading() {
            let acts = exchange.body(&[]);
            return self.act(exchange, acts);
        }
        // The size is that of all that is buffered so far: only what is new is read.
        while exchange.is_reading() && exchange.received() < size {
            let read = exchange.received();
            let acts = exchange.body(&slice(read, size.saturating_sub(read))?);
            if !exchange.is_reading() {
                return self.act(exchange, acts);
            }
        }
        if !end_of_stream {
            return Ok(Action::Pause);
        }
        self.end(exchange)
    }

    fn trailers(&self, exchange: &mut Exchange) -> Result<Action, Fault> {
        let trailers =
            hostcalls::header_map(Map::RequestTrailers)?.and_then(Headers::from_abi).ok_or(Fault)?;
        for name in exchange.trailers(&trailers) {
            hostcalls::remove_header(Map::RequestTrailers, name)?;
        }
        // Every byte of the body was in a body callback before.
        if exchange.is_reading() {
            let rest = hostcalls::buffer(Buffer::RequestBody, exchange.received(), 1)?;
            if rest.is_some_and(|rest| !rest.is_empty()) {
                return Err(Fault);
            }
        }
        self.end(exchange)
    }

    fn end(&self, exchange: &mut Exchange) -> Result<Action, Fault> {
        let acts = exchange.end(now()?);
        self.act(exchange, acts)
    }

    /// Carries out what is to be done, and tells the exchange what it asks for.
    fn act(&self, exchange: &mut Exchange, mut acts: Acts) -> Result<Action, Fault> {
        loop {
            apply(&acts.edits)?;
            if let Some(decision) = &acts.decision {
                self.publish(decision, exchange.request_id());
            }
            tell(acts.record.iter().map(|(name, value)| (*name, value.as_str())));
            acts = match acts.next {
                Next::Continue => return Ok(Action::Continue),
                Next::Pause => return Ok(Action::Pause),
                Next::Reply(reply) => {
                    let details = acts.decision.as_ref().map(Decision::details).unwrap_or_default();
                    self.reply(&reply, &details, exchange.request_id());
                    return Ok(Action::Pause);
                }
                Next::ReadBody(length) => exchange.whole_body(start_of_body(length)?, now()?),
                Next::ReadStart(length) => exchange.recorded(start_of_body(length)?),
                Next::ConfirmRoute => exchange.route(self.route_policy()?.as_deref()),
                Next::Claim(delivery) => exchange.claimed(self.claim(delivery)?),
                Next::Call(call) => match &self.memory {
                    Remembered::InEtcd(etcd) if etcd::call(etcd, &call).is_ok() => return Ok(Action::Pause),
                    _ => exchange.answered(Answer::Status(UNAVAILABLE), now()?),
                },
                Next::Redact => {
                    let headers = hostcalls::header_map(Map::RequestHeaders)?;
                    exchange.redact(&headers.and_then(Headers::from_abi).ok_or(Fault)?)
                }
            };
        }
    }

    fn claim(&self, delivery: Delivery) -> Result<Claimed, Fault> {
        let Remembered::Locally(memory) = &self.memory else { return Ok(Claimed::Unavailable) };
        let (claimed, forgotten) = memory.claim(delivery, now()?);
        self.metrics.count_forgotten(forgotten);
        Ok(claimed)
    }

    /// Tells the memory what became of a delivery.
    fn settle(&self, exchange: &mut Exchange) -> Result<(), Fault> {
        let details = hostcalls::property("response\0code_details")?.unwrap_or_default();
        let response = Response {
            status: number("response\0code")?,
            details: &details,
            has_upstream: hostcalls::property("upstream\0address")?
                .is_some_and(|address| !address.is_empty()),
            flags: number("response\0flags")?.unwrap_or_default(),
        };
        let Some((claim, settlement)) = exchange.responded(&response) else { return Ok(()) };
        match &self.memory {
            Remembered::Nowhere => {}
            Remembered::Locally(memory) => memory.settle(&claim, settlement, now()?),
            Remembered::InEtcd(etcd) => {
                self.metrics.count_forgotten(etcd::settle(etcd, claim, settlement, now()?));
                self.tick_every(1);
            }
        }
        if settlement == Settlement::Forgotten {
            self.metrics.count_delivery(exchange.policy(), "forgotten");
        }
        Ok(())
    }

    /// The answer to a call that the request waits for.
    fn answered(&self, exchange: &mut Exchange, answer: Answer<'_>) -> Result<Action, Fault> {
        let acts = exchange.answered(answer, now()?);
        self.act(exchange, acts)
    }

    /// Refuses requests that a host without the option would let hang until its idle timeout.
    fn refuse_stuck(&self, now: Millis) {
        self.holding.each_stuck(now, |held| {
            log::error!("{} request_id={}", hold::REMEDY, held.request_id);
            let decision = Decision::deny(Reason::HostCannotHold, held.record);
            self.publish(&decision, &held.request_id);
            if let Some(reply) = decision.reply(&held.request_id) {
                self.reply(&reply, &decision.details(), &held.request_id);
            }
        });
    }

    /// Asks for ticks as often as there is something to look after.
    fn schedule(&self) {
        let is_watching = self.configuration.hold_request_head && !self.holding.is_proven();
        let tick = match &self.memory {
            Remembered::InEtcd(_) if !etcd::is_idle() => etcd::RETRY_TICK,
            Remembered::InEtcd(_) => etcd::IDLE_TICK.min(hold::TICK),
            Remembered::Nowhere | Remembered::Locally(_) if is_watching => hold::TICK,
            Remembered::Nowhere | Remembered::Locally(_) => 0,
        };
        self.tick_every(match (tick, self.feeds.tick_period()) {
            (0, tick) | (tick, 0) => tick,
            (tick, of_feeds) => tick.min(of_feeds),
        });
    }

    fn tick_every(&self, milliseconds: u32) {
        if self.tick.replace(milliseconds) != milliseconds {
            hostcalls::set_tick_period(milliseconds).unwrap_or_default();
        }
    }

    /// The host failed in the middle of a request: nothing is known, so it is refused.
    fn fault(&self, exchange: &mut Exchange) -> Action {
        let acts = exchange.fault();
        self.act(exchange, acts).unwrap_or(Action::Pause)
    }

    /// The policy that the metadata of the route names.
    fn route_policy(&self) -> Result<Option<Vec<u8>>, Fault> {
        hostcalls::property(&self.route_policy_path)
    }

    /// Replies to the request of the effective context.
    fn reply(&self, reply: &Reply, details: &str, request_id: &str) {
        let pairs = reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let headers = Headers::from_pairs(pairs).to_abi();
        // Where even the reply fails the request stays paused, and the host's idle timeout ends it.
        if hostcalls::reply(reply.status, details, &headers, &reply.body).is_err() {
            log::error!("the host takes no reply request_id={request_id}");
        }
    }

    /// Makes the decision known: filter state, metrics, log.
    fn publish(&self, decision: &Decision, request_id: &str) {
        if let (Some(wish), Ok(now)) = (&decision.record.wish, now()) {
            self.feeds.wish(wish, now);
        }
        let state = decision.filter_state();
        tell(state.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        self.metrics.count(decision);
        match decision.log_line(request_id) {
            Some((Level::Error, line)) => log::error!("{line}"),
            Some((Level::Info, line)) => log::info!("{line}"),
            None => {}
        }
        if hostcalls::is_debug() {
            decision.check_lines(request_id).for_each(|line| log::debug!("{line}"));
        }
    }
}

/// What Envoy says of the client certificate of the connection. The header `x-forwarded-client-cert`, which a sender could
/// write, is not read for it.
fn certificate_property(attribute: CertificateAttribute) -> Result<Option<Vec<u8>>, Fault> {
    hostcalls::property(match attribute {
        CertificateAttribute::Sha256 => "connection\0sha256_peer_certificate_digest",
        CertificateAttribute::Subject => "connection\0subject_peer_certificate",
        CertificateAttribute::Dns => "connection\0dns_san_peer_certificate",
        CertificateAttribute::Uri => "connection\0uri_san_peer_certificate",
    })
}

/// Tells the host's request what its access log and other filters may read.
fn tell<'s>(state: impl Iterator<Item = (&'static str, &'s str)>) {
    for (name, value) in state {
        // The host puts `wasm.` before the name.
        if let Some(name) = name.strip_prefix("wasm.") {
            hostcalls::set_property(name, value).unwrap_or_default();
        }
    }
}

/// A property that is a number.
fn number(path: &str) -> Result<Option<u64>, Fault> {
    let bytes = hostcalls::property(path)?;
    Ok(bytes.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))))
}

/// A piece of the body from that place on: never empty, and never more than one slice.
fn slice(from: usize, left: usize) -> Result<Vec<u8>, Fault> {
    let most = left.min(SLICE);
    let slice = hostcalls::buffer(Buffer::RequestBody, from, most)?.ok_or(Fault)?;
    if slice.is_empty() || slice.len() > most { Err(Fault) } else { Ok(slice) }
}

/// The first bytes of the body, which the host holds: nothing of it has gone on.
fn start_of_body(length: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    body.try_reserve_exact(length).map_err(|_| Fault)?;
    while body.len() < length {
        body.extend_from_slice(&slice(body.len(), length.saturating_sub(body.len()))?);
    }
    Ok(body)
}

fn apply(edits: &Edits) -> Result<(), Fault> {
    for name in &edits.remove {
        hostcalls::remove_header(Map::RequestHeaders, name)?;
    }
    if let Some(target) = &edits.target {
        hostcalls::set_request_header(b":path", target)?;
    }
    for (name, value) in &edits.set {
        hostcalls::set_request_header(name.as_bytes(), value.as_bytes())?;
    }
    Ok(())
}
