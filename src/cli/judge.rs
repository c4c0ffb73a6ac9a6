//! A captured request through the core, as the filter would take it.
//!
//! Responsible for handing headers and body over in the filter's order.

#![expect(clippy::disallowed_methods, reason = "the program's one clock")]

use crate::input::capture::Capture;
use std::ops::ControlFlow;
use webhook_guard_core::config::Configuration;
use webhook_guard_core::decision::Decision;
use webhook_guard_core::feed::Lists;
use webhook_guard_core::policy::AfterHeaders;
use webhook_guard_core::request::{ClientCertificate, Facts, Headers, Millis};
use webhook_guard_core::signature::End;

/// What the gateway would know beside the request itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'c> {
    /// The source address.
    pub(crate) source: Option<&'c str>,
    /// The certificate with which the sender opened its connection.
    pub(crate) client_certificate: Option<&'c ClientCertificate>,
    /// The policy that the route names.
    pub(crate) route_policy: Option<&'c str>,
    /// The gateway's clock.
    pub(crate) now: Millis,
}

impl<'c> Circumstances<'c> {
    /// The facts that a check is given.
    pub(crate) fn facts(&self, headers: &'c Headers, has_body: bool) -> Facts<'c> {
        Facts {
            headers,
            source: self.source.map(str::as_bytes),
            client_certificate: self.client_certificate,
            route_policy: self.route_policy.map(str::as_bytes),
            now: self.now,
            ends_with_headers: !has_body,
        }
    }
}

/// What becomes of the request; nothing where no policy governs it and such requests are left alone. Of the configuration's
/// feeds only the initial lists are known here.
pub(crate) fn judge(
    configuration: &Configuration,
    capture: &Capture,
    circumstances: Circumstances<'_>,
) -> Option<Decision> {
    let headers = capture.headers();
    let facts = circumstances.facts(&headers, !capture.body.is_empty());
    match configuration.policies.open(&facts, &Lists::new(&configuration.feeds)).step {
        AfterHeaders::Leave => None,
        AfterHeaders::Settled(decision) => Some(decision),
        AfterHeaders::AwaitBody(check) => Some(match check.update(&capture.body) {
            ControlFlow::Break(decision) => decision,
            ControlFlow::Continue(check) => {
                let body = check.needs_body().then(|| capture.body.clone());
                check.finish(End { now: circumstances.now, body })
            }
        }),
    }
}

/// The time now, or the one that was asked for.
pub(crate) fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
