//! The TLS listener under a guard that judges client certificates.
//!
//! Responsible for what the guard cannot see of it: whether it asks for a certificate, and what it takes for a good one
//! (docs/configuration.md, "The sender's certificate"; Envoy's common.proto and tls.proto).

use super::{Findings, chain};
use crate::input::config_files::{File, Plugin};
use crate::input::located_yaml::Tree;
use serde_json::Value;

/// The keys of `common_tls_context` under which a listener says how it verifies certificates.
const VALIDATION: [&str; 5] = [
    "validation_context",
    "combined_validation_context",
    "validation_context_sds_secret_config",
    "validation_context_certificate_provider",
    "validation_context_certificate_provider_instance",
];

/// Looks at every filter chain of a listener in which the guard stands and asks for a certificate.
pub(super) fn look(file: &File, files: &[File], findings: &mut Findings<'_>) {
    for chain in file.documents.iter().flat_map(Tree::all) {
        let managers = chain.get("filters").map_or(&[][..], Tree::items).iter();
        let filters = managers.filter_map(|one| one.path(&["typed_config", "http_filters"]));
        let guards: Vec<&Plugin> =
            filters.flat_map(Tree::items).filter_map(|filter| chain::guard(filter, file, files)).collect();
        let checks: Vec<&Tree> = guards.into_iter().flat_map(certificate_checks).collect();
        if !checks.is_empty() {
            let names_one = |check: &&Tree| check.get("sha256").is_some();
            listener(chain, files, checks.iter().all(names_one), findings);
        }
    }
}

/// Every `client_certificate` of a configuration.
fn certificate_checks(plugin: &Plugin) -> Vec<&Tree> {
    let all = plugin.tree.iter().flat_map(Tree::all);
    all.filter_map(|tree| tree.get("client_certificate")).collect()
}

/// A filter chain; `by_digest` where every check names its certificates by their digest, which needs no signer.
fn listener(chain: &Tree, files: &[File], by_digest: bool, findings: &mut Findings<'_>) {
    let asks_for_none = "a policy asks for a client certificate, and this listener asks its senders for none: every such request is \
                         a 403 client_certificate_missing; say in a `validation_context` which `trusted_ca` signs them";
    let Some(socket) = chain.get("transport_socket") else {
        findings.warn("no-client-certificate", chain.at, asks_for_none);
        return;
    };
    // Another kind of socket, of which nothing is known here, has no such context.
    let Some((context, common)) =
        socket.all().into_iter().find_map(|tree| Some((tree, tree.get("common_tls_context")?)))
    else {
        return;
    };
    if !VALIDATION.iter().any(|key| common.get(key).is_some()) {
        findings.warn("no-client-certificate", common.at, asks_for_none);
        return;
    }
    // A context that is discovered may stand in these files as a secret, which has a name.
    let secrets = files.iter().flat_map(|file| &file.documents).flat_map(Tree::all);
    let secrets =
        secrets.filter(|tree| tree.get("name").is_some() && tree.get("validation_context").is_some());
    for part in common.all().into_iter().chain(secrets.flat_map(Tree::all)) {
        if let Some(accepts) = part.get("trust_chain_verification").filter(|tree| accepts_untrusted(tree))
            && !by_digest
        {
            let text = "with ACCEPT_UNTRUSTED the listener verifies no certificate, and the guard cannot know: anyone gets through \
                        who writes the right name into one; leave it out, or name certificates by `sha256`";
            findings.warn("unverified-client-certificate", accepts.at, text);
        }
        if let Some(expired) = part.get("allow_expired_certificate").filter(|tree| tree.is(true)) {
            let text = "a certificate that has expired gets through";
            findings.warn("expired-client-certificate", expired.at, text);
        }
    }
    let is_off = |key: &str| context.get(key).is_some_and(|tree| tree.is(true));
    if !is_off("disable_stateless_session_resumption") || !is_off("disable_stateful_session_resumption") {
        let text = "a session that is resumed keeps its certificate after that has expired: say \
                    `disable_stateless_session_resumption: true` and `disable_stateful_session_resumption: true`";
        findings.warn("expired-client-certificate", context.at, text);
    }
}

/// `ACCEPT_UNTRUSTED`, by its name or its number.
fn accepts_untrusted(tree: &Tree) -> bool {
    [Value::from("ACCEPT_UNTRUSTED"), Value::from(1)].contains(&tree.to_json())
}
