//! Address feeds: fetched through the host's clusters by one worker, and shared with all by its shared data.
//!
//! Responsible for asking, for reading an answer in pieces, and for taking over what another worker has fetched. When a feed
//! is fetched, by whom, and what of an answer is taken, the core says. Nothing of a request waits: what is shared is looked at
//! in a tick.

use super::hostcalls::{self, Buffer, Fault as HostFault, Map, NotSent, Swap};
use super::metrics::Metrics;
use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;
use std::time::Duration;
use webhook_guard_core::feed::schedule::{Claim, Schedule};
use webhook_guard_core::feed::{Fault, Feed, Intake, List, Lists, TIMEOUT};
use webhook_guard_core::request::{Headers, Millis};
use webhook_guard_core::wish::{Purpose, Wish};

/// The first tick comes soon, so that a gateway that has just started need not wait for its lists; in milliseconds.
const FIRST_TICK: u32 = 100;
/// How often feeds are looked at after that.
const TICK: u32 = 1000;
/// An answer is copied into the VM in pieces of at most this many bytes.
const SLICE: usize = 65_536;
/// How often a change of what is shared is tried. Each failure means that another worker's change went through.
const ATTEMPTS: usize = 64;

thread_local! {
    /// What tells this VM from the others; 0 until it is asked for.
    static WORKER: Cell<u64> = const { Cell::new(0) };
}

/// The feeds of a configuration.
#[derive(Debug)]
pub(super) struct Feeds {
    feeds: Arc<[Feed]>,
    lists: RefCell<Lists>,
    /// What this VM knows of each.
    shares: Vec<Share>,
    /// When there was a tick for them.
    ticked: Cell<Option<Millis>>,
}

/// A feed with its place among the others.
#[derive(Clone, Copy)]
struct Fetched<'f> {
    place: usize,
    feed: &'f Feed,
    share: &'f Share,
}

/// A feed as it is shared.
#[derive(Debug)]
struct Share {
    /// The key of its schedule, and that of its list.
    schedule: String,
    list: String,
    /// The keys of what is wished for, by its purpose: the path of a certificate, and one that confirms a subscription.
    certificate: String,
    confirmation: String,
    /// The number of the list that was taken over.
    seen: Cell<u64>,
    /// The host's number of the request that is on its way, and the right by which it was sent.
    call: Cell<Option<(u32, Claim)>>,
    /// Whether there was a list at the last tick.
    was_current: Cell<bool>,
}

impl Share {
    fn new(feed: &Feed) -> Self {
        let name: String = feed.identity.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = |what| format!("webhook_guard/feeds/1/{name}/{what}");
        Self {
            schedule: key("schedule"),
            list: key("list"),
            certificate: key("certificate"),
            confirmation: key("confirmation"),
            seen: Cell::new(0),
            call: Cell::new(None),
            was_current: Cell::new(false),
        }
    }

    fn read(&self) -> Result<(Schedule, u32), HostFault> {
        let (bytes, compare) = hostcalls::shared_data(&self.schedule)?;
        Ok((Schedule::read(&bytes), compare))
    }

    const fn wish(&self, purpose: Purpose) -> &str {
        match purpose {
            Purpose::Certificate => self.certificate.as_str(),
            Purpose::Confirmation => self.confirmation.as_str(),
        }
    }

    /// What is wished for, if anything is, with the number that a change of it needs.
    fn wished(&self, purpose: Purpose) -> Result<Option<(String, u32)>, HostFault> {
        let (bytes, compare) = hostcalls::shared_data(self.wish(purpose))?;
        let path = String::from_utf8(bytes).ok().filter(|path| !path.is_empty());
        Ok(path.map(|path| (path, compare)))
    }

    /// Changes the schedule in one step; nothing where there is nothing to change.
    fn change(&self, change: impl Fn(Schedule) -> Option<Schedule>) -> Result<Option<Schedule>, HostFault> {
        for _ in 0..ATTEMPTS {
            let (schedule, compare) = self.read()?;
            let Some(changed) = change(schedule) else { return Ok(None) };
            if hostcalls::set_shared_data(&self.schedule, &changed.bytes(), compare)? == Swap::Done {
                return Ok(Some(changed));
            }
        }
        Err(HostFault)
    }
}

/// The number of this VM, which no other has that shares data with it.
fn worker() -> Result<u64, HostFault> {
    let known = WORKER.get();
    if known != 0 {
        return Ok(known);
    }
    for _ in 0..ATTEMPTS {
        let key = "webhook_guard/feeds/1/workers";
        let (bytes, compare) = hostcalls::shared_data(key)?;
        let last = bytes.try_into().map_or(0, u64::from_le_bytes);
        let own = last.wrapping_add(1).max(1);
        if hostcalls::set_shared_data(key, &own.to_le_bytes(), compare)? == Swap::Done {
            WORKER.set(own);
            return Ok(own);
        }
    }
    Err(HostFault)
}

impl Feeds {
    /// These feeds, with the lists that are shared already: a configuration that is loaded anew finds what was there.
    pub(super) fn new(feeds: Arc<[Feed]>) -> Self {
        let lists = RefCell::new(Lists::new(&feeds));
        let shares = feeds.iter().map(Share::new).collect();
        let feeds = Self { feeds, lists, shares, ticked: Cell::new(None) };
        for one in feeds.fetched() {
            if let Ok((schedule, _)) = one.share.read() {
                feeds.take_over(one, schedule);
            }
        }
        feeds
    }

    /// The lists as they are now.
    pub(super) fn lists(&self) -> Ref<'_, Lists> {
        self.lists.borrow()
    }

    /// How often a tick is wanted, in milliseconds; never at 0.
    pub(super) fn tick_period(&self) -> u32 {
        match (self.fetched().next(), self.ticked.get()) {
            (None, _) => 0,
            (Some(_), None) => FIRST_TICK,
            (Some(_), Some(_)) => TICK,
        }
    }

    fn fetched(&self) -> impl Iterator<Item = Fetched<'_>> {
        let all = self.feeds.iter().zip(&self.shares).enumerate();
        let all = all.map(|(place, (feed, share))| Fetched { place, feed, share });
        all.filter(|one| one.feed.source.is_some())
    }

    /// Notes what a request wishes to have fetched. The first wish stays until it was looked at: a stranger's does not put
    /// another's off.
    pub(super) fn wish(&self, wish: &Wish, now: Millis) {
        let Some(one) = self.fetched().find(|one| one.place == wish.feed) else { return };
        // It may have come while the request was still being sent.
        if self.lists().grants(wish, now) {
            return;
        }
        // Another worker may have fetched it already.
        if let Ok((schedule, _)) = one.share.read()
            && schedule.list() != one.share.seen.get()
        {
            return self.take_over(one, schedule);
        }
        let key = one.share.wish(wish.purpose);
        if let Ok((bytes, compare)) = hostcalls::shared_data(key)
            && bytes.is_empty()
        {
            // Where another was faster its wish is the first.
            hostcalls::set_shared_data(key, wish.path.as_bytes(), compare).map(|_| ()).unwrap_or_default();
        }
    }

    /// Takes over what others have fetched, and fetches what is due.
    pub(super) fn tick(&self, now: Millis, metrics: &Metrics) {
        // Others may want ticks more often.
        let since = self.ticked.get().map(|ticked| now.0.saturating_sub(ticked.0));
        if since.is_some_and(|since| (0..i64::from(TICK / 2)).contains(&since)) {
            return;
        }
        self.ticked.set(Some(now));
        for one in self.fetched() {
            match one.share.read() {
                Ok((schedule, compare)) => {
                    self.take_over(one, schedule);
                    self.tell(one, schedule, now, metrics);
                    self.fetch(one, schedule, compare, now, metrics);
                    confirm(one);
                }
                Err(HostFault) => log::error!("feed {}: {}", one.feed.name, Fault::NotShared),
            }
        }
    }

    fn take_over(&self, Fetched { place, feed, share }: Fetched<'_>, schedule: Schedule) {
        if schedule.list() == share.seen.get() {
            return;
        }
        let taken = hostcalls::shared_data(&share.list)
            .is_ok_and(|(bytes, _)| self.lists.borrow_mut().take_shared(place, &bytes));
        match taken {
            true => share.seen.set(schedule.list()),
            false => log::error!("feed {}: what is shared of it is no list", feed.name),
        }
    }

    /// Sets the gauges, and says once when a list has become too old.
    fn tell(&self, one: Fetched<'_>, schedule: Schedule, now: Millis, metrics: &Metrics) {
        let Fetched { place, feed, share } = one;
        let lists = self.lists.borrow();
        let prefixes = lists.current(place, now).map(|list| list.prefixes());
        let number = prefixes.and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
        metrics.set_feed_gauge(&feed.name, "webhook_guard_feed_prefixes", number);
        if let Some(fetched) = lists.fetched(place) {
            let age = u64::try_from(now.0.saturating_sub(fetched.0)).unwrap_or_default() / 1000;
            metrics.set_feed_gauge(&feed.name, "webhook_guard_feed_age_seconds", age);
        }
        let has_ended = share.was_current.replace(prefixes.is_some()) && prefixes.is_none();
        if has_ended && worker().is_ok_and(|worker| schedule.is_of(worker)) {
            log::error!("feed {}: its last list is too old and admits nobody any more", feed.name);
        }
    }

    /// Asks for the list, if it is time and nobody else does.
    fn fetch(&self, one: Fetched<'_>, schedule: Schedule, compare: u32, now: Millis, metrics: &Metrics) {
        let Fetched { feed, share, .. } = one;
        let Some(source) = &feed.source else { return };
        let wished = match source.waits_for_wishes() {
            false => None,
            true => match share.wished(Purpose::Certificate) {
                Ok(Some((path, _))) => Some(path),
                Ok(None) | Err(HostFault) => return,
            },
        };
        let claimed = worker().ok().and_then(|worker| schedule.claim(worker, now, feed.refresh));
        let Some((claimed, claim)) = claimed else { return };
        match hostcalls::set_shared_data(&share.schedule, &claimed.bytes(), compare) {
            Ok(Swap::Done) => {}
            // Another worker was faster.
            Ok(Swap::Mismatch) | Err(HostFault) => return,
        }
        let timeout = Duration::from_millis(TIMEOUT.unsigned_abs());
        match hostcalls::call(&source.cluster, &source.request(wished.as_deref()), timeout) {
            Ok(call) => share.call.set(Some((call, claim))),
            Err(NotSent::NoCluster) => self.fail(one, claim, &Fault::NoCluster, now, metrics),
            Err(NotSent::Refused) => self.fail(one, claim, &Fault::NoCall, now, metrics),
        }
    }

    /// An answer has come, or none will.
    pub(super) fn answered(
        &self,
        call: u32,
        has_come: bool,
        body_size: usize,
        now: Millis,
        metrics: &Metrics,
    ) {
        let of_call = |share: &Share| share.call.get().filter(|(own, _)| *own == call);
        let found = self.fetched().find_map(|one| Some((one, of_call(one.share)?)));
        let Some((one, (_, claim))) = found else { return };
        let Fetched { place, feed, share } = one;
        share.call.set(None);
        let wished = share.wished(Purpose::Certificate).unwrap_or_default();
        let path = wished.as_ref().map(|(path, _)| path.as_str());
        let read = if has_come { self.read(one, path, body_size, now) } else { Err(Fault::NoAnswer) };
        let shared = read.and_then(|list| match publish(share, claim, &list, now) {
            Ok(Some(schedule)) => Ok(Some((schedule, list))),
            // It came so late that another worker has been asking meanwhile.
            Ok(None) => Ok(None),
            Err(HostFault) => Err(Fault::NotShared),
        });
        // Struck out only now that all can see what came of it: who still lacks it would wish for it again.
        if let Some((_, compare)) = wished {
            hostcalls::set_shared_data(share.wish(Purpose::Certificate), &[], compare)
                .map(|_| ())
                .unwrap_or_default();
        }
        match shared {
            Ok(Some((schedule, list))) => {
                log::info!("feed {}: {}", feed.name, list.size());
                if self.lists.borrow_mut().take_shared(place, list.bytes()) {
                    share.seen.set(schedule.list());
                }
            }
            Ok(None) => {}
            Err(fault) => self.fail(one, claim, &fault, now, metrics),
        }
    }

    /// The list in the answer of the effective context.
    fn read(
        &self,
        Fetched { place, feed, .. }: Fetched<'_>,
        wished: Option<&str>,
        body_size: usize,
        now: Millis,
    ) -> Result<List, Fault> {
        let no_answer = |HostFault| Fault::NoAnswer;
        let headers = hostcalls::header_map(Map::CallResponseHeaders).map_err(no_answer)?;
        let headers = headers.and_then(Headers::from_abi).ok_or(Fault::NoAnswer)?;
        let status =
            headers.first(b":status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let last = self.lists.borrow().current(place, now).cloned();
        let mut intake = Intake::new(feed, last.as_ref(), wished, status, headers.iter())?;
        intake.expect(body_size)?;
        let mut read = 0_usize;
        while read < body_size {
            let most = body_size.saturating_sub(read).min(SLICE);
            let piece = hostcalls::buffer(Buffer::CallResponseBody, read, most).map_err(no_answer)?;
            let piece = piece.filter(|piece| !piece.is_empty()).ok_or(Fault::NoAnswer)?;
            intake.update(&piece)?;
            read = read.saturating_add(piece.len());
        }
        intake.finish(now)
    }

    fn fail(&self, one: Fetched<'_>, claim: Claim, fault: &Fault, now: Millis, metrics: &Metrics) {
        let Fetched { place, feed, share } = one;
        log::error!("{}", self.lists.borrow().complaint(place, feed, fault, now));
        metrics.count_feed_error(&feed.name);
        // Where even this fails the claim runs out.
        share.change(|schedule| schedule.failed(claim, now)).unwrap_or_default();
    }
}

/// Confirms a subscription that somebody wishes to have confirmed: who takes the wish away asks. What is answered is the
/// sender's business; the subscription tells.
fn confirm(Fetched { feed, share, .. }: Fetched<'_>) {
    let Some(source) = feed.source.as_ref().filter(|source| source.waits_for_wishes()) else { return };
    let Ok(Some((path, compare))) = share.wished(Purpose::Confirmation) else { return };
    let taken = hostcalls::set_shared_data(share.wish(Purpose::Confirmation), &[], compare);
    if !matches!(taken, Ok(Swap::Done)) {
        return;
    }
    let timeout = Duration::from_millis(TIMEOUT.unsigned_abs());
    match hostcalls::call(&source.cluster, &source.request(Some(&path)), timeout) {
        Ok(_) => log::info!("feed {}: a subscription is being confirmed", feed.name),
        Err(_) => log::error!("feed {}: a subscription could not be confirmed: {}", feed.name, Fault::NoCall),
    }
}

/// Shares a list with the other workers; nothing where the right to do so is another's by now.
fn publish(share: &Share, claim: Claim, list: &List, now: Millis) -> Result<Option<Schedule>, HostFault> {
    if !share.read()?.0.holds(claim, now) {
        return Ok(None);
    }
    hostcalls::replace_shared_data(&share.list, list.bytes())?;
    share.change(|schedule| schedule.took(claim, now))
}
