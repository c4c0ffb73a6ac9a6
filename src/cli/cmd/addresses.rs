//! `addresses`: the list of a feed of the catalogue, for those who keep addresses in git.
//!
//! Responsible for printing what can be pasted into `allow`, and for what a configuration lacks of it or has too much.

use crate::delivery::fetch;
use crate::input::capture::read_file;
use crate::input::config_files;
use crate::input::located_yaml::{self, Kind, Tree};
use crate::output::pretty_json::pretty;
use crate::output::terminal::{Answer, Cell, Failure, Format, Table, Text, Tone};
use clap::Args;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webhook_guard_core::address::network;
use webhook_guard_core::config;
use webhook_guard_core::feed::catalogue::{self, Known};
use webhook_guard_core::feed::{Feed, Intake, List};
use webhook_guard_core::request::Millis;

#[derive(Debug, Args)]
pub(crate) struct AddressesArguments {
    /// A feed, such as github; without it the catalogue of feeds
    name: Option<String>,
    /// What the provider publishes, instead of fetching it (`-` for stdin)
    #[arg(long, value_name = "FILE", requires = "name")]
    file: Option<PathBuf>,
    /// A configuration, or a list in JSON, that is to have these addresses: says what it lacks and what it has too much
    #[arg(long, value_name = "FILE", requires = "name")]
    against: Option<PathBuf>,
    /// With --against: the policy whose `allow` is meant; otherwise those that verify the feed's provider, are named after the
    /// feed, or have some of its addresses
    #[arg(long, value_name = "NAME", requires = "against")]
    policy: Option<String>,
    /// Part of a feed, such as service=API_GATEWAY or region=eu-west-1; of several for one member any will do
    #[arg(long = "where", value_name = "MEMBER=VALUE", requires = "name")]
    conditions: Vec<String>,
    /// The host that publishes the list: your own account's, or a mirror
    #[arg(long, value_name = "HOST", requires = "name")]
    authority: Option<String>,
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl AddressesArguments {
    pub(crate) fn run(&self) -> Result<Answer, Failure> {
        let Some(name) = &self.name else { return self.catalogue() };
        let known = catalogue::get(name).map_err(|error| Failure::new(format!("the catalogue: {error}")))?;
        let known = known.ok_or_else(|| {
            let meant = catalogue::nearest(name).map(|meant| format!("; did you mean {meant:?}?"));
            let meant = meant.unwrap_or_default();
            Failure::new(format!(
                "{name:?} is not a feed of the catalogue{meant} (`webhook-guard addresses` lists them)"
            ))
        })?;
        let list = self.list(&known)?;
        match &self.against {
            None => {
                let networks: Vec<String> = list.networks().map(|network| network.to_string()).collect();
                Ok(Answer { text: Text::of_json(&format!("{}\n", pretty(&json!(networks)))), is_good: true })
            }
            Some(file) => self.compared(&known, &list, file),
        }
    }

    fn catalogue(&self) -> Result<Answer, Failure> {
        let known = catalogue::all().collect::<Result<Vec<_>, _>>();
        let known = known.map_err(|error| Failure::new(format!("the catalogue: {error}")))?;
        if self.format == Format::Json {
            let all: Vec<Value> = known.iter().map(summary).collect();
            return Ok(Answer { text: Text::of_json(&format!("{}\n", pretty(&json!(all)))), is_good: true });
        }
        let mut table = Table::with_head(&["name", "addresses", "published at"]);
        for one in &known {
            table.row([one.name.into(), one.title.as_str().into(), Cell::new(published(one), Tone::Plain)]);
        }
        let text = table.text().own("\n`webhook-guard addresses NAME` prints one of them, for `allow`.\n");
        Ok(Answer { text, is_good: true })
    }

    /// The feed's list: fetched, from a file, or what the catalogue has of a page.
    fn list(&self, known: &Known) -> Result<Arc<List>, Failure> {
        let feed = self.feed(known)?;
        let Some(source) = &feed.source else {
            let list = feed.initial.clone().filter(|_| self.file.is_none());
            return list.ok_or_else(|| {
                Failure::new(format!(
                    "{}: the provider publishes a page only: {}",
                    known.name, known.documentation
                ))
            });
        };
        let fail = |place: &dyn std::fmt::Display, fault: &dyn std::fmt::Display| {
            Failure::new(format!("{place}: {fault}"))
        };
        let now = Millis(1);
        let list = match &self.file {
            Some(file) => {
                let bytes = read_file(file)?;
                let taken = Intake::of(&feed, None, None, Some(bytes.len()))
                    .and_then(|mut intake| intake.update(&bytes).map(|()| intake))
                    .and_then(|intake| intake.finish(now));
                taken.map_err(|fault| fail(&file.display(), &fault))?
            }
            None => {
                let url = format!("https://{}{}", source.authority, source.path);
                let answer = fetch::get(source).map_err(|fault| fail(&url, &fault))?;
                let headers = answer.headers.iter();
                let headers = headers.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                let taken = Intake::new(&feed, None, None, Some(answer.status), headers)
                    .and_then(|mut intake| intake.update(&answer.body).map(|()| intake))
                    .and_then(|intake| intake.finish(now));
                taken.map_err(|fault| fail(&url, &fault))?
            }
        };
        Ok(Arc::new(list))
    }

    /// The feed as a configuration would have it.
    fn feed(&self, known: &Known) -> Result<Feed, Failure> {
        let mut block = Map::new();
        block.insert("catalogue".to_owned(), json!(known.name));
        if known.definition.format.is_some() {
            // Nothing is asked through it here.
            block.insert("cluster".to_owned(), json!("none"));
        }
        if let Some(authority) = &self.authority {
            block.insert("authority".to_owned(), json!(authority));
        } else if known.definition.format.is_some() && known.definition.authority.is_none() {
            let note = known.note.as_deref().unwrap_or_default();
            return Err(Failure::new(format!("{} needs --authority: {note}", known.name)));
        }
        let mut conditions: Map<String, Value> = Map::new();
        for condition in &self.conditions {
            let (member, value) = condition
                .split_once('=')
                .ok_or_else(|| Failure::new(format!("--where: {condition:?} is not MEMBER=VALUE")))?;
            let values = conditions.entry(member.to_owned()).or_insert_with(|| json!([]));
            if let Some(values) = values.as_array_mut() {
                values.push(json!(value));
            }
        }
        if !conditions.is_empty() {
            block.insert("where".to_owned(), Value::Object(conditions));
        }
        let entry = json!({ "feed": "feed" });
        let policy =
            json!({"name": "p", "match": {"path": "/"}, "require": {"source_ip": {"allow": [entry]}}});
        let text = json!({"feeds": {"feed": block}, "policies": [policy]}).to_string();
        let configuration = config::parse(text.as_bytes(), &|_| None);
        let configuration = configuration.map_err(|error| Failure::new(error.to_string()))?;
        configuration.feeds.first().cloned().ok_or_else(|| Failure::new("there is no feed".to_owned()))
    }

    fn compared(&self, known: &Known, list: &List, file: &Path) -> Result<Answer, Failure> {
        let lists = self.lists(known, list, file)?;
        let mut drifts = Vec::new();
        for (place, own) in lists {
            let own_list: List = own.iter().filter_map(|text| network(text).ok()).collect();
            let lacks: Vec<String> = list
                .networks()
                .filter(|network| !own_list.covers(network))
                .map(|network| network.to_string())
                .collect();
            let is_extra = |text: &&String| network(text).is_ok_and(|network| !list.covers(&network));
            let extra: Vec<String> = own.iter().filter(is_extra).cloned().collect();
            drifts.push((place, lacks, extra));
        }
        let is_good = drifts.iter().all(|(_, lacks, extra)| lacks.is_empty() && extra.is_empty());
        let text = match self.format {
            Format::Json => {
                let drifts = drifts.iter();
                let lists: Vec<Value> = drifts
                    .map(|(place, lacks, extra)| json!({"list": place, "lacks": lacks, "too_much": extra}))
                    .collect();
                let report = json!({"feed": known.name, "is_current": is_good, "lists": lists});
                Text::of_json(&format!("{}\n", pretty(&report)))
            }
            Format::Text => drifts.iter().fold(Text::default(), |text, (place, lacks, extra)| {
                let text = text.shown(place);
                if lacks.is_empty() && extra.is_empty() {
                    return text.own(": ").painted(Tone::Good, "as the feed").own("\n");
                }
                let text = lacks.iter().fold(text.own("\n"), |text, one| {
                    text.own("  ").painted(Tone::Bad, "lacks").own("         ").shown(one).own("\n")
                });
                extra.iter().fold(text, |text, one| {
                    text.own("  ").painted(Tone::Doubt, "has too much").own("  ").shown(one).own("\n")
                })
            }),
        };
        Ok(Answer { text, is_good })
    }

    /// The lists of a file that are to have the feed's addresses, with their places.
    fn lists(&self, known: &Known, list: &List, file: &Path) -> Result<Vec<(String, Vec<String>)>, Failure> {
        let path = file.display();
        let bytes = read_file(file)?;
        if bytes.trim_ascii_start().starts_with(b"[") {
            let texts: Vec<String> = serde_json::from_slice(&bytes)
                .map_err(|error| Failure::at(file, format!("is not a list of texts in JSON: {error}")))?;
            if let Some(wrong) = texts.iter().find(|text| network(text).is_err()) {
                return Err(Failure::at(
                    file,
                    format!("{wrong:?} is neither an IP address nor a CIDR block"),
                ));
            }
            return Ok(vec![(path.to_string(), texts)]);
        }
        let plugins = config_files::read(file)?.plugins;
        // JSON that is handed to the parser as it stands has no places.
        let alone: Vec<Tree> = plugins
            .iter()
            .filter(|plugin| plugin.tree.is_none())
            .filter_map(|plugin| located_yaml::read(&String::from_utf8_lossy(&plugin.bytes)).ok())
            .flatten()
            .collect();
        let trees = plugins.iter().filter_map(|plugin| plugin.tree.as_ref()).chain(&alone);
        let policies: Vec<&Tree> =
            trees.filter_map(|tree| tree.get("policies")).flat_map(Tree::items).collect();
        let name = |policy: &Tree| policy.get("name").and_then(Tree::text).unwrap_or("?").to_owned();
        let lists_of = |policy: &Tree| -> Vec<(String, Vec<String>)> {
            let allows = policy.all().into_iter().filter_map(|tree| tree.get("source_ip")?.get("allow"));
            let place = |allow: &Tree| {
                format!("{path}:{}:{}: policy {:?}", allow.at.line, allow.at.column, name(policy))
            };
            allows.filter(|allow| !is_kept(allow)).map(|allow| (place(allow), texts(allow))).collect()
        };
        if let Some(wanted) = &self.policy {
            let policy = policies.iter().find(|policy| name(policy) == *wanted);
            let policy = policy.ok_or_else(|| Failure::at(file, format!("there is no policy {wanted:?}")))?;
            return Ok(lists_of(policy));
        }
        let is_meant = |policy: &Tree| {
            let signatures =
                policy.all().into_iter().filter_map(|tree| tree.get("signature")?.get("provider"));
            let mut providers = signatures.filter_map(Tree::text);
            providers.any(|provider| known.providers.iter().any(|one| one == provider))
                || name(policy) == known.name
        };
        let meant: Vec<_> =
            policies.iter().filter(|policy| is_meant(policy)).flat_map(|one| lists_of(one)).collect();
        if !meant.is_empty() || policies.iter().any(|policy| is_meant(policy)) {
            return Ok(meant);
        }
        let overlaps = |texts: &[String]| {
            let own: List = texts.iter().filter_map(|text| network(text).ok()).collect();
            list.networks().any(|network| own.covers(&network))
                || own.networks().any(|network| list.covers(&network))
        };
        let all = policies.iter().flat_map(|policy| lists_of(policy));
        let touched: Vec<_> = all.filter(|(_, texts)| overlaps(texts)).collect();
        match touched.is_empty() {
            true => Err(Failure::at(
                file,
                format!(
                    "no `allow` has an address of {}; name the policy that is meant with --policy",
                    known.name
                ),
            )),
            false => Ok(touched),
        }
    }
}

/// Whether a feed keeps the list already.
fn is_kept(allow: &Tree) -> bool {
    allow.items().iter().any(|entry| matches!(entry.value, Kind::Object(_)))
}

fn texts(allow: &Tree) -> Vec<String> {
    allow.items().iter().filter_map(Tree::text).map(str::to_owned).collect()
}

fn published(known: &Known) -> String {
    match (&known.definition.authority, &known.definition.path, &known.as_of) {
        (Some(authority), Some(path), _) => format!("https://{authority}{path}"),
        (None, Some(path), _) => format!("https://YOUR-HOST{path}"),
        (.., Some(as_of)) => format!("a page, read on {as_of}: {}", known.documentation),
        _ => known.documentation.clone(),
    }
}

fn summary(known: &Known) -> Value {
    json!({
        "name": known.name,
        "title": known.title,
        "published": published(known),
        "documentation": known.documentation,
        "providers": known.providers,
        "narrowed_by": known.definition.narrowed_by,
        "as_of": known.as_of,
        "note": known.note,
    })
}
