//! Near misses of the URL: the address as the sender knows it is not the one that the gateway was told.
//!
//! Responsible for the URLs that a proxy in between, or a slip, could have made of one another.

use super::delivery::Delivery;
use super::miss::{Candidate, Candidates, Miss};
use crate::input::capture::host_and_port;
use std::sync::Arc;
use webhook_guard_core::signature::Scheme;
use webhook_guard_core::signature::template::Part;

/// At most this many URLs are tried.
const MOST: usize = 600;

/// Headers in which a proxy keeps the host that was asked for.
const HOSTS: [&str; 4] = ["x-forwarded-host", "x-original-host", "x-envoy-original-host", "x-host"];
/// Headers in which a proxy keeps the path that was asked for.
const PATHS: [&str; 5] =
    ["x-envoy-original-path", "x-original-uri", "x-original-url", "x-rewrite-url", "x-forwarded-uri"];

/// A part of the URL with what was changed in it; nothing for the part as it is.
type Variant = (String, Option<&'static str>);

/// Whether the scheme signs where the request went.
pub(crate) fn is_signed(scheme: &Scheme) -> bool {
    signs_base(scheme) || scheme.signed.has(&Part::Path)
}

/// Whether the scheme signs the whole URL, so that the gateway must know it.
pub(crate) fn signs_base(scheme: &Scheme) -> bool {
    scheme.covers_url()
}

/// The base that the request itself suggests, where none is given.
pub(crate) fn guess(request: &crate::input::capture::Capture) -> String {
    let scheme = request.text("x-forwarded-proto").or(request.scheme.as_deref()).unwrap_or("https");
    let host = request.text("x-forwarded-host").unwrap_or(&request.authority);
    format!("{}://{}", scheme.trim(), host.trim())
}

/// Every other URL, the least changed first.
pub(crate) fn candidates(delivery: &Delivery) -> Candidates<'_> {
    let Some(scheme) = delivery.scheme().filter(|scheme| is_signed(scheme)) else {
        return Box::new(std::iter::empty());
    };
    let base = delivery.public_url.as_deref().unwrap_or("https://localhost");
    let (proto, rest) = base.split_once("://").unwrap_or(("https", base));
    let (authority, prefix) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
        Some((authority, prefix)) => (authority, prefix),
        None => (rest, ""),
    };
    let (host, port) = port_of(authority);
    let targets = targets(delivery, prefix);
    let mut urls: Vec<(usize, String, String, Vec<&'static str>)> = Vec::new();
    let mut protos = variants(proto, [(if proto == "https" { "http" } else { "https" }, "url-scheme")]);
    let (mut hosts, mut ports, mut prefixes) =
        (hosts(delivery, host), ports(delivery, port, proto), prefixes(prefix));
    if !signs_base(scheme) {
        for others in [&mut protos, &mut hosts, &mut ports, &mut prefixes] {
            others.truncate(1);
        }
    }
    for (target, target_change) in &targets {
        for (host, host_change) in &hosts {
            for (port, port_change) in &ports {
                for (proto, proto_change) in &protos {
                    for (prefix, prefix_change) in &prefixes {
                        let all = [proto_change, host_change, port_change, prefix_change, target_change];
                        let changes: Vec<&'static str> = all.into_iter().copied().flatten().collect();
                        if !changes.is_empty() {
                            let base = format!("{proto}://{host}{port}{prefix}");
                            urls.push((changes.len(), base, target.clone(), changes));
                        }
                    }
                }
            }
        }
    }
    urls.sort_by_key(|(count, ..)| *count);
    Box::new(urls.into_iter().take(MOST).filter_map(|(_, base, target, changes)| {
        let code = *changes.first()?;
        let path = target.split('?').next().unwrap_or_default();
        let query = if target.contains('?') { "?…" } else { "" };
        let shown = format!("{base}{path}{query}");
        let words: Vec<&str> = changes.iter().map(|code| part(code)).collect();
        let changed = delivery.with_request(|request| request.target.clone_from(&target));
        Some(Candidate {
            delivery: super::delivery::Delivery { public_url: Some(Arc::from(base.as_str())), ..changed },
            miss: Miss::new(
                code,
                format!("The sender signed another URL, {shown}: {} differs.", words.join(" and ")),
                sender(code),
                gateway(code, &base),
            ),
        })
    }))
}

fn part(code: &str) -> &'static str {
    match code {
        "url-scheme" => "its scheme (http or https)",
        "url-host" => "its host",
        "url-port" => "its port",
        "url-query" => "its query",
        "url-trailing-slash" => "the slash at its end",
        _ => "its path",
    }
}

fn sender(code: &str) -> String {
    match code {
        "url-query" => "enter the URL with the query that it sends".to_owned(),
        _ => "nothing to do, or enter the URL as the gateway has it in `public_url`".to_owned(),
    }
}

fn gateway(code: &str, base: &str) -> String {
    match code {
        "url-scheme" | "url-host" | "url-port" => {
            format!("set `public_url` to {base}, as it is entered at the sender")
        }
        "url-query" => "let no proxy before the filter change the query".to_owned(),
        _ => format!(
            "set `public_url` to {base}, with the path that a proxy takes off; let no proxy before the filter rewrite the path"
        ),
    }
}

fn variants<const N: usize>(own: &str, others: [(&str, &'static str); N]) -> Vec<Variant> {
    let mut all = vec![(own.to_owned(), None)];
    all.extend(others.into_iter().map(|(text, code)| (text.to_owned(), Some(code))));
    all
}

fn add(all: &mut Vec<Variant>, text: String, code: &'static str) {
    if all.iter().all(|(known, _)| *known != text) {
        all.push((text, Some(code)));
    }
}

/// Host and port; the port with its colon, or empty. What is no authority is a host: it may be a stranger's.
fn port_of(authority: &str) -> (&str, &str) {
    host_and_port(authority).unwrap_or((authority, ""))
}

fn hosts(delivery: &Delivery, own: &str) -> Vec<Variant> {
    let mut all = vec![(own.to_owned(), None)];
    let named = HOSTS.iter().filter_map(|name| delivery.request.text(name));
    let given = named.flat_map(|value| value.split(',')).map(str::trim);
    for host in given.chain([delivery.request.authority.as_str()]).filter(|host| !host.is_empty()) {
        add(&mut all, port_of(host).0.to_owned(), "url-host");
    }
    let bare = own.strip_prefix("www.");
    add(&mut all, bare.map_or_else(|| format!("www.{own}"), str::to_owned), "url-host");
    add(&mut all, own.to_ascii_lowercase(), "url-host");
    all
}

fn ports(delivery: &Delivery, own: &str, proto: &str) -> Vec<Variant> {
    let mut all = vec![(own.to_owned(), None)];
    let usual = if proto == "https" { [":443", ":80"] } else { [":80", ":443"] };
    let asked = port_of(&delivery.request.authority).1;
    let forwarded = delivery.request.text("x-forwarded-port").map(|port| format!(":{}", port.trim()));
    let candidates = ["", asked].into_iter().chain(usual).chain([":8443", ":8080"]).map(str::to_owned);
    for port in candidates.chain(forwarded) {
        add(&mut all, port, "url-port");
    }
    all
}

/// The path of the base, and the base without it.
fn prefixes(own: &str) -> Vec<Variant> {
    let mut all = vec![(own.to_owned(), None)];
    add(&mut all, String::new(), "url-path");
    all
}

/// Paths with queries, as a proxy or a slip changes them.
fn targets(delivery: &Delivery, prefix: &str) -> Vec<Variant> {
    let own = delivery.request.target.as_str();
    let (path, query) = match own.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (own, None),
    };
    let behind = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut all = vec![(own.to_owned(), None)];
    let slash = match path.strip_suffix('/') {
        Some(bare) => bare.to_owned(),
        None => format!("{path}/"),
    };
    add(&mut all, format!("{slash}{behind}"), "url-trailing-slash");
    if let Some(query) = query {
        add(&mut all, path.to_owned(), "url-query");
        let mut pairs: Vec<&str> = query.split('&').collect();
        pairs.reverse();
        add(&mut all, format!("{path}?{}", pairs.join("&")), "url-query");
        pairs.sort_unstable();
        add(&mut all, format!("{path}?{}", pairs.join("&")), "url-query");
        for left_out in query.split('&') {
            let kept: Vec<&str> = query.split('&').filter(|pair| *pair != left_out).collect();
            if !kept.is_empty() {
                add(&mut all, format!("{path}?{}", kept.join("&")), "url-query");
            }
        }
        add(&mut all, format!("{path}?{}", query.replace('+', "%20")), "url-query");
        add(&mut all, format!("{path}?{}", query.replace("%20", "+")), "url-query");
    } else {
        add(&mut all, format!("{path}?"), "url-query");
    }
    for name in PATHS {
        if let Some(value) = delivery.request.text(name).filter(|value| value.starts_with('/')) {
            add(&mut all, value.to_owned(), "url-path");
            add(&mut all, format!("{value}{behind}"), "url-path");
        }
    }
    let forwarded = delivery.request.text("x-forwarded-prefix");
    for prefix in forwarded.into_iter().chain([prefix]) {
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() {
            add(&mut all, format!("{prefix}{path}{behind}"), "url-path");
            if let Some(rest) = path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')) {
                add(&mut all, format!("{rest}{behind}"), "url-path");
            }
        }
    }
    let mut rest = path;
    while let Some((_, tail)) = rest.strip_prefix('/').and_then(|inner| inner.split_once('/')) {
        add(&mut all, format!("/{tail}{behind}"), "url-path");
        rest = rest
            .strip_prefix('/')
            .and_then(|inner| inner.find('/').and_then(|at| inner.get(at..)))
            .unwrap_or("");
    }
    if path == "/" {
        add(&mut all, behind.clone(), "url-trailing-slash");
    }
    all
}
