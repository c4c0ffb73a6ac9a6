//! The host of an authority, where there is no doubt about it.
//!
//! Responsible for taking `:authority` apart, more strictly than RFC 3986 3.2 and the `http` crate do: both admit
//! userinfo and characters that no host of a webhook has, and what one reader takes for the host another does not.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name in DNS, with its dots (RFC 1035 2.3.4, without the final one).
const MAX_LENGTH: usize = 253;

/// The host of `host`, `host:port` or `[v6]:port`: in lower case, without port and final dot, an IPv6 address in its
/// canonical form (RFC 5952) and in brackets.
///
/// Nothing where it is of another form: an empty label, a second colon, a comma (what two `host` headers become),
/// userinfo, a blank, an escape, a port that is none, or an address that a resolver would complete (`127.1`).
#[must_use]
pub fn host(authority: &[u8]) -> Option<Cow<'_, [u8]>> {
    if let Some(rest) = authority.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']')?;
        let (address, port) = rest.split_at_checked(end)?;
        let port = port.strip_prefix(b"]")?;
        let is_port = port.is_empty() || port.strip_prefix(b":").is_some_and(is_port);
        let address: Ipv6Addr = std::str::from_utf8(address).ok()?.parse().ok()?;
        return is_port.then(|| format!("[{address}]").into_bytes().into());
    }
    let (name, port) = match authority.iter().position(|byte| *byte == b':') {
        Some(colon) => (authority.get(..colon)?, authority.get(colon.checked_add(1)?..)),
        None => (authority, None),
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_known = port.is_none_or(is_port) && is_name(name);
    let lower = || {
        if name.iter().any(u8::is_ascii_uppercase) { name.to_ascii_lowercase().into() } else { name.into() }
    };
    is_known.then(lower)
}

fn is_port(text: &[u8]) -> bool {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.is_some_and(|digits| digits.parse::<u16>().is_ok())
}

/// Names as they occur, `_` included, and IPv4 addresses. What ends in a number is an address or none: many resolvers
/// take `0x7f.1` for one (WHATWG URL, "ends in a number").
fn is_name(name: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        !label.is_empty()
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let mut labels = name.split(|byte| *byte == b'.');
    let is_number = |label: &[u8]| {
        let digits = label.strip_prefix(b"0x").or_else(|| label.strip_prefix(b"0X"));
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            || label.iter().all(u8::is_ascii_digit)
    };
    let is_address = || std::str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv4Addr>().is_ok());
    name.len() <= MAX_LENGTH
        && labels.clone().all(is_label)
        && (!labels.next_back().is_some_and(is_number) || is_address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_taken_only_from_an_authority_without_doubt() {
        let long = format!("{}a", "a.".repeat(126));
        for (authority, expected) in [
            ("hooks.example.com", Some("hooks.example.com")),
            ("Hooks.Example.COM:8443", Some("hooks.example.com")),
            ("hooks.example.com.:0", Some("hooks.example.com")),
            ("localhost", Some("localhost")),
            ("a_b.xn--4ca.example", Some("a_b.xn--4ca.example")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("127.0.0.1.", Some("127.0.0.1")),
            ("1.example", Some("1.example")),
            ("0xg", Some("0xg")),
            ("[::1]", Some("[::1]")),
            ("[2001:DB8:0:0::1]:443", Some("[2001:db8::1]")),
            (&long, Some(&long)),
            (&format!("{long}a"), None),
            ("", None),
            (".", None),
            ("..", None),
            (":80", None),
            ("a:", None),
            ("a::80", None),
            ("a:80:81", None),
            ("a:65536", None),
            ("a:000080", None),
            ("a:+1", None),
            ("a: 1", None),
            ("a..b", None),
            (".a", None),
            ("a..", None),
            ("a,b", None),
            ("u@a", None),
            ("a b", None),
            ("a%2eb", None),
            ("ä", None),
            ("127.1", None),
            ("127.0.0.01", None),
            ("2130706433", None),
            ("0x7f000001", None),
            ("0x", None),
            ("[::1", None),
            ("[::1]80", None),
            ("[::1]:", None),
            ("[::1%25lo]", None),
            ("[127.0.0.1]", None),
            ("::1", None),
        ] {
            let found = host(authority.as_bytes()).map(|host| String::from_utf8(host.into_owned()).unwrap());
            assert_eq!(found.as_deref(), expected, "{authority}");
        }
        assert_eq!(host(b"a\xff"), None);
    }
}
