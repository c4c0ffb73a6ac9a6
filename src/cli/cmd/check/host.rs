//! What surrounds a configuration: the option that holds the head, the order of filters, the policy for failures.
//!
//! Responsible for what makes a good configuration unsafe or useless in its gateway (README, "Load it into the Envoy
//! that you have"; Envoy's wasm.proto, Istio's WasmPlugin, Envoy Gateway's EnvoyExtensionPolicy).

use super::Findings;
use crate::input::config_files::{File, Holder, Plugin, is_wasm_type};
use crate::input::located_yaml::{Kind, Tree};

const BUFFER: &str = "envoy.filters.http.buffer";
const ROUTER: &str = "envoy.filters.http.router";
const OPTION: &str = "allow_on_headers_stop_iteration";

/// Looks at the resource around a configuration.
pub(super) fn look_around(plugin: &Plugin, files: &[File], findings: &mut Findings<'_>) {
    let Some(around) = &plugin.around else { return };
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
}

fn opened(holder: Holder, around: &Tree) -> Option<&Tree> {
    let text = |key: &str, word: &str| around.get(key).filter(|tree| tree.text() == Some(word));
    let flag = |key: &str| around.get(key).filter(|tree| tree.is(true));
    match holder {
        Holder::File => None,
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
        (Holder::File, _) | (Holder::Envoy, false) => {}
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
        (Holder::EnvoyExtensionPolicy, false) => {
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

/// Looks at every filter chain in which the guard stands.
pub(super) fn look_at_chains(file: &File, files: &[File], findings: &mut Findings<'_>) {
    for manager in file.documents.iter().flat_map(Tree::all) {
        let Some(filters) = manager.get("http_filters").map(Tree::items) else { continue };
        for (index, filter) in filters.iter().enumerate() {
            if let Some(plugin) = guard(filter, file, files) {
                chain(manager, index, plugin, file, files, findings);
            }
        }
    }
}

/// The configuration of a filter, where it is the guard: its own, or the one that it discovers by its name, in its own
/// file or else in another one.
fn guard<'f>(filter: &Tree, file: &'f File, files: &'f [File]) -> Option<&'f Plugin> {
    let name = filter.get("name").and_then(Tree::text)?;
    if let Some(discovery) = filter.get("config_discovery") {
        let types = discovery.get("type_urls").map_or(&[][..], Tree::items);
        let is_wasm = types.iter().filter_map(Tree::text).any(is_wasm_type);
        let mut plugins = file.plugins.iter().chain(files.iter().flat_map(|file| &file.plugins));
        return plugins.find(|plugin| is_wasm && plugin.holder == Holder::Envoy && plugin.name == name);
    }
    let around = filter.path(&["typed_config", "config"])?;
    // A place is one of this file: another file may well have a configuration at the same line and column.
    file.plugins.iter().find(|plugin| plugin.around.as_ref().is_some_and(|one| one.at == around.at))
}

fn chain(
    manager: &Tree,
    index: usize,
    plugin: &Plugin,
    file: &File,
    files: &[File],
    findings: &mut Findings<'_>,
) {
    let filters = manager.get("http_filters").map_or(&[][..], Tree::items);
    let name = |filter: &Tree| filter.get("name").and_then(Tree::text).unwrap_or("?").to_owned();
    let Some(filter) = filters.get(index) else { return };
    let behind: Vec<&Tree> = filters.iter().skip(index.saturating_add(1)).collect();
    let before = filters.iter().take(index);
    if filter.get("is_optional").is_some_and(|tree| tree.is(true)) {
        let text = "with `is_optional: true` an Envoy that cannot load the guard leaves it out, and the route is open";
        findings.warn("optional-filter", filter.at, text);
    }
    if let Some(buffer) = before.clone().find(|filter| name(filter) == BUFFER) {
        let text = match plugin.holds_head() {
            true => {
                "the buffer filter in front of the guard is not needed: the guard holds the head and reads the body as it comes"
            }
            false => {
                "the buffer filter stands in front of the guard: there it leaks, and the head of a refused request reaches a \
                      warm upstream; it has to stand directly behind"
            }
        };
        findings.warn("filter-order", buffer.at, text);
    }
    let next = behind.first().map(|filter| name(filter));
    if !plugin.holds_head() && next.as_deref() != Some(BUFFER) {
        let text = format!(
            "with `hold_request_head: false` {BUFFER} has to stand directly behind the guard: without it the head of a refused \
             request reaches the upstream"
        );
        findings.warn("filter-order", filter.at, text);
    }
    let may_follow = |filter: &Tree| {
        [ROUTER, BUFFER].contains(&name(filter).as_str()) || guard(filter, file, files).is_some()
    };
    for stranger in behind.into_iter().filter(|filter| !may_follow(filter)) {
        let text = format!(
            "{} stands behind the guard: the guard belongs last before the router, so that nothing changes what it has judged",
            name(stranger)
        );
        findings.warn("filter-order", stranger.at, text);
    }
    if let Some(upgrade) = manager
        .get("upgrade_configs")
        .map_or(&[][..], Tree::items)
        .iter()
        .find(|one| one.get("filters").is_some())
    {
        let text = "`filters` of an upgrade replaces the filter chain, and with it the guard";
        findings.warn("upgrade-filters", upgrade.at, text);
    }
    if !manager.get("use_remote_address").is_some_and(|tree| tree.is(true)) {
        let text =
            "`use_remote_address: true` is missing: anyone can write the source address into X-Forwarded-For";
        findings.warn("use-remote-address", manager.at, text);
    }
}
