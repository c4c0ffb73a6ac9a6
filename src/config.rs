//! Configuration: bytes and an environment in, policies out, or one error that says where and what.
//!
//! Responsible for everything an operator writes: strict, resolved and decoded once, so that nothing is parsed while a
//! request waits. Together with its submodules the only reader of JSON. Refuses to know requests and the host: the
//! environment is a function that is passed in.

mod error;
mod handshake;
mod json;
mod node;
mod policy;
mod requirement;
mod scheme;
mod secret;

pub use error::{ConfigError, Warning, Wrong};

use crate::policy::PolicySet;
use error::Faults;
pub(crate) use json::Json;
use node::Node;

/// A configuration, ready to judge requests.
#[derive(Debug)]
pub struct Configuration {
    /// The policies.
    pub policies: PolicySet,
    /// Whether the request's head is held until the verdict.
    pub hold_request_head: bool,
    /// The `filter_metadata` namespace in which a route names its policy.
    pub policy_namespace: String,
    /// What is allowed but worth a second look.
    pub warnings: Vec<Warning>,
}

/// What every part of the configuration is read with.
pub(crate) struct Reader<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    faults: &'e Faults,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn warn(&mut self, node: &Node<'_>, code: &'static str, text: &'static str) {
        self.warnings.push(Warning { at: node.at().to_owned(), code, text });
    }
}

/// Reads a configuration: JSON text, or a serialized `google.protobuf.Struct` (the form in which Envoy hands a
/// `Struct` over). `env` gives the value of an environment variable.
///
/// # Errors
/// The first thing that is wrong, with its place. The text of a secret is never part of it.
pub fn parse(bytes: &[u8], env: &dyn Fn(&str) -> Option<String>) -> Result<Configuration, ConfigError> {
    read(bytes, env).map_err(|report| report.first)
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
    let faults = Faults::default();
    let mut reader = Reader { env, faults: &faults, warnings: Vec::new() };
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
    let keys = ["policies", "unmatched", "hold_request_head", "policy_namespace"];
    let top = root.object(&keys)?;
    let leave_unmatched =
        top.get("unmatched").map_or(Ok(false), |node| node.choice(&[("deny", false), ("pass", true)]));
    let leave_unmatched = root.keep(leave_unmatched);
    let hold_request_head = root.keep(top.get("hold_request_head").map_or(Ok(true), |node| node.boolean()));
    let policy_namespace = root.keep(match top.get("policy_namespace") {
        Some(node) => node.filled_text().map(str::to_owned),
        None => Ok("webhook_guard".to_owned()),
    });
    let mut policies = PolicySet::new(leave_unmatched.unwrap_or(false));
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
    Ok(Configuration {
        policies,
        hold_request_head: hold_request_head.unwrap_or(true),
        policy_namespace: policy_namespace.unwrap_or_default(),
        warnings: Vec::new(),
    })
}
