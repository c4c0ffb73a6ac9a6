//! Handshakes as the catalogue writes them, and as an operator switches them on.
//!
//! Responsible for the `handshake` of a provider and of a policy. Refuses to know how they are answered.

use super::Reader;
use super::requirement::fingerprints;
use super::scheme::{ENCODINGS, place_of};
use super::secret;
use crate::handshake::{Form, Handshake, Keyed};
use crate::policy::{Handshakes, Leaf};
use crate::signature::field::Place;
use crate::vocabulary::{ConfigError, Node, Wrong};
use std::rc::Rc;

/// Reads the handshakes of a provider of the catalogue: one, or a list.
pub(crate) fn read(node: &Node<'_>) -> Result<Vec<Rc<Handshake>>, ConfigError> {
    node.one_or_list()?.iter().map(|one| read_one(one).map(Rc::new)).collect()
}

fn read_one(node: &Node<'_>) -> Result<Handshake, ConfigError> {
    let keys =
        ["method", "signed", "when", "unless", "verify_token", "echo", "status", "header", "json", "keyed"];
    let object = node.object(&keys)?;
    let place = |node: Node<'_>| place_of(&node.object(&["header", "query", "json"])?);
    let when = match object.get("when") {
        Some(node) => {
            let when = node.object(&["header", "query", "json", "equals"])?;
            Some((place_of(&when)?, Rc::from(when.required("equals")?.text()?)))
        }
        None => None,
    };
    let is_signed = object.get("signed").map_or(Ok(false), |node| node.boolean())?;
    let echo = object.get("echo").map(place).transpose()?;
    let in_body = [echo.as_ref(), when.as_ref().map(|(place, _)| place)];
    if object.get("unless").is_some() && !is_signed {
        return Err(node.error(Wrong::Rule("`unless` looks into the body, so the handshake must be signed")));
    }
    if !is_signed && in_body.into_iter().flatten().any(|place| matches!(place, Place::Json(_))) {
        return Err(node.error(Wrong::Rule("an unsigned handshake is answered before its body is read")));
    }
    let whole = |node: Node<'_>| {
        let status = node.whole(200, 299, "must be a status from 200 to 299")?;
        u16::try_from(status).map_err(|_| node.error(Wrong::EmptyText))
    };
    let keyed = match object.get("keyed") {
        Some(node) => {
            let keyed = node.object(&["encoding", "prefix"])?;
            let prefix = keyed.get("prefix").map_or(Ok(""), |node| node.text())?;
            Some(Keyed {
                prefix: Rc::from(prefix),
                encoding: keyed.required("encoding")?.choice(&ENCODINGS)?,
            })
        }
        None => None,
    };
    let answer = match (object.get("status"), object.get("header"), object.get("json")) {
        (Some(node), None, None) => Form::Status(whole(node)?),
        (None, Some(node), None) => Form::Header(Rc::from(node.header_name()?)),
        (None, None, Some(node)) => Form::Json(Rc::from(node.filled_text()?), keyed),
        (None, None, None) => Form::Text,
        _ => return Err(node.error(Wrong::Rule("must have at most one of `status`, `header` and `json`"))),
    };
    Ok(Handshake {
        method: Rc::from(object.required("method")?.filled_text()?),
        is_signed,
        when,
        unless: object.get("unless").map(place).transpose()?,
        verify_token: object.get("verify_token").map(place).transpose()?,
        echo,
        answer,
    })
}

/// Reads `handshake` of a policy: `"answer"`, or the verify tokens of a provider that sends one.
pub(crate) fn switch(
    node: &Node<'_>,
    leaves: &[Leaf],
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
