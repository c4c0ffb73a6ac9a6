//! What surrounds a configuration: the option that holds the head, its variables, the policy for failures, the cluster of
//! its memory.
//!
//! Responsible for what makes a good configuration unsafe or useless in its gateway (README, "Load it into the Envoy
//! that you have"; Envoy's wasm.proto, Istio's WasmPlugin, Envoy Gateway's EnvoyExtensionPolicy).

use super::chain::BUFFER;
use super::{Findings, dynamic_module};
use crate::input::config_files::{File, Holder, Plugin};
use crate::input::located_yaml::{Kind, Tree};

const OPTION: &str = "allow_on_headers_stop_iteration";

/// Looks at the resource around a configuration.
pub(super) fn look_around(plugin: &Plugin, files: &[File], findings: &mut Findings<'_>) {
    let Some(around) = &plugin.around else { return };
    if plugin.holder.is_native() {
        dynamic_module::look_around(plugin, around, files, findings);
    }
    if let Some(opened) = opened(plugin.holder, around) {
        let text = "when the module fails, requests go on unjudged; take FAIL_RELOAD, or leave it out";
        findings.warn("fail-open", opened.at, text);
    }
    if plugin.holder == Holder::Envoy
        && around.get("failure_policy").is_none_or(|tree| tree.text() != Some("FAIL_RELOAD"))
    {
        let text = "without `failure_policy: FAIL_RELOAD` a module that has trapped refuses everything until Envoy restarts";
        if opened(plugin.holder, around).is_none() {
            findings.warn("no-reload", around.at, text);
        }
    }
    hold(plugin, around, files, findings);
    variables(plugin, around, findings);
    memory(plugin, files, findings);
    feeds(plugin, files, findings);
}

/// Every cluster of these files.
fn clusters(files: &[File]) -> Vec<&Tree> {
    let documents = files.iter().flat_map(|file| &file.documents);
    let lists = documents.flat_map(Tree::all).filter_map(|tree| tree.get("clusters"));
    lists.flat_map(Tree::items).collect()
}

/// Whether the clusters through which feeds are fetched are there, and verify whom they ask. Where no file has clusters, a
/// control plane has them.
fn feeds(plugin: &Plugin, files: &[File], findings: &mut Findings<'_>) {
    let clusters = clusters(files);
    let Some(Kind::Object(feeds)) =
        plugin.tree.as_ref().and_then(|tree| tree.get("feeds")).map(|tree| &tree.value)
    else {
        return;
    };
    for (name, _, feed) in feeds.iter().filter(|_| !clusters.is_empty()) {
        let Some((at, text)) = feed.get("cluster").and_then(|tree| Some((tree.at, tree.text()?))) else {
            continue;
        };
        let found = clusters.iter().find(|cluster| cluster.get("name").and_then(Tree::text) == Some(text));
        match found {
            None => {
                let complaint = format!(
                    "no cluster {text:?} is among these files: the feed {name:?} would never be fetched"
                );
                findings.warn("feed-cluster", at, complaint);
            }
            Some(cluster)
                if cluster.all().iter().all(|tree| {
                    tree.get("trusted_ca").is_none() && tree.get("system_root_certs").is_none()
                }) =>
            {
                let complaint = format!(
                    "the cluster {text:?} verifies no certificate: whoever answers in the name of the feed {name:?} chooses who is let in"
                );
                findings.warn("feed-cluster", cluster.at, complaint);
            }
            Some(_) => {}
        }
    }
}

/// Whether the cluster through which an etcd is asked is there, and speaks HTTP/2. Where no file has clusters, a control
/// plane has them.
fn memory(plugin: &Plugin, files: &[File], findings: &mut Findings<'_>) {
    let name = plugin.tree.as_ref().and_then(|tree| tree.path(&["memory", "etcd", "cluster"]));
    let Some((name, text)) = name.and_then(|name| Some((name, name.text()?))) else { return };
    let clusters = clusters(files);
    if clusters.is_empty() {
        return;
    }
    let found = clusters.iter().find(|cluster| cluster.get("name").and_then(Tree::text) == Some(text));
    match found {
        None => {
            let complaint = format!(
                "no cluster {text:?} is among these files: every delivery would get 503 memory_unavailable"
            );
            findings.warn("memory-cluster", name.at, complaint);
        }
        Some(cluster) if cluster.all().iter().all(|tree| tree.get("http2_protocol_options").is_none()) => {
            let complaint = format!(
                "the cluster {text:?} has no `http2_protocol_options`, without which etcd understands no call"
            );
            findings.warn("memory-cluster", cluster.at, complaint);
        }
        Some(_) => {}
    }
}

fn opened(holder: Holder, around: &Tree) -> Option<&Tree> {
    let text = |key: &str, word: &str| around.get(key).filter(|tree| tree.text() == Some(word));
    let flag = |key: &str| around.get(key).filter(|tree| tree.is(true));
    match holder {
        Holder::File | Holder::Native | Holder::NativeRoute | Holder::NativeExtensionPolicy => None,
        Holder::Envoy => text("failure_policy", "FAIL_OPEN").or_else(|| flag("fail_open")),
        Holder::WasmPlugin => text("failStrategy", "FAIL_OPEN"),
        Holder::EnvoyExtensionPolicy => flag("failOpen"),
    }
}

/// Whether the gateway can hold what the configuration says it holds.
fn hold(plugin: &Plugin, around: &Tree, files: &[File], findings: &mut Findings<'_>) {
    let says = |test: &dyn Fn(&str) -> bool| {
        let manifests = files.iter().flat_map(|file| &file.documents);
        manifests.flat_map(Tree::all).any(|tree| tree.text().is_some_and(test))
    };
    let in_manifests = |kind: &str, key: &str| {
        let manifests = files.iter().flat_map(|file| &file.documents);
        let mut of_kind = manifests.filter(|tree| tree.get("kind").and_then(Tree::text) == Some(kind));
        of_kind.any(|tree| tree.all().into_iter().any(|part| part.get(key).is_some()))
    };
    match (plugin.holder, plugin.holds_head()) {
        // A dynamic module can always hold it; without that, its chain has to have the buffer filter.
        (Holder::File | Holder::Native | Holder::NativeRoute, _)
        | (Holder::Envoy, false)
        | (Holder::NativeExtensionPolicy, true) => {}
        (Holder::Envoy, true) => {
            if !around.get(OPTION).is_some_and(|tree| tree.is(true)) {
                let text = format!(
                    "`{OPTION}: true` is missing: every request whose body must be judged is refused with 503 host_cannot_hold"
                );
                findings.warn("option-missing", around.at, text);
            }
        }
        (Holder::WasmPlugin, true) => {
            let text = "a WasmPlugin cannot hold the request's head: say `hold_request_head: false` with the buffer filter \
                        behind, or add the filter by an EnvoyFilter (envoy/istio)";
            findings.warn("option-missing", plugin.at, text);
        }
        (Holder::WasmPlugin, false) => {
            if !says(&|text| text == BUFFER) {
                let text = "no EnvoyFilter among these files puts envoy.filters.http.buffer behind the guard: the head of a \
                            refused request would reach the upstream (envoy/istio/buffer-behind.yaml)";
                findings.warn("buffer-missing", plugin.at, text);
            }
        }
        (Holder::EnvoyExtensionPolicy, true) => {
            if !says(&|text| text.contains(OPTION)) {
                let text = "no EnvoyPatchPolicy among these files sets the option that holds the request's head: every signed \
                            request is refused with 503 host_cannot_hold (envoy/envoy-gateway/held.yaml)";
                findings.warn("option-missing", plugin.at, text);
            }
        }
        (Holder::EnvoyExtensionPolicy | Holder::NativeExtensionPolicy, false) => {
            if !in_manifests("BackendTrafficPolicy", "requestBuffer") && !says(&|text| text.contains(BUFFER))
            {
                let text = "no BackendTrafficPolicy among these files has a `requestBuffer`: the head of a refused request would \
                            reach the upstream (envoy/envoy-gateway/buffer-behind.yaml)";
                findings.warn("buffer-missing", plugin.at, text);
            }
        }
    }
}

/// Whether the module is given the variables that its secrets name, and no secret is written down around it.
fn variables(plugin: &Plugin, around: &Tree, findings: &mut Findings<'_>) {
    let Some(passed) = plugin.passed_variables() else { return };
    let all = plugin.tree.iter().flat_map(Tree::all);
    for secret in all.filter_map(|tree| tree.get("secrets")).flat_map(Tree::items) {
        if let Some(variable) = secret.get("env")
            && let Some(name) = variable.text()
            && !passed.contains(name)
        {
            let text =
                format!("the module is not given the variable {name}, so it will refuse this configuration");
            findings.warn("variable-not-passed", variable.at, text);
        }
    }
    let pairs = around.path(&["vm_config", "environment_variables", "key_values"]);
    let written = match pairs.map(|pairs| &pairs.value) {
        Some(Kind::Object(members)) => members.iter().map(|(_, at, _)| *at).collect(),
        _ => Vec::new(),
    };
    let entries = around.path(&["vmConfig", "env"]).map_or(&[][..], Tree::items);
    let inline = entries.iter().filter_map(|entry| entry.get("value")).map(|value| value.at);
    for at in written.into_iter().chain(inline) {
        let text =
            "a variable that is written down here is visible in Envoy's config_dump; take it from the host";
        findings.warn("inline-secret", at, text);
    }
}
