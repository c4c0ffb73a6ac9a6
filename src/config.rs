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
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn warn(&mut self, node: &Node<'_>, text: &'static str) {
        self.warnings.push(Warning { at: node.at().to_owned(), text });
    }
}

/// Reads a configuration: JSON text, or a serialized `google.protobuf.Struct` (the form in which Envoy hands a
/// `Struct` over). `env` gives the value of an environment variable.
///
/// # Errors
/// The first thing that is wrong, with its place. The text of a secret is never part of it.
pub fn parse(bytes: &[u8], env: &dyn Fn(&str) -> Option<String>) -> Result<Configuration, ConfigError> {
    let root = Json::read(bytes)?;
    let mut reader = Reader { env, warnings: Vec::new() };
    let keys = ["policies", "unmatched", "hold_request_head", "policy_namespace"];
    let top = Node::root(&root).object(&keys)?;
    let leave_unmatched = match top.get("unmatched") {
        Some(node) => node.choice(&[("deny", false), ("pass", true)])?,
        None => false,
    };
    let hold_request_head = top.get("hold_request_head").map_or(Ok(true), |node| node.boolean())?;
    let policy_namespace = match top.get("policy_namespace") {
        Some(node) => node.filled_text()?.to_owned(),
        None => "webhook_guard".to_owned(),
    };
    let mut policies = PolicySet::new(leave_unmatched);
    for node in top.required("policies")?.list()? {
        let policy = policy::read(&node, &mut reader)?;
        let name = policy.name.clone();
        policies.insert(policy).map_err(|rival| {
            let wrong = Wrong::Rival(rival.to_string());
            if rival == name {
                node.child("name").error(Wrong::NameTaken(name.to_string()))
            } else {
                node.error(wrong)
            }
        })?;
    }
    Ok(Configuration { policies, hold_request_head, policy_namespace, warnings: reader.warnings })
}
