//! Who may see messages, and who may send them again.
//!
//! Responsible for names, tokens and permissions, and for refusing what another web page makes a browser ask: a request is
//! for a name that is this program's (DNS rebinding), and what changes something comes from a page of this program (CSRF).

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use ipnet::IpNet;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq as _;

/// The fewest bytes of a token: it is random, or it could be guessed from its digest.
const LEAST_TOKEN: usize = 16;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Permission {
    /// See which messages there are, and why each was refused.
    List,
    /// See their headers and bodies.
    Payload,
    /// Send one again.
    Resubmit,
}

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) may: Vec<Permission>,
}

impl User {
    /// Whether somebody may do that.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.may.contains(&permission)
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is for another host.
    Host,
    /// It comes from a page of another origin.
    Origin,
    /// It does not come from the proxy that is in front.
    Proxy,
    /// It names nobody who is known.
    Nobody,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'r> {
    pub(crate) peer: IpAddr,
    pub(crate) host: Option<&'r [u8]>,
    pub(crate) origin: Option<&'r [u8]>,
    /// `Sec-Fetch-Site`: what a browser says of where the request comes from.
    pub(crate) site: Option<&'r [u8]>,
    pub(crate) authorization: Option<&'r [u8]>,
    /// Whether it changes something.
    pub(crate) is_change: bool,
    /// Whether it asks for the page itself, to which anyone may link.
    pub(crate) is_page: bool,
}

/// Who may do what, and from where.
#[derive(Debug)]
pub(crate) struct Access {
    users: Vec<(User, [u8; 32])>,
    /// Who it is where nobody has to say: on loopback alone.
    local: Option<User>,
    /// The values of `Host` that are this program's, in lower case.
    hosts: Vec<String>,
    /// The origins of its pages, in lower case.
    origins: Vec<String>,
    /// The proxies that requests must come from, where any are named.
    proxies: Vec<IpNet>,
}

/// A file of users.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserFile {
    users: Vec<UserEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    token_sha256: Option<String>,
    token_file: Option<PathBuf>,
    may: Vec<Permission>,
}

/// Reads a file of users: `{"users": [{"name": "anna", "token_sha256": HEX, "may": ["list"]}]}`.
pub(crate) fn read_users(path: &Path) -> Result<Vec<(User, [u8; 32])>, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let file: UserFile = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let mut users: Vec<(User, [u8; 32])> = Vec::new();
    for (index, entry) in file.users.into_iter().enumerate() {
        let at = |what: &str| wrong(format!("users[{index}]{what}"));
        if !is_name(&entry.name) {
            return Err(at(".name: must be 1 to 64 of A-Z a-z 0-9 . _ @ -"));
        }
        if users.iter().any(|(user, _)| user.name == entry.name) {
            return Err(at(".name: is the name of an earlier user"));
        }
        let digest = match (entry.token_sha256, entry.token_file) {
            (Some(hex), None) => {
                digest(&hex).ok_or_else(|| at(".token_sha256: must be 64 hexadecimal digits"))?
            }
            (None, Some(file)) => {
                Sha256::digest(read_token(&file).map_err(|error| at(&format!(".token_file: {error}")))?)
                    .into()
            }
            _ => return Err(at(": must have exactly one of token_sha256 and token_file")),
        };
        users.push((User { name: entry.name, may: entry.may }, digest));
    }
    if users.is_empty() { Err(wrong("users: must not be empty".to_owned())) } else { Ok(users) }
}

/// Reads a token from a file; one line feed at its end is none of it.
pub(crate) fn read_token(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let token = text.strip_suffix('\n').unwrap_or(&text);
    if token.len() < LEAST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{}: must hold at least {LEAST_TOKEN} printable characters without blanks",
            path.display()
        ));
    }
    Ok(token.to_owned())
}

/// Whether a text is the name of somebody, which is sent in a header and shown.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one).ct_eq(&Sha256::digest(other)).into()
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()
}

impl Access {
    /// Access for a program that listens there.
    ///
    /// # Errors
    /// Where strangers could reach it unasked, or read what goes over the wire.
    pub(crate) fn new(
        listen: SocketAddr,
        users: Vec<(User, [u8; 32])>,
        local_name: &str,
        is_encrypted: bool,
        proxies: Vec<IpNet>,
        public_url: Option<&str>,
    ) -> Result<Self, String> {
        let is_local = listen.ip().is_loopback();
        if !is_local && users.is_empty() {
            return Err(format!("{listen} can be reached by others: --access must say who may do what"));
        }
        if !is_local && !is_encrypted && proxies.is_empty() {
            return Err(format!(
                "{listen} can be reached by others: it needs --tls-cert and --tls-key, or --proxy with the address of the \
                 proxy in front of it that encrypts"
            ));
        }
        if !is_local && public_url.is_none() {
            return Err(format!("{listen} can be reached by others: --public-url must say under which URL"));
        }
        let scheme = if is_encrypted { "https" } else { "http" };
        let port = listen.port();
        let mut hosts = Vec::new();
        let mut origins = Vec::new();
        if is_local {
            hosts.extend([format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")]);
            origins.extend(hosts.iter().map(|host| format!("{scheme}://{host}")));
        }
        if let Some(url) = public_url {
            let url = url.trim_end_matches('/').to_ascii_lowercase();
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let host = host.filter(|host| !host.is_empty() && !host.contains(['/', '@', '?', '#']));
            let host =
                host.ok_or("--public-url must be such as https://messages.example.com, without a path")?;
            hosts.push(host.to_owned());
            origins.push(url);
        }
        let all = vec![Permission::List, Permission::Payload, Permission::Resubmit];
        let local = users.is_empty().then(|| User { name: local_name.to_owned(), may: all });
        Ok(Self { users, local, hosts, origins, proxies })
    }

    /// Who sends a request.
    pub(crate) fn admit(&self, request: Request<'_>) -> Result<&User, Refusal> {
        let is_one_of = |given: Option<&[u8]>, known: &[String]| {
            let given = given.map(<[u8]>::to_ascii_lowercase).unwrap_or_default();
            known.iter().any(|one| one.as_bytes() == given)
        };
        let peer = request.peer.to_canonical();
        if !self.proxies.is_empty() && !self.proxies.iter().any(|proxy| proxy.contains(&peer)) {
            return Err(Refusal::Proxy);
        }
        if !is_one_of(request.host, &self.hosts) {
            return Err(Refusal::Host);
        }
        let is_bearer = request.authorization.is_some_and(|value| value.starts_with(b"Bearer "));
        // A browser adds what it remembers to any request, a Bearer token never.
        let must_say = request.is_change && !is_bearer;
        if (request.origin.is_some() || must_say) && !is_one_of(request.origin, &self.origins) {
            return Err(Refusal::Origin);
        }
        let is_own = matches!(request.site, None | Some(b"same-origin" | b"none"));
        if !is_own && !request.is_page {
            return Err(Refusal::Origin);
        }
        match (&self.local, request.authorization) {
            (Some(local), _) => Ok(local),
            (None, Some(authorization)) => self.user(authorization).ok_or(Refusal::Nobody),
            (None, None) => Err(Refusal::Nobody),
        }
    }

    fn user(&self, authorization: &[u8]) -> Option<&User> {
        let (name, token) = if let Some(token) = authorization.strip_prefix(b"Bearer ") {
            (None, token.to_vec())
        } else {
            let pair = BASE64.decode(authorization.strip_prefix(b"Basic ")?).ok()?;
            let colon = pair.iter().position(|byte| *byte == b':')?;
            let (name, token) = pair.split_at_checked(colon)?;
            (Some(name.to_vec()), token.get(1..)?.to_vec())
        };
        let given = Sha256::digest(&token);
        let mut found = None;
        // No early exit: how long it takes does not tell whose token it was.
        for (user, digest) in &self.users {
            let is_named = name.as_ref().is_none_or(|name| name == user.name.as_bytes());
            if bool::from(given.as_slice().ct_eq(digest.as_slice())) && is_named {
                found = Some(user);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'r>(host: &'r str, origin: Option<&'r str>, is_change: bool) -> Request<'r> {
        Request {
            peer: IpAddr::from([127, 0, 0, 1]),
            host: Some(host.as_bytes()),
            origin: origin.map(str::as_bytes),
            site: None,
            authorization: None,
            is_change,
            is_page: false,
        }
    }

    fn users() -> Vec<(User, [u8; 32])> {
        let user = |name: &str, may: &[Permission]| User { name: name.to_owned(), may: may.to_vec() };
        vec![
            (user("anna", &[Permission::List]), Sha256::digest("token-of-anna-0123").into()),
            (user("bob", &[Permission::Resubmit]), Sha256::digest("token-of-bob-01234").into()),
        ]
    }

    #[test]
    fn a_request_is_for_this_program_and_from_its_page() {
        let local = SocketAddr::from(([127, 0, 0, 1], 8095));
        let access = Access::new(local, Vec::new(), "me", false, Vec::new(), None).unwrap();
        for (request, answer) in [
            (request("localhost:8095", None, false), Ok("me")),
            (request("LOCALHOST:8095", None, false), Ok("me")),
            (request("[::1]:8095", Some("http://127.0.0.1:8095"), true), Ok("me")),
            (request("evil.example:8095", None, false), Err(Refusal::Host)),
            (request("localhost", None, false), Err(Refusal::Host)),
            (request("localhost:8095", None, true), Err(Refusal::Origin)),
            (request("localhost:8095", Some("http://evil.example"), false), Err(Refusal::Origin)),
            (request("localhost:8095", Some("https://localhost:8095"), true), Err(Refusal::Origin)),
            (request("localhost:8095", Some("null"), true), Err(Refusal::Origin)),
            (
                Request { site: Some(b"cross-site"), ..request("localhost:8095", None, false) },
                Err(Refusal::Origin),
            ),
            (
                Request { site: Some(b"same-site"), ..request("localhost:8095", None, false) },
                Err(Refusal::Origin),
            ),
            (
                Request {
                    site: Some(b"cross-site"),
                    is_page: true,
                    ..request("localhost:8095", None, false)
                },
                Ok("me"),
            ),
            (Request { host: None, ..request("", None, false) }, Err(Refusal::Host)),
        ] {
            assert_eq!(access.admit(request).map(|user| user.name.as_str()), answer, "{request:?}");
        }
    }

    #[test]
    fn everybody_has_a_token_where_others_can_reach_it() {
        let open = SocketAddr::from(([0, 0, 0, 0], 8095));
        let url = Some("https://messages.example.com");
        let proxy: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (users, is_encrypted, proxies, url, complaint) in [
            (Vec::new(), true, Vec::new(), url, "--access"),
            (users(), false, Vec::new(), url, "--tls-cert"),
            (users(), true, Vec::new(), None, "--public-url"),
            (users(), true, Vec::new(), Some("messages.example.com"), "https://"),
        ] {
            let error = Access::new(open, users, "me", is_encrypted, proxies, url).unwrap_err();
            assert!(error.contains(complaint), "{error}");
        }
        let access = Access::new(open, users(), "me", false, proxy, url).unwrap();
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair.as_bytes()));
        for (peer, authorization, is_change, answer) in [
            ([10, 0, 0, 1], basic("anna:token-of-anna-0123"), false, Ok("anna")),
            ([10, 0, 0, 1], "Bearer token-of-bob-01234".to_owned(), true, Ok("bob")),
            ([192, 0, 2, 1], "Bearer token-of-bob-01234".to_owned(), true, Err(Refusal::Proxy)),
            ([10, 0, 0, 1], basic("anna:token-of-bob-01234"), false, Err(Refusal::Nobody)),
            ([10, 0, 0, 1], basic("anna"), false, Err(Refusal::Nobody)),
            ([10, 0, 0, 1], "Bearer ".to_owned(), false, Err(Refusal::Nobody)),
            ([10, 0, 0, 1], String::new(), false, Err(Refusal::Nobody)),
            ([10, 0, 0, 1], basic("anna:token-of-anna-0123"), true, Err(Refusal::Origin)),
        ] {
            let request = Request {
                peer: IpAddr::from(peer),
                authorization: Some(authorization.as_bytes()),
                ..request("messages.example.com", None, is_change)
            };
            assert_eq!(access.admit(request).map(|user| user.name.as_str()), answer, "{authorization}");
        }
    }
}
