//! Deliveries of our own making: signed as a provider would, and sent to a gateway.
//!
//! Responsible for what goes out and for reading what comes back.

pub(crate) mod fetch;
pub(crate) mod outcome;
pub(crate) mod sender;
pub(crate) mod signer;
pub(crate) mod transport;
