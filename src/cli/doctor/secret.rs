//! Near misses of the secret: blanks and quotes around it, decoded or not, another one of several.
//!
//! Responsible for the keys that a careless copy or another reading would give.

use super::layout::{Layout, Reading};
use super::miss::{Miss, NOTHING};
use crate::input::env_file::Secret;

/// A key to try, and what it means if it fits; nothing for the key that the gateway has.
#[derive(Clone)]
pub(crate) struct Guess {
    pub(crate) key: Vec<u8>,
    pub(crate) miss: Option<Miss>,
}

/// What is written before secrets so that people recognise them.
const KNOWN_PREFIXES: [&str; 4] = ["v1,whsec_", "whsec_", "whpk_", "whsk_"];

/// The keys, each once: the gateway's first, then its near misses, then the same for every other secret.
pub(crate) fn guesses(layout: &Layout, secrets: &[Secret]) -> Vec<Guess> {
    let mut guesses: Vec<Guess> = Vec::new();
    let mut push = |key: Option<Vec<u8>>, miss: Option<Miss>| {
        let Some(key) = key.filter(|key| !key.is_empty()) else { return };
        if guesses.iter().all(|earlier| earlier.key != key) {
            guesses.push(Guess { key, miss });
        }
    };
    let first = secrets.first().map(|secret| secret.origin.as_str()).unwrap_or_default();
    for (index, secret) in secrets.iter().enumerate() {
        let own = secret.trimmed().as_bytes();
        let other = (index > 0).then(|| other(&secret.origin, first));
        push(layout.key(own), other.clone());
        for (text, miss) in texts(secret).into_iter().chain(readings_of_text(own)) {
            push(layout.key(&text), Some(other.clone().unwrap_or(miss)));
        }
        for reading in Reading::ALL {
            let miss = Miss::new(
                "secret-encoding",
                format!(
                    "The sender takes the secret for {}, and the scheme of the gateway for {}.",
                    reading.name(),
                    layout.reading().name()
                ),
                format!("use the secret as {} for the key", layout.reading().name()),
                encoding_remedy(reading),
            );
            push(layout.key_read_as(own, reading), Some(other.clone().unwrap_or(miss)));
            for (bare, prefix) in without_prefix(own) {
                let (key, miss) = (reading.decode(bare), prefix_miss(prefix, reading));
                push(key, Some(other.clone().unwrap_or(miss)));
            }
            // The whole text with a prefix that the scheme would take off.
            let miss = Miss::new(
                "secret-prefix",
                format!(
                    "The sender uses the secret with its prefix, as {}; the scheme of the gateway takes the prefix off.",
                    reading.name()
                ),
                "take the prefix off, as the provider documents",
                format!("a custom `scheme` with `\"secret\": {{\"encoding\": \"{}\"}}`", encoding(reading)),
            );
            push(reading.decode(own), Some(other.clone().unwrap_or(miss)));
        }
    }
    guesses
}

fn other(origin: &str, first: &str) -> Miss {
    Miss::new(
        "other-secret",
        format!("The delivery is signed with the secret of {origin}, not with that of {first}."),
        format!("change over to the secret of {first}"),
        format!("keep {origin} in `secrets` beside {first} until the sender has changed over"),
    )
}

fn encoding(reading: Reading) -> &'static str {
    match reading {
        Reading::Utf8 => "utf8",
        Reading::Hex => "hex",
        Reading::Base64 | Reading::Base64Url => "base64",
    }
}

fn encoding_remedy(reading: Reading) -> String {
    match reading {
        Reading::Base64Url => "write the secret in base64 (`+` and `/`), in a custom `scheme` with \
                               `\"secret\": {\"encoding\": \"base64\"}`"
            .to_owned(),
        _ => format!("a custom `scheme` with `\"secret\": {{\"encoding\": \"{}\"}}`", encoding(reading)),
    }
}

/// The text without what is written before secrets: a known prefix, or all up to the first underscore.
fn without_prefix(text: &[u8]) -> Vec<(&[u8], Option<&'static str>)> {
    let known = KNOWN_PREFIXES
        .iter()
        .filter_map(|prefix| Some((text.strip_prefix(prefix.as_bytes())?, Some(*prefix))));
    let underscore = text.iter().take(12).position(|byte| *byte == b'_');
    let behind = underscore.and_then(|at| text.get(at.saturating_add(1)..)).map(|rest| (rest, None));
    known.chain(behind).collect()
}

fn prefix_miss(prefix: Option<&str>, reading: Reading) -> Miss {
    let named =
        prefix.map_or("what stands before its first underscore".to_owned(), |prefix| format!("`{prefix}`"));
    Miss::new(
        "secret-prefix",
        format!("The sender uses the secret without {named}, as {}.", reading.name()),
        "use the whole secret for the key, as the provider documents",
        format!(
            "configure the secret without {named}, in a `scheme` with `\"secret\": {{\"encoding\": \"{}\"}}`",
            encoding(reading)
        ),
    )
}

/// The texts that the sender may have where the gateway has this one: blanks less or more, quotes less or more.
fn texts(secret: &Secret) -> Vec<(Vec<u8>, Miss)> {
    let own = secret.trimmed();
    let mut texts = Vec::new();
    let bare = own.trim_start_matches('\u{feff}').trim();
    let bare = bare.strip_suffix("\\n").unwrap_or(bare);
    if bare != own {
        texts.push((bare.as_bytes().to_vec(), surplus(own, bare, &secret.origin)));
    }
    for quote in ['"', '\'', '`'] {
        let inner = bare.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            let miss = Miss::new(
                "secret-quotes",
                format!(
                    "The secret of {} has quotes around it that the sender does not have.",
                    secret.origin
                ),
                NOTHING,
                format!(
                    "take the quotes out of {}: env files and YAML block scalars keep them",
                    secret.origin
                ),
            );
            texts.push((inner.as_bytes().to_vec(), miss));
        }
    }
    texts
}

fn surplus(own: &str, bare: &str, origin: &str) -> Miss {
    let (end, start) = (own.ends_with(bare), own.starts_with(bare));
    let what = match own.len().saturating_sub(bare.len()) {
        _ if own.starts_with('\u{feff}') => "a byte order mark at its start",
        _ if own.ends_with("\\n") => "a backslash and an n at its end",
        _ if start && own.contains(['\n', '\r']) => "a newline at its end",
        _ if start => "blanks at its end",
        _ if end => "blanks at its start",
        _ => "blanks around it",
    };
    Miss::new(
        "secret-blanks",
        format!("The secret of {origin} has {what} that the sender does not have."),
        NOTHING,
        format!(
            "write {origin} without it, for example with `printf %s` instead of `echo`; the filter forgives one newline"
        ),
    )
}

/// What the sender may have around the text that the gateway has.
fn readings_of_text(own: &[u8]) -> Vec<(Vec<u8>, Miss)> {
    let around = |before: &str, after: &str| [before.as_bytes(), own, after.as_bytes()].concat();
    let mut texts = Vec::new();
    for (end, what) in [
        ("\n", "a newline"),
        ("\r\n", "a carriage return and a newline"),
        ("\r", "a carriage return"),
        (" ", "a blank"),
        ("\\n", "a backslash and an n"),
    ] {
        let miss = Miss::new(
            "secret-newline-at-sender",
            format!("The sender uses the secret with {what} at its end, and the gateway does not."),
            format!("take {what} off the end of its secret: it was written by `echo` or an editor"),
            "nothing, until the sender can be changed: the filter takes a newline off the end of an `env` secret",
        );
        texts.push((around("", end), miss));
    }
    for quote in ["\"", "'"] {
        let miss = Miss::new(
            "secret-quotes",
            "The sender uses the secret with quotes around it, and the gateway does not.",
            "take the quotes off its secret: an env file or a shell has kept them",
            "configure the secret with the quotes, until the sender can be changed",
        );
        texts.push((around(quote, quote), miss));
    }
    texts
}
