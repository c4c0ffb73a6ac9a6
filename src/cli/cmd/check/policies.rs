//! What no single policy shows, or only its whole requirement: reused secrets, an address list that stands alone.
//!
//! Responsible for warnings that the filter does not give.

use super::Findings;
use crate::input::config_files::Plugin;
use crate::input::located_yaml::{Kind, Tree};
use crate::input::named_secrets::NamedSecrets;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use webhook_guard_core::catalogue::{self, Evidence, Way};
use webhook_guard_core::feed::catalogue::{self as feeds, Known};
use webhook_guard_core::resubmit;
use webhook_guard_core::signature::Scheme;

/// The defaults of `window_seconds` and `tolerance_seconds`.
const DEFAULT_WINDOW: u64 = 86_400;
const DEFAULT_TOLERANCE: u64 = 300;

pub(super) fn look(plugin: &Plugin, named: &NamedSecrets<'_>, findings: &mut Findings<'_>) {
    let Some(tree) = &plugin.tree else { return };
    let policies = tree.get("policies").map_or(&[][..], Tree::items);
    // The operator's key is one for all policies; anyone else's is not to be that one.
    let mut seen: BTreeMap<String, (&str, bool)> = BTreeMap::new();
    for policy in policies {
        let name = policy.get("name").and_then(Tree::text).unwrap_or("?");
        let Some(requirement) = policy.get("require") else { continue };
        if address_alone(requirement) {
            findings.warn(
                "address-alone",
                requirement.at,
                format!(
                    "policy {name:?} is satisfied by a public address alone: whoever can make that sender call, \
                     as any customer of GitHub or of a cloud can, gets through; add a signature or a token"
                ),
            );
        }
        replays(policy, name, requirement, findings);
        kept_by_hand(name, requirement, findings);
        unconfirmed(name, requirement, findings);
        let mut own = BTreeMap::new();
        for (secret, is_operators) in secrets(requirement) {
            let Some(identity) = identity(secret, named) else { continue };
            if let Some((other, was_operators)) = seen.get(&identity)
                && !(is_operators && *was_operators)
            {
                let text =
                    format!("policy {name:?} has a secret of policy {other:?}: whoever knows it opens both");
                findings.warn("reused-secret", secret.at, text);
            }
            own.insert(identity, (name, is_operators));
        }
        seen.extend(own);
    }
}

/// Whether addresses are written down that a feed of the catalogue would keep.
fn kept_by_hand(name: &str, requirement: &Tree, findings: &mut Findings<'_>) {
    let all = requirement.all();
    let providers = all.iter().filter_map(|tree| tree.get("signature")?.get("provider")?.text());
    let providers: Vec<&str> = providers.collect();
    let sends = |feed: &Known| feed.providers.iter().any(|one| providers.contains(&one.as_str()));
    let Some(feed) = feeds::all().filter_map(Result::ok).find(sends) else { return };
    let lists = all.iter().filter_map(|tree| tree.get("source_ip")?.get("allow"));
    for allow in lists.filter(|allow| allow.items().iter().all(|entry| entry.get("feed").is_none())) {
        if allow.items().iter().any(is_public) {
            let what = match feed.definition.format {
                Some(_) => "which would follow the provider's list",
                None => "which has the provider's page",
            };
            let feed = feed.name;
            let text = format!(
                "policy {name:?} has addresses that somebody must keep: `feeds` has {feed:?}, {what}; \
                 `webhook-guard addresses {feed} --against FILE` says what has changed"
            );
            findings.warn("addresses-by-hand", allow.at, text);
        }
    }
}

/// Whether a recorded delivery could be played again, for ever or for a while.
fn replays(policy: &Tree, name: &str, requirement: &Tree, findings: &mut Findings<'_>) {
    let duplicates = policy.get("duplicates");
    let window = duplicates.and_then(|tree| number(tree.get("window_seconds")?)).unwrap_or(DEFAULT_WINDOW);
    for signature in requirement.all().into_iter().filter_map(|tree| tree.get("signature")) {
        let Some(tolerance) = tolerance(signature) else { continue };
        match (tolerance, duplicates) {
            (None, None) => findings.warn(
                "replay",
                signature.at,
                format!(
                    "policy {name:?}: the scheme signs no time, so a recorded delivery passes for ever; \
                     with `\"duplicates\": {{}}` each passes once"
                ),
            ),
            (Some(tolerance), Some(duplicates)) if window < tolerance => findings.warn(
                "short-window",
                duplicates.at,
                format!(
                    "policy {name:?}: a delivery is forgotten after {window} s and its time admits it for {tolerance} s: \
                     in between it passes again"
                ),
            ),
            _ => {}
        }
    }
}

/// Whether nothing is known that says how a provider signs.
fn unconfirmed(name: &str, requirement: &Tree, findings: &mut Findings<'_>) {
    for signature in requirement.all().into_iter().filter_map(|tree| tree.get("signature")) {
        let Some((provider, at)) = signature.get("provider").and_then(|tree| Some((tree.text()?, tree.at)))
        else {
            continue;
        };
        let Ok(Some(known)) = catalogue::get(provider) else { continue };
        if known.checked.kind == Evidence::Unconfirmed {
            findings.warn(
                "unconfirmed-provider",
                at,
                format!(
                    "policy {name:?}: nothing that can be cited confirms how {provider} authenticates its deliveries; try \
                     it with `\"mode\": \"report\"` first"
                ),
            );
        }
    }
}

/// For how many seconds the signed time of a signature admits it; nothing within where it signs none, and nothing at all
/// where that cannot be told.
fn tolerance(signature: &Tree) -> Option<Option<u64>> {
    let signs = match (signature.get("provider"), signature.get("scheme")) {
        (Some(provider), _) => match catalogue::get(provider.text()?).ok()??.way {
            Way::Signed(scheme, _) => scheme.admits_seconds().map(u64::from),
            Way::Token(_) => return None,
        },
        (None, Some(scheme))
            if ["jwt", "message_signature", "sns"].iter().any(|key| scheme.get(key).is_some()) =>
        {
            let (read, _) = Scheme::from_json(scheme.to_json().to_string().as_bytes()).ok()?;
            read.admits_seconds().map(u64::from)
        }
        (None, Some(scheme)) => scheme
            .get("timestamp")
            .map(|time| time.get("tolerance_seconds").and_then(number).unwrap_or(DEFAULT_TOLERANCE)),
        (None, None) => return None,
    };
    let own = signature.get("tolerance_seconds").and_then(number);
    Some(signs.map(|default| own.unwrap_or(default)))
}

fn number(tree: &Tree) -> Option<u64> {
    tree.to_json().as_u64()
}

/// Everything in the `secrets` of a requirement, and whether it is a key of the operator.
fn secrets(requirement: &Tree) -> Vec<(&Tree, bool)> {
    let all = requirement.all().into_iter();
    let checks = all.filter_map(|tree| Some((tree.get("secrets")?, is_of_operator(tree))));
    checks.flat_map(|(list, is_operators)| list.items().iter().map(move |one| (one, is_operators))).collect()
}

fn is_of_operator(signature: &Tree) -> bool {
    signature.get("provider").and_then(Tree::text) == Some(resubmit::PROVIDER)
}

/// What tells one secret from another: its value where it is known, else where it comes from.
fn identity(secret: &Tree, named: &NamedSecrets<'_>) -> Option<String> {
    let line = |text: &str| format!("value {}", text.trim_end_matches(['\r', '\n']));
    if let Some(value) = secret.get("value").and_then(Tree::text) {
        return Some(format!("value {value}"));
    }
    if let Some(digest) = secret.get("sha256").and_then(Tree::text) {
        return Some(format!("sha256 {}", digest.to_ascii_lowercase()));
    }
    if let Some(path) = secret.get("file").and_then(Tree::text) {
        return Some(named.known_file(path).map_or_else(|| format!("file {path}"), |text| line(&text)));
    }
    let variable = secret.get("env")?.text()?;
    let member = secret.get("key").and_then(Tree::text);
    match (named.variable(variable), member) {
        (Some(value), None) => Some(line(&value)),
        (_, member) => Some(format!("env {variable} {}", member.unwrap_or_default())),
    }
}

/// Whether a requirement can hold by addresses alone, and one of them is public.
fn address_alone(requirement: &Tree) -> bool {
    let Kind::Object(members) = &requirement.value else { return false };
    let mut names_public = false;
    for (key, _, value) in members {
        let holds = match key.as_str() {
            "source_ip" => {
                let allowed = value.get("allow");
                names_public |= allowed.is_none_or(|list| list.items().iter().any(is_public));
                true
            }
            "any_of" => {
                let alone = value.items().iter().any(address_alone);
                names_public |= alone;
                alone
            }
            "all_of" => {
                let alone = value.items().iter().all(address_alone);
                names_public |= alone;
                alone
            }
            _ => false,
        };
        if !holds {
            return false;
        }
    }
    names_public
}

/// Whether an entry of an address list reaches beyond private networks (RFC 1918, RFC 4193) and this machine.
fn is_public(entry: &Tree) -> bool {
    // A feed is what a provider sends from, for any of its customers.
    if entry.get("feed").is_some() {
        return true;
    }
    let text = entry.text().unwrap_or_default();
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let private = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "100.64.0.0/10",
        "fc00::/7",
        "::1/128",
    ];
    let mut private = private.iter().filter_map(|text| text.parse::<IpNet>().ok());
    network.is_some_and(|network| !private.any(|one| one.contains(&network)))
}
