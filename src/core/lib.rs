//! webhook-guard: a proxy-wasm HTTP filter that lets verified webhooks in, and nothing else.
//!
//! # The path of a request
//!
//! ```text
//!  configure        bytes + environment
//!                       │  config::parse         strict; one error refuses all, with its place
//!                       ▼
//!                   Configuration { policies: PolicySet, .. } ──────────────┐ shared by all requests
//!                                                                           │
//!  headers          Facts { headers, source, route_policy, now, .. }        ▼
//!  feeds            Lists ─┴──────────► Exchange::headers ──► PolicySet::open(&facts, &lists)
//!                                          │                     │  choose a policy: route, path, host, method
//!                                          │                     │  the cheapest first: source_ip, client_certificate, token, signature
//!                                          ▼                     ▼
//!                                      HeadersOutcome { edits, step: Leave │ Settled(Decision) │ AwaitBody(BodyCheck) }
//!                                                                           │
//!  body             new bytes only ──► Exchange::body ──────► BodyCheck::update  breaks when there are too many
//!  last bytes, or trailers ──────────► Exchange::end ───────► BodyCheck::finish  consumed: it cannot finish twice
//!                                                                           │
//!                                                                           ▼
//!                   Decision { verdict: Allow(Pass) │ Report(Reason) │ Answer(Reply) │ Deny(Denial), record }
//!                                          │
//!                                          ▼  a shell (src/filter): the one place with effects
//!                   Acts { edits, decision, next: Continue │ Pause │ Reply │ .. }
//! ```
//!
//! # Where to read on
//!
//! 1. [`decision`]: every way a request can be refused.
//! 2. [`policy`] with `policy/evaluation.rs`: the order of checks, and the one line that makes a [`decision::Pass`].
//! 3. [`signature`] and `catalogue.json`: how one shape covers all providers.
//! 4. `src/filter`: all host calls, in a crate of its own; this one could not import the host if it wanted to.
//! 5. `src/cli`: the command line, a program around the same core.
//! 6. `src/messages`: what was recorded, kept and shown; a program beside the gateway that shares only names with this.
//!
//! The core is pure: time, address and environment are arguments, verdicts are values. It never logs, replies, counts,
//! reads a clock or the environment.

pub mod address;
pub mod budget;
pub mod catalogue;
pub mod check;
pub mod config;
pub mod decision;
pub mod exchange;
pub mod feed;
pub mod handshake;
pub mod matcher;
pub mod memory;
pub mod policy;
pub mod record;
pub mod reply;
pub mod request;
pub mod resubmit;
pub mod secret;
pub mod signature;
pub mod uri;
mod vocabulary;
pub mod wish;
