//! The evaluation of one policy: the order of checks, the cheapest first, and what the record says of them.
//!
//! Responsible for one request under one policy, from its headers to its last byte.

use super::requirement::State;
use super::{AfterHeaders, Check, Policy, PolicyCheck, is_tunnel};
use crate::budget::{Budget, Share, heap};
use crate::check::token::BodyToken;
use crate::decision::{CheckStep, Decision, Outcome, Reason, Record, Verdict};
use crate::feed::Lists;
use crate::handshake::{Candidate, MOST_SIGNED, may_be_signed};
use crate::memory::{Delivery, DeliveryKey};
use crate::record::Recording;
use crate::reply::Reply;
use crate::request::{Facts, Millis, Occurrence};
use crate::resubmit;
use crate::secret::Validity;
use crate::signature::published_key::PublishedKeys;
use crate::signature::{End, Running, SignatureCheck, field};
use crate::wish::{Purpose, Wish};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A policy's evaluation in the making.
#[derive(Debug)]
pub(super) struct Evaluation {
    policy: Arc<Policy>,
    /// What is known of each check.
    states: Vec<State>,
    /// What else there is to it, in the same order.
    progress: Vec<Progress>,
    /// Whether path, host and method are the policy's.
    pub(super) path: Outcome,
    record: Record,
}

/// One check on its way.
#[derive(Debug, Default)]
struct Progress {
    /// A signature that waits for the rest of the body.
    running: Option<Box<Running>>,
    /// A token that is looked for in the rest of the body.
    token: Option<Box<BodyToken>>,
    /// The place of the secret with which a signature held.
    signer: Option<usize>,
    /// When the token that held is valid: a body can come slowly.
    validity: Option<Validity>,
    /// The id of the secret with which it held.
    secret_id: Option<Arc<str>>,
    /// The sender's id of the delivery.
    delivery_id: Option<Arc<str>>,
    /// Who sends the delivery again, where the operator does.
    resubmitted_by: Option<Arc<str>>,
    /// What names the delivery that a signature holds for, where it is to be remembered.
    key: Option<Box<DeliveryKey>>,
    /// What confirms a subscription, where the message asks for that.
    confirmation: Option<Wish>,
}

impl Evaluation {
    pub(super) fn new(policy: &Arc<Policy>, facts: &Facts<'_>) -> Self {
        let progress = |leaf: &PolicyCheck| Progress {
            delivery_id: leaf.delivery_id.as_ref().and_then(|field| field.printable(facts)),
            resubmitted_by: resubmitted_by(leaf, facts),
            ..Progress::default()
        };
        Self {
            policy: policy.clone(),
            states: vec![State::Open; policy.leaves.len()],
            progress: policy.leaves.iter().map(progress).collect(),
            path: Outcome::Skip,
            record: Record { policy: Some(policy.name.clone()), ..Record::default() },
        }
    }

    /// All that the headers tell, the cheapest first.
    pub(super) fn headers(mut self, facts: &Facts<'_>, lists: &Lists, budget: &Budget) -> AfterHeaders {
        self.path = Outcome::Pass;
        let policy = self.policy.clone();
        if is_tunnel(facts) {
            return AfterHeaders::Settled(self.settle(Err(Reason::UpgradeNotAllowed)));
        }
        if let Some(candidate) = self.unsigned_handshake(facts) {
            return self.answer_handshake(facts, lists, candidate);
        }
        if !policy.is_content_type_allowed(facts) {
            return AfterHeaders::Settled(self.settle(Err(Reason::ContentTypeNotAllowed)));
        }
        if !policy.is_content_encoding_allowed(facts) {
            return AfterHeaders::Settled(self.settle(Err(Reason::ContentEncodingNotAllowed)));
        }
        for kind in [Kind::Source, Kind::Certificate, Kind::Token, Kind::Signature] {
            self.judge(kind, facts, lists);
            if let State::Failed(reason) = self.state() {
                return AfterHeaders::Settled(self.settle(Err(reason)));
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
    pub(super) fn answer_handshake(
        mut self,
        facts: &Facts<'_>,
        lists: &Lists,
        candidate: Candidate,
    ) -> AfterHeaders {
        let policy = self.policy.clone();
        let Some(handshakes) = &policy.handshakes else {
            return AfterHeaders::Settled(self.settle(Err(Reason::HandshakeRefused)));
        };
        self.note(handshakes.leaf, Ok(None));
        for kind in [Kind::Source, Kind::Certificate, Kind::Token] {
            self.judge(kind, facts, lists);
            if let State::Failed(reason) = self.state() {
                return AfterHeaders::Settled(self.settle(Err(reason)));
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
        AfterHeaders::Settled(self.answered(answer.unwrap_or(Err(()))))
    }

    /// Ends the evaluation of a handshake.
    fn answered(self, answer: Result<Reply, ()>) -> Decision {
        match answer {
            Ok(reply) => Decision { verdict: Verdict::Answer(reply), record: self.record(false) },
            Err(()) => self.settle(Err(Reason::HandshakeRefused)),
        }
    }

    /// Judges every open leaf of a kind.
    fn judge(&mut self, kind: Kind, facts: &Facts<'_>, lists: &Lists) {
        let policy = self.policy.clone();
        // Which are open is looked up before any is judged, and once a kind: one of them may close another.
        let is_kind = |check: &Check| {
            matches!(
                (kind, check),
                (Kind::Source, Check::Source(_))
                    | (Kind::Certificate, Check::Certificate(_))
                    | (Kind::Token, Check::Token(_))
                    | (Kind::Signature, Check::Signature(_))
            )
        };
        let leaves = policy.leaves.iter().enumerate();
        let open: Vec<(usize, &PolicyCheck)> =
            leaves.filter(|(index, leaf)| is_kind(&leaf.check) && self.is_open(*index)).collect();
        for (index, leaf) in open {
            let Some(progress) = self.progress.get_mut(index) else { continue };
            let outcome = match &leaf.check {
                Check::Source(check) => check.judge(facts.source, lists, facts.now).map(|()| None),
                Check::Certificate(check) => check.judge(facts.client_certificate).map(|()| None),
                Check::Token(check) if check.is_in_body() => {
                    progress.token = check.search(facts.now).map(Box::new);
                    continue;
                }
                Check::Token(check) => check.judge(facts).map(|secret| {
                    progress.validity = Some(secret.validity);
                    secret.id.clone()
                }),
                Check::Signature(check) => match check.begin(facts, keys(check, lists, facts.now)) {
                    Ok(running) => {
                        progress.running = Some(Box::new(running));
                        continue;
                    }
                    Err(refusal) => {
                        let feed = check.fetched.as_ref().map(|fetched| fetched.feed);
                        self.record.wish = wish(refusal.lacks, feed, Purpose::Certificate);
                        Err(refusal.reason)
                    }
                },
            };
            self.note(index, outcome);
        }
    }

    /// Judges what the end of the body tells. `could_be_signed` where the body could be a value that a handshake signs.
    fn finish_signatures(&mut self, end: &mut End, could_be_signed: bool) {
        let mut needing = self.needing_body();
        for index in 0..self.progress.len() {
            let running = self.progress.get_mut(index).and_then(|progress| progress.running.take());
            let Some(running) = running else { continue };
            let body = match running.needs_body() {
                true if needing > 1 => end.body.clone(),
                true => end.body.take(),
                false => None,
            };
            needing = needing.saturating_sub(usize::from(running.needs_body()));
            let fetched = running.fetched();
            let outcome = running.finish(End { now: end.now, body });
            let outcome = outcome.map_err(|refusal| {
                self.record.wish = wish(refusal.lacks, fetched, Purpose::Certificate);
                refusal.reason
            });
            let outcome = outcome.and_then(|verified| {
                let signs_for_strangers =
                    self.policy.leaves.get(index).is_some_and(PolicyCheck::signs_for_strangers);
                if could_be_signed && signs_for_strangers {
                    return Err(Reason::SignatureMismatch);
                }
                if let Some(progress) = self.progress.get_mut(index) {
                    let provider = self.policy.leaves.get(index).and_then(|leaf| leaf.provider.as_deref());
                    progress.key = verified
                        .name
                        .zip(self.policy.duplicates.as_ref())
                        .map(|(name, duplicates)| Box::new(name.key(&duplicates.policy, provider)));
                    progress.delivery_id = verified.delivery_id.or(progress.delivery_id.take());
                    progress.signer = Some(verified.secret);
                    progress.confirmation = wish(verified.confirmation, fetched, Purpose::Confirmation);
                }
                Ok(verified.secret_id)
            });
            self.note(index, outcome);
        }
    }

    /// Takes the next bytes of the body.
    fn update(&mut self, chunk: &[u8]) {
        for (leaf, progress) in self.policy.leaves.iter().zip(&mut self.progress) {
            if let Some(running) = &mut progress.running {
                running.update(chunk);
            }
            if let (Some(token), Check::Token(check)) = (&mut progress.token, &leaf.check) {
                check.update(token, chunk);
            }
        }
    }

    /// Judges the tokens that the body presents.
    fn finish_tokens(&mut self, now: Millis) {
        let policy = self.policy.clone();
        for (index, leaf) in policy.leaves.iter().enumerate() {
            let token = self.progress.get_mut(index).and_then(|progress| progress.token.take());
            if let (Some(token), Check::Token(check)) = (token, &leaf.check) {
                self.note(index, check.finish(*token, now).map(|secret| secret.id.clone()));
            }
        }
    }

    /// A token that was valid when the headers came may not be any more. Says whether one is not.
    fn expire_tokens(&mut self, now: Millis) -> bool {
        let mut has_expired = false;
        for index in 0..self.progress.len() {
            let validity = self.progress.get(index).and_then(|progress| progress.validity);
            if validity.is_some_and(|validity| !validity.admits(now)) {
                self.note(index, Err(Reason::TokenMismatch));
                has_expired = true;
            }
        }
        has_expired
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.progress.iter().filter_map(|progress| progress.running.as_deref())
    }

    /// How many checks need the whole body at its end.
    fn needing_body(&self) -> usize {
        self.running().filter(|running| running.needs_body()).count()
    }

    /// The bytes that are kept of the request until it ends.
    fn kept_bytes(&self) -> usize {
        let beside = size_of::<Running>().saturating_add(16);
        let running = self.running().map(|running| running.kept_bytes().saturating_add(beside));
        let tokens = self.progress.iter().filter_map(|progress| progress.token.as_deref());
        let tokens = tokens.map(|token| token.kept_bytes().saturating_add(size_of::<BodyToken>()));
        let ids = self.progress.iter().flat_map(|one| [&one.delivery_id, &one.resubmitted_by]).flatten();
        let ids = ids.map(|id| id.len().saturating_add(16));
        let vectors = [heap(&self.states), heap(&self.progress)];
        vectors.into_iter().chain(running).chain(tokens).chain(ids).fold(0, usize::saturating_add)
    }

    fn note(&mut self, index: usize, outcome: Result<Option<Arc<str>>, Reason>) {
        let (state, secret_id) = match outcome {
            Ok(id) => (State::Held, id),
            Err(reason) => (State::Failed(reason), None),
        };
        if let (Some(slot), Some(progress)) = (self.states.get_mut(index), self.progress.get_mut(index)) {
            (*slot, progress.secret_id) = (state, secret_id);
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
    fn body(mut self, facts: &Facts<'_>, budget: &Budget) -> AfterHeaders {
        let limit = self.policy.max_body_bytes;
        let declared = if facts.ends_with_headers { Some(0) } else { facts.content_length() };
        if declared.is_some_and(|length| length > limit) {
            return AfterHeaders::Settled(self.settle(Err(Reason::BodyTooLarge)));
        }
        // A body that is recorded is held to its end.
        let is_recorded = self.policy.record.as_ref().is_some_and(|record| record.takes(true));
        let is_known = facts.ends_with_headers || declared.is_some() && !is_recorded;
        if self.state() == State::Held && is_known {
            self.record.body_bytes = declared;
            return AfterHeaders::Settled(self.settle(Ok(())));
        }
        // A signature that a branch already settled needs no hashing.
        for index in 0..self.progress.len() {
            let is_open = self.is_open(index);
            if let Some(progress) = self.progress.get_mut(index).filter(|_| !is_open) {
                progress.running = None;
                progress.token = None;
            }
        }
        let shapes = self.policy.handshakes.iter().flat_map(|handshakes| &handshakes.shapes);
        let signed = shapes.filter(|shape| shape.is_signed);
        let mut handshakes: Vec<Candidate> = signed.filter_map(|shape| shape.recognise(facts)).collect();
        // Exactly: a vector that grows has room for four.
        handshakes.shrink_to_fit();
        let share = budget.share();
        let mut check = BodyCheck { evaluation: self, seen: 0, handshakes, could_be_signed: true, share };
        if facts.ends_with_headers {
            let body = Some(Vec::new());
            return AfterHeaders::Settled(check.finish(End { now: facts.now, body }));
        }
        match check.keep(0) {
            true => AfterHeaders::AwaitBody(check),
            false => AfterHeaders::Settled(check.evaluation.settle(Err(Reason::Overloaded))),
        }
    }

    /// Ends the evaluation.
    pub(super) fn settle(self, outcome: Result<(), Reason>) -> Decision {
        let is_accepted = outcome.is_ok();
        Decision { verdict: self.policy.rule(outcome), record: self.record(is_accepted) }
    }

    /// What there is to say so far. Provider and delivery are those of a leaf that held; only where the request is not
    /// accepted, and nobody is told that they are verified, those of any other leaf will do. A signature's come before
    /// a token's.
    fn record(&self, is_accepted: bool) -> Record {
        let mut record = self.record.clone();
        record.trail = self.trail();
        record.delivery = if is_accepted { self.delivery() } else { None };
        let signs = |index: usize| self.policy.signature(index).is_some();
        let ids = |of_signatures: bool| {
            let all = self.progress.iter().enumerate();
            all.filter(move |(index, _)| signs(*index) == of_signatures)
                .filter_map(|(_, progress)| progress.secret_id.clone())
        };
        record.secret_ids = ids(true).chain(ids(false)).collect();
        let has_held = |index: usize| self.states.get(index) == Some(&State::Held);
        // A message that is sent again carries its sender's signature as well, which may hold by now.
        let resubmits =
            |index: usize| self.progress.get(index).is_some_and(|progress| progress.resubmitted_by.is_some());
        // Both of one leaf: a delivery is not to be named after another provider's header.
        let best = |says_something: &dyn Fn(usize) -> bool| {
            (0..self.states.len())
                .filter(|index| (has_held(*index) || !is_accepted) && says_something(*index))
                .min_by_key(|index| (!has_held(*index), !resubmits(*index), !signs(*index)))
        };
        let named = |index: usize| self.policy.leaves.get(index).is_some_and(|leaf| leaf.provider.is_some());
        let delivery_id = |index: usize| self.progress.get(index).and_then(|one| one.delivery_id.clone());
        let with_id = |index: usize| delivery_id(index).is_some();
        if let Some(index) = best(&named).or_else(|| best(&with_id)) {
            record.provider = self.policy.leaves.get(index).and_then(|leaf| leaf.provider.clone());
            record.delivery_id = delivery_id(index);
            let progress = self.progress.get(index).filter(|_| is_accepted);
            record.resubmitted_by = progress.and_then(|progress| progress.resubmitted_by.clone());
        }
        record
    }

    /// What is to be remembered of a delivery that is accepted: by the operator's signature where it holds, else by the first
    /// that does.
    fn delivery(&self) -> Option<Box<Delivery>> {
        let terms = self.policy.duplicates.as_ref()?.terms;
        let held = self.states.iter().zip(&self.progress).filter(|(state, _)| **state == State::Held);
        let named = held.filter_map(|(_, progress)| Some((progress.key.as_deref()?, progress)));
        let (key, _) = named.min_by_key(|(_, progress)| progress.resubmitted_by.is_none())?;
        Some(Box::new(Delivery { key: *key, terms }))
    }

    /// A line for each check: the path first, then the policy's own in its order.
    fn trail(&self) -> Vec<CheckStep> {
        let own = self.policy.leaves.iter().zip(&self.states).zip(&self.progress);
        let own = own.map(|((leaf, state), progress)| {
            let (outcome, reason) = match state {
                State::Held => (Outcome::Pass, None),
                State::Failed(reason) => (Outcome::Fail, Some(*reason)),
                State::Open => (Outcome::Skip, None),
            };
            CheckStep {
                kind: leaf.kind(),
                provider: leaf.provider.clone(),
                outcome,
                reason,
                secret_id: progress.secret_id.clone(),
            }
        });
        std::iter::once(CheckStep::path(self.path)).chain(own).collect()
    }
}

/// Who sends a delivery again; nothing where it is not the operator's signature that is asked for.
fn resubmitted_by(leaf: &PolicyCheck, facts: &Facts<'_>) -> Option<Arc<str>> {
    if leaf.provider.as_deref() != Some(resubmit::PROVIDER) {
        return None;
    }
    match facts.headers.one(resubmit::BY.as_bytes()) {
        Occurrence::Once(name) => field::printable(name),
        Occurrence::Absent | Occurrence::Many => None,
    }
}

/// A path that is to be asked for, at that feed.
fn wish(path: Option<Arc<str>>, feed: Option<usize>, purpose: Purpose) -> Option<Wish> {
    Some(Wish { feed: feed?, path: path?, purpose })
}

/// The keys that were fetched for a check.
fn keys<'l>(check: &SignatureCheck, lists: &'l Lists, now: Millis) -> Option<&'l PublishedKeys> {
    lists.current(check.fetched.as_ref()?.feed, now).map(|list| list.keys())
}

#[derive(Clone, Copy)]
enum Kind {
    Source,
    Certificate,
    Token,
    Signature,
}

/// A request whose body decides: by its signature, or only by its length.
#[derive(Debug)]
pub struct BodyCheck {
    evaluation: Evaluation,
    seen: u64,
    /// What the request could be beside a delivery.
    handshakes: Vec<Candidate>,
    /// Whether every byte so far could be one of a value that a handshake signs.
    could_be_signed: bool,
    /// What is kept for the request, of all that may be kept.
    share: Share,
}

impl BodyCheck {
    /// Takes the next bytes of the body. Breaks with the decision when the body is larger than the policy admits, or what
    /// must be kept of it is more than may be.
    pub fn update(mut self, chunk: &[u8]) -> ControlFlow<Decision, Self> {
        self.seen = self.seen.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.seen > self.evaluation.policy.max_body_bytes {
            return ControlFlow::Break(self.settle(Err(Reason::BodyTooLarge)));
        }
        // A longer body is no such value: its bytes need no look, which would cost as much as to hash them.
        let is_short = usize::try_from(self.seen).is_ok_and(|seen| seen <= MOST_SIGNED);
        self.could_be_signed = self.could_be_signed && is_short && chunk.iter().all(may_be_signed);
        self.evaluation.update(chunk);
        for candidate in &mut self.handshakes {
            candidate.update(chunk);
        }
        self.or_overloaded(0)
    }

    /// To be called when the last bytes have been taken. Breaks with the decision where the whole body is needed and there
    /// is no room for it.
    pub fn close(self) -> ControlFlow<Decision, Self> {
        let length = usize::try_from(self.seen).unwrap_or(usize::MAX);
        let whole = length.saturating_mul(self.evaluation.needing_body());
        self.or_overloaded(whole)
    }

    /// Whether [`BodyCheck::finish`] needs the whole body once more.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.evaluation.needing_body() > 0
    }

    fn or_overloaded(mut self, more: usize) -> ControlFlow<Decision, Self> {
        match self.keep(more) {
            true => ControlFlow::Continue(self),
            false => ControlFlow::Break(self.settle(Err(Reason::Overloaded))),
        }
    }

    /// Takes from the budget what is kept now, and so many bytes more. False where it does not have them.
    fn keep(&mut self, more: usize) -> bool {
        let values = self.handshakes.iter().map(Candidate::kept_bytes);
        let is_recorded = self.evaluation.policy.record.is_some();
        let record = if is_recorded { size_of::<Recording>().saturating_add(16) } else { 0 };
        let parts = [heap(&self.handshakes), self.evaluation.kept_bytes(), record];
        let kept = parts.into_iter().chain(values).fold(0, usize::saturating_add);
        self.share.resize(kept.saturating_add(size_of::<Self>()).saturating_add(more))
    }

    /// Ends the body. `end` has the whole of it where [`BodyCheck::needs_body`] says so; more than one check that needs
    /// it gets a copy each.
    pub fn finish(mut self, mut end: End) -> Decision {
        let length = usize::try_from(self.seen).unwrap_or(usize::MAX);
        if self.needs_body() && end.body.as_ref().map(Vec::len) != Some(length) {
            return self.settle(Err(Reason::HostFault));
        }
        let could_be_signed = self.could_be_signed && (1..=MOST_SIGNED).contains(&length);
        let has_expired = self.evaluation.expire_tokens(end.now);
        self.evaluation.finish_tokens(end.now);
        self.evaluation.finish_signatures(&mut end, could_be_signed);
        match self.evaluation.state() {
            State::Held => match self.answer() {
                Some(answer) => {
                    self.evaluation.record.body_bytes = Some(self.seen);
                    self.evaluation.answered(answer)
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
        let leaf = self.evaluation.policy.handshakes.as_ref()?.leaf;
        let secret = self.evaluation.progress.get(leaf)?.signer?;
        let key = self.evaluation.policy.signature(leaf)?.secrets.get(secret).map(|secret| &secret.value);
        let answer = candidates.into_iter().find_map(|candidate| candidate.answer(key));
        if let Some(Ok(_)) = &answer {
            let progress = self.evaluation.progress.get_mut(leaf)?;
            self.evaluation.record.wish = progress.confirmation.take();
        }
        answer
    }

    /// Whether nothing but the length is still in question: every check holds already.
    #[must_use]
    pub fn only_length_is_open(&self) -> bool {
        self.evaluation.state() == State::Held
    }

    /// What there is to say about the request so far.
    #[must_use]
    pub fn record(&self) -> Record {
        self.evaluation.record(self.only_length_is_open())
    }

    fn settle(mut self, outcome: Result<(), Reason>) -> Decision {
        self.evaluation.record.body_bytes = Some(self.seen);
        self.evaluation.settle(outcome)
    }
}
