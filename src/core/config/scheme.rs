//! Signature schemes as an operator, or the provider catalogue, writes them: one vocabulary, one parser.
//!
//! Responsible for `signature` with its `provider` or `scheme`. Refuses to know any provider: the catalogue hands over
//! a block in the same vocabulary.

use super::requirement::fingerprints;
use super::secret::{self, Material};
use super::{Reader, SigningKey, handshake};
use crate::catalogue;
use crate::check::token::{Place as TokenPlace, TokenCheck};
use crate::handshake::Handshake;
use crate::policy::{Check, Leaf};
use crate::secret::Secret;
use crate::signature::field::{Field, Place};
use crate::signature::hmac::Encoding;
use crate::signature::json_pointer;
use crate::signature::key::{Algorithm, Key};
use crate::signature::public_key::pem;
use crate::signature::public_url::{Form as UrlForm, PublicUrl};
use crate::signature::template::{Body, Part, SignedContent, TemplateError};
use crate::signature::timestamp::{Freshness, Unit};
use crate::signature::{Equality, Expected, Scheme, SignatureCheck};
use crate::vocabulary::{ConfigError, Json, Node, Object, Wrong, is_header_name, is_word, near};
use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use std::rc::Rc;

const DAY: u64 = 86_400;
pub(crate) const ENCODINGS: [(&str, Encoding); 3] =
    [("hex", Encoding::Hex), ("base64", Encoding::Base64), ("base64url", Encoding::Base64Url)];

/// How a configured text becomes a key.
#[derive(Default)]
struct KeyForm {
    encoding: KeyEncoding,
    prefixes: Vec<String>,
}

#[derive(Clone, Copy, Default)]
enum KeyEncoding {
    #[default]
    Utf8,
    Hex,
    Base64,
}

/// What a provider of the catalogue does: sign, or send a token.
enum Block {
    Signed(Box<Scheme>, KeyForm),
    Token(TokenPlace),
}

/// A provider of the catalogue.
struct Entry {
    block: Block,
    delivery_id: Option<Field>,
    handshakes: Vec<Rc<Handshake>>,
}

/// Reads `signature`; nothing where all that is wrong with it has been reported.
pub(crate) fn read_signature(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Option<Leaf>, ConfigError> {
    let keys = ["provider", "scheme", "secrets", "tolerance_seconds", "public_url"];
    let object = node.object(&keys)?;
    let entry = node.keep(source(&object)).flatten();
    let secrets = object.required("secrets").and_then(|node| secret::read_list(&node, reader));
    let (Some((source, provider, entry)), Some(secrets)) = (entry, node.keep(secrets)) else {
        return Ok(None);
    };
    let Entry { block, delivery_id, handshakes } = entry;
    let (scheme, form) = match block {
        Block::Signed(scheme, form) => (*scheme, form),
        Block::Token(place) => {
            if let Some(key) = object.get("tolerance_seconds").or_else(|| object.get("public_url")) {
                return Err(key.error(Wrong::Rule("this provider sends a token and signs nothing")));
            }
            let token = TokenCheck { place, secrets: fingerprints(secrets) };
            return Ok(Some(Leaf { check: Check::Token(token), provider, delivery_id, handshakes }));
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
    let check = signature_check(&object, scheme, secrets, reader)?;
    if check.scheme.signed.body() == Body::Unsigned && check.scheme.require.is_empty() {
        reader.warn(&source, "body-not-signed", "the signature does not cover the body");
    }
    if check.scheme.signed.can_be_extended() {
        let text = "SHA-256 over secret and body can be extended by whoever has seen one delivery (a body with NUL is \
                    refused for it), and signs no time; prefer a scheme of the provider's with an HMAC";
        reader.warn(&source, "length-extension", text);
    }
    let delivery_id = check.scheme.delivery_id.clone();
    Ok(Some(Leaf { check: Check::Signature(Rc::new(check)), provider, delivery_id, handshakes }))
}

/// The `provider` or `scheme` of a signature, with its place and the provider's name.
type Source<'a> = (Node<'a>, Option<Rc<str>>, Entry);

fn source<'a>(object: &Object<'a>) -> Result<Option<Source<'a>>, ConfigError> {
    let complaint = "must have exactly one of `provider` and `scheme`";
    let (kind, source) = object.exactly_one(&["provider", "scheme"], complaint)?;
    if kind == "provider" {
        let name = source.filled_text()?;
        return Ok(from_catalogue(&source, name)?.map(|entry| (source, Some(Rc::from(name)), entry)));
    }
    Ok(read_scheme(&source)?.map(|(scheme, form)| {
        let block = Block::Signed(Box::new(scheme), form);
        (source, None, Entry { block, delivery_id: None, handshakes: Vec::new() })
    }))
}

fn signature_check(
    object: &Object<'_>,
    mut scheme: Scheme,
    secrets: Vec<Secret<Key>>,
    reader: &mut Reader<'_>,
) -> Result<SignatureCheck, ConfigError> {
    if let Some(node) = object.get("tolerance_seconds") {
        let seconds = seconds(&node)?;
        let unsigned = || node.error(Wrong::Rule("the scheme signs no time, so none can be relied on"));
        scheme.freshness.as_mut().ok_or_else(unsigned)?.tolerance_seconds = seconds;
        if seconds > 3600 {
            reader.warn(&node, "long-tolerance", "a delivery can be replayed for more than an hour");
        }
    }
    let signs_url = scheme.signed.has(&Part::Url) || scheme.signed.has(&Part::UrlNoQuery);
    let public_url = match (object.get("public_url"), signs_url) {
        (Some(node), true) => Some(public_url(&node, scheme.signed.url_touches_body(), reader)?),
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
    Ok(SignatureCheck { scheme, secrets, public_url, has_exact_paths })
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
    let bare = form.prefixes.iter().find_map(|prefix| text.strip_prefix(prefix.as_str())).unwrap_or(text);
    let decoded = match form.encoding {
        _ if algorithm.is_public() && bare.contains("-----BEGIN ") => pem(bare),
        KeyEncoding::Utf8 => Some(bare.as_bytes().to_vec()),
        KeyEncoding::Hex => HEXLOWER_PERMISSIVE.decode(bare.as_bytes()).ok(),
        KeyEncoding::Base64 => BASE64_NOPAD.decode(bare.trim_end_matches('=').as_bytes()).ok(),
    };
    let complaint = match form.encoding {
        _ if algorithm.is_public() => {
            "is not a strong public key of the scheme's kind, in its encoding or in PEM"
        }
        KeyEncoding::Hex => "the secret is not hexadecimal, as the scheme needs it",
        KeyEncoding::Base64 | KeyEncoding::Utf8 => "the secret is not base64, as the scheme needs it",
    };
    let undecodable = || node.error(Wrong::Rule(complaint));
    let bytes = decoded.ok_or_else(undecodable)?;
    if bytes.is_empty() {
        return Err(node.error(Wrong::Rule("the secret is empty after its prefix")));
    }
    let value = algorithm.key(&bytes).ok_or_else(undecodable)?;
    Ok(Secret { id: secret.id, validity: secret.validity, value })
}

fn from_catalogue(source: &Node<'_>, name: &str) -> Result<Option<Entry>, ConfigError> {
    let all = catalogue::catalogue()?;
    let Json::Object(blocks) = &all else { return Err(source.error(Wrong::EmptyObject)) };
    let Some((_, block)) = blocks.iter().find(|(known, _)| known == name) else {
        let meant = near(name, blocks.iter().map(|(known, _)| known.as_str())).map(str::to_owned);
        let quoted = (meant.is_some() || is_word(name)).then(|| name.to_owned());
        return Err(source.error(Wrong::Provider(quoted, meant)));
    };
    let block = source.elsewhere(format!("providers.{name}"), block).object(&catalogue::KEYS)?;
    let handshakes = block.get("handshake").map_or(Ok(Vec::new()), |node| handshake::read(&node))?;
    let complaint = "must have exactly one of `scheme`, `token` and `same_as`";
    let (kind, node) = block.exactly_one(&["scheme", "token", "same_as"], complaint)?;
    Ok(match kind {
        "same_as" if handshakes.is_empty() => from_catalogue(&node, node.text()?)?,
        "same_as" => from_catalogue(&node, node.text()?)?.map(|entry| Entry { handshakes, ..entry }),
        "scheme" => read_scheme(&node)?.map(|(scheme, form)| Entry {
            block: Block::Signed(Box::new(scheme), form),
            delivery_id: None,
            handshakes,
        }),
        _ => {
            let delivery_id = block.get("delivery_id").map(|node| field(&node)).transpose()?;
            Some(Entry { block: Block::Token(token_place(&node)?), delivery_id, handshakes })
        }
    })
}

/// How a provider of the catalogue sends a token. For Basic credentials the secret is
/// `username:password`, or the password alone where any user name will do.
fn token_place(node: &Node<'_>) -> Result<TokenPlace, ConfigError> {
    let object = node.object(&["header", "bearer", "basic"])?;
    let complaint = "must have exactly one of `header`, `bearer` and `basic`";
    let (kind, place) = object.exactly_one(&["header", "bearer", "basic"], complaint)?;
    Ok(match kind {
        "header" => TokenPlace::Header(Rc::from(place.header_name()?)),
        "bearer" => TokenPlace::Bearer,
        _ => TokenPlace::BasicAny,
    })
}

/// Reads a scheme; nothing where all that is wrong with it has been reported.
fn read_scheme(node: &Node<'_>) -> Result<Option<(Scheme, KeyForm)>, ConfigError> {
    let object = node.object(&[
        "algorithm",
        "signature",
        "timestamp",
        "tolerance_seconds",
        "future_seconds",
        "delivery_id",
        "signed",
        "secret",
        "require",
        "encoding",
    ])?;
    if let Some(misplaced) = object.get("encoding") {
        node.report(misplaced.error(Wrong::Rule("belongs in `signature`")));
    }
    let signed = object.required("signed").and_then(|node| Ok((template(&node)?, node)));
    let signed = node.keep(signed);
    let fields = node.keep(object.required("signature").and_then(|node| signature_fields(&node)));
    let delivery_id = node.keep(object.get("delivery_id").map(|node| field(&node)).transpose());
    let algorithm = object.required("algorithm").and_then(|node| node.choice(&Algorithm::NAMES));
    let algorithm = node.keep(algorithm);
    let form = object.get("secret").map_or(Ok(KeyForm::default()), |node| key_form(&node));
    let form = node.keep(form);
    let require = node.keep(object.get("require").map_or(Ok(Vec::new()), |node| equalities(&node)));
    let (Some((signed, signed_node)), Some((signature, encoding)), Some(delivery_id)) =
        (signed, fields, delivery_id)
    else {
        return Ok(None);
    };
    let (Some(algorithm), Some(form), Some(require)) = (algorithm, form, require) else { return Ok(None) };
    let is_id_in_headers = delivery_id.as_ref().is_some_and(|field| field.search().is_none());
    if signed.has(&Part::Id) && !is_id_in_headers {
        return Err(signed_node
            .error(Wrong::Rule("has `{id}`, so the scheme needs a `delivery_id` outside the body")));
    }
    if signed.has(&Part::Secret) != (algorithm == Algorithm::Sha256) {
        return Err(signed_node
            .error(Wrong::Rule("`{secret}` goes with the algorithm `sha256`, and that with nothing else")));
    }
    if signed.body() != Body::Unsigned && signature.iter().any(|field| field.search().is_some()) {
        return Err(signed_node.error(Wrong::Rule("has the body, and no signature can sign itself")));
    }
    if algorithm == Algorithm::Ed25519 && signature.iter().any(|field| field.search().is_some()) {
        return Err(signed_node
            .error(Wrong::Rule("an Ed25519 signature is needed before the body, so it cannot be in it")));
    }
    let scheme = Scheme {
        algorithm,
        signature,
        encoding,
        freshness: freshness(&object, &signed_node, &signed)?,
        delivery_id,
        signed,
        require,
    };
    Ok(Some((scheme, form)))
}

fn template(node: &Node<'_>) -> Result<SignedContent, ConfigError> {
    let text = node.filled_text()?;
    let wrong = |error| match error {
        TemplateError::Unbalanced => Wrong::Rule("has a `{` or `}` without its counterpart"),
        TemplateError::TwoBodies => Wrong::Rule("has `{body}` or `{form}` more than once"),
        TemplateError::HeaderBesideForm => Wrong::Rule(
            "has a header beside `{form}`: nothing would show where one ends; put a text between them",
        ),
        TemplateError::SignsNothing => Wrong::Rule("has neither `{body}` nor the URL: it would sign nothing"),
        TemplateError::Unknown(name) => Wrong::Value(format!("{{{name}}}"), "is not a placeholder"),
    };
    let content = SignedContent::parse(text).map_err(|error| node.error(wrong(error)))?;
    let unusable = content.headers().find(|name| !is_header_name(name)).map(str::to_owned);
    match unusable {
        Some(name) => Err(node.error(Wrong::Value(name, "is not the name of a header"))),
        None => Ok(content),
    }
}

/// `signature`: a Field with an encoding, or a list of Fields with the same one.
fn signature_fields(node: &Node<'_>) -> Result<(Vec<Field>, Encoding), ConfigError> {
    let mut fields = Vec::new();
    let mut encoding = None;
    for entry in node.one_or_list()? {
        let object = entry.object(&["header", "query", "json", "split", "prefix", "encoding"])?;
        let node = object.required("encoding")?;
        let own = node.choice(&ENCODINGS)?;
        if encoding.is_some_and(|earlier| earlier != own) {
            return Err(node.error(Wrong::Rule("must be the same in every Field of the list")));
        }
        encoding = Some(own);
        fields.push(field_of(&object)?);
    }
    Ok((fields, encoding.ok_or_else(|| node.error(Wrong::EmptyList))?))
}

fn field(node: &Node<'_>) -> Result<Field, ConfigError> {
    field_of(&node.object(&["header", "query", "json", "split", "prefix"])?)
}

/// The place that one of `header`, `query` and `json` names.
pub(crate) fn place_of(object: &Object<'_>) -> Result<Place, ConfigError> {
    let complaint = "must have exactly one of `header`, `query` and `json`";
    let (kind, node) = object.exactly_one(&["header", "query", "json"], complaint)?;
    Ok(match kind {
        "header" => Place::Header(Rc::from(node.header_name()?)),
        "query" => Place::Query(Rc::from(node.filled_text()?)),
        _ => {
            let text = node.text()?;
            let complaint = "is not a JSON pointer (RFC 6901), such as /event/time";
            let wrong = || node.error(Wrong::Value(text.to_owned(), complaint));
            Place::Json(json_pointer::pointer(text).ok_or_else(wrong)?)
        }
    })
}

fn field_of(object: &Object<'_>) -> Result<Field, ConfigError> {
    let place = place_of(object)?;
    let split = match object.get("split") {
        Some(node) => match node.text()?.as_bytes() {
            [byte] if byte.is_ascii() => Some(*byte),
            _ => return Err(node.error(Wrong::Rule("must be one ASCII character"))),
        },
        None => None,
    };
    let prefix = object.get("prefix").map(|node| node.filled_text().map(Rc::from)).transpose()?;
    Ok(Field { place, split, prefix })
}

fn freshness(
    object: &Object<'_>,
    signed_node: &Node<'_>,
    signed: &SignedContent,
) -> Result<Option<Freshness>, ConfigError> {
    let Some(node) = object.get("timestamp") else {
        if signed.has(&Part::Timestamp) {
            return Err(signed_node.error(Wrong::Rule("has `{timestamp}`, so the scheme needs `timestamp`")));
        }
        return match object.get("tolerance_seconds").or_else(|| object.get("future_seconds")) {
            Some(node) => Err(node.error(Wrong::Rule("the scheme signs no time, so none can be relied on"))),
            None => Ok(None),
        };
    };
    let place = node.object(&["header", "query", "json", "split", "prefix", "unit"])?;
    let unit = place.required("unit")?;
    let units = ["s", "ms", "rfc3339", "http-date"];
    let seconds_of = |key, default| object.get(key).map_or(Ok(default), |node| seconds(&node));
    let field = field_of(&place)?;
    let is_signed = match field.search() {
        Some(_) => signed.body() == Body::Raw && !signed.has(&Part::Timestamp),
        None => signed.has(&Part::Timestamp),
    };
    if !is_signed {
        let complaint =
            "is not part of `signed`: anyone could write any time (one inside the body is part of `{body}`)";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    Ok(Some(Freshness {
        field,
        unit: Unit::from_name(unit.text()?).ok_or_else(|| unit.not_one_of(units.into_iter()))?,
        tolerance_seconds: seconds_of("tolerance_seconds", 300)?,
        future_seconds: seconds_of("future_seconds", 60)?,
    }))
}

fn seconds(node: &Node<'_>) -> Result<u32, ConfigError> {
    let complaint = "must be a whole number of seconds, from 1 to 604800 (seven days)";
    let seconds = node.whole(1, DAY.saturating_mul(7), complaint)?;
    u32::try_from(seconds).map_err(|_| node.error(Wrong::Rule(complaint)))
}

fn key_form(node: &Node<'_>) -> Result<KeyForm, ConfigError> {
    let object = node.object(&["encoding", "prefix"])?;
    if object.is_empty() {
        return Err(node.error(Wrong::EmptyObject));
    }
    let encodings = [("utf8", KeyEncoding::Utf8), ("hex", KeyEncoding::Hex), ("base64", KeyEncoding::Base64)];
    let encoding = object.get("encoding").map_or(Ok(KeyEncoding::Utf8), |node| node.choice(&encodings))?;
    let mut prefixes = Vec::new();
    if let Some(node) = object.get("prefix") {
        for entry in node.one_or_list()? {
            prefixes.push(entry.filled_text()?.to_owned());
        }
    }
    // `v1,whsec_` before `v1,`: the longest one that fits is the one that is meant.
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    Ok(KeyForm { encoding, prefixes })
}

fn equalities(node: &Node<'_>) -> Result<Vec<Equality>, ConfigError> {
    Ok(node.list()?.iter().filter_map(|entry| entry.keep(equality(entry))).collect())
}

fn equality(node: &Node<'_>) -> Result<Equality, ConfigError> {
    let object = node.object(&["header", "query", "equals", "equals_body_sha256"])?;
    let (kind, place) =
        object.exactly_one(&["header", "query"], "must have exactly one of `header` and `query`")?;
    let place = match kind {
        "header" => Place::Header(Rc::from(place.header_name()?)),
        _ => Place::Query(Rc::from(place.filled_text()?)),
    };
    let complaint = "must have exactly one of `equals` and `equals_body_sha256`";
    let (relation, value) = object.exactly_one(&["equals", "equals_body_sha256"], complaint)?;
    let expected = match relation {
        "equals" => Expected::Text(Rc::from(value.text()?)),
        _ => Expected::BodyDigest(value.choice(&ENCODINGS)?),
    };
    Ok(Equality { place, expected })
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
        return Ok(PublicUrl::new(urls, UrlForm::PinnedWhole));
    }
    if urls.len() > 1 || !reader.has_exact_paths() {
        let complaint = "must be the whole URL, or a list of them, as entered at the sender (a base will do where all \
                         paths of the policy are exact): where the URL touches the body in `signed`, a piece of one \
                         could be moved into the other";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    Ok(PublicUrl::new(urls, UrlForm::PinnedBase))
}

fn absolute_url(node: &Node<'_>) -> Result<Rc<str>, ConfigError> {
    let text = node.filled_text()?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_url = host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?']));
    if is_url && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        Ok(Rc::from(text))
    } else {
        let complaint = "is not an absolute URL or the base of one, such as https://hooks.example.com";
        Err(node.error(Wrong::Rule(complaint)))
    }
}
