//! The source check: is the address that Envoy trusts one that may send?
//!
//! Responsible for reading `source.address`, and for what a list says while a feed of it has none.

use crate::address::AddressSet;
use crate::decision::Reason;
use crate::feed::Lists;
use crate::request::Millis;
use std::net::{IpAddr, SocketAddr};

/// A list of addresses as a configuration has it: addresses, and feeds by their places.
#[derive(Clone, Debug, Default)]
pub struct AddressList {
    /// The addresses.
    pub set: AddressSet,
    /// The feeds.
    pub feeds: Vec<usize>,
}

/// Whether an address is on a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Yes,
    No,
    /// It is nowhere else, and a feed has no list just now.
    Unknown,
}

impl AddressList {
    fn has(&self, address: IpAddr, lists: &Lists, now: Millis) -> Listed {
        let mut listed = if self.set.contains(address) { Listed::Yes } else { Listed::No };
        for feed in &self.feeds {
            match lists.current(*feed, now) {
                _ if listed == Listed::Yes => break,
                Some(list) if list.contains(address) => listed = Listed::Yes,
                Some(_) => {}
                None => listed = Listed::Unknown,
            }
        }
        listed
    }
}

/// Which addresses may send. A denied one may not, whatever else allows it.
#[derive(Clone, Debug)]
pub struct AddressCheck {
    /// The addresses that may; nothing where all but the denied ones may.
    pub allow: Option<AddressList>,
    /// The addresses that may not.
    pub deny: AddressList,
}

impl AddressCheck {
    /// Judges `source.address` as Envoy gives it, by the feeds' lists as they are now. Nobody knows whom a feed without a list
    /// would deny: it refuses everyone.
    ///
    /// # Errors
    /// `source_ip_unknown` when there is none, it cannot be read, or a feed that has no list could say something about it;
    /// `source_ip_not_allowed` when it may not send.
    pub fn judge(&self, source: Option<&[u8]>, lists: &Lists, now: Millis) -> Result<(), Reason> {
        let address = source.and_then(parse).ok_or(Reason::SourceIpUnknown)?;
        let allowed = self.allow.as_ref().map_or(Listed::Yes, |list| list.has(address, lists, now));
        match (self.deny.has(address, lists, now), allowed) {
            (Listed::Yes, _) | (_, Listed::No) => Err(Reason::SourceIpNotAllowed),
            (Listed::Unknown, _) | (_, Listed::Unknown) => Err(Reason::SourceIpUnknown),
            (Listed::No, Listed::Yes) => Ok(()),
        }
    }
}

/// Reads `ip:port` or a bare address, IPv6 in brackets before a port, with or without a zone. IPv4-mapped IPv6 counts
/// as IPv4; no other embedding does.
fn parse(source: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(source).ok()?;
    let unzoned = without_zone(text)?;
    let address = unzoned
        .parse::<SocketAddr>()
        .map(|socket| socket.ip())
        .or_else(|_| unzoned.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>())
        .ok()?;
    Some(address.to_canonical())
}

/// A zone (RFC 4007 11) names a local interface, not the sender.
fn without_zone(text: &str) -> Option<String> {
    let Some((address, zone)) = text.split_once('%') else { return Some(text.to_owned()) };
    match zone.split_once(']') {
        Some((_, rest)) => Some(format!("{address}]{rest}")),
        None if address.starts_with('[') => None,
        None => Some(address.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn set(networks: &[&str]) -> AddressList {
        let set = networks.iter().map(|text| crate::address::network(text).unwrap()).collect();
        AddressList { set, feeds: Vec::new() }
    }

    fn judge(check: &AddressCheck, source: Option<&[u8]>) -> Result<(), Reason> {
        check.judge(source, &Lists::default(), NOW)
    }

    #[test]
    fn a_source_is_judged_by_its_address_alone() {
        let check = AddressCheck {
            allow: Some(set(&[
                "192.0.2.0/24",
                "10.0.0.0/9",
                "10.128.0.0/9",
                "2001:db8::/32",
                "198.51.100.7/32",
            ])),
            deny: set(&["192.0.2.128/25"]),
        };
        let not_allowed = Err(Reason::SourceIpNotAllowed);
        let unknown = Err(Reason::SourceIpUnknown);
        for (source, verdict) in [
            ("192.0.2.1:443", Ok(())),
            ("192.0.2.1", Ok(())),
            ("192.0.2.127:0", Ok(())),
            ("192.0.2.128:1", not_allowed),
            ("10.127.255.255:1", Ok(())),
            ("10.128.0.0:1", Ok(())),
            ("11.0.0.0:1", not_allowed),
            ("9.255.255.255:1", not_allowed),
            ("198.51.100.7:1", Ok(())),
            ("198.51.100.8:1", not_allowed),
            ("[2001:db8::7]:5555", Ok(())),
            ("2001:db8::7", Ok(())),
            ("[2001:db8::7%eth0]:1", Ok(())),
            ("2001:db8::7%eth0", Ok(())),
            ("[2001:db9::]:1", not_allowed),
            ("[::ffff:192.0.2.1]:1", Ok(())),
            ("[::ffff:192.0.2.200]:1", not_allowed),
            ("[::192.0.2.1]:1", not_allowed),
            ("[64:ff9b::192.0.2.1]:1", not_allowed),
            ("[2002:c000:201::]:1", not_allowed),
            ("", unknown),
            ("[2001:db8::7%eth0", unknown),
            ("localhost:80", unknown),
            ("192.0.2.1:x", unknown),
            ("192.0.2.1, 192.0.2.2", unknown),
            ("/var/run/socket", unknown),
        ] {
            assert_eq!(judge(&check, Some(source.as_bytes())), verdict, "{source}");
        }
        assert_eq!(judge(&check, None), unknown);
        assert_eq!(judge(&check, Some(b"\xff")), unknown);
    }

    #[test]
    fn without_an_allowlist_only_the_denied_ones_may_not() {
        let check = AddressCheck { allow: None, deny: set(&["192.0.2.0/24"]) };
        assert_eq!(judge(&check, Some(b"192.0.2.1:1")), Err(Reason::SourceIpNotAllowed));
        assert_eq!(judge(&check, Some(b"192.0.3.1:1")), Ok(()));
    }
}
