//! Configuration: bytes and an environment in, policies out, or one error that says where and what.
//!
//! Responsible for everything an operator writes: strict, resolved and decoded once, so that nothing is parsed while a
//! request waits. It knows no request and no host: the environment is a function that is passed in.

mod client_certificate;
mod duplicates;
mod feeds;
mod fetched;
mod handshake;
mod policy;
mod record;
mod requirement;
mod secret;
mod signature;

pub use crate::vocabulary::{ConfigError, Warning, Wrong};

use crate::budget::{Budget, DEFAULT_HELD_BYTES};
use crate::feed::Feed;
use crate::matcher::{Match, PathPattern};
use crate::memory::Store;
use crate::policy::PolicySet;
use crate::secret::Fingerprint;
use crate::vocabulary::{Faults, Json, Node};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The bounds of `held_bytes`. V8 ends a VM at 1 GiB, of which a form at its end may take as much once more.
const LEAST_HELD_BYTES: u64 = 4 << 10;
const MOST_HELD_BYTES: u64 = 256 << 20;

/// A configuration, ready to judge requests.
#[derive(Debug)]
pub struct Configuration {
    /// The policies.
    pub policies: PolicySet,
    /// Whether the request's head is held until the verdict.
    pub hold_request_head: bool,
    /// The `filter_metadata` namespace in which a route names its policy.
    pub policy_namespace: String,
    /// The address lists that are fetched.
    pub feeds: Arc<[Feed]>,
    /// Where deliveries are remembered.
    pub memory: Store,
    /// What is allowed but worth a second look.
    pub warnings: Vec<Warning>,
}

/// What every part of the configuration is read with.
pub(crate) struct Reader<'e> {
    sources: &'e SecretSources<'e>,
    /// The variables that the configuration says it reads; nothing where it does not say.
    environment: Option<Vec<String>>,
    faults: &'e Faults,
    warnings: Vec<Warning>,
    /// What may be held for requests whose body is awaited.
    held_bytes: u64,
    /// What the policy that is being read governs.
    rule: Option<Match>,
    /// The secret keys of all signatures so far, and how many signatures there were.
    keys: Vec<SigningKey>,
    signatures: usize,
    /// The address feeds, whether these are all, and which of them are used so far.
    feeds: Vec<Feed>,
    has_all_feeds: bool,
    used_feeds: BTreeSet<usize>,
}

/// A secret key of a signature check.
struct SigningKey {
    at: String,
    /// Which check it belongs to.
    signature: usize,
    fingerprint: Fingerprint,
    /// Whether a handshake of the provider has values signed for anyone.
    signs_for_strangers: bool,
    /// Whether that handshake is answered.
    is_answering: bool,
}

impl Reader<'_> {
    /// Whether the policy governs single paths only, of which none is the beginning of another.
    fn has_exact_paths(&self) -> bool {
        let Some(rule) = &self.rule else { return false };
        let is_longer =
            |path: &PathPattern, other: &PathPattern| path != other && other.text().starts_with(path.text());
        let is_such = |path: &PathPattern| {
            matches!(path, PathPattern::Exact(_)) && !rule.paths.iter().any(|other| is_longer(path, other))
        };
        rule.paths.iter().all(is_such)
    }

    /// Whether the policy governs a path. One that only a route names may govern any but the root.
    fn governs(&self, path: &[u8]) -> bool {
        self.rule.as_ref().map_or(path.len() > 1, |rule| rule.governs_path(path))
    }

    /// A key with which a handshake answers strangers signs nothing else: what it answers would be a signature there.
    fn keep_answering_keys_apart(&self) {
        for answering in self.keys.iter().filter(|key| key.is_answering) {
            let others = self.keys.iter().filter(|key| key.signature != answering.signature);
            for other in others.filter(|key| key.fingerprint.matches(&answering.fingerprint)) {
                let complaint = "is the key with which a handshake of this configuration answers strangers: its answers \
                                 would be valid signatures here; use another key";
                self.faults.report(ConfigError { at: other.at.clone(), wrong: Wrong::Rule(complaint) });
            }
        }
    }

    fn warn(&mut self, node: &Node<'_>, code: &'static str, text: &'static str) {
        self.warn_at(node.at(), code, text);
    }

    fn warn_at(&mut self, at: &str, code: &'static str, text: &'static str) {
        self.warnings.push(Warning { at: at.to_owned(), code, text });
    }
}

/// The content of a file, by its path; or why it cannot be had, which quotes nothing of it: it cannot be read, or what
/// is read is no secret.
pub type ReadFile<'s> = dyn Fn(&str) -> Result<String, Wrong> + 's;

/// Where secrets are that a configuration only names.
pub struct SecretSources<'s> {
    /// The value of an environment variable; nothing where it is not set.
    pub variable: &'s dyn Fn(&str) -> Option<String>,
    /// How a file is read; nothing where there are none.
    pub file: Option<&'s ReadFile<'s>>,
    /// Whether the environment is that of a whole process: a configuration then reads only the variables that it lists
    /// in `environment`.
    pub is_process: bool,
}

impl<'s> SecretSources<'s> {
    /// An environment that was made for the guard, such as that of a Wasm VM, and no files.
    #[must_use]
    pub const fn own(variable: &'s dyn Fn(&str) -> Option<String>) -> Self {
        Self { variable, file: None, is_process: false }
    }
}

impl std::fmt::Debug for SecretSources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretSources(..)")
    }
}

/// Reads a configuration: JSON text, or a serialized `google.protobuf.Struct` (the form in which Envoy hands a
/// `Struct` over to Wasm). `env` gives the value of an environment variable.
///
/// # Errors
/// The first thing that is wrong, with its place. The text of a secret is never part of it.
pub fn parse(bytes: &[u8], env: &dyn Fn(&str) -> Option<String>) -> Result<Configuration, ConfigError> {
    parse_with(bytes, &SecretSources::own(env))
}

/// Reads a configuration as [`parse`] does, with its secrets from these sources.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(bytes: &[u8], sources: &SecretSources<'_>) -> Result<Configuration, ConfigError> {
    read_with(bytes, sources).map_err(|report| report.first)
}

/// What is wrong with a configuration; never nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was found first.
    pub first: ConfigError,
    /// What else is wrong, in the order in which it was found.
    pub others: Vec<ConfigError>,
    /// What is allowed but worth a second look, in the parts that could be read.
    pub warnings: Vec<Warning>,
}

/// Reads a configuration as [`parse`] does, and finds all that is wrong with it.
///
/// # Errors
/// Everything that is wrong, each with its place. The text of a secret is never part of it.
pub fn read(bytes: &[u8], env: &dyn Fn(&str) -> Option<String>) -> Result<Configuration, Box<Report>> {
    read_with(bytes, &SecretSources::own(env))
}

/// Reads a configuration as [`read`] does, with its secrets from these sources.
///
/// # Errors
/// As [`read`].
pub fn read_with(bytes: &[u8], sources: &SecretSources<'_>) -> Result<Configuration, Box<Report>> {
    let faults = Faults::default();
    let mut reader = Reader {
        sources,
        environment: None,
        faults: &faults,
        warnings: Vec::new(),
        held_bytes: DEFAULT_HELD_BYTES,
        rule: None,
        keys: Vec::new(),
        signatures: 0,
        feeds: Vec::new(),
        has_all_feeds: true,
        used_feeds: BTreeSet::new(),
    };
    let configuration = Json::read(bytes).and_then(|root| whole(&Node::root(&root, &faults), &mut reader));
    let warnings = reader.warnings;
    if let Err(error) = &configuration {
        faults.report(error.clone());
    }
    let mut all = faults.into_list().into_iter();
    match (configuration, all.next()) {
        (Ok(configuration), None) => Ok(Configuration { warnings, ..configuration }),
        (Ok(_), Some(first)) | (Err(_), Some(first)) | (Err(first), None) => {
            Err(Box::new(Report { first, others: all.collect(), warnings }))
        }
    }
}

/// Reads what can be read: whoever calls it must look at the faults that were reported.
fn whole(root: &Node<'_>, reader: &mut Reader<'_>) -> Result<Configuration, ConfigError> {
    let keys = [
        "policies",
        "unmatched",
        "hold_request_head",
        "policy_namespace",
        "held_bytes",
        "environment",
        "memory",
        "feeds",
    ];
    let top = root.object(&keys)?;
    let leave_unmatched =
        top.get("unmatched").map_or(Ok(false), |node| node.choice(&[("deny", false), ("pass", true)]));
    let leave_unmatched = root.keep(leave_unmatched);
    let hold_request_head = root.keep(top.get("hold_request_head").map_or(Ok(true), |node| node.boolean()));
    let policy_namespace = root.keep(match top.get("policy_namespace") {
        Some(node) => node.filled_text().map(str::to_owned),
        None => Ok("webhook_guard".to_owned()),
    });
    let complaint = "must be a whole number of bytes from 4096 to 268435456 (256 MiB)";
    let held_bytes =
        top.get("held_bytes").map(|node| node.whole(LEAST_HELD_BYTES, MOST_HELD_BYTES, complaint));
    reader.held_bytes = held_bytes.and_then(|read| root.keep(read)).unwrap_or(DEFAULT_HELD_BYTES);
    let memory = top.get("memory").map_or(Ok(duplicates::default()), |node| duplicates::memory(&node));
    let memory = root.keep(memory).unwrap_or_else(duplicates::default);
    let budget = Budget::new(reader.held_bytes);
    reader.environment = top.get("environment").and_then(|node| node.keep(secret::variables(&node)));
    let feeds_node = top.get("feeds");
    if let Some(node) = &feeds_node {
        reader.has_all_feeds = false;
        node.keep(feeds::read(node, reader));
    }
    let mut policies = PolicySet::new(leave_unmatched.unwrap_or(false), budget);
    for node in top.required("policies")?.list()? {
        let Some(policy) = node.keep(policy::read(&node, reader)).flatten() else { continue };
        let name = policy.name.clone();
        if let Err(rival) = policies.insert(policy) {
            let is_name = rival == name;
            let place = if is_name { node.child("name") } else { node };
            let wrong = if is_name { Wrong::NameTaken } else { Wrong::Rival };
            place.report(place.error(wrong(rival.to_string())));
        }
    }
    reader.keep_answering_keys_apart();
    if let Some(node) = &feeds_node {
        feeds::warn_of_unused(node, reader);
    }
    Ok(Configuration {
        policies,
        hold_request_head: hold_request_head.unwrap_or(true),
        policy_namespace: policy_namespace.unwrap_or_default(),
        memory,
        feeds: std::mem::take(&mut reader.feeds).into(),
        warnings: Vec::new(),
    })
}
