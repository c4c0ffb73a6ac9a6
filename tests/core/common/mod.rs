//! A request in one value, judged by the core as the proxy would: headers first, then the body in chunks.

use std::ops::ControlFlow;
use webhook_guard_core::decision::Decision;
use webhook_guard_core::feed::Lists;
use webhook_guard_core::policy::{AfterHeaders, BodyCheck, Edits, PolicySet};
use webhook_guard_core::request::{ClientCertificate, Facts, Headers, Millis};
use webhook_guard_core::signature::End;

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By the headers, which are the last thing to come: the body is empty.
    HeadersOnly,
    /// By `content-length`.
    Declared,
    /// By the last chunk.
    Undeclared,
}

/// A request and what the host knows about it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) source: Option<String>,
    pub(crate) client_certificate: Option<ClientCertificate>,
    pub(crate) route_policy: Option<String>,
    pub(crate) now: Millis,
    /// When the body ended, where that is later.
    pub(crate) ended: Option<Millis>,
    pub(crate) body: Vec<u8>,
}

/// Verdict and reason in one word each.
pub(crate) fn codes(decision: Option<&Decision>) -> (&'static str, &'static str) {
    decision.map_or(("leave", "-"), |one| (one.verdict.code(), one.verdict.reason_code()))
}

impl Request {
    pub(crate) fn to_headers(&self) -> Headers {
        Headers::from_pairs(self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
    }

    pub(crate) fn facts<'a>(&'a self, headers: &'a Headers, ends_with_headers: bool) -> Facts<'a> {
        Facts {
            headers,
            source: self.source.as_deref().map(str::as_bytes),
            client_certificate: self.client_certificate.as_ref(),
            route_policy: self.route_policy.as_deref().map(str::as_bytes),
            now: self.now,
            ends_with_headers,
        }
    }

    /// What is changed in it, and what becomes of it: no decision where it is left alone.
    pub(crate) fn judge(
        &self,
        policies: &PolicySet,
        framing: Framing,
        chunk: usize,
    ) -> (Edits, Option<Decision>) {
        let mut given = self.clone();
        if framing == Framing::Declared {
            given.headers.push(("content-length".to_owned(), self.body.len().to_string().into()));
        }
        let headers = given.to_headers();
        let opening =
            policies.open(&self.facts(&headers, framing == Framing::HeadersOnly), &Lists::default());
        let decision = match opening.step {
            AfterHeaders::Leave => None,
            AfterHeaders::Settled(decision) => Some(decision),
            AfterHeaders::AwaitBody(check) => {
                let end = self.body.chunks(chunk.max(1)).try_fold(check, |check, bytes| check.update(bytes));
                Some(match end {
                    ControlFlow::Break(decision) => decision,
                    ControlFlow::Continue(check) => self.end(check),
                })
            }
        };
        (opening.edits, decision)
    }

    fn end(&self, check: BodyCheck) -> Decision {
        match check.close() {
            ControlFlow::Break(decision) => decision,
            ControlFlow::Continue(check) => {
                let body = check.needs_body().then(|| self.body.clone());
                check.finish(End { now: self.ended.unwrap_or(self.now), body })
            }
        }
    }
}
