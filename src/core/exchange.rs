//! One request through the guard, as a machine of values: what the host tells goes in as events, what it is to do comes
//! out as acts.
//!
//! Responsible for everything that a shell would otherwise have to decide: when the head is held, when a request goes on,
//! when a reply is due, what the upstream is told. A shell translates the host's callbacks into these calls and carries
//! the acts out; whatever fails on the way is told by [`Exchange::fault`].
//!
//! ```text
//!  headers ──► Continue (left alone, or accepted) │ Reply │ Pause (the body decides)
//!  body    ──► Pause, piece by piece; Reply as soon as there is too much of it
//!  end     ──► ReadBody ──► whole_body ─┐   only where a check needs the body once more
//!     │                                 ▼
//!     └────────────────► ReadStart ──► recorded ─┐  only where the policy records the body: what is decided is kept
//!     │                                         ▼  for the operator's eyes before anything else becomes of it
//!     └────────────────► ConfirmRoute ──► route ──► Continue    only where the head is gone already
//!     └────────────────► Claim ──► claimed ──► Continue │ Reply  only where each delivery passes once,
//!     └────────────────► Call ──► answered ──► Call │ Continue │ Reply   and the same where an etcd remembers it
//!     └────────────────► Redact ──► redact ──► Reply            only where a URL may hold a token
//!  response ──────────► a claim is settled: done, or forgotten
//! ```

use crate::budget::Share;
use crate::config::Configuration;
use crate::decision::{Decision, Reason, Record, Repeat, Verdict};
use crate::feed::Lists;
use crate::memory::etcd::{Answer, Call, Claiming, Etcd, Progress, WhenUnavailable};
use crate::memory::{Claim, Claimed, Delivery, Response, Settlement, Store};
use crate::policy::{AfterHeaders, BodyCheck, Edits, HeadersOutcome, Mode, Policy, is_identity};
use crate::record::{self, Recording, State};
use crate::reply::{self, Reply};
use crate::request::{Facts, Headers, Millis};
use crate::signature::End;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What the host is to do, in this order.
#[derive(Debug)]
#[must_use]
pub struct Acts {
    /// What is changed in the request's headers.
    pub edits: Edits,
    /// What is made known: filter state, metrics, log.
    pub decision: Option<Decision>,
    /// What is kept of the request for the operator's eyes, as further filter state.
    pub record: Vec<State>,
    /// What happens to the request.
    pub next: Next,
}

/// What happens to the request.
#[derive(Debug)]
pub enum Next {
    /// It goes on.
    Continue,
    /// It waits for the rest of its body or for the answer to a call, or has been answered.
    Pause,
    /// The host's reply ends it.
    Reply(Reply),
    /// The whole body is to be told by [`Exchange::whole_body`]: so many bytes.
    ReadBody(usize),
    /// The start of the body is to be told by [`Exchange::recorded`]: so many bytes of what the host holds.
    ReadStart(usize),
    /// The policy that the route names now is to be told by [`Exchange::route`].
    ConfirmRoute,
    /// What the gateway's own memory says of this delivery is to be told by [`Exchange::claimed`].
    Claim(Delivery),
    /// The etcd of the configuration is to be called while the request waits, and what comes of it to be told by
    /// [`Exchange::answered`].
    Call(Call),
    /// The request's headers are to be told by [`Exchange::redact`].
    Redact,
}

impl Acts {
    fn only(next: Next) -> Self {
        Self { edits: Edits::default(), decision: None, record: Vec::new(), next }
    }
}

/// Where a request is. What is left behind while a state changes is a refusal.
#[derive(Debug, Default)]
enum Step {
    /// It does not go on; also before its headers came.
    #[default]
    Refused,
    /// Its body is awaited.
    Reading(Box<BodyCheck>),
    /// It is decided, and recorded before anything becomes of it.
    Recording(Decision),
    /// It is accepted if the route is still the one that was judged.
    Confirming(Decision),
    /// It is accepted if it is the first of its name, which the gateway's own memory is asked.
    Claiming(Decision),
    /// The same, which an etcd is asked.
    Calling(Box<Calling>),
    /// It is refused, and its URL is to be logged without tokens.
    Redacting(Decision),
    /// It goes on.
    Passed,
}

/// A request that waits for an etcd.
#[derive(Debug)]
struct Calling {
    decision: Decision,
    claiming: Claiming,
    /// Counted like a request whose body is awaited: whoever has one signed delivery can send it any number of times.
    _share: Share,
}

/// What is kept of such a request, in bytes: the decision with its texts, and what is asked.
const CALLING: usize = size_of::<Calling>().saturating_add(512);

/// One request.
#[derive(Debug)]
pub struct Exchange {
    configuration: Arc<Configuration>,
    state: Step,
    /// How many bytes of the body have come.
    received: usize,
    request_id: String,
    /// The policy that the route named when the request was judged.
    route_policy: Option<Vec<u8>>,
    /// Whether the upstream is told the verdict.
    tells_identity: bool,
    /// The policy that governs it.
    policy: Option<Arc<Policy>>,
    /// What stands for it in the memory of deliveries, until it is settled.
    claim: Option<Box<Claim>>,
    /// When something was last told of it.
    now: Millis,
    /// What is being recorded of its body, where anything is.
    recording: Option<Box<Recording>>,
    /// What the host keeps of it for the operator's eyes until it is over, counted.
    recorded: Option<Share>,
}

impl Exchange {
    /// A request of which nothing is known yet.
    #[must_use]
    pub const fn new(configuration: Arc<Configuration>) -> Self {
        Self {
            configuration,
            state: Step::Refused,
            received: 0,
            request_id: String::new(),
            route_policy: None,
            tells_identity: false,
            policy: None,
            claim: None,
            now: Millis(0),
            recording: None,
            recorded: None,
        }
    }

    /// The configuration by which it is judged.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The request's id, for the log; empty where it has none that can stand there.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// How many bytes of the body have been told.
    #[must_use]
    pub const fn received(&self) -> usize {
        self.received
    }

    /// Whether more of the body is awaited.
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        matches!(self.state, Step::Reading(_))
    }

    /// Whether it is held until more is told: more of its body, or the answer to a call.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.state, Step::Reading(_) | Step::Calling(_))
    }

    /// What there is to say about a request whose body is awaited.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        match &self.state {
            Step::Reading(check) => Some(check.record()),
            _ => None,
        }
    }

    /// The headers have come. `lists` are those of the configuration's feeds as they are now.
    pub fn headers(&mut self, facts: &Facts<'_>, lists: &Lists) -> Acts {
        self.now = facts.now;
        self.request_id = reply::request_id(facts.headers.first(b"x-request-id")).to_owned();
        self.route_policy = facts.route_policy.map(<[u8]>::to_vec);
        let holds = self.configuration.hold_request_head;
        let HeadersOutcome { edits, step, policy } = self.configuration.policies.open(facts, lists);
        self.tells_identity = policy.as_ref().is_some_and(|policy| policy.tells_identity(holds));
        self.policy.clone_from(&policy);
        let headers = self.begin_record(facts);
        let mut acts = match step {
            AfterHeaders::Leave => {
                self.state = Step::Passed;
                Acts::only(Next::Continue)
            }
            // The URL of what the headers refuse has been redacted by `open`.
            AfterHeaders::Settled(decision) => {
                // A request without a body has been read to its end.
                let record = self.end_record(&decision, Vec::new());
                let acts = if is_refused(&decision) { self.refuse(decision) } else { self.accept(decision) };
                Acts { record, ..acts }
            }
            AfterHeaders::AwaitBody(check) if holds => {
                self.state = Step::Reading(Box::new(check));
                Acts::only(Next::Pause)
            }
            AfterHeaders::AwaitBody(check) => {
                // The head goes on now, and after this there are no headers to write to. Nothing of the request leaves
                // the filter that holds it before the end of its body, and it is verified by then or refused.
                let mut acts = Acts::only(Next::Continue);
                let is_enforced = policy.is_some_and(|policy| policy.mode == Mode::Enforce);
                if std::mem::take(&mut self.tells_identity) && is_enforced && check.only_length_is_open() {
                    acts.edits.set = check.record().identity("verified");
                }
                self.state = Step::Reading(Box::new(check));
                acts
            }
        };
        acts.edits = Edits { set: acts.edits.set, ..edits };
        acts.record.extend(headers);
        acts
    }

    /// What is told of the headers, and whether the body is recorded.
    fn begin_record(&mut self, facts: &Facts<'_>) -> Vec<State> {
        let Some(terms) = self.policy.as_ref().and_then(|policy| policy.record.as_ref()) else {
            return Vec::new();
        };
        self.recording = Recording::new(terms);
        if let Some(recording) = self.recording.as_mut().filter(|_| facts.ends_with_headers) {
            recording.end();
        }
        let policies = &self.configuration.policies;
        let headers = policies.recorded_headers(terms, facts.headers);
        let (share, told) = record::headers_state(headers, policies.budget());
        self.recorded = share;
        told
    }

    /// What is told of the body, once, with the start of it that was wanted.
    fn end_record(&mut self, decision: &Decision, start: Vec<u8>) -> Vec<State> {
        let Some(recording) = self.recording.take() else { return Vec::new() };
        let policies = &self.configuration.policies;
        let share = self.recorded.get_or_insert_with(|| policies.budget().share_of_records());
        recording.finish(is_good(decision), start, |text| policies.redact_text(text), share)
    }

    /// A piece of the body has come.
    pub fn body(&mut self, piece: &[u8]) -> Acts {
        match std::mem::take(&mut self.state) {
            Step::Passed => {
                self.state = Step::Passed;
                Acts::only(Next::Continue)
            }
            Step::Reading(check) => {
                self.received = self.received.saturating_add(piece.len());
                if let Some(recording) = &mut self.recording {
                    recording.update(piece);
                }
                match check.update(piece) {
                    ControlFlow::Continue(check) => {
                        self.state = Step::Reading(Box::new(check));
                        Acts::only(Next::Pause)
                    }
                    ControlFlow::Break(decision) => self.settle(decision),
                }
            }
            state => self.pause(state),
        }
    }

    /// Trailers have come: the headers among them that claim to be our verdict, by name. The body ends with them.
    pub fn trailers<'t>(&self, trailers: &'t Headers) -> impl Iterator<Item = &'t [u8]> {
        trailers.iter().map(|(name, _)| name).filter(|name| is_identity(name))
    }

    /// The request has ended: every byte of its body has been told.
    pub fn end(&mut self, now: Millis) -> Acts {
        self.now = now;
        match std::mem::take(&mut self.state) {
            Step::Passed => {
                self.state = Step::Passed;
                Acts::only(Next::Continue)
            }
            Step::Reading(check) => {
                if let Some(recording) = &mut self.recording {
                    recording.end();
                }
                match check.close() {
                    ControlFlow::Break(decision) => self.settle(decision),
                    ControlFlow::Continue(check) if check.needs_body() => {
                        self.state = Step::Reading(Box::new(check));
                        Acts::only(Next::ReadBody(self.received))
                    }
                    ControlFlow::Continue(check) => self.settle(check.finish(End { now, body: None })),
                }
            }
            state => self.pause(state),
        }
    }

    /// Nothing is to be done yet, or any more.
    fn pause(&mut self, state: Step) -> Acts {
        self.state = state;
        Acts::only(Next::Pause)
    }

    /// The whole body, as it was asked for.
    pub fn whole_body(&mut self, body: Vec<u8>, now: Millis) -> Acts {
        self.now = now;
        match std::mem::take(&mut self.state) {
            Step::Reading(check) => self.settle(check.finish(End { now, body: Some(body) })),
            _ => self.fault(),
        }
    }

    /// The start of the body, as it was asked for.
    pub fn recorded(&mut self, start: Vec<u8>) -> Acts {
        let Step::Recording(decision) = std::mem::take(&mut self.state) else { return self.fault() };
        let record = self.end_record(&decision, start);
        Acts { record, ..self.settle(decision) }
    }

    /// The policy that the route names now, as it was asked for. The route judged is to be the route taken, but Envoy
    /// forgets its choice when a header is changed.
    pub fn route(&mut self, policy: Option<&[u8]>) -> Acts {
        match std::mem::take(&mut self.state) {
            Step::Confirming(decision) if policy == self.route_policy.as_deref() => self.remember(decision),
            _ => self.fault(),
        }
    }

    /// What the gateway's own memory says of the delivery, as it was asked for.
    pub fn claimed(&mut self, claimed: Claimed) -> Acts {
        match std::mem::take(&mut self.state) {
            Step::Claiming(decision) => self.recalled(decision, claimed),
            _ => self.fault(),
        }
    }

    /// What came of the call to etcd. Nothing is done where no call is awaited any more.
    pub fn answered(&mut self, answer: Answer<'_>, now: Millis) -> Acts {
        let mut calling = match std::mem::take(&mut self.state) {
            Step::Calling(calling) => calling,
            state => return self.pause(state),
        };
        let Store::Etcd(etcd) = &self.configuration.memory else { return self.fault() };
        match calling.claiming.answered(etcd, answer, now) {
            Progress::Call(call) => {
                self.state = Step::Calling(calling);
                Acts::only(Next::Call(call))
            }
            Progress::Claimed(claimed) => self.recalled(calling.decision, claimed),
        }
    }

    fn recalled(&mut self, mut decision: Decision, claimed: Claimed) -> Acts {
        decision.record.repeat = Some(match claimed {
            Claimed::First(claim) => {
                self.claim = Some(Box::new(claim));
                Repeat::First
            }
            Claimed::Pending => Repeat::Pending,
            Claimed::Duplicate => Repeat::Duplicate,
            Claimed::Unavailable => Repeat::Unavailable,
        });
        let is_accepted = matches!(&self.configuration.memory,
            Store::Etcd(Etcd { when_unavailable: WhenUnavailable::Accept, .. }) if claimed == Claimed::Unavailable);
        let policy = self.policy.as_ref().filter(|_| !is_accepted);
        match policy.and_then(|policy| policy.recall(claimed, &self.request_id)) {
            None => self.pass(decision),
            Some(verdict) => {
                decision.verdict = verdict;
                self.settle(decision)
            }
        }
    }

    /// The response is over, or the request has ended without one: what becomes of the delivery, where the memory is to be
    /// told. A claim of which nobody can know is left to run out.
    pub fn responded(&mut self, response: &Response<'_>) -> Option<(Claim, Settlement)> {
        let claim = *self.claim.take()?;
        response.settlement().map(|settlement| (claim, settlement))
    }

    /// Whether the memory holds a claim for this request.
    #[must_use]
    pub const fn has_claim(&self) -> bool {
        self.claim.is_some()
    }

    /// The name of the policy that governs the request.
    #[must_use]
    pub fn policy(&self) -> Option<&Arc<str>> {
        self.policy.as_ref().map(|policy| &policy.name)
    }

    /// The request's headers, as they were asked for: the URL of a refused request is logged without the tokens of any
    /// policy.
    pub fn redact(&mut self, headers: &Headers) -> Acts {
        let Step::Redacting(decision) = std::mem::take(&mut self.state) else { return self.fault() };
        let mut acts = self.refuse(decision);
        self.configuration.policies.redact(headers, &mut acts.edits);
        acts
    }

    /// The host failed: nothing is known, so the request is refused.
    pub fn fault(&mut self) -> Acts {
        self.state = Step::Refused;
        self.refuse(Decision::deny(Reason::HostFault, Record::default()))
    }

    /// Decided by its body.
    fn settle(&mut self, decision: Decision) -> Acts {
        match self.recording.as_ref().map(|recording| recording.wanted(is_good(&decision))) {
            None => {}
            Some(0) => {
                let record = self.end_record(&decision, Vec::new());
                return Acts { record, ..self.settle(decision) };
            }
            Some(wanted) => {
                self.state = Step::Recording(decision);
                return Acts::only(Next::ReadStart(wanted));
            }
        }
        if !is_refused(&decision) {
            // What the memory has been asked about is not asked about again.
            return if decision.record.repeat.is_some() {
                self.pass(decision)
            } else {
                self.accept(decision)
            };
        }
        // A head that is not held is gone by now.
        if self.configuration.hold_request_head && self.configuration.policies.knows_tokens_in_queries() {
            self.state = Step::Redacting(decision);
            return Acts::only(Next::Redact);
        }
        self.refuse(decision)
    }

    fn accept(&mut self, decision: Decision) -> Acts {
        if self.configuration.hold_request_head {
            return self.remember(decision);
        }
        let edits = self.identity(&decision);
        self.state = Step::Confirming(decision);
        Acts { edits, ..Acts::only(Next::ConfirmRoute) }
    }

    /// Every check holds: whether the delivery is the first of its name.
    fn remember(&mut self, mut decision: Decision) -> Acts {
        let (Verdict::Allow(_), Some(delivery)) =
            (&decision.verdict, decision.record.delivery.as_deref().copied())
        else {
            return self.pass(decision);
        };
        let Store::Etcd(etcd) = &self.configuration.memory else {
            self.state = Step::Claiming(decision);
            return Acts::only(Next::Claim(delivery));
        };
        let mut share = self.configuration.policies.budget().share();
        if !share.resize(CALLING) {
            let Some(policy) = &self.policy else { return self.fault() };
            decision.verdict = policy.refuse(Reason::Overloaded);
            return self.settle(decision);
        }
        let (claiming, call) = Claiming::start(etcd, delivery, self.now);
        self.state = Step::Calling(Box::new(Calling { decision, claiming, _share: share }));
        Acts::only(Next::Call(call))
    }

    /// The request goes on.
    fn pass(&mut self, decision: Decision) -> Acts {
        self.state = Step::Passed;
        let edits = self.identity(&decision);
        Acts { edits, decision: Some(decision), ..Acts::only(Next::Continue) }
    }

    /// What the upstream is told of the verdict, once.
    fn identity(&mut self, decision: &Decision) -> Edits {
        let mut edits = Edits::default();
        if std::mem::take(&mut self.tells_identity) {
            let word = if matches!(decision.verdict, Verdict::Report(_)) { "reported" } else { "verified" };
            edits.set = decision.record.identity(word);
        }
        edits
    }

    fn refuse(&mut self, decision: Decision) -> Acts {
        self.state = Step::Refused;
        let reply = decision.reply(&self.request_id);
        let next = reply.map_or(Next::Pause, Next::Reply);
        Acts { decision: Some(decision), ..Acts::only(next) }
    }
}

/// Whether the request counts as accepted for what is recorded: what is only reported would have been refused.
const fn is_good(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Allow(_) | Verdict::Answer(_) | Verdict::Acknowledge(_))
}

/// Whether the request ends here: refused, or answered.
const fn is_refused(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Deny(_) | Verdict::Answer(_) | Verdict::Acknowledge(_))
}
