//! Address feeds: lists of addresses that a provider publishes, and that are fetched while the gateway runs.
//!
//! Responsible for what a feed is, for what of an answer is taken as its list and why not, and for the list that counts at a
//! given time. A shell fetches, and shares what was taken with all its workers; when it does so is said by [`schedule`].
//!
//! ```text
//!  Feed ──► Schedule::claim ──► a shell sends Feed::request ──► Intake::new(status, headers)
//!                                                                  │  update, in pieces of any size
//!                                                                  ▼
//!             Lists::take ◄── all workers ◄── List ◄── Intake::finish, or a Fault: the last list stays
//!                 │
//!                 └──► Lists::current, which the source check reads
//! ```

pub mod catalogue;
mod json;
mod lines;
mod list;
pub mod schedule;

pub use list::List;

use crate::address::{NotANetwork, network};
use crate::request::Millis;
use crate::signature::json_pointer;
use crate::signature::published_key::{self, Publisher};
use crate::wish::{Purpose, Wish};
use list::Collection;
use std::fmt;
use std::sync::Arc;

/// The most prefixes that a feed may have.
pub const MOST_PREFIXES: usize = 200_000;
/// The most bytes that an answer may have.
pub const MOST_BYTES: usize = 8 << 20;
/// How long an answer may take, in milliseconds.
pub const TIMEOUT: i64 = 10_000;

/// A network with fewer bits than this covers more than any provider sends from.
const LEAST_V4_BITS: u8 = 8;
const LEAST_V6_BITS: u8 = 16;

/// Of a value that is complained of, so many characters are quoted.
const QUOTED: usize = 64;

/// A feed of a configuration.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is fetched from; nothing where the provider publishes no list that can be read.
    pub source: Option<Source>,
    /// How often it is fetched, in milliseconds.
    pub refresh: i64,
    /// How old a fetched list may become, in milliseconds.
    pub max_age: i64,
    /// The list until the first one was fetched.
    pub initial: Option<Arc<List>>,
    /// What tells it from other feeds: a digest of all that decides which list it has.
    pub identity: [u8; 32],
}

/// Where a feed is fetched from, and how its answer is read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The host's cluster.
    pub cluster: String,
    /// The `:authority` of the request.
    pub authority: String,
    /// The `:path` of the request, with its query; of certificates what theirs begin with.
    pub path: String,
    /// How the answer is read.
    pub format: Format,
}

/// How an answer is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One network a line; empty lines, and those that begin with `#`, say nothing.
    Lines,
    /// JSON.
    Json(Selection),
    /// A set of public keys.
    KeySet,
    /// A certificate, of which a message names the rest of the path: fetched when one is wished for.
    Certificates,
}

impl Format {
    /// Whether it holds public keys, and no networks.
    #[must_use]
    pub const fn is_of_keys(&self) -> bool {
        matches!(self, Self::KeySet | Self::Certificates)
    }
}

/// The networks in a JSON document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Where they stand; at most [`Selection::MOST_POINTERS`].
    pub pointers: Vec<Vec<Part>>,
    /// What the members beside them must be; at most [`Selection::MOST_CONDITIONS`].
    pub conditions: Vec<Condition>,
}

/// A part of a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The member of that name, or the entry of that number.
    Named(Vec<u8>),
    /// Every member or entry.
    Every,
}

/// A member that must be there beside a network: in the object that holds the last named part of the pointer. A list will do
/// where it holds one of the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its name.
    pub member: String,
    /// What it may be.
    pub any_of: Vec<String>,
}

impl Selection {
    /// The most pointers that a selection may have.
    pub const MOST_POINTERS: usize = 16;
    /// The most conditions that a selection may have.
    pub const MOST_CONDITIONS: usize = 8;

    /// Reads a JSON pointer (RFC 6901) in which a part `*` stands for every member or entry; nothing where it is none.
    #[must_use]
    pub fn pointer(text: &str) -> Option<Vec<Part>> {
        let parts = json_pointer::pointer(text)?;
        let part = |part: &Vec<u8>| if part == b"*" { Part::Every } else { Part::Named(part.clone()) };
        Some(parts.iter().map(part).collect())
    }
}

impl Source {
    /// Whether it is fetched only when it is wished for.
    #[must_use]
    pub fn waits_for_wishes(&self) -> bool {
        self.format == Format::Certificates
    }

    /// Where its certificates are.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher { authority: Arc::from(self.authority.as_str()), prefix: Arc::from(self.path.as_str()) }
    }

    /// The headers of the request for the list; of certificates for what is wished for.
    #[must_use]
    pub fn request<'s>(&'s self, wished: Option<&'s str>) -> [(&'static str, &'s str); 7] {
        let accept = match self.format {
            Format::Lines => "text/plain, */*;q=0.1",
            Format::Json(_) | Format::KeySet => "application/json, */*;q=0.1",
            Format::Certificates => "application/x-pem-file, */*;q=0.1",
        };
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", &self.authority),
            (":path", wished.unwrap_or(&self.path)),
            ("accept", accept),
            ("accept-encoding", "identity"),
            // GitHub refuses requests that do not say who asks.
            ("user-agent", "webhook-guard"),
        ]
    }
}

/// Why an answer is not taken as a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The host has no such cluster, or nobody in it who could be asked.
    NoCluster,
    /// The host has no such cluster just now, or refuses the call.
    NoCall,
    /// No whole answer came in time: no connection, a certificate that does not verify, a reset, too long a wait.
    NoAnswer,
    /// The answer has another status than 200.
    Status(u16),
    /// The answer is encoded, which nobody asked for.
    Encoded,
    /// The answer ended before the length that it declared.
    Cut,
    /// The answer has more than [`MOST_BYTES`].
    TooLong,
    /// The answer is not UTF-8.
    NotUtf8,
    /// The answer is no JSON: after so many bytes.
    NotJson(u64),
    /// A member that the pointers lead through is there twice.
    Ambiguous,
    /// What stands where a network should is no text.
    NoText,
    /// What stands where a network should is none; quoted, and cut.
    NoNetwork(String),
    /// A network has bits set behind its prefix.
    HostBits(String),
    /// A network covers more than any provider sends from.
    TooWide(String),
    /// There are more than [`MOST_PREFIXES`].
    TooMany,
    /// There is none.
    Empty,
    /// All networks together admit everyone.
    AdmitsEveryone,
    /// Less than half of the last list is left: how many there were, and how many there are.
    Lost(usize, usize),
    /// What should hold public keys does not, in words.
    Keys(&'static str),
    /// The host cannot share it with the other workers.
    NotShared,
}

const NO_ANSWER: &str = "no whole answer came in time: no connection, a certificate that does not verify, a reset, or a \
     wait of 10 s (the host's statistics of the cluster tell which)";

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCluster => f.write_str("the host has no such cluster"),
            Self::NoCall => f.write_str("the host could not send a request"),
            Self::NoAnswer => f.write_str(NO_ANSWER),
            Self::Status(status @ (301 | 302 | 303 | 307 | 308)) => {
                write!(f, "the answer is a redirect ({status}), which is not followed")
            }
            // Envoy tells a Wasm filter of a request that came to nothing as if the server had answered so.
            Self::Status(status @ (503 | 504)) => {
                write!(f, "the answer has the status {status}, or {NO_ANSWER}")
            }
            Self::Status(status) => write!(f, "the answer has the status {status}"),
            Self::Encoded => f.write_str("the answer has a content-encoding, which was not asked for"),
            Self::Cut => f.write_str("the answer is shorter than it says"),
            Self::TooLong => write!(f, "the answer has more than {} MiB", MOST_BYTES >> 20),
            Self::NotUtf8 => f.write_str("the answer is not UTF-8"),
            Self::NotJson(at) => write!(f, "the answer is not JSON: after {at} bytes"),
            Self::Ambiguous => f.write_str("a member that leads to the addresses is there twice"),
            Self::NoText => f.write_str("something other than a text stands where an address should"),
            Self::NoNetwork(text) => write!(f, "\"{text}\" is neither an IP address nor a CIDR block"),
            Self::HostBits(text) => write!(f, "\"{text}\" has bits set behind its prefix"),
            Self::TooWide(text) => {
                write!(
                    f,
                    "\"{text}\" covers more than any provider sends from, and `initial` does not hold it"
                )
            }
            Self::TooMany => write!(f, "there are more than {MOST_PREFIXES} prefixes"),
            Self::Empty => f.write_str("there is no address in it"),
            Self::AdmitsEveryone => f.write_str("all prefixes together admit everyone"),
            Self::Lost(before, after) => {
                write!(f, "of {before} prefixes only {after} are left, which is less than half")
            }
            Self::Keys(words) => f.write_str(words),
            Self::NotShared => f.write_str("the host's shared data does not take it"),
        }
    }
}

/// What is quoted of a text that came from outside: a line of printable characters.
fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).flat_map(char::escape_debug).collect()
}

/// An answer on its way: what is kept of it are its networks.
#[derive(Debug)]
pub struct Intake {
    format: Reader,
    utf8: Utf8,
    networks: Networks,
    /// The last list, and what may be wider than others.
    last: Option<Arc<List>>,
    received: usize,
    declared: Option<usize>,
}

#[derive(Debug)]
enum Reader {
    Lines(lines::Lines),
    Json(Box<json::Document>),
    KeySet(Vec<u8>),
    /// With the path that was asked for.
    Certificate(Vec<u8>, String),
}

/// The networks of an answer so far.
#[derive(Debug)]
struct Networks {
    found: Collection,
    initial: Option<Arc<List>>,
}

impl Networks {
    fn add(&mut self, text: &str) -> Result<(), Fault> {
        let network = network(text).map_err(|wrong| match wrong {
            NotANetwork::Unreadable => Fault::NoNetwork(quoted(text)),
            NotANetwork::HostBits(_) => Fault::HostBits(quoted(text)),
        })?;
        if self.found.len() >= MOST_PREFIXES {
            return Err(Fault::TooMany);
        }
        let least = if list::is_v4(&network) { LEAST_V4_BITS } else { LEAST_V6_BITS };
        let is_wide = list::bits(&network).is_none_or(|bits| bits < least);
        if is_wide && !self.initial.as_ref().is_some_and(|initial| initial.covers(&network)) {
            return Err(Fault::TooWide(quoted(text)));
        }
        self.found.add(&network);
        Ok(())
    }
}

impl Intake {
    /// An answer to the request for that feed, of which the head has come. `last` is the list until now, `wished` the path of
    /// the certificate that was asked for.
    ///
    /// # Errors
    /// The head alone says that it is none.
    pub fn new<'h>(
        feed: &Feed,
        last: Option<&Arc<List>>,
        wished: Option<&str>,
        status: Option<u16>,
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<Self, Fault> {
        match status {
            Some(200) => {}
            Some(status) => return Err(Fault::Status(status)),
            None => return Err(Fault::NoAnswer),
        }
        let mut declared = None;
        for (name, value) in headers {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
            if is("content-encoding") && !value.trim_ascii().eq_ignore_ascii_case(b"identity") {
                return Err(Fault::Encoded);
            }
            if is("content-length") {
                let length = std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok());
                declared = Some(length.ok_or(Fault::Cut)?);
            }
        }
        Self::of(feed, last, wished, declared)
    }

    /// A list that came in another way than as an answer.
    ///
    /// # Errors
    /// The feed has none that could be read.
    pub fn of(
        feed: &Feed,
        last: Option<&Arc<List>>,
        wished: Option<&str>,
        declared: Option<usize>,
    ) -> Result<Self, Fault> {
        let format = match feed.source.as_ref().map(|source| &source.format) {
            Some(Format::Lines) => Reader::Lines(lines::Lines::default()),
            Some(Format::Json(selection)) => Reader::Json(Box::new(json::Document::new(selection.clone()))),
            Some(Format::KeySet) => Reader::KeySet(Vec::new()),
            Some(Format::Certificates) => {
                let path = wished.ok_or(Fault::Keys("no certificate was asked for"))?;
                Reader::Certificate(Vec::new(), path.to_owned())
            }
            None => return Err(Fault::NoCluster),
        };
        if declared.is_some_and(|length| length > MOST_BYTES) {
            return Err(Fault::TooLong);
        }
        let networks = Networks { found: Collection::default(), initial: feed.initial.clone() };
        Ok(Self { format, utf8: Utf8::default(), networks, last: last.cloned(), received: 0, declared })
    }

    /// The host says how long the answer is, before any of it is read.
    ///
    /// # Errors
    /// It is too long, or not as long as it declares.
    pub fn expect(&mut self, length: usize) -> Result<(), Fault> {
        match self.declared {
            _ if length > MOST_BYTES => Err(Fault::TooLong),
            Some(declared) if declared != length => Err(Fault::Cut),
            _ => {
                self.declared = Some(length);
                Ok(())
            }
        }
    }

    /// Reads the next bytes.
    ///
    /// # Errors
    /// What they say that no list may; the rest need not be told any more.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.received = self.received.saturating_add(piece.len());
        if self.received > MOST_BYTES {
            return Err(Fault::TooLong);
        }
        self.utf8.update(piece)?;
        let networks = &mut self.networks;
        match &mut self.format {
            Reader::Lines(lines) => lines.update(piece, |line| networks.add(line)),
            Reader::Json(document) => document.update(piece, networks),
            Reader::KeySet(_) | Reader::Certificate(..) if self.received > published_key::MOST_BYTES => {
                Err(Fault::Keys("the answer has more than 256 KiB"))
            }
            Reader::KeySet(text) | Reader::Certificate(text, _) => {
                text.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The list, once every byte was told, with the time at which it was fetched.
    ///
    /// # Errors
    /// Why it is none.
    pub fn finish(mut self, now: Millis) -> Result<List, Fault> {
        if self.declared.is_some_and(|length| length != self.received) {
            return Err(Fault::Cut);
        }
        self.utf8.finish()?;
        let networks = &mut self.networks;
        match self.format {
            Reader::Lines(lines) => lines.finish(|line| networks.add(line))?,
            Reader::Json(document) => document.finish()?,
            Reader::KeySet(text) => {
                return Ok(List::of_keys(published_key::key_set(&text).map_err(Fault::Keys)?, now));
            }
            Reader::Certificate(text, path) => {
                let known = self.last.as_ref().map_or(&[][..], |last| &**last.keys());
                let keys = published_key::certificate(known, &path, &text, now).map_err(Fault::Keys)?;
                return Ok(List::of_keys(keys, now));
            }
        }
        let list = self.networks.found.into_list(now);
        if list.prefixes() == 0 {
            return Err(Fault::Empty);
        }
        let is_meant = self.networks.initial.as_ref().is_some_and(|initial| initial.admits_everyone());
        if list.admits_everyone() && !is_meant {
            return Err(Fault::AdmitsEveryone);
        }
        let before = self.last.map_or(0, |last| last.prefixes());
        match list.prefixes() < before.div_ceil(2) {
            true => Err(Fault::Lost(before, list.prefixes())),
            false => Ok(list),
        }
    }
}

/// Whether bytes that come in pieces are UTF-8.
#[derive(Debug, Default)]
struct Utf8 {
    /// The beginning of a character that the last piece ended in.
    open: Vec<u8>,
}

/// A character has at most so many bytes.
const LONGEST_CHARACTER: usize = 4;

impl Utf8 {
    fn update(&mut self, mut piece: &[u8]) -> Result<(), Fault> {
        while let (false, Some((first, rest))) = (self.open.is_empty(), piece.split_first()) {
            self.open.push(*first);
            piece = rest;
            match std::str::from_utf8(&self.open) {
                Ok(_) => self.open.clear(),
                Err(error) if error.error_len().is_some() => return Err(Fault::NotUtf8),
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(piece) else { return Ok(()) };
        match piece.get(error.valid_up_to()..) {
            Some(open) if error.error_len().is_none() && open.len() < LONGEST_CHARACTER => {
                self.open.extend_from_slice(open);
                Ok(())
            }
            _ => Err(Fault::NotUtf8),
        }
    }

    fn finish(&self) -> Result<(), Fault> {
        if self.open.is_empty() { Ok(()) } else { Err(Fault::NotUtf8) }
    }
}

/// The lists of a configuration's feeds, each at its feed's place.
#[derive(Clone, Debug, Default)]
pub struct Lists(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    initial: Option<Arc<List>>,
    fetched: Option<Arc<List>>,
    max_age: i64,
}

impl Lists {
    /// Before anything was fetched.
    #[must_use]
    pub fn new(feeds: &[Feed]) -> Self {
        let entry =
            |feed: &Feed| Entry { initial: feed.initial.clone(), fetched: None, max_age: feed.max_age };
        Self(feeds.iter().map(entry).collect())
    }

    /// Puts a list that was fetched in the place of the one before.
    pub fn take(&mut self, feed: usize, list: Arc<List>) {
        if let Some(entry) = self.0.get_mut(feed) {
            entry.fetched = Some(list);
        }
    }

    /// Does the same with a list as it is shared, in the memory of the one before. False where it is none.
    #[must_use]
    pub fn take_shared(&mut self, feed: usize, bytes: &[u8]) -> bool {
        let Some(entry) = self.0.get_mut(feed) else { return false };
        match entry.fetched.as_mut().and_then(Arc::get_mut) {
            Some(list) => list.replace(bytes),
            None => {
                let mut list = List::default();
                let is_list = list.replace(bytes);
                if is_list {
                    entry.fetched = Some(Arc::new(list));
                }
                is_list
            }
        }
    }

    /// The list that counts at that time; nothing where none was fetched yet and the feed begins with none, and where the
    /// last one is too old.
    #[must_use]
    pub fn current(&self, feed: usize, now: Millis) -> Option<&Arc<List>> {
        let entry = self.0.get(feed)?;
        match &entry.fetched {
            Some(list) => (now.0.saturating_sub(list.fetched().0) <= entry.max_age).then_some(list),
            None => entry.initial.as_ref(),
        }
    }

    /// Whether a certificate that is wished for is there by now. A request takes the lists that there are at its beginning, so
    /// that one it lacked may have come while its body did.
    #[must_use]
    pub fn grants(&self, wish: &Wish, now: Millis) -> bool {
        let list = self.current(wish.feed, now);
        wish.purpose == Purpose::Certificate
            && list.is_some_and(|list| published_key::find(list.keys(), &wish.path, now).is_some())
    }

    /// What is said of a feed once a fetch of it has failed.
    #[must_use]
    pub fn complaint(&self, place: usize, feed: &Feed, fault: &Fault, now: Millis) -> String {
        let stays = match self.current(place, now) {
            Some(list) => format!("the last list of {} stays", list.size()),
            None => "it has no list and admits nobody".to_owned(),
        };
        format!("feed {}: {fault}: {stays}", feed.name)
    }

    /// When the last list was fetched, however old it is.
    #[must_use]
    pub fn fetched(&self, feed: usize) -> Option<Millis> {
        self.0.get(feed)?.fetched.as_ref().map(|list| list.fetched())
    }
}
