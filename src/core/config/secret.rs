//! Secrets as an operator writes them: by the name of an environment variable, by that of a file, or inline.
//!
//! Responsible for resolving them and for refusing those that are none: empty, a placeholder, a variable that nothing
//! expanded.

use super::Reader;
use crate::request::Millis;
use crate::secret::{Fingerprint, Secret, Validity};
use crate::signature::timestamp::rfc3339;
use crate::vocabulary::{ConfigError, Json, Node, Wrong};
use data_encoding::HEXLOWER_PERMISSIVE;
use std::sync::Arc;

/// A secret's text, or its hash.
pub(crate) enum Material {
    Text(String),
    Sha256([u8; 32]),
}

const KEYS: [&str; 8] = ["env", "key", "file", "value", "sha256", "id", "not_before", "not_after"];

/// Texts that stand where a secret should, in lower case.
const PLACEHOLDERS: [&str; 9] = [
    "changeme",
    "change-me",
    "change_me",
    "secret",
    "your-secret",
    "your_secret",
    "password",
    "placeholder",
    "example",
];

/// Reads `secrets`: at least one, ids unique.
pub(crate) fn read_list<'a>(
    node: &Node<'a>,
    reader: &mut Reader<'_>,
) -> Result<Vec<(Node<'a>, Secret<Material>)>, ConfigError> {
    let mut secrets: Vec<(Node<'a>, Secret<Material>)> = Vec::new();
    // A secret may have been written where a name or a key should be: nothing of this is quoted.
    for entry in node.clone().hushed().list()? {
        let Some(secret) = entry.keep(read(&entry, reader)) else { continue };
        if secret.id.is_some() && secrets.iter().any(|(_, earlier)| earlier.id == secret.id) {
            entry.report(entry.error(Wrong::Rule("another secret of this list has the same `id`")));
        }
        secrets.push((entry, secret));
    }
    Ok(secrets)
}

fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Secret<Material>, ConfigError> {
    let object = node.object(&KEYS)?;
    let complaint = "must have exactly one of `env`, `file`, `value` and `sha256`";
    let (kind, source) = object.exactly_one(&["env", "file", "value", "sha256"], complaint)?;
    let key = object.get("key");
    if let Some(key) = key.as_ref().filter(|_| kind != "env") {
        return Err(key.error(Wrong::Rule("goes with `env` only")));
    }
    let value = match kind {
        "env" => Material::Text(from_environment(&source, key.as_ref(), reader)?),
        "file" => Material::Text(from_file(&source, reader)?),
        "value" => {
            let text = "an inline secret is visible in Envoy's config_dump; prefer `env`";
            reader.warn(&source, "inline-secret", text);
            Material::Text(source.filled_text()?.to_owned())
        }
        _ => Material::Sha256(digest(&source)?),
    };
    if let Material::Text(text) = &value {
        refuse_placeholder(&source, text)?;
        if text.len() < 16 {
            reader.warn(&source, "short-secret", "the secret has fewer than 16 bytes");
        }
    }
    let id = object.get("id").map(|node| id(&node)).transpose()?;
    let validity = Validity {
        not_before: object.get("not_before").map(|node| instant(&node)).transpose()?,
        not_after: object.get("not_after").map(|node| instant(&node)).transpose()?,
    };
    if let (Some(first), Some(last)) = (validity.not_before, validity.not_after)
        && last < first
    {
        return Err(node.error(Wrong::Rule("`not_after` is before `not_before`: the secret is never valid")));
    }
    Ok(Secret { id, validity, value })
}

/// One trailing newline is trimmed: files and shells leave it there.
fn from_environment(
    source: &Node<'_>,
    key: Option<&Node<'_>>,
    reader: &Reader<'_>,
) -> Result<String, ConfigError> {
    // A secret that was pasted here by mistake is not quoted.
    let name = variable(source)?;
    match &reader.environment {
        Some(listed) if !listed.iter().any(|one| one == name) => {
            return Err(source.error(Wrong::Rule("is not one of the variables that `environment` lists")));
        }
        None if reader.sources.is_process => {
            let complaint = "is a variable of the process: the native module reads those only that `environment`, a key \
                             at the top of the configuration, lists";
            return Err(source.error(Wrong::Rule(complaint)));
        }
        Some(_) | None => {}
    }
    let is_quoted = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.len() <= 64
        && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    let unset = || source.error(Wrong::Unset(is_quoted.then(|| name.to_owned())));
    let mut text = (reader.sources.variable)(name).ok_or_else(unset)?;
    let mut place = (source, "the environment variable is empty");
    if let Some(key) = key {
        text = member(source, key, &text)?;
        place = (key, "that member of the environment variable is empty");
    }
    trimmed(&text).ok_or_else(|| place.0.error(Wrong::Rule(place.1)))
}

/// The text without one newline at its end; nothing where that is empty.
fn trimmed(text: &str) -> Option<String> {
    let trimmed = text.strip_suffix('\n').unwrap_or(text);
    let trimmed = trimmed.strip_suffix('\r').unwrap_or(trimmed);
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// The name of an environment variable.
fn variable<'n>(node: &'n Node<'_>) -> Result<&'n str, ConfigError> {
    let name = node.filled_text()?;
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit());
    if !is_name || name.len() > 128 {
        return Err(node.error(Wrong::Rule("is not the name of an environment variable")));
    }
    Ok(name)
}

/// Reads `environment`: the variables that secrets may name.
pub(crate) fn variables(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    let mut names: Vec<String> = Vec::new();
    // A secret may have been written where a name should be.
    for entry in node.clone().hushed().list()? {
        let name = variable(&entry)?;
        if names.iter().any(|earlier| earlier == name) {
            return Err(entry.error(Wrong::Rule("is listed twice")));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// The content of a file, one trailing newline trimmed.
fn from_file(source: &Node<'_>, reader: &Reader<'_>) -> Result<String, ConfigError> {
    let path = source.filled_text()?;
    let is_whole = path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
    if !is_whole || path.ends_with('/') || path.contains('\0') {
        return Err(
            source.error(Wrong::Rule("must be the whole path of a file: from `/` on, without `.` and `..`"))
        );
    }
    let Some(read) = reader.sources.file else {
        let complaint = "a Wasm VM has no files: `file` is for the native module; use `env`";
        return Err(source.error(Wrong::Rule(complaint)));
    };
    let text = read(path).map_err(|wrong| source.error(wrong))?;
    trimmed(&text).ok_or_else(|| source.error(Wrong::Rule("the file is empty")))
}

/// The member of a variable that holds a JSON object. Its parser's own words could quote it, so they are not used.
fn member(source: &Node<'_>, key: &Node<'_>, text: &str) -> Result<String, ConfigError> {
    let not_an_object = || source.error(Wrong::Rule("the environment variable does not hold a JSON object"));
    let name = key.filled_text()?;
    let Ok(Json::Object(members)) = serde_json::from_str::<Json>(text) else { return Err(not_an_object()) };
    let mut found = members.into_iter().filter(|(member, _)| member == name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(Json::Text(text)), None) => Ok(text),
        (Some(_), None) => {
            Err(key.error(Wrong::Rule("that member of the environment variable is not a string")))
        }
        (Some(_), Some(_)) => Err(key.error(Wrong::Rule("the environment variable has that member twice"))),
        (None, _) => Err(key.error(Wrong::Rule("the environment variable has no such member"))),
    }
}

fn digest(source: &Node<'_>) -> Result<[u8; 32], ConfigError> {
    let bytes = HEXLOWER_PERMISSIVE.decode(source.filled_text()?.as_bytes()).ok();
    let digest: [u8; 32] = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| source.error(Wrong::Rule("must be a SHA-256 in 64 hexadecimal digits")))?;
    // What `printf %s "$UNSET" | sha256sum` and its kin print.
    let given = Fingerprint::from_sha256(digest);
    let is_hash_of = |text: &&str| given.matches(&Fingerprint::of(text.as_bytes()));
    if ["", "\n"].iter().any(is_hash_of) {
        return Err(source.error(Wrong::Rule("is the hash of an empty secret")));
    }
    if PLACEHOLDERS.iter().any(is_hash_of) {
        return Err(source.error(Wrong::Placeholder));
    }
    Ok(digest)
}

fn refuse_placeholder(source: &Node<'_>, text: &str) -> Result<(), ConfigError> {
    let lower = text.to_ascii_lowercase();
    let is_word =
        PLACEHOLDERS.contains(&lower.as_str()) || lower.bytes().all(|byte| byte == b'*' || byte == b'x');
    if is_word {
        return Err(source.error(Wrong::Placeholder));
    }
    if text.starts_with("${") && text.ends_with('}') {
        return Err(source.error(Wrong::Rule("the secret is a variable that nothing expanded")));
    }
    Ok(())
}

fn id(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let text = node.filled_text()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if text.len() <= 64 && text.bytes().all(fits) {
        Ok(Arc::from(text))
    } else {
        Err(node.error(Wrong::Rule("is not an id: at most 64 of A-Z a-z 0-9 _ . -")))
    }
}

fn instant(node: &Node<'_>) -> Result<Millis, ConfigError> {
    let text = node.filled_text()?;
    rfc3339(text)
        .ok_or_else(|| node.error(Wrong::Rule("is not a time in RFC 3339, such as 2027-01-31T00:00:00Z")))
}
