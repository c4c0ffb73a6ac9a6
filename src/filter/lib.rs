//! webhook-guard as a proxy-wasm HTTP filter: the module that Envoy and Istio load.
//!
//! Responsible for the traffic between the host and the core, and for nothing else: `callbacks` is where Envoy calls in,
//! `hostcalls` where we call Envoy. Which request is let in is decided by `webhook-guard-core`.

#![cfg(target_arch = "wasm32")]

mod callbacks;
mod etcd;
mod feeds;
mod hold;
mod hostcalls;
mod memory;
mod metrics;
