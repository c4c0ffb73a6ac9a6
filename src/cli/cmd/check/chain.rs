//! The chain of filters in which the guard stands.
//!
//! Responsible for its order, and for what else of a connection manager makes a good configuration unsafe or useless
//! (README, "Load it into the Envoy that you have").

use super::Findings;
use crate::input::config_files::{File, Holder, Plugin};
use crate::input::located_yaml::Tree;

pub(super) const BUFFER: &str = "envoy.filters.http.buffer";
const ROUTER: &str = "envoy.filters.http.router";

/// Looks at every filter chain in which the guard stands.
pub(super) fn look(file: &File, files: &[File], findings: &mut Findings<'_>) {
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
pub(super) fn guard<'f>(filter: &Tree, file: &'f File, files: &'f [File]) -> Option<&'f Plugin> {
    let name = filter.get("name").and_then(Tree::text)?;
    if let Some(discovery) = filter.get("config_discovery") {
        let types = discovery.get("type_urls").map_or(&[][..], Tree::items);
        let has_type =
            |plugin: &Plugin| types.iter().filter_map(Tree::text).any(|url| plugin.holder.is_filter_of(url));
        let mut plugins = file.plugins.iter().chain(files.iter().flat_map(|file| &file.plugins));
        return plugins.find(|plugin| has_type(plugin) && plugin.name == name);
    }
    let typed = filter.get("typed_config")?;
    // A place is one of this file: another file may well have a configuration at the same line and column.
    file.plugins.iter().find(|plugin| {
        let around = match plugin.holder {
            Holder::Native => Some(typed),
            _ => typed.get("config"),
        };
        around.is_some_and(|tree| plugin.around.as_ref().is_some_and(|one| one.at == tree.at))
    })
}

/// Whether the buffer filter stands directly behind a filter.
pub(super) fn is_followed_by_buffer(filters: &[Tree], index: usize) -> bool {
    let next =
        filters.get(index.saturating_add(1)).and_then(|filter| filter.get("name")).and_then(Tree::text);
    next == Some(BUFFER)
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
    if !plugin.holds_head() && !is_followed_by_buffer(filters, index) {
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
