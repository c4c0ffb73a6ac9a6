//! Handshakes as the catalogue writes them.
//!
//! Responsible for reading the `handshake` of a provider.

use super::{Form, Handshake, Keyed};
use crate::signature::field::Place;
use crate::signature::hmac::Encoding;
use crate::vocabulary::{ConfigError, Node, Wrong};
use std::sync::Arc;

impl Handshake {
    /// Reads the handshakes of a provider: one, or a list.
    pub(crate) fn parse(node: &Node<'_>) -> Result<Vec<Arc<Self>>, ConfigError> {
        node.one_or_list()?.iter().map(|one| Self::parse_one(one).map(Arc::new)).collect()
    }

    fn parse_one(node: &Node<'_>) -> Result<Self, ConfigError> {
        let keys = [
            "method",
            "signed",
            "when",
            "unless",
            "verify_token",
            "echo",
            "status",
            "header",
            "json",
            "keyed",
            "printable",
        ];
        let object = node.object(&keys)?;
        let place = |node: Node<'_>| Place::parse(&node.object(&["header", "query", "json"])?);
        let when = match object.get("when") {
            Some(node) => {
                let when = node.object(&["header", "query", "json", "equals"])?;
                Some((Place::parse(&when)?, Arc::from(when.required("equals")?.text()?)))
            }
            None => None,
        };
        let is_signed = object.get("signed").map_or(Ok(false), |node| node.boolean())?;
        let echo = object.get("echo").map(place).transpose()?;
        let unless = object.get("unless").map(place).transpose()?;
        let in_body = [echo.as_ref(), when.as_ref().map(|(place, _)| place), unless.as_ref()];
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
                    prefix: Arc::from(prefix),
                    encoding: keyed.required("encoding")?.choice(&Encoding::NAMES)?,
                })
            }
            None => None,
        };
        let is_printable = object.get("printable").map_or(Ok(false), |node| node.boolean())?;
        let answer = match (object.get("status"), object.get("header"), object.get("json")) {
            (Some(node), None, None) => Form::Status(whole(node)?),
            (None, Some(node), None) => Form::Header(Arc::from(node.header_name()?)),
            (None, None, Some(node)) => Form::Json(Arc::from(node.filled_text()?), keyed),
            (None, None, None) if is_printable => Form::Printable,
            (None, None, None) => Form::Text,
            _ => {
                return Err(node.error(Wrong::Rule("must have at most one of `status`, `header` and `json`")));
            }
        };
        Ok(Self {
            method: Arc::from(object.required("method")?.filled_text()?),
            is_signed,
            when,
            unless,
            verify_token: object.get("verify_token").map(place).transpose()?,
            echo,
            answer,
        })
    }
}
