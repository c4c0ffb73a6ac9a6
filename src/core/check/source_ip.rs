//! The source check: is the address that Envoy trusts one that may send?
//!
//! Responsible for reading `source.address` and for lists of many thousand prefixes at the cost of a binary search.

use crate::decision::Reason;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// A set of addresses as sorted, disjoint ranges. IPv4 addresses sit at their IPv4-mapped place, so that one search
/// answers for both families and a mapped address is the IPv4 address it stands for.
#[derive(Clone, Debug, Default)]
pub struct AddressSet {
    ranges: Vec<(u128, u128)>,
}

impl FromIterator<IpNet> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let mut all: Vec<(u128, u128)> = networks
            .into_iter()
            .map(|network| (number(network.network()), number(network.broadcast())))
            .collect();
        all.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        ranges.shrink_to_fit();
        Self { ranges }
    }
}

impl AddressSet {
    /// Whether the address is in the set.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let wanted = number(address);
        let after = self.ranges.partition_point(|(first, _)| *first <= wanted);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, last)| wanted <= *last)
    }

    /// Whether every IPv4 or every IPv6 address is in the set, so that the list keeps nobody out.
    #[must_use]
    pub fn admits_everyone(&self) -> bool {
        let ipv4 = (number(IpAddr::from([0, 0, 0, 0])), number(IpAddr::from([255, 255, 255, 255])));
        self.ranges.iter().any(|(first, last)| *first <= ipv4.0 && ipv4.1 <= *last)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Which addresses may send. A denied one may not, whatever else allows it.
#[derive(Clone, Debug)]
pub struct AddressCheck {
    /// The addresses that may; nothing where all but the denied ones may.
    pub allow: Option<AddressSet>,
    /// The addresses that may not.
    pub deny: AddressSet,
}

impl AddressCheck {
    /// Judges `source.address` as Envoy gives it.
    ///
    /// # Errors
    /// `source_ip_unknown` when there is none or it cannot be read, `source_ip_not_allowed` when it may not send.
    pub fn judge(&self, source: Option<&[u8]>) -> Result<(), Reason> {
        let address = source.and_then(parse).ok_or(Reason::SourceIpUnknown)?;
        let allowed = self.allow.as_ref().is_none_or(|set| set.contains(address));
        if allowed && !self.deny.contains(address) { Ok(()) } else { Err(Reason::SourceIpNotAllowed) }
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

    fn set(networks: &[&str]) -> AddressSet {
        networks.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()
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
            assert_eq!(check.judge(Some(source.as_bytes())), verdict, "{source}");
        }
        assert_eq!(check.judge(None), unknown);
        assert_eq!(check.judge(Some(b"\xff")), unknown);
    }

    #[test]
    fn without_an_allowlist_only_the_denied_ones_may_not() {
        let check = AddressCheck { allow: None, deny: set(&["192.0.2.0/24"]) };
        assert_eq!(check.judge(Some(b"192.0.2.1:1")), Err(Reason::SourceIpNotAllowed));
        assert_eq!(check.judge(Some(b"192.0.3.1:1")), Ok(()));
    }

    #[test]
    fn lists_that_admit_everyone_are_known() {
        for (networks, everyone) in [
            (&["0.0.0.0/0"][..], true),
            (&["::/0"], true),
            (&["0.0.0.0/1", "128.0.0.0/1"], true),
            (&["0.0.0.0/1", "128.0.0.0/2"], false),
            (&["2000::/3"], false),
        ] {
            assert_eq!(set(networks).admits_everyone(), everyone, "{networks:?}");
        }
    }
}
