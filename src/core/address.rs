//! Addresses: networks as they are written, and sets of many thousand of them.
//!
//! Responsible for reading a network strictly, whoever writes it, and for finding an address at the cost of a binary search.

use crate::vocabulary::{ConfigError, Node, Wrong};
use ipnet::IpNet;
use std::net::IpAddr;

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotANetwork {
    /// It is neither an address nor a CIDR block.
    Unreadable,
    /// It has bits set behind its prefix: the block that was meant.
    HostBits(IpNet),
}

/// Reads an address, which is a network of its own, or a CIDR block.
///
/// # Errors
/// What is wrong with it. A leading zero is: who takes it for octal means another network.
pub fn network(text: &str) -> Result<IpNet, NotANetwork> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    // ipnet reads 010.0.0.0/8, and /08.
    let is_strict = text.split_once('/').is_some_and(|(address, prefix)| {
        address.parse::<IpAddr>().is_ok() && (prefix == "0" || !prefix.starts_with('0'))
    });
    let network: IpNet = text.parse().ok().filter(|_| is_strict).ok_or(NotANetwork::Unreadable)?;
    if network.addr() == network.network() {
        Ok(network)
    } else {
        Err(NotANetwork::HostBits(network.trunc()))
    }
}

/// Reads a network of a configuration.
pub(crate) fn read(node: &Node<'_>) -> Result<IpNet, ConfigError> {
    let text = node.text()?;
    network(text).map_err(|wrong| {
        node.error(match wrong {
            NotANetwork::Unreadable => {
                Wrong::Value(text.to_owned(), "is neither an IP address nor a CIDR block")
            }
            NotANetwork::HostBits(meant) => Wrong::HostBits(text.to_owned(), meant.to_string()),
        })
    })
}

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

/// The number of an address, an IPv4 address at its IPv4-mapped place.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_admit_everyone_are_known() {
        for (networks, everyone) in [
            (&["0.0.0.0/0"][..], true),
            (&["::/0"], true),
            (&["0.0.0.0/1", "128.0.0.0/1"], true),
            (&["0.0.0.0/1", "128.0.0.0/2"], false),
            (&["2000::/3"], false),
        ] {
            let set: AddressSet = networks.iter().map(|text| network(text).unwrap()).collect();
            assert_eq!(set.admits_everyone(), everyone, "{networks:?}");
        }
    }

    #[test]
    fn a_network_is_read_in_one_way_or_not_at_all() {
        for (text, read) in [
            ("192.0.2.1", Ok("192.0.2.1/32")),
            ("::ffff:192.0.2.1", Ok("192.0.2.1/32")),
            ("192.0.2.0/24", Ok("192.0.2.0/24")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("192.0.2.1/24", Err(NotANetwork::HostBits("192.0.2.0/24".parse().unwrap()))),
            ("192.0.2.0/33", Err(NotANetwork::Unreadable)),
            ("192.0.2.0/024", Err(NotANetwork::Unreadable)),
            ("010.0.0.0/8", Err(NotANetwork::Unreadable)),
            ("192.0.2.0/", Err(NotANetwork::Unreadable)),
            (" 192.0.2.1", Err(NotANetwork::Unreadable)),
            ("192.0.2.1-192.0.2.9", Err(NotANetwork::Unreadable)),
            ("hooks.example.com", Err(NotANetwork::Unreadable)),
        ] {
            let read = read.map(|text: &str| text.parse().unwrap());
            assert_eq!(network(text), read, "{text}");
        }
    }
}
