//! A signature check as an operator writes it.
//!
//! Responsible for `signature`: its `provider` or `scheme`, its secrets, and the URL that is signed.

use super::requirement::fingerprints;
use super::secret::{self, Material};
use super::{Reader, SigningKey, fetched};
use crate::catalogue::{self, Authentication, Way};
use crate::check::token::TokenCheck;
use crate::handshake::Handshake;
use crate::policy::{Check, PolicyCheck};
use crate::secret::Secret;
use crate::signature::field::Field;
use crate::signature::key::{Algorithm, Key};
use crate::signature::public_url::{Form as UrlForm, PublicUrl};
use crate::signature::scheme::seconds;
use crate::signature::template::Body;
use crate::signature::{FetchedKeys, KeyForm, Scheme, SignatureCheck};
use crate::vocabulary::{ConfigError, Node, Object, Wrong};
use std::sync::Arc;

/// Reads `signature`; nothing where all that is wrong with it has been reported.
pub(crate) fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Option<PolicyCheck>, ConfigError> {
    let keys =
        ["provider", "scheme", "secrets", "keys", "claims", "topics", "tolerance_seconds", "public_url"];
    let object = node.object(&keys)?;
    let source = node.keep(source(&object)).flatten();
    let secrets = match object.get("keys") {
        Some(_) => Ok(Vec::new()),
        None => object.required("secrets").and_then(|node| secret::read_list(&node, reader)),
    };
    let (Some(source), Some(secrets)) = (source, node.keep(secrets)) else { return Ok(None) };
    let Source { node: source, provider, way, delivery_id, handshakes, wants_bare_refusals } = source;
    let leaf = |check| PolicyCheck {
        check,
        provider: provider.clone(),
        delivery_id: delivery_id.clone(),
        handshakes: handshakes.clone(),
        wants_bare_refusals,
    };
    let (scheme, form) = match way {
        Way::Signed(scheme, form) => (*scheme, form),
        Way::Token(place) => {
            let others = ["tolerance_seconds", "public_url", "keys", "claims", "topics"];
            if let Some(key) = others.iter().find_map(|key| object.get(key)) {
                return Err(key.error(Wrong::Rule("this provider sends a token and signs nothing")));
            }
            let token = TokenCheck { place, secrets: fingerprints(secrets) };
            return Ok(Some(leaf(Check::Token(token))));
        }
    };
    let signs_for_strangers = handshakes.iter().any(|handshake| handshake.signs_for_strangers());
    reader.signatures = reader.signatures.saturating_add(1);
    let mut keys = Vec::with_capacity(secrets.len());
    for (node, secret) in secrets {
        let Some(key) = node.keep(key(&node, secret, scheme.algorithm, &form)) else { continue };
        if let Some(fingerprint) = key.value.fingerprint() {
            let (at, signature) = (node.at().to_owned(), reader.signatures);
            reader.keys.push(SigningKey {
                at,
                signature,
                fingerprint,
                signs_for_strangers,
                is_answering: false,
            });
        }
        keys.push(key);
    }
    let secrets = keys;
    let (scheme, fetched) = match fetched::read(node, &object, scheme, reader)? {
        Some(read) => read,
        None => return Ok(None),
    };
    let check = signature_check(&object, scheme, (secrets, fetched), reader)?;
    if !check.scheme.covers_body() && check.scheme.require.is_empty() {
        reader.warn(&source, "body-not-signed", "the signature does not cover the body");
    }
    if check.scheme.signed.body() == Body::Crc32 {
        let text = "the body is covered by a CRC-32 only: whoever has seen a delivery can write another body for it; \
                    with `duplicates` it passes once";
        reader.warn(&source, "body-by-checksum", text);
    }
    if check.scheme.signed.can_be_extended() {
        let text = "SHA-256 over secret and body can be extended by whoever has seen one delivery (a body with NUL is \
                    refused for it), and signs no time; prefer a scheme of the provider's with an HMAC";
        reader.warn(&source, "length-extension", text);
    }
    Ok(Some(leaf(Check::Signature(Arc::new(check)))))
}

/// The `provider` or `scheme` of a signature.
struct Source<'a> {
    node: Node<'a>,
    /// The provider's name, where it is one of the catalogue.
    provider: Option<Arc<str>>,
    way: Way,
    delivery_id: Option<Field>,
    handshakes: Vec<Arc<Handshake>>,
    wants_bare_refusals: bool,
}

fn source<'a>(object: &Object<'a>) -> Result<Option<Source<'a>>, ConfigError> {
    let complaint = "must have exactly one of `provider` and `scheme`";
    let (kind, node) = object.exactly_one(&["provider", "scheme"], complaint)?;
    if kind == "provider" {
        let name = node.filled_text()?;
        let Authentication { way, delivery_id, handshakes, wants_bare_refusals, .. } =
            catalogue::authentication(name)?.ok_or_else(|| node.error(catalogue::unknown(name)))?;
        return Ok(Some(Source {
            node,
            provider: Some(Arc::from(name)),
            way,
            delivery_id,
            handshakes,
            wants_bare_refusals,
        }));
    }
    Ok(Scheme::parse(&node)?.map(|(scheme, form)| Source {
        node,
        provider: None,
        delivery_id: scheme.delivery_id.clone(),
        handshakes: scheme.sns.iter().map(|_| Arc::new(Handshake::of_sns())).collect(),
        way: Way::Signed(Box::new(scheme), form),
        wants_bare_refusals: false,
    }))
}

fn signature_check(
    object: &Object<'_>,
    mut scheme: Scheme,
    (secrets, fetched): (Vec<Secret<Key>>, Option<FetchedKeys>),
    reader: &mut Reader<'_>,
) -> Result<SignatureCheck, ConfigError> {
    if let Some(node) = object.get("tolerance_seconds") {
        let seconds = seconds(&node)?;
        if !scheme.set_tolerance(seconds) {
            return Err(node.error(Wrong::Rule("the scheme signs no time, so none can be relied on")));
        }
        if seconds > 3600 {
            reader.warn(&node, "long-tolerance", "a delivery can be replayed for more than an hour");
        }
    }
    let signs_url = scheme.covers_url();
    let public_url = match (object.get("public_url"), signs_url) {
        (Some(node), true) => Some(public_url(&node, scheme.signed.url_touches(), reader)?),
        // A sender may cover more than it must.
        (Some(node), false) if scheme.message.is_some() => Some(public_url(&node, false, reader)?),
        (Some(node), false) => return Err(node.error(Wrong::Rule("the scheme does not sign the URL"))),
        (None, true) => {
            return Err(object
                .required("public_url")
                .err()
                .unwrap_or(ConfigError { at: String::new(), wrong: Wrong::Missing }));
        }
        (None, false) => None,
    };
    let has_exact_paths = reader.has_exact_paths();
    let told_by = object.get("scheme").or_else(|| object.get("provider"));
    if let Some(node) = told_by.filter(|_| scheme.signed.path_touches() && !has_exact_paths) {
        let complaint = "has `{path}` in `signed` beside a header, the id or `{form}`: all paths of the policy must be exact, \
                         and none may begin with another, since a piece of one could be moved into the other";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    Ok(SignatureCheck { scheme, secrets, fetched, public_url, has_exact_paths, names: None })
}

fn key(
    node: &Node<'_>,
    secret: Secret<Material>,
    algorithm: Algorithm,
    form: &KeyForm,
) -> Result<Secret<Key>, ConfigError> {
    let Material::Text(text) = &secret.value else {
        return Err(node.error(Wrong::Rule("a hash cannot verify a signature; `sha256` is for tokens")));
    };
    let value = form.key(text, algorithm).map_err(|complaint| node.error(Wrong::Rule(complaint)))?;
    Ok(Secret { id: secret.id, validity: secret.validity, value })
}

/// The base that the provider puts before path and query, or whole URLs. Neither is quoted: a token can be part of it.
fn public_url(node: &Node<'_>, is_pinned: bool, reader: &Reader<'_>) -> Result<PublicUrl, ConfigError> {
    let mut urls = Vec::new();
    for entry in node.one_or_list()? {
        urls.push(absolute_url(&entry)?);
    }
    let free = PublicUrl::new(urls.clone(), UrlForm::Free);
    if urls.iter().any(|url| url.contains('?')) && !free.is_whole_for(|path| reader.governs(path)) {
        return Err(node.error(Wrong::Rule("has a query, and a path that the policy does not govern")));
    }
    if !is_pinned {
        return Ok(free);
    }
    if free.is_whole_for(|path| reader.governs(path)) {
        let is_part =
            |one: &str, other: &str| one != other && (one.starts_with(other) || one.ends_with(other));
        if urls.iter().any(|one| urls.iter().any(|other| is_part(one, other))) {
            let complaint = "has a URL that begins or ends with another one: where the URL touches another part of `signed`, a \
                             delivery for the longer would be one for the shorter as well; give each a policy and a secret \
                             of its own";
            return Err(node.error(Wrong::Rule(complaint)));
        }
        return Ok(PublicUrl::new(urls, UrlForm::PinnedWhole));
    }
    if urls.len() > 1 || !reader.has_exact_paths() {
        let complaint = "must be the whole URL, or a list of them, as entered at the sender (a base will do where all \
                         paths of the policy are exact, and none begins with another): where the URL touches another part \
                         of `signed`, a piece of one could be moved into the other";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    Ok(PublicUrl::new(urls, UrlForm::PinnedBase))
}

fn absolute_url(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let text = node.filled_text()?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_url = host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?']));
    if is_url && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        Ok(Arc::from(text))
    } else {
        let complaint = "is not an absolute URL or the base of one, such as https://hooks.example.com";
        Err(node.error(Wrong::Rule(complaint)))
    }
}
