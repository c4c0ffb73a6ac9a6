//! What surrounds a guard that is a dynamic module: how its library is loaded.
//!
//! Responsible for what Envoy takes, or refuses with words that do not lead to the cause (Envoy's dynamic_modules.proto,
//! Envoy Gateway's EnvoyProxy and EnvoyExtensionPolicy).

use super::Findings;
use crate::input::config_files::{File, Holder, Plugin, is_guard_name};
use crate::input::located_yaml::Tree;

/// The module's name: its library is `libwebhook_guard.so`.
const MODULE: &str = "webhook_guard";
const NOT_CLOSED: &str = "`do_not_close: true` is missing: Envoy would unload the library with the last configuration that names it, while \
     its threads may still run code of it";
/// What the Wasm filter can be told, and a dynamic module cannot: the field, and how it is without.
const WASM_OPTIONS: [(&str, &str); 4] = [
    ("failure_policy", "a request on which the module panics is refused with 503 in any case"),
    ("fail_open", "a request on which the module panics is refused with 503 in any case"),
    ("failOpen", "a request on which the module panics is refused with 503 in any case"),
    ("allow_on_headers_stop_iteration", "a dynamic module can hold the request's head without it"),
];

/// Looks at the resource around a configuration.
pub(super) fn look_around(plugin: &Plugin, around: &Tree, files: &[File], findings: &mut Findings<'_>) {
    let loading = around.get("dynamic_module_config");
    for place in [Some(around), loading].into_iter().flatten() {
        for (option, instead) in WASM_OPTIONS {
            if let Some(written) = place.get(option) {
                let text = format!(
                    "`{option}` is an option of the Wasm filter and has no meaning for a dynamic module: a field that is \
                     not known there is refused, and {instead}"
                );
                findings.warn("wasm-option", written.at, text);
            }
        }
    }
    if plugin.holder == Holder::NativeExtensionPolicy {
        registration(plugin, around, files, findings);
        return;
    }
    let place = loading.unwrap_or(around);
    name(place, findings);
    if !place.get("do_not_close").is_some_and(|tree| tree.is(true)) {
        findings.warn("do-not-close", place.at, NOT_CLOSED);
    }
}

/// Envoy finds the library by its name, where it is not told its file.
fn name(loading: &Tree, findings: &mut Findings<'_>) {
    let name = loading.get("name");
    match name.and_then(Tree::text) {
        Some(MODULE) => {}
        _ if loading.get("module").is_some() => {}
        Some(other) => {
            let text = format!(
                "Envoy looks for lib{other}.so: the module is lib{MODULE}.so, so its name is {MODULE}"
            );
            findings.warn("module-name", name.unwrap_or(loading).at, text);
        }
        None => {
            let text = format!("`name: {MODULE}` is missing: Envoy is not told which library to load");
            findings.warn("module-name", name.unwrap_or(loading).at, text);
        }
    }
}

/// The modules that the EnvoyProxies of a file register.
fn registered(file: &File) -> impl Iterator<Item = &Tree> {
    let proxies =
        file.documents.iter().filter(|tree| tree.get("kind").and_then(Tree::text) == Some("EnvoyProxy"));
    proxies.filter_map(|tree| tree.path(&["spec", "dynamicModules"])).flat_map(Tree::items)
}

/// Envoy Gateway knows a module by the name that an EnvoyProxy gives to its file.
fn registration(plugin: &Plugin, entry: &Tree, files: &[File], findings: &mut Findings<'_>) {
    let has_name = |tree: &Tree| tree.get("name").and_then(Tree::text) == Some(&plugin.name);
    if !files.iter().flat_map(registered).any(has_name) {
        let text = format!(
            "no EnvoyProxy among these files has {:?} in its `dynamicModules`: Envoy Gateway would know no module of that name",
            plugin.name
        );
        findings.warn("module-name", entry.get("name").unwrap_or(entry).at, text);
    }
}

/// Looks at how Envoy Gateway is told to load the guard.
pub(super) fn look_at_registrations(file: &File, files: &[File], findings: &mut Findings<'_>) {
    let plugins = || files.iter().flat_map(|file| &file.plugins);
    for entry in registered(file) {
        let name = entry.get("name").and_then(Tree::text).unwrap_or_default();
        let is_guard = is_guard_name(name)
            || plugins().any(|plugin| plugin.holder == Holder::NativeExtensionPolicy && plugin.name == name);
        if is_guard && !entry.get("doNotClose").is_some_and(|tree| tree.is(true)) {
            findings.warn("do-not-close", entry.at, NOT_CLOSED.replace("do_not_close", "doNotClose"));
        }
    }
}
