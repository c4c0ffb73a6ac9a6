//! The answer to a provider's handshakes, as an operator switches it on.
//!
//! Responsible for the `handshake` of a policy. What a handshake looks like is the catalogue's to say.

use super::Reader;
use super::requirement::fingerprints;
use super::secret;
use crate::policy::{Handshakes, PolicyCheck};
use crate::vocabulary::{ConfigError, Node, Wrong};

/// Reads `handshake` of a policy: `"answer"`, or the verify tokens of a provider that sends one.
pub(crate) fn switch(
    node: &Node<'_>,
    leaves: &[PolicyCheck],
    reader: &mut Reader<'_>,
) -> Result<Handshakes, ConfigError> {
    let mut with_handshakes = leaves.iter().enumerate().filter(|(_, leaf)| !leaf.handshakes.is_empty());
    let (Some((leaf, provider)), None) = (with_handshakes.next(), with_handshakes.next()) else {
        return Err(node.error(Wrong::Rule("needs exactly one provider in `require` that has a handshake")));
    };
    let shapes = provider.handshakes.clone();
    let sends_token = shapes.iter().any(|shape| shape.verify_token.is_some());
    let verify_tokens = if node.is_text() {
        if node.text()? != "answer" {
            return Err(
                node.error(Wrong::Rule(r#"must be the word "answer", or an object with `verify_tokens`"#))
            );
        }
        Vec::new()
    } else {
        let list = node.object(&["verify_tokens"])?.required("verify_tokens")?;
        fingerprints(secret::read_list(&list, reader)?)
    };
    match (sends_token, verify_tokens.is_empty()) {
        (true, true) => {
            Err(node.error(Wrong::Rule("the provider sends a token: name it in `verify_tokens`")))
        }
        (false, false) => Err(node.error(Wrong::Rule(r#"the provider sends no token: say "answer""#))),
        _ => Ok(Handshakes { leaf, shapes, verify_tokens }),
    }
}
