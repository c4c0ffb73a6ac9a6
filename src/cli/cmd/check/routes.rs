//! Routes that say something of their own to a guard that is a dynamic module (Envoy's `typed_per_filter_config`).
//!
//! Responsible for whether the guard is there to hear it: Envoy says nothing where it is not.

use super::Findings;
use super::chain::{BUFFER, guard, is_followed_by_buffer};
use crate::input::config_files::{File, Holder, Plugin};
use crate::input::located_yaml::{Kind, Position, Tree};

/// What a route says to the guard: to the filter of which name, and where.
struct RouteEntry<'f> {
    filter: &'f str,
    at: Position,
    plugin: &'f Plugin,
}

/// All that the routes in a tree of the file say to the guard.
fn route_entries<'f>(tree: &'f Tree, file: &'f File) -> Vec<RouteEntry<'f>> {
    let mut entries = Vec::new();
    for settings in tree.all().into_iter().filter_map(|tree| tree.get("typed_per_filter_config")) {
        let Kind::Object(members) = &settings.value else { continue };
        for (filter, at, value) in members {
            // Envoy's FilterConfig can stand around it.
            let places = [Some(value), value.get("config")];
            let is_there = |plugin: &&Plugin| {
                let around = plugin.around.as_ref().map(|tree| tree.at);
                plugin.holder == Holder::NativeRoute
                    && places.iter().flatten().any(|tree| Some(tree.at) == around)
            };
            if let Some(plugin) = file.plugins.iter().find(is_there) {
                entries.push(RouteEntry { filter, at: *at, plugin });
            }
        }
    }
    entries
}

/// Looks at what routes say to the guard: it has to be there to hear it.
pub(super) fn look(file: &File, files: &[File], findings: &mut Findings<'_>) {
    let mut in_chains = Vec::new();
    for manager in file.documents.iter().flat_map(Tree::all) {
        let Some(filters) = manager.get("http_filters").map(Tree::items) else { continue };
        for entry in route_entries(manager, file) {
            in_chains.push(entry.at);
            let index = filters.iter().position(|filter| is_guard_of_name(filter, entry.filter, file, files));
            match index {
                None => {
                    let text = format!(
                        "no filter {:?} of the chain is the guard as a dynamic module: what this route says to it is not heard",
                        entry.filter
                    );
                    findings.warn("route-without-guard", entry.at, text);
                }
                Some(index) if !entry.plugin.holds_head() && !is_followed_by_buffer(filters, index) => {
                    let text = format!(
                        "with `hold_request_head: false` {BUFFER} has to stand directly behind the guard: without it the head of \
                         a refused request of this route reaches the upstream"
                    );
                    findings.warn("filter-order", entry.at, text);
                }
                Some(_) => {}
            }
        }
    }
    // Routes that are discovered, or patched, for a chain that stands elsewhere.
    for entry in file.documents.iter().flat_map(|tree| route_entries(tree, file)) {
        let is_heard = || {
            let all = files.iter().flat_map(|other| other.documents.iter().map(move |tree| (other, tree)));
            let mut filters =
                all.flat_map(|(other, tree)| tree.all().into_iter().map(move |tree| (other, tree)));
            filters.any(|(other, filter)| is_guard_of_name(filter, entry.filter, other, files))
        };
        if !in_chains.contains(&entry.at) && !is_heard() {
            let text = format!(
                "no filter {:?} among these files is the guard as a dynamic module: what this route says to it would not be heard",
                entry.filter
            );
            findings.warn("route-without-guard", entry.at, text);
        }
    }
}

/// Whether a filter has that name and is the guard as a dynamic module. One that is discovered, and is not among the files,
/// is taken for it.
fn is_guard_of_name(filter: &Tree, name: &str, file: &File, files: &[File]) -> bool {
    if filter.get("name").and_then(Tree::text) != Some(name) {
        return false;
    }
    let types = filter.path(&["config_discovery", "type_urls"]).map_or(&[][..], Tree::items);
    let is_discovered = types.iter().filter_map(Tree::text).any(|url| Holder::Native.is_filter_of(url));
    is_discovered || guard(filter, file, files).is_some_and(|plugin| plugin.holder == Holder::Native)
}
