//! A judgement in the making: the order of checks, cheap before dear, and what the record says of them.
//!
//! Responsible for one request under one policy, from its headers to its last byte. Refuses to know how the policy was
//! chosen; what the outcome means is said by [`Policy::rule`] alone.

use super::requirement::State;
use super::{Check, Leaf, Policy, Step, is_tunnel};
use crate::budget::{Budget, Share, heap};
use crate::check::signature::{End, Running};
use crate::handshake::{Candidate, MOST_SIGNED, may_be_signed};
use crate::reply::Reply;
use crate::request::{Facts, Millis};
use crate::secret::Validity;
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
    /// The tokens that held, by leaf, and when they are valid: a body can come slowly.
    tokens: Vec<(usize, Validity)>,
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
            tokens: Vec::new(),
            delivery_ids: policy.leaves.iter().map(delivery_id).collect(),
            record: Record { policy: Some(policy.name.clone()), ..Record::default() },
        }
    }

    /// All that the headers tell, cheap before dear.
    pub(super) fn headers(mut self, facts: &Facts<'_>, budget: &Budget) -> Step {
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
        self.body(facts, budget)
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
                Check::Token(check) => check.judge(facts).map(|secret| {
                    self.tokens.push((index, secret.validity));
                    secret.id.clone()
                }),
                Check::Signature(check) => match check.begin(facts) {
                    Ok(running) => {
                        self.running.reserve_exact(1);
                        self.running.push((index, running));
                        continue;
                    }
                    Err(reason) => Err(reason),
                },
            };
            self.note(index, outcome);
        }
    }

    /// Judges what the end of the body tells. `could_be_signed` where the body could be a value that a handshake signs.
    fn finish_signatures(&mut self, end: &mut End, could_be_signed: bool) {
        let mut needing = self.needing_body();
        for (index, running) in std::mem::take(&mut self.running) {
            let body = match running.needs_body() {
                true if needing > 1 => end.body.clone(),
                true => end.body.take(),
                false => None,
            };
            needing = needing.saturating_sub(usize::from(running.needs_body()));
            let outcome = running.finish(End { now: end.now, body }).and_then(|verified| {
                let signs_for_strangers =
                    self.policy.leaves.get(index).is_some_and(Leaf::signs_for_strangers);
                if could_be_signed && signs_for_strangers {
                    return Err(Reason::SignatureMismatch);
                }
                if let (Some(slot), Some(id)) = (self.delivery_ids.get_mut(index), verified.delivery_id) {
                    *slot = Some(id);
                }
                self.signer.push((index, verified.secret));
                Ok(verified.secret_id)
            });
            self.note(index, outcome);
        }
    }

    /// A token that was valid when the headers came may not be any more. Says whether one is not.
    fn expire_tokens(&mut self, now: Millis) -> bool {
        let mut has_expired = false;
        for (index, validity) in std::mem::take(&mut self.tokens) {
            if !validity.admits(now) {
                self.secret_ids.retain(|(leaf, _)| *leaf != index);
                self.note(index, Err(Reason::TokenMismatch));
                has_expired = true;
            }
        }
        has_expired
    }

    /// How many checks need the whole body at its end.
    fn needing_body(&self) -> usize {
        self.running.iter().filter(|(_, running)| running.needs_body()).count()
    }

    /// The bytes that are kept of the request until it ends.
    fn kept_bytes(&self) -> usize {
        let running = self.running.iter().map(|(_, running)| running.kept_bytes());
        let ids = self.delivery_ids.iter().flatten().map(|id| id.len().saturating_add(16));
        let vectors = [
            heap(&self.states),
            heap(&self.running),
            heap(&self.secret_ids),
            heap(&self.delivery_ids),
            heap(&self.tokens),
            heap(&self.record.secret_ids),
        ];
        vectors.into_iter().chain(running).chain(ids).fold(0, usize::saturating_add)
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
    fn body(mut self, facts: &Facts<'_>, budget: &Budget) -> Step {
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
        let mut handshakes: Vec<Candidate> = signed.filter_map(|shape| shape.recognise(facts)).collect();
        // Exactly: a vector that grows has room for four.
        handshakes.shrink_to_fit();
        let share = budget.share();
        let mut check = BodyCheck { judgement: self, seen: 0, handshakes, could_be_signed: true, share };
        if facts.ends_with_headers {
            let body = Some(Vec::new());
            return Step::Settled(check.finish(End { now: facts.now, body }));
        }
        match check.keep(0) {
            true => Step::AwaitBody(check),
            false => Step::Settled(check.judgement.settle(Err(Reason::Overloaded))),
        }
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
    /// What is kept for the request, of all that may be kept.
    share: Share,
}

impl BodyCheck {
    /// Takes the next bytes of the body. Breaks with the ruling when the body is larger than the policy admits, or what
    /// must be kept of it is more than may be.
    pub fn update(mut self, chunk: &[u8]) -> ControlFlow<Ruling, Self> {
        self.seen = self.seen.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.seen > self.judgement.policy.max_body_bytes {
            return ControlFlow::Break(self.settle(Err(Reason::BodyTooLarge)));
        }
        self.could_be_signed = self.could_be_signed && chunk.iter().all(may_be_signed);
        for (_, running) in &mut self.judgement.running {
            running.update(chunk);
        }
        for candidate in &mut self.handshakes {
            candidate.update(chunk);
        }
        self.or_overloaded(0)
    }

    /// To be called when the last bytes have been taken. Breaks with the ruling where the whole body is needed and there
    /// is no room for it.
    pub fn close(self) -> ControlFlow<Ruling, Self> {
        let length = usize::try_from(self.seen).unwrap_or(usize::MAX);
        let whole = length.saturating_mul(self.judgement.needing_body());
        self.or_overloaded(whole)
    }

    /// Whether [`BodyCheck::finish`] needs the whole body once more.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.judgement.needing_body() > 0
    }

    fn or_overloaded(mut self, more: usize) -> ControlFlow<Ruling, Self> {
        match self.keep(more) {
            true => ControlFlow::Continue(self),
            false => ControlFlow::Break(self.settle(Err(Reason::Overloaded))),
        }
    }

    /// Takes from the budget what is kept now, and so many bytes more. False where it does not have them.
    fn keep(&mut self, more: usize) -> bool {
        let values = self.handshakes.iter().map(Candidate::kept_bytes);
        let parts = [heap(&self.handshakes), self.judgement.kept_bytes()];
        let kept = parts.into_iter().chain(values).fold(0, usize::saturating_add);
        self.share.resize(kept.saturating_add(size_of::<Self>()).saturating_add(more))
    }

    /// Ends the body. `end` has the whole of it where [`BodyCheck::needs_body`] says so; more than one check that needs
    /// it gets a copy each.
    pub fn finish(mut self, mut end: End) -> Ruling {
        let length = usize::try_from(self.seen).unwrap_or(usize::MAX);
        if self.needs_body() && end.body.as_ref().map(Vec::len) != Some(length) {
            return self.settle(Err(Reason::HostFault));
        }
        let could_be_signed = self.could_be_signed && (1..=MOST_SIGNED).contains(&length);
        let has_expired = self.judgement.expire_tokens(end.now);
        self.judgement.finish_signatures(&mut end, could_be_signed);
        match self.judgement.state() {
            State::Held => match self.answer() {
                Some(answer) => {
                    self.judgement.record.body_bytes = Some(self.seen);
                    self.judgement.answered(answer)
                }
                None => self.settle(Ok(())),
            },
            State::Failed(reason) => self.settle(Err(reason)),
            // What the token made needless was not judged.
            State::Open if has_expired => self.settle(Err(Reason::TokenMismatch)),
            State::Open => self.settle(Err(Reason::HostFault)),
        }
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

    fn settle(mut self, outcome: Result<(), Reason>) -> Ruling {
        self.judgement.record.body_bytes = Some(self.seen);
        self.judgement.settle(outcome)
    }
}
