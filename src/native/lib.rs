//! The dynamic module `libwebhook_guard.so`: the guard as native code in Envoy's own process.
//!
//! Responsible for the binding between Envoy and the core: [`abi`] has the host's functions and the hooks that it calls,
//! [`callbacks`] tells an `Exchange` of the core what the host tells and carries out what it answers, [`secrets`] reads
//! the environment and files, [`memory`] and [`etcd`] remember deliveries, [`feeds`] fetches address lists, both on
//! Envoy's [`main_thread`],
//! [`metrics`] counts, [`unwind`] keeps a panic from ending Envoy. Nothing is decided here.

mod abi;
mod callbacks;
mod etcd;
mod feeds;
mod main_thread;
mod memory;
mod metrics;
mod secrets;
mod unwind;
