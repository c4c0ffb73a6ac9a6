//! What the targets have in common: a configuration with every mechanism, and a request that is read from bytes.

#[cfg(not(target_arch = "wasm32"))]
pub mod sender;

use std::ops::ControlFlow;
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::decision::Decision;
use webhook_guard_core::feed::Lists;
use webhook_guard_core::policy::{AfterHeaders, BodyCheck};
use webhook_guard_core::request::{Facts, Headers, Millis};
use webhook_guard_core::signature::End;

/// When requests come.
pub const NOW: Millis = Millis(1_700_000_000_000);

/// A policy for each mechanism, whose secrets are in nobody's hands.
#[must_use]
pub fn configuration() -> Configuration {
    let text = include_str!("configuration.json");
    config::parse(text.as_bytes(), &|name| Some(secret(name))).unwrap_or_else(|error| panic!("{error}"))
}

/// The secret of that name.
#[must_use]
pub fn secret(name: &str) -> String {
    format!("a secret that nobody knows: {name}, 7f3a9c51")
}

/// A request: lines of headers, an empty line, the body. The first byte says how long the pieces of the body are.
pub struct Request<'b> {
    pairs: Vec<(&'b [u8], &'b [u8])>,
    body: &'b [u8],
    chunk: usize,
}

impl<'b> Request<'b> {
    /// Reads it; whatever the bytes are, they are one.
    #[must_use]
    pub fn read(bytes: &'b [u8]) -> Self {
        let (first, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
        let (head, rest) = bytes.split_at(end);
        let pair = |line: &'b [u8]| {
            // A pseudo-header begins with the character that ends a name.
            let colon = line.iter().skip(1).position(|byte| *byte == b':').map(|at| at.saturating_add(1))?;
            Some((line.get(..colon)?, line.get(colon.saturating_add(1)..)?.trim_ascii()))
        };
        let pairs = head.split(|byte| *byte == b'\n').filter_map(pair).collect();
        Self { pairs, body: rest.get(2..).unwrap_or_default(), chunk: usize::from(*first).max(1) }
    }

    /// What is decided about it, whole or in its pieces; nothing where it is left alone.
    #[must_use]
    pub fn judge(&self, configuration: &Configuration, is_whole: bool) -> Option<Decision> {
        judge(configuration, &self.pairs, self.body, if is_whole { usize::MAX } else { self.chunk })
    }

    /// All that is said of it, whole and in its pieces.
    #[must_use]
    pub fn answer(&self, configuration: &Configuration) -> String {
        format!("{:?}", [true, false].map(|is_whole| self.judge(configuration, is_whole)))
    }
}

/// What is decided about a request whose body comes in such pieces; nothing where it is left alone.
#[must_use]
pub fn judge(
    configuration: &Configuration,
    pairs: &[(&[u8], &[u8])],
    body: &[u8],
    chunk: usize,
) -> Option<Decision> {
    let headers = Headers::from_pairs(pairs.iter().copied());
    let facts = Facts {
        headers: &headers,
        source: Some(b"192.0.2.1:4711"),
        client_certificate: None,
        route_policy: None,
        now: NOW,
        ends_with_headers: false,
    };
    match configuration.policies.open(&facts, &Lists::new(&configuration.feeds)).step {
        AfterHeaders::Leave => None,
        AfterHeaders::Settled(decision) => Some(decision),
        AfterHeaders::AwaitBody(check) => {
            let read = body.chunks(chunk).try_fold(check, BodyCheck::update);
            let closed = match read {
                ControlFlow::Break(decision) => return Some(decision),
                ControlFlow::Continue(check) => check.close(),
            };
            Some(match closed {
                ControlFlow::Break(decision) => decision,
                ControlFlow::Continue(check) => {
                    let body = check.needs_body().then(|| body.to_vec());
                    check.finish(End { now: NOW, body })
                }
            })
        }
    }
}

/// The words for a verdict and its reason.
#[must_use]
pub fn words(decision: Option<&Decision>) -> (&'static str, &'static str) {
    match decision {
        Some(decision) => (decision.verdict.code(), decision.verdict.reason_code()),
        None => ("leave", "-"),
    }
}
