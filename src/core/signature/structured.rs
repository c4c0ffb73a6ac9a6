//! Structured fields of HTTP (RFC 9651), as far as signatures use them.
//!
//! Responsible for reading two kinds of dictionaries whole and strictly: of lists of names with parameters
//! (`Signature-Input`), and of byte sequences (`Signature`, `Content-Digest`). The only door to `sfv`. A key that stands twice
//! is told, though the last one counts: whoever reads next may take the first.

use crate::decision::Reason;
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
};
use sfv::{BareItemFromInput, ItemSerializer, KeyRef, ListSerializer, Parser};
use std::convert::Infallible;

type Parameters<'d> = Vec<(&'d KeyRef, BareItemFromInput<'d>)>;

/// A key, and the byte sequence that is its value, where it is one.
type Named<'d> = (&'d str, Option<Vec<u8>>);

/// What is signed, by the names of its parts, and what the signature says of itself.
#[derive(Debug)]
pub(super) struct Input<'d> {
    pub(super) label: &'d str,
    pub(super) components: Vec<Component<'d>>,
    parameters: Parameters<'d>,
    /// Whether it is a list at all.
    is_list: bool,
}

/// One part of what is signed.
#[derive(Debug)]
pub(super) struct Component<'d> {
    name: BareItemFromInput<'d>,
    parameters: Parameters<'d>,
}

/// Reads `Signature-Input`.
///
/// # Errors
/// `signature_malformed`; `signature_ambiguous` for a label that stands twice.
pub(super) fn inputs(field: &[u8]) -> Result<Vec<Input<'_>>, Reason> {
    let read = Parser::new(field).parse_dictionary_with_visitor(Inputs::default());
    let Inputs { members, has_twins } = read.map_err(|_| Reason::SignatureMalformed)?;
    if has_twins { Err(Reason::SignatureAmbiguous) } else { Ok(members) }
}

/// Reads `Signature` or `Content-Digest`: what is not a byte sequence has no value.
///
/// # Errors
/// As [`inputs`].
pub(super) fn byte_sequences(field: &[u8]) -> Result<Vec<Named<'_>>, Reason> {
    let read = Parser::new(field).parse_dictionary_with_visitor(ByteSequences::default());
    let ByteSequences { members, has_twins } = read.map_err(|_| Reason::SignatureMalformed)?;
    if has_twins { Err(Reason::SignatureAmbiguous) } else { Ok(members) }
}

impl Input<'_> {
    /// Whether it is a list whose parts and parameters each stand there once.
    pub(super) fn is_sound(&self) -> bool {
        let identifiers: Vec<String> = self.components.iter().map(Component::identifier).collect();
        let is_named = self.components.iter().all(|component| component.name().is_some());
        self.is_list && is_named && are_distinct(identifiers) && are_distinct(keys(&self.parameters))
    }

    /// What it says of itself as `@signature-params` (RFC 9421 2.3), in the one text that it has.
    pub(super) fn serialized(&self) -> String {
        let mut list = ListSerializer::new();
        let mut inner = list.inner_list();
        for Component { name, parameters } in &self.components {
            let item = inner.bare_item(name);
            let _ = item.parameters(parameters.iter().map(|(key, value)| (*key, value)));
        }
        let _ = inner.finish().parameters(self.parameters.iter().map(|(key, value)| (*key, value)));
        list.finish().unwrap_or_default()
    }

    /// The text that a parameter is; an error where it is something else.
    ///
    /// # Errors
    /// `signature_malformed`.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Reason> {
        match get(&self.parameters, name) {
            None => Ok(None),
            Some(BareItemFromInput::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(Reason::SignatureMalformed),
        }
    }

    /// The whole number that a parameter is; an error where it is something else.
    ///
    /// # Errors
    /// `timestamp_malformed`: all of them are times.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Reason> {
        match get(&self.parameters, name) {
            None => Ok(None),
            Some(BareItemFromInput::Integer(number)) => Ok(Some(i64::from(*number))),
            Some(_) => Err(Reason::TimestampMalformed),
        }
    }
}

impl Component<'_> {
    /// Its name; nothing where it is no string.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.name {
            BareItemFromInput::String(name) => Some(name.as_str()),
            _ => None,
        }
    }

    pub(super) const fn has_parameters(&self) -> bool {
        !self.parameters.is_empty()
    }

    /// The text that is its only parameter.
    pub(super) fn only(&self, name: &str) -> Option<&str> {
        match self.parameters.as_slice() {
            [(key, BareItemFromInput::String(text))] if key.as_str() == name => Some(text.as_str()),
            _ => None,
        }
    }

    /// The component as it stands at the beginning of its line (RFC 9421 2.5).
    pub(super) fn identifier(&self) -> String {
        let item = ItemSerializer::new().bare_item(&self.name);
        item.parameters(self.parameters.iter().map(|(key, value)| (*key, value))).finish()
    }
}

fn get<'p, 'd>(parameters: &'p Parameters<'d>, name: &str) -> Option<&'p BareItemFromInput<'d>> {
    parameters.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
}

fn keys(parameters: &Parameters<'_>) -> Vec<String> {
    parameters.iter().map(|(key, _)| key.as_str().to_owned()).collect()
}

fn are_distinct(mut texts: Vec<String>) -> bool {
    texts.sort_unstable();
    !texts.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
}

#[derive(Default)]
struct Inputs<'d> {
    members: Vec<Input<'d>>,
    has_twins: bool,
}

impl<'d> DictionaryVisitor<'d> for Inputs<'d> {
    type Out = Self;
    type Error = Infallible;

    fn entry(&mut self, key: &'d KeyRef) -> Result<impl EntryVisitor<'d>, Infallible> {
        let label = key.as_str();
        self.has_twins |= self.members.iter().any(|member| member.label == label);
        self.members.push(Input { label, components: Vec::new(), parameters: Vec::new(), is_list: false });
        Ok(self.members.last_mut())
    }

    fn finish(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

impl<'d> EntryVisitor<'d> for &mut Input<'d> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'d>, Infallible> {
        Ok(Ignored)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'d>, Infallible> {
        self.is_list = true;
        Ok(self)
    }
}

impl<'d> InnerListVisitor<'d> for &mut Input<'d> {
    type Error = Infallible;

    fn item(&mut self) -> Result<impl ItemVisitor<'d>, Infallible> {
        Ok(NextComponent(&mut self.components))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'d>, Infallible> {
        Ok(NextParameter(&mut self.parameters))
    }
}

struct NextComponent<'i, 'd>(&'i mut Vec<Component<'d>>);

impl<'d> ItemVisitor<'d> for NextComponent<'_, 'd> {
    type Out = Option<()>;
    type Error = Infallible;

    fn bare_item(
        self,
        name: BareItemFromInput<'d>,
    ) -> Result<impl ParameterVisitor<'d, Out = Option<()>>, Infallible> {
        self.0.push(Component { name, parameters: Vec::new() });
        Ok(self.0.last_mut().map(|component| NextParameter(&mut component.parameters)))
    }
}

struct NextParameter<'i, 'd>(&'i mut Parameters<'d>);

impl<'d> ParameterVisitor<'d> for NextParameter<'_, 'd> {
    type Out = ();
    type Error = Infallible;

    fn parameter(&mut self, key: &'d KeyRef, value: BareItemFromInput<'d>) -> Result<(), Infallible> {
        self.0.push((key, value));
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(Default)]
struct ByteSequences<'d> {
    members: Vec<Named<'d>>,
    has_twins: bool,
}

impl<'d> DictionaryVisitor<'d> for ByteSequences<'d> {
    type Out = Self;
    type Error = Infallible;

    fn entry(&mut self, key: &'d KeyRef) -> Result<impl EntryVisitor<'d>, Infallible> {
        let key = key.as_str();
        self.has_twins |= self.members.iter().any(|(known, _)| *known == key);
        self.members.push((key, None));
        Ok(self.members.last_mut().map(|(_, value)| Slot(value)))
    }

    fn finish(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

/// Where a byte sequence belongs.
struct Slot<'s>(&'s mut Option<Vec<u8>>);

impl<'d> EntryVisitor<'d> for Slot<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'d>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'d>, Infallible> {
        Ok(Ignored)
    }
}

impl<'d> ItemVisitor<'d> for Slot<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'d>,
    ) -> Result<impl ParameterVisitor<'d, Out = ()>, Infallible> {
        if let BareItemFromInput::ByteSequence(bytes) = item {
            *self.0 = Some(bytes);
        }
        Ok(Ignored)
    }
}
