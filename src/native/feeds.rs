//! Address feeds: fetched through the host's clusters, one copy for all workers of the process.
//!
//! Responsible for asking on the host's main thread, where alone a configuration can, and for handing what was taken to all
//! configurations. When a feed is fetched and what of an answer is taken, the core says. Nothing of a request waits: it takes
//! the lists that are there.

use crate::abi::{self, Callout, CalloutAnswer, Event, HostConfiguration, LogLevel, NotCalled};
use crate::main_thread;
use crate::metrics::Metrics;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::Duration;
use webhook_guard_core::feed::schedule::{Claim, Schedule};
use webhook_guard_core::feed::{Fault, Feed, Intake, List, Lists, Source, TIMEOUT};
use webhook_guard_core::request::Millis;
use webhook_guard_core::wish::{Purpose, Wish};

/// The first look at the feeds comes soon, so that a gateway that has just started need not wait for its lists.
const FIRST_TICK: Duration = Duration::from_millis(100);
/// How often they are looked at after that.
const TICK: Duration = Duration::from_secs(1);

/// The one who fetches: there is one process.
const WORKER: u64 = 1;

/// The feeds of a configuration.
#[derive(Debug)]
pub(crate) struct Feeds {
    feeds: Arc<[Feed]>,
    lists: RwLock<Arc<Lists>>,
}

/// What the process knows of a feed, whichever configurations have it.
#[derive(Debug, Default)]
struct Known {
    schedule: Schedule,
    list: Option<Arc<List>>,
    /// Whether a configuration had a list of it at the last tick.
    was_current: bool,
    /// The path of a certificate that is wished for, and one that confirms a subscription.
    certificate: Option<Arc<str>>,
    confirmation: Option<Arc<str>>,
}

/// A feed that is to be asked for, or was.
#[derive(Debug)]
struct Asked {
    feeds: Arc<Feeds>,
    place: usize,
    claim: Claim,
    /// The path of the certificate that is asked for.
    wished: Option<Arc<str>>,
}

/// What the metrics are told of a feed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tale {
    /// So many fetches have failed since the last time.
    Errors(u64),
    /// The age of its list, in seconds.
    Age(u64),
    /// The prefixes of its list.
    Prefixes(u64),
}

/// What was asked for: the configuration that asked, the place of the feed there, by which right, and which certificate.
type Called = (Weak<Feeds>, usize, Claim, Option<Arc<str>>);

#[derive(Debug)]
struct Registry {
    /// By the identities of the feeds.
    known: BTreeMap<[u8; 32], Known>,
    configurations: Vec<Weak<Feeds>>,
    /// By the configuration that asked, and the host's number. Of one that has gone nothing is answered.
    calls: BTreeMap<(usize, u64), Called>,
    /// Age and prefixes of each feed, by its name, as they were at the last tick.
    states: BTreeMap<Arc<str>, (Option<u64>, u64)>,
    /// Fetches that failed and were not counted yet.
    errors: BTreeMap<Arc<str>, u64>,
    has_thread: bool,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    known: BTreeMap::new(),
    configurations: Vec::new(),
    calls: BTreeMap::new(),
    states: BTreeMap::new(),
    errors: BTreeMap::new(),
    has_thread: false,
});

/// Told when there is a feed to fetch.
static FETCHES: Condvar = Condvar::new();

/// Whether the next request is to tell the metrics: the host cannot be told without one.
static IS_UNTOLD: AtomicBool = AtomicBool::new(false);

/// A lock that a panic left behind is taken all the same: at worst a claim runs out.
fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feeds {
    /// These feeds, with the lists that are known already: a configuration that is loaded anew finds what was there.
    pub(crate) fn new(feeds: Arc<[Feed]>) -> Result<Arc<Self>, String> {
        let mut registry = registry();
        let mut lists = Lists::new(&feeds);
        let fetched = feeds.iter().enumerate().filter(|(_, feed)| feed.source.is_some());
        let mut are_fetched = false;
        for (place, feed) in fetched {
            are_fetched = true;
            if let Some(list) = &registry.known.entry(feed.identity).or_default().list {
                lists.take(place, list.clone());
            }
        }
        let new = Arc::new(Self { feeds, lists: RwLock::new(Arc::new(lists)) });
        if are_fetched {
            registry.configurations.push(Arc::downgrade(&new));
            if !registry.has_thread {
                let thread = thread::Builder::new().name("webhook_guard".to_owned());
                thread.spawn(look).map_err(|error| format!("there is no thread to be had: {error}"))?;
                registry.has_thread = true;
            }
            FETCHES.notify_one();
        }
        Ok(new)
    }

    /// The lists as they are now.
    pub(crate) fn lists(&self) -> Arc<Lists> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fetched(&self) -> impl Iterator<Item = (usize, &Feed)> {
        self.feeds.iter().enumerate().filter(|(_, feed)| feed.source.is_some())
    }

    /// Notes what a request wishes to have fetched. The first wish stays until it was looked at: a stranger's does not put
    /// another's off.
    pub(crate) fn wish(&self, wish: &Wish, now: Millis) {
        let Some((_, feed)) = self.fetched().find(|(place, _)| *place == wish.feed) else { return };
        // Under this lock a list is taken and the wish for it struck out: a wish that comes late must not have it fetched again.
        let mut registry = registry();
        if self.lists().grants(wish, now) {
            return;
        }
        let known = registry.known.entry(feed.identity).or_default();
        let slot = match wish.purpose {
            Purpose::Certificate => &mut known.certificate,
            Purpose::Confirmation => &mut known.confirmation,
        };
        slot.get_or_insert_with(|| wish.path.clone());
    }

    fn take(&self, identity: &[u8; 32], list: &Arc<List>) {
        let mut lists = Lists::clone(&self.lists());
        for (place, _) in self.fetched().filter(|(_, feed)| feed.identity == *identity) {
            lists.take(place, list.clone());
        }
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(lists);
    }

    /// The list in an answer.
    fn read(
        &self,
        place: usize,
        wished: Option<&str>,
        answer: Option<&CalloutAnswer>,
        now: Millis,
    ) -> Result<List, Fault> {
        let (Some(feed), Some(answer)) = (self.feeds.get(place), answer) else { return Err(Fault::NoAnswer) };
        let status = answer.headers.first(b":status");
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let lists = self.lists();
        let mut intake = Intake::new(feed, lists.current(place, now), wished, status, answer.headers.iter())?;
        intake.expect(answer.body.len())?;
        intake.update(&answer.body)?;
        intake.finish(now)
    }
}

/// Calls the main thread again and again, while any configuration has feeds.
fn look() {
    thread::sleep(FIRST_TICK);
    loop {
        let has_none = |registry: &mut Registry| registry.configurations().next().is_none();
        drop(FETCHES.wait_while(registry(), has_none).unwrap_or_else(PoisonError::into_inner));
        main_thread::call(Event::Feeds);
        thread::sleep(TICK);
    }
}

impl Registry {
    /// The configurations that are still there.
    fn configurations(&self) -> impl Iterator<Item = Arc<Feeds>> {
        self.configurations.iter().filter_map(Weak::upgrade)
    }

    /// Forgets what no configuration has any more.
    fn forget(&mut self) {
        self.configurations.retain(|feeds| feeds.strong_count() > 0);
        self.calls.retain(|_, (feeds, ..)| feeds.strong_count() > 0);
        let all: Vec<Arc<Feeds>> = self.configurations().collect();
        let has = |identity: &[u8; 32]| {
            all.iter().any(|feeds| feeds.fetched().any(|(_, feed)| feed.identity == *identity))
        };
        self.known.retain(|identity, _| has(identity));
        let names: BTreeSet<_> =
            all.iter().flat_map(|feeds| feeds.fetched().map(|(_, feed)| feed.name.clone())).collect();
        self.states.retain(|name, _| names.contains(name));
    }

    /// What is due to be fetched.
    fn due(&mut self, now: Millis) -> Vec<Asked> {
        let all: Vec<Arc<Feeds>> = self.configurations().collect();
        let mut due = Vec::new();
        for feeds in all {
            for (place, feed) in feeds.fetched() {
                let known = self.known.entry(feed.identity).or_default();
                let waits = feed.source.as_ref().is_some_and(Source::waits_for_wishes);
                if waits && known.certificate.is_none() {
                    continue;
                }
                if let Some((claimed, claim)) = known.schedule.claim(WORKER, now, feed.refresh) {
                    known.schedule = claimed;
                    let wished = known.certificate.clone();
                    due.push(Asked { feeds: feeds.clone(), place, claim, wished });
                }
            }
        }
        due
    }

    /// The subscriptions that are to be confirmed: the feed, and the path.
    fn confirmations(&mut self) -> Vec<(Arc<Feeds>, usize, Arc<str>)> {
        let all: Vec<Arc<Feeds>> = self.configurations().collect();
        let mut wished = Vec::new();
        for feeds in all {
            for (place, feed) in feeds.fetched() {
                let known = self.known.get_mut(&feed.identity);
                let path = known.and_then(|known| known.confirmation.take());
                wished.extend(path.map(|path| (feeds.clone(), place, path)));
            }
        }
        wished
    }

    /// Notes how old and how long the lists are, and says once when one has become too old.
    fn look_at_ages(&mut self, now: Millis) {
        let all: Vec<Arc<Feeds>> = self.configurations().collect();
        for feeds in all {
            let lists = feeds.lists();
            for (place, feed) in feeds.fetched() {
                let prefixes = lists.current(place, now).map(|list| list.prefixes());
                let age = lists.fetched(place).map(|fetched| now.0.saturating_sub(fetched.0));
                let age = age.map(|age| u64::try_from(age).unwrap_or_default() / 1000);
                let number = prefixes.and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
                self.states.insert(feed.name.clone(), (age, number));
                let known = self.known.entry(feed.identity).or_default();
                if std::mem::replace(&mut known.was_current, prefixes.is_some()) && prefixes.is_none() {
                    let line =
                        format!("feed {}: its last list is too old and admits nobody any more", feed.name);
                    abi::log(LogLevel::Error, &line);
                }
            }
        }
    }

    /// What was asked for is not wished for any more, whatever came of it.
    fn fulfil(&mut self, asked: &Asked) {
        let feed = asked.feeds.feeds.get(asked.place);
        if let Some(known) = feed.and_then(|feed| self.known.get_mut(&feed.identity))
            && known.certificate == asked.wished
        {
            known.certificate = None;
        }
    }

    fn fail(&mut self, asked: &Asked, fault: &Fault, now: Millis) {
        self.fulfil(asked);
        let Some(feed) = asked.feeds.feeds.get(asked.place) else { return };
        abi::log(LogLevel::Error, &asked.feeds.lists().complaint(asked.place, feed, fault, now));
        let errors = self.errors.entry(feed.name.clone()).or_default();
        *errors = errors.saturating_add(1);
        if let Some(known) = self.known.get_mut(&feed.identity)
            && let Some(failed) = known.schedule.failed(asked.claim, now)
        {
            known.schedule = failed;
        }
    }

    fn take(&mut self, asked: &Asked, list: List, now: Millis) {
        let Some(feed) = asked.feeds.feeds.get(asked.place) else { return };
        let Some(known) = self.known.get_mut(&feed.identity) else { return };
        // It may have come so late that it has been asked for again.
        let Some(taken) = known.schedule.took(asked.claim, now) else { return };
        known.schedule = taken;
        abi::log(LogLevel::Info, &format!("feed {}: {}", feed.name, list.size()));
        let list = Arc::new(list);
        known.list = Some(list.clone());
        self.configurations().for_each(|feeds| feeds.take(&feed.identity, &list));
    }
}

/// Fetches what is due and tells the metrics, on the main thread.
pub(crate) fn tick(host: &HostConfiguration, metrics: &Metrics, now: Millis) {
    let (due, confirmations) = {
        let mut registry = registry();
        registry.forget();
        registry.look_at_ages(now);
        (registry.due(now), registry.confirmations())
    };
    for (feeds, place, path) in confirmations {
        confirm(host, &feeds, place, &path);
    }
    // Not under the lock: the host may have hooks called.
    for asked in due {
        let source = asked.feeds.feeds.get(asked.place).and_then(|feed| feed.source.as_ref());
        let Some(source) = source else { continue };
        let timeout = u32::try_from(TIMEOUT).unwrap_or(u32::MAX);
        let (cluster, headers) = (source.cluster.as_str(), source.request(asked.wished.as_deref()));
        let called = host.call_out(&Callout { cluster, headers: &headers, body: &[], timeout });
        let mut registry = registry();
        match called {
            Ok(call) => {
                let Asked { feeds, place, claim, wished } = &asked;
                let asked = (Arc::downgrade(feeds), *place, *claim, wished.clone());
                registry.calls.insert((host.id(), call), asked);
            }
            Err(NotCalled::NoCluster) => registry.fail(&asked, &Fault::NoCluster, now),
            Err(NotCalled::Refused) => registry.fail(&asked, &Fault::NoCall, now),
        }
    }
    if !metrics.tell_feeds(host) {
        IS_UNTOLD.store(true, Ordering::Relaxed);
    }
}

/// Confirms a subscription. What is answered is the sender's business; the subscription tells.
fn confirm(host: &HostConfiguration, feeds: &Feeds, place: usize, path: &str) {
    let Some(feed) = feeds.feeds.get(place) else { return };
    let Some(source) = feed.source.as_ref().filter(|source| source.waits_for_wishes()) else { return };
    let timeout = u32::try_from(TIMEOUT).unwrap_or(u32::MAX);
    let headers = source.request(Some(path));
    let called = host.call_out(&Callout { cluster: &source.cluster, headers: &headers, body: &[], timeout });
    match called {
        Ok(_) => {
            let line = format!("feed {}: a subscription is being confirmed", feed.name);
            abi::log(LogLevel::Info, &line);
        }
        Err(_) => {
            let why = Fault::NoCall;
            let line = format!("feed {}: a subscription could not be confirmed: {why}", feed.name);
            abi::log(LogLevel::Error, &line);
        }
    }
}

/// The answer to a call of [`tick`], on the main thread.
pub(crate) fn answered(host: &HostConfiguration, call: u64, answer: Option<&CalloutAnswer>, now: Millis) {
    let Some((feeds, place, claim, wished)) = registry().calls.remove(&(host.id(), call)) else { return };
    let Some(feeds) = feeds.upgrade() else { return };
    let asked = Asked { feeds, place, claim, wished };
    let read = asked.feeds.read(asked.place, asked.wished.as_deref(), answer, now);
    let mut registry = registry();
    registry.fulfil(&asked);
    match read {
        Ok(list) => registry.take(&asked, list, now),
        Err(fault) => registry.fail(&asked, &fault, now),
    }
}

/// Whether a request is to tell the metrics: once a tick.
pub(crate) fn are_untold() -> bool {
    IS_UNTOLD.load(Ordering::Relaxed) && IS_UNTOLD.swap(false, Ordering::Relaxed)
}

/// Tells all there is to tell, by the name of the feed; false where nobody takes it.
pub(crate) fn tell(mut told: impl FnMut(&str, Tale) -> bool) -> bool {
    let mut registry = registry();
    let mut is_told = true;
    for (name, (age, prefixes)) in &registry.states {
        is_told &= told(name, Tale::Prefixes(*prefixes));
        if let Some(age) = age {
            is_told &= told(name, Tale::Age(*age));
        }
    }
    registry.errors.retain(|name, number| !told(name, Tale::Errors(*number)));
    is_told && registry.errors.is_empty()
}
