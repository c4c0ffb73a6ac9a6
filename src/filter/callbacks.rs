//! The host: all callbacks, all effects, nothing to decide.
//!
//! Responsible for reading a request from Envoy, for handing it to the core, and for doing what the core says. Every
//! callback of an undecided request pauses; after a refusal every callback pauses too; what is left behind by a state
//! change is a refusal. Refuses to know what makes a request acceptable.

use crate::hold::{self, Holding};
use crate::hostcalls::{self, Buffer, Fault, Map};
use crate::metrics::{self, Metrics};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::ops::ControlFlow;
use std::rc::Rc;
use webhook_guard_core::budget::Held;
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::decision::{Denial, Reason, Record, Ruling, Verdict};
use webhook_guard_core::policy::{BodyCheck, Edits, Mode, Opening, Step, is_identity};
use webhook_guard_core::reply;
use webhook_guard_core::request::{Facts, Headers, Millis};
use webhook_guard_core::signature::End;

proxy_wasm::main! {{
    // Everything is handed to the host, whose own `wasm` logger decides what is written.
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { guard: None }) });
}}

/// The body is copied into the VM in pieces of at most this many bytes: one large read grows its memory for good.
const SLICE: usize = 65_536;

thread_local! {
    /// What is held for requests of every configuration in this VM: its memory is one.
    static HELD: Held = Held::default();
}

/// The plugin's configuration, and what all its requests share.
struct Guard {
    configuration: Configuration,
    needs_source: bool,
    /// The property that holds the policy of the route.
    route_policy_path: String,
    metrics: Metrics,
    holding: Holding,
}

struct Root {
    guard: Option<Rc<Guard>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match configure() {
            Ok(guard) => {
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
        Some(Box::new(Request {
            guard: self.guard.clone(),
            context,
            state: State::Refused,
            request_id: String::new(),
            route_policy: None,
            tells_identity: false,
        }))
    }

    /// Refuses requests that a host without the option would let hang until its idle timeout.
    fn on_tick(&mut self) {
        let Some(guard) = &self.guard else { return };
        if guard.holding.is_proven() {
            hostcalls::set_tick_period(0).unwrap_or_default();
            return;
        }
        let Ok(now) = now() else { return };
        guard.holding.each_stuck(now, |held| {
            log::error!("{} request_id={}", hold::REMEDY, held.request_id);
            let verdict = Verdict::Deny(Denial::from(Reason::HostCannotHold));
            guard.reply(&Ruling { verdict, record: held.record }, &held.request_id);
        });
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
    for warning in &configuration.warnings {
        log::warn!("configuration: {warning}");
    }
    if configuration.hold_request_head {
        hostcalls::set_tick_period(hold::TICK).unwrap_or_default();
    }
    let needs_source = configuration.policies.needs_source();
    let namespace = &configuration.policy_namespace;
    let route_policy_path = format!("xds\0route_metadata\0filter_metadata\0{namespace}\0policy");
    let (metrics, holding) = (Metrics::default(), Holding::default());
    Ok(Guard { configuration, needs_source, route_policy_path, metrics, holding })
}

fn now() -> Result<Millis, Fault> {
    let milliseconds = hostcalls::nanoseconds()? / 1_000_000;
    i64::try_from(milliseconds).map(Millis).map_err(|_| Fault)
}

/// Where a request is.
enum State {
    /// The body is being read: the check, and how many bytes of it were read.
    Reading(BodyCheck, usize),
    /// It goes on.
    Passed,
    /// It does not; also what is left behind while a state changes, and before the headers came.
    Refused,
}

struct Request {
    guard: Option<Rc<Guard>>,
    context: u32,
    state: State,
    request_id: String,
    /// The policy that the route named when the request was judged.
    route_policy: Option<Vec<u8>>,
    /// Whether the upstream is told the verdict.
    tells_identity: bool,
}

impl Context for Request {}

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
        match self.headers(&guard, end_of_stream) {
            Ok(action) => action,
            Err(Fault) => self.fault(&guard),
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let Some(guard) = self.guard.clone() else { return Action::Pause };
        self.prove(&guard);
        match self.body(&guard, size, end_of_stream) {
            Ok(action) => action,
            Err(Fault) => self.fault(&guard),
        }
    }

    /// A request with trailers ends here: the last body callback did not say that it was the last .
    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        let Some(guard) = self.guard.clone() else { return Action::Pause };
        self.prove(&guard);
        match self.trailers(&guard) {
            Ok(action) => action,
            Err(Fault) => self.fault(&guard),
        }
    }
}

impl Request {
    /// The body of a request that is held has come, so the host can hold. That of any other proves nothing.
    fn prove(&self, guard: &Guard) {
        if matches!(self.state, State::Reading(..)) {
            guard.holding.prove();
        }
    }

    fn headers(&mut self, guard: &Guard, end_of_stream: bool) -> Result<Action, Fault> {
        let headers = hostcalls::header_map(Map::RequestHeaders)?.and_then(Headers::from_abi).ok_or(Fault)?;
        self.request_id = reply::request_id(headers.first(b"x-request-id")).to_owned();
        let route_policy = guard.route_policy()?;
        let source = if guard.needs_source { hostcalls::property("source\0address")? } else { None };
        let facts = Facts {
            headers: &headers,
            source: source.as_deref(),
            route_policy: route_policy.as_deref(),
            now: now()?,
            ends_with_headers: end_of_stream,
        };
        let Opening { edits, step, policy } = guard.configuration.policies.open(&facts);
        self.route_policy = facts.route_policy.map(<[u8]>::to_vec);
        apply(&edits)?;
        let holds = guard.configuration.hold_request_head;
        self.tells_identity = policy.as_ref().is_some_and(|policy| policy.tells_identity(holds));
        match step {
            Step::Leave => {
                self.state = State::Passed;
                Ok(Action::Continue)
            }
            Step::Settled(ruling) => self.settle(guard, ruling),
            Step::AwaitBody(check) => {
                if holds {
                    if let Some((major, minor)) = guard.holding.old_host() {
                        log::error!("this is Envoy {major}.{minor}: {}", hold::REMEDY);
                    }
                    let record = || check.record();
                    guard.holding.watch(self.context, facts.now, record, &self.request_id);
                    self.state = State::Reading(check, 0);
                    return Ok(Action::Pause);
                }
                let is_enforced = policy.is_some_and(|policy| policy.mode == Mode::Enforce);
                // After this callback there are no headers to write to.
                let tells_identity = std::mem::take(&mut self.tells_identity);
                if tells_identity && is_enforced && check.only_length_is_open() {
                    // Nothing of it goes on before the end of the body, and it is verified by then or refused.
                    identify("verified", &check.record())?;
                }
                self.state = State::Reading(check, 0);
                Ok(Action::Continue)
            }
        }
    }

    fn body(&mut self, guard: &Guard, size: usize, end_of_stream: bool) -> Result<Action, Fault> {
        let (mut check, mut read) = match std::mem::replace(&mut self.state, State::Refused) {
            State::Refused => return Ok(Action::Pause),
            State::Passed => {
                self.state = State::Passed;
                return Ok(Action::Continue);
            }
            State::Reading(check, read) => (check, read),
        };
        // The size is that of all that is buffered so far: only what is new is read.
        while read < size {
            let most = size.saturating_sub(read).min(SLICE);
            let slice = hostcalls::buffer(Buffer::RequestBody, read, most)?.ok_or(Fault)?;
            if slice.is_empty() || slice.len() > most {
                return Err(Fault);
            }
            read = read.saturating_add(slice.len());
            check = match check.update(&slice) {
                ControlFlow::Continue(check) => check,
                ControlFlow::Break(ruling) => return self.settle(guard, ruling),
            };
        }
        if end_of_stream {
            return self.finish(guard, check, read);
        }
        self.state = State::Reading(check, read);
        Ok(Action::Pause)
    }

    fn trailers(&mut self, guard: &Guard) -> Result<Action, Fault> {
        let trailers =
            hostcalls::header_map(Map::RequestTrailers)?.and_then(Headers::from_abi).ok_or(Fault)?;
        for (name, _) in trailers.iter().filter(|(name, _)| is_identity(name)) {
            hostcalls::remove_header(Map::RequestTrailers, name)?;
        }
        match std::mem::replace(&mut self.state, State::Refused) {
            State::Refused => Ok(Action::Pause),
            State::Passed => {
                self.state = State::Passed;
                Ok(Action::Continue)
            }
            State::Reading(check, read) => {
                // Every byte of the body was in a body callback before.
                if hostcalls::buffer(Buffer::RequestBody, read, 1)?.is_some_and(|rest| !rest.is_empty()) {
                    return Err(Fault);
                }
                self.finish(guard, check, read)
            }
        }
    }

    /// Every byte of the body has been read once.
    fn finish(&mut self, guard: &Guard, check: BodyCheck, read: usize) -> Result<Action, Fault> {
        let check = match check.close() {
            ControlFlow::Continue(check) => check,
            ControlFlow::Break(ruling) => return self.settle(guard, ruling),
        };
        let body = if check.needs_body() { Some(whole_body(read)?) } else { None };
        self.settle(guard, check.finish(End { now: now()?, body }))
    }

    /// Does what was decided.
    fn settle(&mut self, guard: &Guard, ruling: Ruling) -> Result<Action, Fault> {
        let word = match &ruling.verdict {
            Verdict::Allow(_) => "verified",
            Verdict::Report(_) => "reported",
            Verdict::Answer(_) | Verdict::Deny(_) => {
                self.state = State::Refused;
                redact(guard)?;
                guard.reply(&ruling, &self.request_id);
                return Ok(Action::Pause);
            }
        };
        if self.tells_identity {
            identify(word, &ruling.record)?;
        }
        if !guard.configuration.hold_request_head {
            self.check_route(guard)?;
        }
        guard.publish(&ruling, &self.request_id);
        self.state = State::Passed;
        Ok(Action::Continue)
    }

    /// The route judged should be the route taken, but Envoy forgets its choice when a header is changed. It tells us
    /// the new one only after a filter behind us has asked for it, as the buffer filter does with the head that is not
    /// held (measured on 1.40): that is seen here. Where nobody asks before the router does, it cannot be (README, limits).
    fn check_route(&self, guard: &Guard) -> Result<(), Fault> {
        if guard.route_policy()? == self.route_policy { Ok(()) } else { Err(Fault) }
    }

    /// The host failed in the middle of a request: nothing is known, so it is refused.
    fn fault(&mut self, guard: &Guard) -> Action {
        self.state = State::Refused;
        let verdict = Verdict::Deny(Denial::from(Reason::HostFault));
        guard.reply(&Ruling { verdict, record: Record::default() }, &self.request_id);
        Action::Pause
    }
}

impl Guard {
    /// The policy that the metadata of the route names.
    fn route_policy(&self) -> Result<Option<Vec<u8>>, Fault> {
        hostcalls::property(&self.route_policy_path)
    }

    /// Replies to the request of the effective context, and makes that known.
    fn reply(&self, ruling: &Ruling, request_id: &str) {
        self.publish(ruling, request_id);
        let (reply, details) = match &ruling.verdict {
            Verdict::Deny(denial) => (denial.reply(request_id), denial.reason.code()),
            Verdict::Answer(answer) => (answer.clone(), "answer"),
            Verdict::Allow(_) | Verdict::Report(_) => return,
        };
        let pairs = reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let details = format!("webhook_guard{{{details}}}");
        let headers = Headers::from_pairs(pairs).to_abi();
        // Where even the reply fails the request stays paused, and the host's idle timeout ends it.
        if hostcalls::reply(reply.status, &details, &headers, &reply.body).is_err() {
            log::error!("the host takes no reply request_id={request_id}");
        }
    }

    /// Makes the decision known: filter state, metrics, log.
    fn publish(&self, ruling: &Ruling, request_id: &str) {
        let record = &ruling.record;
        let (verdict, reason) = (ruling.verdict.code(), ruling.verdict.reason_code());
        let checks = record.checks.text();
        let state = [
            ("webhook_verdict", Some(verdict)),
            ("webhook_reason", Some(reason)),
            ("webhook_policy", record.policy.as_deref()),
            ("webhook_provider", record.provider.as_deref()),
            ("webhook_delivery_id", record.delivery_id.as_deref()),
            ("webhook_secret_id", record.secret_ids.first().map(AsRef::as_ref)),
            ("webhook_checks", Some(checks.as_str())),
        ];
        for (name, value) in state {
            if let Some(value) = value {
                hostcalls::set_property(name, value).unwrap_or_default();
            }
        }
        self.metrics.count(ruling);
        let policy = record.policy.as_deref().unwrap_or("-");
        let line = || format!("verdict={verdict} reason={reason} policy={policy} request_id={request_id}");
        match &ruling.verdict {
            Verdict::Deny(denial) if denial.reason.is_fault() => log::error!("{}", line()),
            Verdict::Deny(_) | Verdict::Report(_) => log::info!("{}", line()),
            Verdict::Allow(_) | Verdict::Answer(_) => {}
        }
        if hostcalls::is_debug() {
            for check in checks.split(',') {
                log::debug!("check {check} policy={policy} request_id={request_id}");
            }
        }
    }
}

/// The whole body, which the host holds: nothing of it has gone on.
fn whole_body(length: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    body.try_reserve_exact(length).map_err(|_| Fault)?;
    while body.len() < length {
        let most = length.saturating_sub(body.len()).min(SLICE);
        let slice = hostcalls::buffer(Buffer::RequestBody, body.len(), most)?.ok_or(Fault)?;
        if slice.is_empty() || slice.len() > most {
            return Err(Fault);
        }
        body.extend_from_slice(&slice);
    }
    Ok(body)
}

fn apply(edits: &Edits) -> Result<(), Fault> {
    for name in &edits.remove {
        hostcalls::remove_header(Map::RequestHeaders, name)?;
    }
    match &edits.target {
        Some(target) => hostcalls::set_request_header(b":path", target),
        None => Ok(()),
    }
}

/// Takes the tokens of every policy out of the URL of a request that is refused by its body: nobody but the access log
/// will read it. A head that is not held is gone by then.
fn redact(guard: &Guard) -> Result<(), Fault> {
    let policies = &guard.configuration.policies;
    if !guard.configuration.hold_request_head || !policies.knows_tokens_in_queries() {
        return Ok(());
    }
    let headers = hostcalls::header_map(Map::RequestHeaders)?.and_then(Headers::from_abi).ok_or(Fault)?;
    match headers.first(b":path").and_then(|target| policies.redacted(target)) {
        Some(target) => hostcalls::set_request_header(b":path", &target),
        None => Ok(()),
    }
}

/// Tells the upstream what was found.
fn identify(verdict: &str, record: &Record) -> Result<(), Fault> {
    let headers = [
        ("x-webhook-guard-verdict", Some(verdict)),
        ("x-webhook-guard-policy", record.policy.as_deref()),
        ("x-webhook-guard-provider", record.provider.as_deref()),
        ("x-webhook-guard-delivery-id", record.delivery_id.as_deref()),
        ("x-webhook-guard-secret-id", record.secret_ids.first().map(AsRef::as_ref)),
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            hostcalls::set_request_header(name.as_bytes(), value.as_bytes())?;
        }
    }
    Ok(())
}
