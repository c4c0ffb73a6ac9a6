//! A judgement in the making: the order of checks, cheap before dear, and what the record says of them.
//!
//! Responsible for one request under one policy, from its headers to its last byte. Refuses to know how the policy was
//! chosen; what the outcome means is said by [`Policy::rule`] alone.

use super::requirement::State;
use super::{Check, Leaf, Policy, Step, is_tunnel};
use crate::check::signature::Running;
use crate::handshake::{Candidate, Handshake, MOST_SIGNED, may_be_signed};
use crate::reply::Reply;
use crate::request::Facts;
use crate::verdict::{Outcome, Reason, Record, Ruling, Verdict};
use std::ops::ControlFlow;
use std::rc::Rc;

/// A policy's judgement in the making.
#[derive(Debug)]
pub(super) struct Judgement {
    policy: Rc<Policy>,
    states: Vec<State>,
    running: Vec<(usize, Running)>,
    /// What each leaf that held adds to the record.
    secret_ids: Vec<(usize, Rc<str>)>,
    delivery_ids: Vec<Option<Rc<str>>>,
    /// Which secret signed, by leaf.
    signer: Vec<(usize, usize)>,
    pub(super) record: Record,
}

impl Judgement {
    pub(super) fn new(policy: &Rc<Policy>, facts: &Facts<'_>) -> Self {
        let delivery_id = |leaf: &Leaf| leaf.delivery_id.as_ref().and_then(|field| field.printable(facts));
        Self {
            policy: policy.clone(),
            states: vec![State::Open; policy.leaves.len()],
            running: Vec::new(),
            secret_ids: Vec::new(),
            signer: Vec::new(),
            delivery_ids: policy.leaves.iter().map(delivery_id).collect(),
            record: Record { policy: Some(policy.name.clone()), ..Record::default() },
        }
    }

    /// All that the headers tell, cheap before dear.
    pub(super) fn headers(mut self, facts: &Facts<'_>) -> Step {
        self.record.checks.path = Outcome::Pass;
        let policy = self.policy.clone();
        if is_tunnel(facts) {
            return Step::Settled(self.settle(Err(Reason::UpgradeNotAllowed)));
        }
        if let Some(candidate) = self.unsigned_handshake(facts) {
            return self.shake(facts, candidate);
        }
        if !policy.is_content_type_allowed(facts) {
            return Step::Settled(self.settle(Err(Reason::ContentTypeNotAllowed)));
        }
        if !policy.is_content_encoding_allowed(facts) {
            return Step::Settled(self.settle(Err(Reason::ContentEncodingNotAllowed)));
        }
        for kind in [Kind::Source, Kind::Token, Kind::Signature] {
            self.judge(kind, facts);
            if let State::Failed(reason) = self.state() {
                return Step::Settled(self.settle(Err(reason)));
            }
        }
        self.body(facts)
    }

    /// The handshake that the provider does not sign, if the request has its shape.
    pub(super) fn unsigned_handshake(&self, facts: &Facts<'_>) -> Option<Candidate> {
        let handshakes = self.policy.handshakes.as_ref()?;
        let mut unsigned = handshakes.shapes.iter().filter(|shape| !shape.is_signed);
        unsigned.find_map(|shape| shape.recognise(facts))
    }

    /// Answers a handshake that the provider does not sign: everything but the provider's own check must hold.
    pub(super) fn shake(mut self, facts: &Facts<'_>, candidate: Candidate) -> Step {
        let policy = self.policy.clone();
        let Some(handshakes) = &policy.handshakes else {
            return Step::Settled(self.settle(Err(Reason::HandshakeRefused)));
        };
        self.note(handshakes.leaf, Ok(None));
        for kind in [Kind::Source, Kind::Token] {
            self.judge(kind, facts);
            if let State::Failed(reason) = self.state() {
                return Step::Settled(self.settle(Err(reason)));
            }
        }
        let holds = self.state() == State::Held
            && candidate.handshake().is_verified(facts, &handshakes.verify_tokens);
        // It held for the sake of the question only: nothing was verified.
        if let Some(state) = self.states.get_mut(handshakes.leaf) {
            *state = State::Open;
        }
        let key = policy.signature(handshakes.leaf).and_then(|check| {
            let mut valid = check.secrets.iter().filter(|secret| secret.validity.admits(facts.now));
            valid.next().map(|secret| &secret.value)
        });
        let answer = if holds { candidate.answer(key) } else { None };
        Step::Settled(self.answered(answer.unwrap_or(Err(()))))
    }

    /// Ends the judgement of a handshake.
    fn answered(self, answer: Result<Reply, ()>) -> Ruling {
        match answer {
            Ok(reply) => Ruling { verdict: Verdict::Answer(reply), record: self.record(false) },
            Err(()) => self.settle(Err(Reason::HandshakeRefused)),
        }
    }

    /// Judges every open leaf of a kind.
    fn judge(&mut self, kind: Kind, facts: &Facts<'_>) {
        let policy = self.policy.clone();
        // Which are open is looked up before any is judged, and once a kind: one of them may close another.
        let is_kind = |check: &Check| {
            matches!(
                (kind, check),
                (Kind::Source, Check::Source(_))
                    | (Kind::Token, Check::Token(_))
                    | (Kind::Signature, Check::Signature(_))
            )
        };
        let leaves = policy.leaves.iter().enumerate();
        let open: Vec<(usize, &Leaf)> =
            leaves.filter(|(index, leaf)| is_kind(&leaf.check) && self.is_open(*index)).collect();
        for (index, leaf) in open {
            let outcome = match &leaf.check {
                Check::Source(check) => check.judge(facts.source).map(|()| None),
                Check::Token(check) => check.judge(facts),
                Check::Signature(check) => match check.begin(facts) {
                    Ok(running) => {
                        self.running.push((index, running));
                        continue;
                    }
                    Err(reason) => Err(reason),
                },
            };
            self.note(index, outcome);
        }
    }

    fn finish_signatures(&mut self) {
        for (index, running) in std::mem::take(&mut self.running) {
            let outcome = running.finish().map(|held| {
                if let (Some(slot), Some(id)) = (self.delivery_ids.get_mut(index), held.delivery_id) {
                    *slot = Some(id);
                }
                self.signer.push((index, held.secret));
                held.secret_id
            });
            self.note(index, outcome);
        }
    }

    fn note(&mut self, index: usize, outcome: Result<Option<Rc<str>>, Reason>) {
        let state = match outcome {
            Ok(id) => {
                self.secret_ids.extend(id.map(|id| (index, id)));
                State::Held
            }
            Err(reason) => State::Failed(reason),
        };
        if let Some(slot) = self.states.get_mut(index) {
            *slot = state;
        }
    }

    fn is_open(&self, leaf: usize) -> bool {
        self.policy.requirement.as_ref().is_some_and(|requirement| requirement.is_open(leaf, &self.states))
    }

    fn state(&self) -> State {
        match &self.policy.requirement {
            Some(requirement) => requirement.state(&self.states),
            None => State::Held,
        }
    }

    /// What the declared length tells, and whether the body must be waited for.
    fn body(mut self, facts: &Facts<'_>) -> Step {
        let limit = self.policy.max_body_bytes;
        let declared = if facts.ends_with_headers { Some(0) } else { facts.content_length() };
        if declared.is_some_and(|length| length > limit) {
            return Step::Settled(self.settle(Err(Reason::BodyTooLarge)));
        }
        if self.state() == State::Held && declared.is_some() {
            self.record.body_bytes = declared;
            return Step::Settled(self.settle(Ok(())));
        }
        // A signature that a branch already settled needs no hashing.
        let running = std::mem::take(&mut self.running);
        self.running = running.into_iter().filter(|(index, _)| self.is_open(*index)).collect();
        let shapes = self.policy.handshakes.iter().flat_map(|handshakes| &handshakes.shapes);
        let signed = shapes.filter(|shape| shape.is_signed);
        let handshakes = signed.filter_map(|shape| shape.recognise(facts)).collect();
        let check = BodyCheck { judgement: self, seen: 0, handshakes, could_be_signed: true };
        if facts.ends_with_headers { Step::Settled(check.finish()) } else { Step::AwaitBody(check) }
    }

    /// Ends the judgement.
    pub(super) fn settle(self, outcome: Result<(), Reason>) -> Ruling {
        let is_accepted = outcome.is_ok();
        Ruling { verdict: self.policy.rule(outcome), record: self.record(is_accepted) }
    }

    /// What there is to say so far. Provider and delivery are those of a leaf that held; only where the request is not
    /// accepted, and nobody is told that they are verified, those of any other leaf will do. A signature's come before
    /// a token's.
    fn record(&self, is_accepted: bool) -> Record {
        let mut record = self.record.clone();
        for (leaf, state) in self.policy.leaves.iter().zip(&self.states) {
            let trail = match leaf.check {
                Check::Source(_) => &mut record.checks.source_ip,
                Check::Token(_) => &mut record.checks.token,
                Check::Signature(_) => &mut record.checks.signature,
            };
            *trail = match (state, *trail) {
                (State::Held, _) | (_, Outcome::Pass) => Outcome::Pass,
                (State::Failed(_), _) | (State::Open, Outcome::Fail) => Outcome::Fail,
                (State::Open, Outcome::Skip) => Outcome::Skip,
            };
        }
        let signs = |index: usize| self.policy.signature(index).is_some();
        let of_signatures = self.secret_ids.iter().filter(|(index, _)| signs(*index));
        let of_tokens = self.secret_ids.iter().filter(|(index, _)| !signs(*index));
        record.secret_ids = of_signatures.chain(of_tokens).map(|(_, id)| id.clone()).collect();
        let has_held = |index: usize| self.states.get(index) == Some(&State::Held);
        // Both of one leaf: a delivery is not to be named after another provider's header.
        let best = |says_something: &dyn Fn(usize) -> bool| {
            (0..self.states.len())
                .filter(|index| (has_held(*index) || !is_accepted) && says_something(*index))
                .min_by_key(|index| (!has_held(*index), !signs(*index)))
        };
        let named = |index: usize| self.policy.leaves.get(index).is_some_and(|leaf| leaf.provider.is_some());
        let with_id = |index: usize| self.delivery_ids.get(index).is_some_and(Option::is_some);
        if let Some(index) = best(&named).or_else(|| best(&with_id)) {
            record.provider = self.policy.leaves.get(index).and_then(|leaf| leaf.provider.clone());
            record.delivery_id = self.delivery_ids.get(index).cloned().flatten();
        }
        record
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Source,
    Token,
    Signature,
}

/// A request whose body decides: by its signature, or only by its length.
#[derive(Debug)]
pub struct BodyCheck {
    judgement: Judgement,
    seen: u64,
    /// What the request could be beside a delivery.
    handshakes: Vec<Candidate>,
    /// Whether every byte so far could be one of a value that a handshake signs.
    could_be_signed: bool,
}

impl BodyCheck {
    /// Takes the next bytes of the body. Breaks with the ruling when the body is larger than the policy admits.
    pub fn update(mut self, chunk: &[u8]) -> ControlFlow<Ruling, Self> {
        self.seen = self.seen.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.seen > self.judgement.policy.max_body_bytes {
            return ControlFlow::Break(self.end(Err(Reason::BodyTooLarge)));
        }
        self.could_be_signed = self.could_be_signed && chunk.iter().all(may_be_signed);
        for (_, running) in &mut self.judgement.running {
            running.update(chunk);
        }
        for candidate in &mut self.handshakes {
            candidate.update(chunk);
        }
        ControlFlow::Continue(self)
    }

    /// Ends the body.
    pub fn finish(mut self) -> Ruling {
        self.judgement.finish_signatures();
        match self.judgement.state() {
            State::Held => match self.answer() {
                Some(answer) => {
                    self.judgement.record.body_bytes = Some(self.seen);
                    self.judgement.answered(answer)
                }
                None if self.is_signed_by_a_handshake() => self.end(Err(Reason::SignatureMismatch)),
                None => self.end(Ok(())),
            },
            State::Failed(reason) => self.end(Err(reason)),
            State::Open => self.end(Err(Reason::HostFault)),
        }
    }

    /// Whether the signature could be the one that a handshake put under a value of a stranger's choice.
    fn is_signed_by_a_handshake(&self) -> bool {
        let length = usize::try_from(self.seen).unwrap_or(usize::MAX);
        let Some(handshakes) = &self.judgement.policy.handshakes else { return false };
        self.could_be_signed
            && (1..=MOST_SIGNED).contains(&length)
            && self.judgement.states.get(handshakes.leaf) == Some(&State::Held)
            && handshakes.shapes.iter().any(Handshake::signs_for_strangers)
    }

    /// The answer, where the request is a handshake that the provider's own check let through.
    fn answer(&mut self) -> Option<Result<Reply, ()>> {
        let candidates = std::mem::take(&mut self.handshakes);
        let leaf = self.judgement.policy.handshakes.as_ref()?.leaf;
        let secret = self.judgement.signer.iter().find(|(index, _)| *index == leaf)?.1;
        let key = self.judgement.policy.signature(leaf)?.secrets.get(secret).map(|secret| &secret.value);
        candidates.into_iter().find_map(|candidate| candidate.answer(key))
    }

    /// Whether nothing but the length is still in question: every check holds already.
    #[must_use]
    pub fn only_length_is_open(&self) -> bool {
        self.judgement.state() == State::Held
    }

    /// What there is to say about the request so far.
    #[must_use]
    pub fn record(&self) -> Record {
        self.judgement.record(self.only_length_is_open())
    }

    fn end(mut self, outcome: Result<(), Reason>) -> Ruling {
        self.judgement.record.body_bytes = Some(self.seen);
        self.judgement.settle(outcome)
    }
}
