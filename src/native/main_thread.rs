//! Envoy's main thread, on which alone a configuration can make requests of its own.
//!
//! Responsible for reaching it from any thread: by every configuration that is there, since one of which the host has let go
//! may still be held by its last requests, and is not called any more.

use crate::abi::{Event, Scheduler};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

static SCHEDULERS: Mutex<Vec<Weak<Scheduler>>> = Mutex::new(Vec::new());

/// A lock that a panic left behind is taken all the same: a list is never half changed.
fn schedulers() -> MutexGuard<'static, Vec<Weak<Scheduler>>> {
    SCHEDULERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a configuration by which the main thread can be reached, for as long as it is there.
pub(crate) fn register(scheduler: &Arc<Scheduler>) {
    let mut schedulers = schedulers();
    schedulers.retain(|scheduler| scheduler.strong_count() > 0);
    schedulers.push(Arc::downgrade(scheduler));
}

/// Has the main thread do what is due. Where several configurations are told, all but the first find nothing to do.
pub(crate) fn call(event: Event) {
    let schedulers: Vec<Arc<Scheduler>> = schedulers().iter().filter_map(Weak::upgrade).collect();
    schedulers.iter().for_each(|scheduler| scheduler.schedule(event));
}
