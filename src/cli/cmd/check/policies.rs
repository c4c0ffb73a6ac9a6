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

pub(super) fn look(plugin: &Plugin, named: &NamedSecrets<'_>, findings: &mut Findings<'_>) {
    let Some(tree) = &plugin.tree else { return };
    let policies = tree.get("policies").map_or(&[][..], Tree::items);
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
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
        let mut own = BTreeMap::new();
        for secret in secrets(requirement) {
            let Some(identity) = identity(secret, named) else { continue };
            if let Some(other) = seen.get(&identity) {
                let text =
                    format!("policy {name:?} has a secret of policy {other:?}: whoever knows it opens both");
                findings.warn("reused-secret", secret.at, text);
            }
            own.insert(identity, name);
        }
        seen.extend(own);
    }
}

/// Everything in the `secrets` of a requirement.
fn secrets(requirement: &Tree) -> Vec<&Tree> {
    let all = requirement.all();
    all.into_iter().filter_map(|tree| tree.get("secrets")).flat_map(Tree::items).collect()
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
