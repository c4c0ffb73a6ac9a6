//! Which parts of a document are configurations of the guard.
//!
//! Responsible for the resources that can hold one: Envoy's Wasm filter and its dynamic module, Istio's `WasmPlugin`, and
//! Envoy Gateway's `EnvoyExtensionPolicy`. Patches hold Envoy's own.

use super::Plugin;
use crate::input::located_yaml::{Kind, Tree};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use serde_json::Value;

const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const DYNAMIC_MODULE: &str = "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter";
const DYNAMIC_MODULE_ROUTE: &str =
    "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute";

/// The resource that holds a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The file itself.
    File,
    /// Envoy's Wasm filter, also inside a patch.
    Envoy,
    /// Istio's `WasmPlugin`.
    WasmPlugin,
    /// The `wasm` of Envoy Gateway's `EnvoyExtensionPolicy`.
    EnvoyExtensionPolicy,
    /// Envoy's filter of a dynamic module, also inside a patch.
    Native,
    /// What a route says to a dynamic module's filter.
    NativeRoute,
    /// The `dynamicModule` of Envoy Gateway's `EnvoyExtensionPolicy`.
    NativeExtensionPolicy,
}

impl Holder {
    /// Whether the guard is a dynamic module there.
    pub(crate) const fn is_native(self) -> bool {
        matches!(self, Self::Native | Self::NativeRoute | Self::NativeExtensionPolicy)
    }

    /// Whether it is a filter of this type (the end of a type's URL), which can be discovered.
    pub(crate) fn is_filter_of(self, type_url: &str) -> bool {
        match self {
            Self::Envoy => type_url.ends_with(WASM),
            Self::Native => type_url.ends_with(DYNAMIC_MODULE),
            _ => false,
        }
    }
}

/// Whether a name, or the name of an image or file, is the guard's.
pub(crate) fn is_guard_name(text: &str) -> bool {
    text.replace('_', "-").contains("webhook-guard")
}

/// The configurations in a document.
pub(super) fn all(document: &Tree) -> Vec<Plugin> {
    if let Some(plugin) = alone(document) {
        return vec![plugin];
    }
    let kind = document.get("kind").and_then(Tree::text).unwrap_or_default();
    let manifest = document.get("spec").filter(|_| document.get("apiVersion").is_some());
    let name = document.path(&["metadata", "name"]).and_then(Tree::text).unwrap_or_default();
    match (kind, manifest) {
        ("WasmPlugin", Some(spec)) => {
            let url = spec.get("url").and_then(Tree::text).unwrap_or_default();
            plugin(Holder::WasmPlugin, name, spec, spec.get("pluginConfig"), &[name, url])
                .into_iter()
                .collect()
        }
        ("EnvoyExtensionPolicy", Some(spec)) => {
            let of = |holder: Holder, key: &str, second: &str| {
                let entries = spec.get(key).map_or(&[][..], Tree::items).iter();
                let found = entries.filter_map(|entry| {
                    let text = |key| entry.get(key).and_then(Tree::text).unwrap_or_default();
                    plugin(holder, text("name"), entry, entry.get("config"), &[text("name"), text(second)])
                });
                found.collect::<Vec<_>>()
            };
            let modules = of(Holder::NativeExtensionPolicy, "dynamicModule", "filterName");
            of(Holder::EnvoyExtensionPolicy, "wasm", "rootID").into_iter().chain(modules).collect()
        }
        _ => {
            let trees = document.all();
            trees.iter().filter_map(|tree| wasm(tree).or_else(|| dynamic_module(tree, &trees))).collect()
        }
    }
}

/// A configuration that is the whole file.
fn alone(document: &Tree) -> Option<Plugin> {
    let is_plain = document.get("policies").is_some() && document.get("kind").is_none();
    is_plain.then(|| Plugin {
        holder: Holder::File,
        name: String::new(),
        around: None,
        bytes: document.to_json().to_string().into_bytes(),
        tree: Some(document.clone()),
        at: document.at,
    })
}

/// The Wasm filter of an Envoy, wherever it stands.
fn wasm(tree: &Tree) -> Option<Plugin> {
    tree.get("@type").and_then(Tree::text).filter(|name| name.ends_with(WASM))?;
    let around = tree.get("config")?;
    let text = |key| around.get(key).and_then(Tree::text).unwrap_or_default();
    plugin(Holder::Envoy, text("name"), around, around.get("configuration"), &[text("name"), text("root_id")])
}

/// The filter of a dynamic module, or what a route says to it, wherever it stands among the trees of a document.
fn dynamic_module(tree: &Tree, trees: &[&Tree]) -> Option<Plugin> {
    let type_url = tree.get("@type").and_then(Tree::text)?;
    let text = |keys: &[&str]| tree.path(keys).and_then(Tree::text).unwrap_or_default();
    let module = text(&["dynamic_module_config", "name"]);
    let given = tree.get("filter_config");
    if type_url.ends_with(DYNAMIC_MODULE_ROUTE) {
        // A route that switches the filter off says nothing else to it.
        let is_off = tree.get("disabled").is_some_and(|value| value.is(true)) && given.is_none();
        let name = text(&["per_route_config_name"]);
        return plugin(Holder::NativeRoute, name, tree, given, &[module, name]).filter(|_| !is_off);
    }
    if !type_url.ends_with(DYNAMIC_MODULE) {
        return None;
    }
    // It has no name of its own: it goes by that of the filter, or of the resource by which it is discovered.
    let is_around = |other: &&&Tree| other.get("typed_config").is_some_and(|inner| std::ptr::eq(inner, tree));
    let resource = trees.iter().find(is_around).and_then(|other| other.get("name")).and_then(Tree::text);
    let own = text(&["filter_name"]);
    plugin(Holder::Native, resource.unwrap_or(own), tree, given, &[module, own])
}

/// The plugin, if it is the guard: by its names, or because it has policies.
fn plugin(
    holder: Holder,
    name: &str,
    around: &Tree,
    configuration: Option<&Tree>,
    names: &[&str],
) -> Option<Plugin> {
    let named = names.iter().any(|name| is_guard_name(name));
    let is_any = matches!(holder, Holder::Envoy | Holder::Native | Holder::NativeRoute);
    let bytes_value = configuration.filter(|_| is_any).and_then(of_bytes_value);
    let value = if is_any { configuration.and_then(|any| any.get("value")) } else { configuration };
    let (bytes, tree, at) = match (value, bytes_value) {
        (None, _) => (Vec::new(), None, around.at),
        (Some(value), Some(bytes)) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let tree =
                value.holding(&text).unwrap_or(Tree { value: Kind::Plain(Value::Null), ..value.clone() });
            (bytes, Some(tree), value.at)
        }
        (Some(value), None) => match value.text() {
            Some(text) => (text.as_bytes().to_vec(), value.embedded(), value.at),
            None => (value.to_json().to_string().into_bytes(), Some(value.clone()), value.at),
        },
    };
    let has_policies = tree.as_ref().is_some_and(|tree| tree.get("policies").is_some());
    (named || has_policies).then(|| Plugin {
        holder,
        name: name.to_owned(),
        around: Some(around.clone()),
        bytes,
        tree,
        at,
    })
}

/// What a `BytesValue` holds, as protobuf's JSON writes it: base64 of either alphabet, padded or not. A `StringValue` and
/// a `Struct` stand there as they are.
fn of_bytes_value(any: &Tree) -> Option<Vec<u8>> {
    any.get("@type").and_then(Tree::text).filter(|name| name.ends_with("google.protobuf.BytesValue"))?;
    let text = any.get("value")?.text()?.as_bytes();
    [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD].iter().find_map(|base64| base64.decode(text).ok())
}
