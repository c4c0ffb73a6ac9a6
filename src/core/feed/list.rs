//! A list that was taken: its networks as sorted, disjoint ranges, in the form in which workers share it.
//!
//! Responsible for that form. It is looked up as it stands, so that a worker keeps it once: a head, the ranges of IPv4
//! addresses, the ranges of IPv6 addresses, each range with its first and its last address.
//!
//! ```text
//!  "wgf1" │ prefixes: u32 │ IPv4 ranges: u32 │ fetched, ms since the Unix epoch: i64 │ 8 bytes a range │ 32 bytes a range
//! ```
//! All numbers are big-endian.

use crate::request::Millis;
use crate::signature::published_key::{self as keys, PublishedKey, PublishedKeys};
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use std::collections::BinaryHeap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MAGIC: [u8; 4] = *b"wgf1";
const HEAD: usize = 20;
/// The place of the number of IPv4 ranges.
const V4_COUNT: usize = 8;
const V4_RANGE: usize = 8;
const V6_RANGE: usize = 32;
/// The memory of a list that is shared grows by so many bytes.
const ROOM: usize = 64 << 10;

/// The bits of an IPv6 address before an IPv4 address that it stands for (RFC 4291 2.5.5.2).
const MAPPED_BITS: u8 = 96;
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Whether a network has IPv4 addresses only: IPv4-mapped addresses are.
pub(super) fn is_v4(network: &IpNet) -> bool {
    match network {
        IpNet::V4(_) => true,
        IpNet::V6(v6) => v6.prefix_len() >= MAPPED_BITS && v6.addr().octets().starts_with(&MAPPED),
    }
}

/// The bits of its prefix, as a network of the family whose addresses it has; nothing where it has all addresses of IPv4
/// and others too.
pub(super) fn bits(network: &IpNet) -> Option<u8> {
    match network {
        IpNet::V4(v4) => Some(v4.prefix_len()),
        IpNet::V6(v6) if is_v4(network) => v6.prefix_len().checked_sub(MAPPED_BITS),
        IpNet::V6(v6) => {
            let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0, 0]);
            (!network.contains(&mapped)).then_some(v6.prefix_len())
        }
    }
}

/// Networks that are being collected.
#[derive(Debug, Default)]
pub(super) struct Collection {
    /// The address and the bits of the prefix of each.
    v4: Vec<[u8; 5]>,
    v6: Vec<[u8; 17]>,
}

/// Where a collection was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    v4: usize,
    v6: usize,
}

impl Collection {
    pub(super) fn len(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    pub(super) fn add(&mut self, network: &IpNet) {
        match network {
            IpNet::V4(v4) => self.v4.push(joined(&v4.addr().octets(), v4.prefix_len())),
            IpNet::V6(v6) => match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(MAPPED_BITS)) {
                (Some(v4), Some(bits)) => self.v4.push(joined(&v4.octets(), bits)),
                _ => self.v6.push(joined(&v6.addr().octets(), v6.prefix_len())),
            },
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { v4: self.v4.len(), v6: self.v6.len() }
    }

    /// Forgets what was added since.
    pub(super) fn truncate(&mut self, mark: Mark) {
        self.v4.truncate(mark.v4);
        self.v6.truncate(mark.v6);
    }

    pub(super) fn into_list(self, fetched: Millis) -> List {
        let (v4, v6) = (sorted(self.v4), sorted(self.v6));
        let prefixes = v4.len().saturating_add(v6.len());
        let ranges = v4.len().saturating_mul(V4_RANGE).saturating_add(v6.len().saturating_mul(V6_RANGE));
        let mut bytes = Vec::with_capacity(HEAD.saturating_add(ranges));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&count(prefixes));
        bytes.extend_from_slice(&count(0));
        bytes.extend_from_slice(&fetched.0.to_be_bytes());
        let v4 = v4.iter().map(|[a, b, c, d, bits]| {
            let first = u32::from_be_bytes([*a, *b, *c, *d]);
            (u128::from(first), u128::from(first | u32::MAX.checked_shr(u32::from(*bits)).unwrap_or(0)))
        });
        merge(v4, |first, last| {
            for number in [first, last] {
                bytes.extend_from_slice(number.to_be_bytes().last_chunk::<4>().unwrap_or(&[0; 4]));
            }
        });
        let ranges = bytes.len().saturating_sub(HEAD) / V4_RANGE;
        if let Some(place) = bytes.get_mut(V4_COUNT..).and_then(|bytes| bytes.first_chunk_mut()) {
            *place = count(ranges);
        }
        let v6 = v6.iter().map(|entry| {
            let (address, bits) = entry.split_at(16);
            let first = u128::from_be_bytes(address.try_into().unwrap_or_default());
            let bits = bits.first().map_or(0, |bits| u32::from(*bits));
            (first, first | u128::MAX.checked_shr(bits).unwrap_or(0))
        });
        merge(v6, |first, last| {
            bytes.extend_from_slice(&first.to_be_bytes());
            bytes.extend_from_slice(&last.to_be_bytes());
        });
        List { bytes, keys: PublishedKeys::default() }
    }
}

fn count(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

/// The entries in order, none of them twice. A heap sorts in place, and a module is 29 kB smaller with it than with the
/// faster sort, twice.
fn sorted<T: Ord>(entries: Vec<T>) -> Vec<T> {
    let mut sorted = BinaryHeap::from(entries).into_sorted_vec();
    sorted.dedup();
    sorted
}

/// An address and the bits of its prefix; sorted as bytes they are sorted as networks.
fn joined<const A: usize, const L: usize>(address: &[u8; A], bits: u8) -> [u8; L] {
    let mut entry = [bits; L];
    for (to, from) in entry.iter_mut().zip(address) {
        *to = *from;
    }
    entry
}

/// Joins ranges that touch, of those that are sorted by their first address.
fn merge(ranges: impl Iterator<Item = (u128, u128)>, mut write: impl FnMut(u128, u128)) {
    let mut open: Option<(u128, u128)> = None;
    for (first, last) in ranges {
        match &mut open {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => {
                if let Some((first, last)) = open.replace((first, last)) {
                    write(first, last);
                }
            }
        }
    }
    if let Some((first, last)) = open {
        write(first, last);
    }
}

/// A list of networks, or of public keys: never both.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct List {
    bytes: Vec<u8>,
    keys: PublishedKeys,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "List({})", self.size())
    }
}

impl FromIterator<IpNet> for List {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let mut found = Collection::default();
        networks.into_iter().for_each(|network| found.add(&network));
        found.into_list(Millis(0))
    }
}

impl List {
    /// The form in which it is shared.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes a list that was shared into its own memory: that of a VM never shrinks, and is used again best by what has
    /// the same size every time. False where the bytes are no list, and this one stays as it is.
    #[must_use]
    pub fn replace(&mut self, bytes: &[u8]) -> bool {
        match keys_of(bytes) {
            Some(keys) => self.keys = keys.into(),
            None if is_list(bytes) => self.keys = PublishedKeys::default(),
            None => return false,
        }
        self.bytes.clear();
        self.bytes.reserve_exact(bytes.len().div_ceil(ROOM).saturating_mul(ROOM));
        self.bytes.extend_from_slice(bytes);
        true
    }

    fn number(&self, at: usize) -> usize {
        number(&self.bytes, at)
    }

    /// A list of these keys.
    pub(super) fn of_keys(keys: Vec<PublishedKey>, fetched: Millis) -> Self {
        Self { bytes: keys::shared(&keys, fetched), keys: keys.into() }
    }

    /// The public keys that it has.
    #[must_use]
    pub const fn keys(&self) -> &PublishedKeys {
        &self.keys
    }

    /// What it has, in words.
    #[must_use]
    pub fn size(&self) -> String {
        let what = if self.keys.is_empty() { "prefixes" } else { "keys" };
        format!("{} {what}", self.prefixes())
    }

    /// How many prefixes, or keys, it has; none is counted twice.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.number(4)
    }

    /// When it was fetched; the Unix epoch where it was not.
    #[must_use]
    pub fn fetched(&self) -> Millis {
        let bytes = self.bytes.get(12..).and_then(|bytes| bytes.first_chunk::<8>());
        Millis(bytes.map_or(0, |bytes| i64::from_be_bytes(*bytes)))
    }

    fn split(&self) -> (&[u8], &[u8]) {
        if !self.keys.is_empty() {
            return Default::default();
        }
        let ranges = self.bytes.get(HEAD..).unwrap_or_default();
        ranges.split_at_checked(self.number(V4_COUNT).saturating_mul(V4_RANGE)).unwrap_or_default()
    }

    /// The ranges of IPv4 addresses.
    fn v4(&self) -> &[[u8; V4_RANGE]] {
        self.split().0.as_chunks().0
    }

    /// The ranges of IPv6 addresses.
    fn v6(&self) -> &[[u8; V6_RANGE]] {
        self.split().1.as_chunks().0
    }

    /// Its networks, in as few prefixes as can be: those of IPv4 first, each family in order.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        let v4 = self.v4().iter().map(|[a, b, c, d, e, f, g, h]| {
            (Ipv4Addr::from([*a, *b, *c, *d]), Ipv4Addr::from([*e, *f, *g, *h]))
        });
        let v4 = v4.flat_map(|(first, last)| Ipv4Subnets::new(first, last, 0)).map(IpNet::V4);
        let v6 = self.v6().iter().map(|range| {
            let (first, last) = range.split_at(16);
            let address = |half: &[u8]| Ipv6Addr::from(<[u8; 16]>::try_from(half).unwrap_or_default());
            (address(first), address(last))
        });
        let v6 = v6.flat_map(|(first, last)| Ipv6Subnets::new(first, last, 0)).map(IpNet::V6);
        v4.chain(v6)
    }

    /// Whether the address is on the list. An IPv4-mapped address is the IPv4 address that it stands for.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.covers_v4(v4, v4),
            IpAddr::V6(v6) => covers(self.v6(), &v6.octets(), &v6.octets()),
        }
    }

    /// What covers the IPv4-mapped addresses covers IPv4.
    fn covers_v4(&self, first: Ipv4Addr, last: Ipv4Addr) -> bool {
        let mapped = |address: Ipv4Addr| address.to_ipv6_mapped().octets();
        covers(self.v4(), &first.octets(), &last.octets()) || covers(self.v6(), &mapped(first), &mapped(last))
    }

    /// Whether every address of the network is on the list.
    #[must_use]
    pub fn covers(&self, network: &IpNet) -> bool {
        match (network.network(), network.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.covers_v4(first, last),
            (IpAddr::V6(first), IpAddr::V6(last)) => match (first.to_ipv4_mapped(), last.to_ipv4_mapped()) {
                (Some(first), Some(last)) => self.covers_v4(first, last),
                _ => covers(self.v6(), &first.octets(), &last.octets()),
            },
            _ => false,
        }
    }

    /// Whether every IPv4 or every IPv6 address is on the list, so that it keeps nobody out.
    #[must_use]
    pub fn admits_everyone(&self) -> bool {
        self.covers_v4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
    bytes.and_then(|bytes| usize::try_from(u32::from_be_bytes(*bytes)).ok()).unwrap_or_default()
}

/// The keys of bytes that hold some, in the form in which they are shared; never none.
fn keys_of(bytes: &[u8]) -> Option<Vec<PublishedKey>> {
    if !bytes.starts_with(&keys::MAGIC) {
        return None;
    }
    keys::read_shared(number(bytes, 4), bytes.get(HEAD..)?).filter(|keys| !keys.is_empty())
}

/// Whether bytes are a list in the form in which it is shared. Only the guard writes there: what could be wrong is a form of
/// another version.
fn is_list(bytes: &[u8]) -> bool {
    let v4 = number(bytes, V4_COUNT).saturating_mul(V4_RANGE).saturating_add(HEAD);
    let v6 = bytes.len().checked_sub(v4);
    bytes.starts_with(&MAGIC) && v6.is_some_and(|v6| v6.is_multiple_of(V6_RANGE))
}

/// Whether one of the ranges holds both addresses, and with them all between.
fn covers<const R: usize>(ranges: &[[u8; R]], first: &[u8], last: &[u8]) -> bool {
    let half = R / 2;
    let starts_before = |range: &[u8; R]| range.get(..half).is_some_and(|start| start <= first);
    let after = ranges.partition_point(starts_before);
    let range = after.checked_sub(1).and_then(|at| ranges.get(at));
    range.and_then(|range| range.get(half..)).is_some_and(|end| last <= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(networks: &[&str]) -> List {
        networks.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()
    }

    #[test]
    fn a_list_holds_its_networks_and_nothing_else() {
        let list = list(&[
            "192.0.2.0/24",
            "10.0.0.0/9",
            "10.128.0.0/9",
            "2001:db8::/32",
            "198.51.100.7/32",
            "198.51.100.7/32",
            "::ffff:203.0.113.0/120",
            "255.255.255.255/32",
        ]);
        assert_eq!(list.prefixes(), 7);
        for (address, is_on_it) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("192.0.1.255", false),
            ("10.127.255.255", true),
            ("10.128.0.0", true),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("203.0.113.9", true),
            ("::ffff:203.0.113.9", true),
            ("::ffff:192.0.2.1", true),
            ("::192.0.2.1", false),
            ("255.255.255.255", true),
            ("0.0.0.0", false),
            ("2001:db8::", true),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db9::", false),
            ("::", false),
        ] {
            assert_eq!(list.contains(address.parse().unwrap()), is_on_it, "{address}");
        }
        for (network, is_covered) in [
            ("10.0.0.0/8", true),
            ("10.0.0.0/7", false),
            ("2001:db8:1::/48", true),
            ("2001:db8::/31", false),
            ("::ffff:192.0.2.0/120", true),
        ] {
            assert_eq!(list.covers(&network.parse().unwrap()), is_covered, "{network}");
        }
    }

    #[test]
    fn a_list_tells_its_networks_in_as_few_prefixes_as_can_be() {
        let list = list(&[
            "10.128.0.0/9",
            "10.0.0.0/9",
            "192.0.2.1/32",
            "2001:db8::/33",
            "2001:db8:8000::/33",
            "::1/128",
        ]);
        let told: Vec<String> = list.networks().map(|network| network.to_string()).collect();
        assert_eq!(told, ["10.0.0.0/8", "192.0.2.1/32", "::1/128", "2001:db8::/32"]);
    }

    #[test]
    fn what_is_shared_is_the_same_list_and_anything_else_is_none() {
        let mut found = Collection::default();
        for text in ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32", "2001:dba::/32"] {
            found.add(&text.parse().unwrap());
        }
        let list = found.into_list(Millis(1_700_000_000_000));
        let mut again = List::default();
        assert!(again.replace(list.bytes()));
        assert_eq!((again.fetched(), again.prefixes()), (Millis(1_700_000_000_000), 4));
        assert_eq!(again, list);
        for length in 0..list.bytes().len() {
            // Whole ranges of IPv6 at the end may be missing, and nobody can know.
            let is_whole = length == HEAD + 2 * V4_RANGE || length == HEAD + 2 * V4_RANGE + V6_RANGE;
            assert_eq!(List::default().replace(&list.bytes()[..length]), is_whole, "{length}");
        }
        assert!(!again.replace(&[0xff; 64]));
        assert_eq!(again, list, "it stays");
        let room = again.bytes.as_ptr();
        assert!(again.replace(list.bytes()));
        assert_eq!(again.bytes.as_ptr(), room, "in the same memory");
    }

    #[test]
    fn a_list_that_admits_everyone_is_known() {
        for (networks, everyone) in [
            (&["0.0.0.0/0"][..], true),
            (&["::ffff:0:0/96"], true),
            (&["::/16"], true),
            (&["::/0"], true),
            (&["0.0.0.0/1", "128.0.0.0/1"], true),
            (&["0.0.0.0/1", "128.0.0.0/2"], false),
            (&["2000::/3"], false),
        ] {
            assert_eq!(list(networks).admits_everyone(), everyone, "{networks:?}");
        }
    }
}
