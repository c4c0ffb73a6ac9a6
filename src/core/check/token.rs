//! The token check: does the request present a value that sender and gateway share?
//!
//! Responsible for finding the value in a query parameter, a header, an `Authorization` header of the Bearer or Basic scheme,
//! or a JSON body, and for comparing it without saying how wrong it is.

use crate::budget::heap;
use crate::decision::Reason;
use crate::request::{Facts, Millis, Occurrence};
use crate::secret::{Fingerprint, Secret};
use crate::signature::field;
use crate::signature::json_pointer::{Answer, EVERY, Pointer, Search};
use crate::uri::query;
use crate::vocabulary::{ConfigError, Node, Wrong};
use data_encoding::BASE64;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Where a request presents its token.
#[derive(Clone, Debug)]
pub enum TokenPlace {
    /// A query parameter of this name, compared after one decoding.
    Query(Arc<str>),
    /// A header of this name.
    Header(Arc<str>),
    /// `Authorization: Bearer TOKEN` (RFC 6750 2.1).
    Bearer,
    /// `Authorization: Basic base64(username:TOKEN)` (RFC 7617 2).
    Basic {
        /// The user name that must come with it.
        username: Fingerprint,
    },
    /// The same, for a secret that is `username:password`, or a password that goes with any user name.
    BasicAny,
    /// A place in the JSON body, or the same place in every entry of a list. It stays there: the body is delivered as it came.
    Json(Pointer),
}

/// The header that Bearer and Basic tokens travel in.
pub const AUTHORIZATION: &str = "authorization";

impl TokenPlace {
    /// Reads a place in the body: a JSON pointer, in which one part may be `*` for every entry of a list.
    pub(crate) fn in_body(node: &Node<'_>) -> Result<Self, ConfigError> {
        let path = field::pointer(node)?;
        match path.iter().filter(|part| *part == EVERY).count() {
            0 | 1 => Ok(Self::Json(path)),
            _ => Err(node.error(Wrong::Rule("may have one `*`, which leads through every entry of a list"))),
        }
    }

    /// The header that carries the token, if a header does.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Query(_) | Self::Json(_) => None,
            Self::Header(name) => Some(name),
            Self::Bearer | Self::Basic { .. } | Self::BasicAny => Some(AUTHORIZATION),
        }
    }
}

/// A token and where it is looked for.
#[derive(Clone, Debug)]
pub struct TokenCheck {
    /// Where the request presents it.
    pub place: TokenPlace,
    /// Any one of these, at least one.
    pub secrets: Vec<Secret<Fingerprint>>,
}

/// A token that is looked for in a body. Prints nothing: what it has found may be the token.
pub struct BodyToken {
    search: Search,
    /// The places of the secrets that were presented: the entries of a list may be of several senders.
    matched: Vec<usize>,
    /// Whether something was presented that is no secret.
    is_wrong: bool,
    /// When the headers came.
    begun: Millis,
}

impl fmt::Debug for BodyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyToken(..)")
    }
}

impl BodyToken {
    /// The bytes on the heap.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.search.kept_bytes().saturating_add(heap(&self.matched))
    }
}

impl TokenCheck {
    /// Compares what the request presents with every secret that is valid now.
    ///
    /// Returns the secret that matched.
    ///
    /// # Errors
    /// `token_missing`, `token_ambiguous` when it is there more than once, `token_mismatch`.
    pub fn judge(&self, facts: &Facts<'_>) -> Result<&Secret<Fingerprint>, Reason> {
        let presented = self.presented(facts)?;
        let matched = self.matching(&presented, facts.now).and_then(|place| self.secrets.get(place));
        matched.ok_or(Reason::TokenMismatch)
    }

    /// The place of the secret that is valid at that time and matches.
    fn matching(&self, presented: &[u8], now: Millis) -> Option<usize> {
        let whole = Fingerprint::of(presented);
        let part = self.password(presented).map(Fingerprint::of);
        let mut matched = None;
        for (place, secret) in self.secrets.iter().enumerate() {
            // No early exit: how long it takes does not tell which secret it was.
            let same =
                secret.value.matches(&whole) | part.is_some_and(|password| secret.value.matches(&password));
            if same && secret.validity.admits(now) {
                matched = Some(place);
            }
        }
        matched
    }

    /// Does the same with a request of which all is known, its body included.
    ///
    /// # Errors
    /// As [`TokenCheck::judge`] and [`TokenCheck::finish`].
    pub fn judge_whole(&self, facts: &Facts<'_>, body: &[u8]) -> Result<&Secret<Fingerprint>, Reason> {
        let Some(mut token) = self.search(facts.now) else { return self.judge(facts) };
        self.update(&mut token, body);
        self.finish(token, facts.now)
    }

    /// Whether the token is sent in the body.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        matches!(self.place, TokenPlace::Json(_))
    }

    /// Begins to look for the token in the body; nothing where it is not sent there.
    #[must_use]
    pub fn search(&self, now: Millis) -> Option<BodyToken> {
        let TokenPlace::Json(path) = &self.place else { return None };
        let search = Search::for_each(path.clone());
        Some(BodyToken { search, matched: Vec::new(), is_wrong: false, begun: now })
    }

    /// Takes the next bytes of the body.
    pub fn update(&self, token: &mut BodyToken, chunk: &[u8]) {
        token.search.update(chunk);
        for value in token.search.take_values() {
            self.compare(token, &value);
        }
    }

    fn compare(&self, token: &mut BodyToken, value: &[u8]) {
        // The verdict stands: a stranger's body of a hundred thousand entries costs one digest, and not as many.
        if token.is_wrong {
            return;
        }
        match self.matching(value, token.begun) {
            Some(place) if token.matched.contains(&place) => {}
            Some(place) => token.matched.push(place),
            None => token.is_wrong = true,
        }
    }

    /// Says which secret the body presents, when it has ended. All that it presents must be valid still.
    ///
    /// # Errors
    /// `token_missing` where it has none, or an entry of the list has none; `token_ambiguous` where it has it in more than
    /// one reading; `token_mismatch`.
    pub fn finish(&self, mut token: BodyToken, now: Millis) -> Result<&Secret<Fingerprint>, Reason> {
        if token.search.is_for_each() {
            let is_complete = token.search.is_complete();
            if token.search.finish() == Answer::Malformed {
                return Err(Reason::TokenAmbiguous);
            }
            if !is_complete {
                return Err(Reason::TokenMissing);
            }
        } else {
            match std::mem::replace(&mut token.search, Search::new(Pointer::default())).finish() {
                Answer::Absent => return Err(Reason::TokenMissing),
                Answer::Malformed => return Err(Reason::TokenAmbiguous),
                Answer::Text(value) | Answer::Word(value) => self.compare(&mut token, &value),
            }
        }
        let presented: Vec<_> = token.matched.iter().filter_map(|place| self.secrets.get(*place)).collect();
        let all_hold = !token.is_wrong && presented.iter().all(|secret| secret.validity.admits(now));
        presented.last().copied().filter(|_| all_hold).ok_or(Reason::TokenMismatch)
    }

    /// The part that may be compared alone, if any: with [`TokenPlace::BasicAny`] what follows the user name.
    fn password<'p>(&self, presented: &'p [u8]) -> Option<&'p [u8]> {
        let TokenPlace::BasicAny = self.place else { return None };
        let colon = presented.iter().position(|byte| *byte == b':')?;
        presented.get(colon.checked_add(1)?..)
    }

    fn presented<'a>(&self, facts: &Facts<'a>) -> Result<Cow<'a, [u8]>, Reason> {
        let Some(header) = self.place.header() else {
            let TokenPlace::Query(name) = &self.place else { return Err(Reason::TokenMissing) };
            return once(query::one(facts.query(), name.as_bytes()));
        };
        let value = once(facts.headers.one(header.as_bytes()))?;
        match &self.place {
            TokenPlace::Query(_) | TokenPlace::Header(_) | TokenPlace::Json(_) => Ok(Cow::Borrowed(value)),
            TokenPlace::Bearer => credentials(value, b"bearer").map(Cow::Borrowed),
            TokenPlace::BasicAny => basic(value).map(Cow::Owned),
            TokenPlace::Basic { username } => {
                let pair = basic(value)?;
                let mut parts = pair.splitn(2, |byte| *byte == b':');
                let user = Fingerprint::of(parts.next().unwrap_or_default());
                let password = parts.next().ok_or(Reason::TokenMismatch)?.to_vec();
                if user.matches(username) { Ok(Cow::Owned(password)) } else { Err(Reason::TokenMismatch) }
            }
        }
    }
}

fn once<T>(occurrence: Occurrence<T>) -> Result<T, Reason> {
    match occurrence {
        Occurrence::Absent => Err(Reason::TokenMissing),
        Occurrence::Once(value) => Ok(value),
        Occurrence::Many => Err(Reason::TokenAmbiguous),
    }
}

fn basic(value: &[u8]) -> Result<Vec<u8>, Reason> {
    BASE64.decode(credentials(value, b"basic")?).map_err(|_| Reason::TokenMismatch)
}

/// What follows the scheme's name (in any case) and its blanks (RFC 9110 11.4). Another scheme is no token at all.
fn credentials<'a>(value: &'a [u8], scheme: &[u8]) -> Result<&'a [u8], Reason> {
    // Envoy joins two Authorization headers with a comma, which no credential holds (RFC 6750 2.1, RFC 7617 2).
    if value.contains(&b',') {
        return Err(Reason::TokenAmbiguous);
    }
    let (given, rest) = value.split_at_checked(scheme.len()).ok_or(Reason::TokenMissing)?;
    if !given.eq_ignore_ascii_case(scheme) || rest.first().is_some_and(|byte| *byte != b' ') {
        return Err(Reason::TokenMissing);
    }
    Ok(rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Headers;
    use crate::secret::Validity;

    fn facts(headers: &Headers) -> Facts<'_> {
        Facts {
            headers,
            source: None,
            client_certificate: None,
            route_policy: None,
            now: Millis(0),
            ends_with_headers: false,
        }
    }

    fn judge(place: TokenPlace, secret: &str, pairs: &[(&str, &str)]) -> Result<Option<Arc<str>>, Reason> {
        let value = Fingerprint::of(secret.as_bytes());
        let secret = Secret { id: Some(Arc::from("one")), validity: Validity::default(), value };
        let headers =
            Headers::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        TokenCheck { place, secrets: vec![secret] }.judge(&facts(&headers)).map(|secret| secret.id.clone())
    }

    type Row<'r> = (TokenPlace, &'r [(&'r str, &'r str)], Result<Option<Arc<str>>, Reason>);

    #[test]
    fn a_token_is_found_where_it_is_configured() {
        let held = Ok(Some(Arc::from("one")));
        let missing = Err(Reason::TokenMissing);
        let ambiguous = Err(Reason::TokenAmbiguous);
        let mismatch = Err(Reason::TokenMismatch);
        let query = || TokenPlace::Query(Arc::from("token"));
        let header = || TokenPlace::Header(Arc::from("x-token"));
        let basic = || TokenPlace::Basic { username: Fingerprint::of(b"user") };
        let rows: Vec<Row<'_>> = vec![
            (query(), &[(":path", "/p?a=1&token=s3cret")], held.clone()),
            (query(), &[(":path", "/p?tok%65n=s%33cret")], held.clone()),
            (query(), &[(":path", "/p?token=s3cre")], mismatch.clone()),
            (query(), &[(":path", "/p?token=")], mismatch.clone()),
            (query(), &[(":path", "/p?token=s%2533cret")], mismatch.clone()),
            (query(), &[(":path", "/p?TOKEN=s3cret")], missing.clone()),
            (query(), &[(":path", "/p")], missing.clone()),
            (query(), &[(":path", "/p?token=s3cret&token=s3cret")], ambiguous.clone()),
            (header(), &[("X-Token", "s3cret")], held.clone()),
            (header(), &[("x-token", "S3cret")], mismatch.clone()),
            (header(), &[("x-token", "s3cret"), ("X-Token", "s3cret")], ambiguous.clone()),
            (header(), &[], missing.clone()),
            (TokenPlace::Bearer, &[("authorization", "Bearer s3cret")], held.clone()),
            (TokenPlace::Bearer, &[("authorization", "bEARER  s3cret")], held.clone()),
            (TokenPlace::Bearer, &[("authorization", "Bearers3cret")], missing.clone()),
            (TokenPlace::Bearer, &[("authorization", "Bearer")], mismatch.clone()),
            (TokenPlace::Bearer, &[("authorization", "Bearer s3cret,Bearer s3cret")], ambiguous.clone()),
            (TokenPlace::Bearer, &[("authorization", "Basic dXNlcjpzM2NyZXQ=")], missing.clone()),
            (basic(), &[("authorization", "Basic dXNlcjpzM2NyZXQ=")], held.clone()),
            (basic(), &[("authorization", "basic dXNlcjpzM2NyZXQ=")], held.clone()),
            (basic(), &[("authorization", "Basic dXNlcjpzM2NyZXQ")], mismatch.clone()),
            (basic(), &[("authorization", "Basic b3RoZXI6czNjcmV0")], mismatch.clone()),
            (basic(), &[("authorization", "Basic dXNlcg==")], mismatch.clone()),
            (basic(), &[("authorization", "Bearer s3cret")], missing),
            (basic(), &[("authorization", "Basic dXNlcjpzM2NyZXQ="), ("authorization", "x")], ambiguous),
        ];
        for (place, pairs, verdict) in rows {
            assert_eq!(judge(place.clone(), "s3cret", pairs), verdict, "{place:?} {pairs:?}");
        }
        let pair = [("authorization", "Basic dXNlcjpzM2NyZXQ=")];
        for (secret, verdict) in [
            ("user:s3cret", &held),
            ("s3cret", &held),
            ("user:s3cre", &mismatch),
            ("user", &mismatch),
            ("other:s3cret", &mismatch),
        ] {
            assert_eq!(judge(TokenPlace::BasicAny, secret, &pair), *verdict, "{secret}");
        }
    }

    #[test]
    fn nothing_in_a_body_is_compared_after_a_wrong_token_and_nothing_of_it_is_printed() {
        let path = crate::signature::json_pointer::pointer("/value/*/clientState").unwrap();
        let value = Fingerprint::of(b"s3cret");
        let secrets = vec![Secret { id: None, validity: Validity::default(), value }];
        let check = TokenCheck { place: TokenPlace::Json(path), secrets };
        let [right, wrong] = [r#"{"clientState":"s3cret"}"#, r#"{"clientState":"other"}"#];
        for (entries, compared, verdict) in [
            ([right, right], 1, Ok(())),
            ([right, wrong], 1, Err(Reason::TokenMismatch)),
            ([wrong, right], 0, Err(Reason::TokenMismatch)),
        ] {
            let mut token = check.search(Millis(0)).unwrap();
            check.update(&mut token, format!("{{\"value\":[{}]}}", entries.join(",")).as_bytes());
            assert_eq!(token.matched.len(), compared, "{entries:?}");
            assert_eq!(format!("{token:?}"), "BodyToken(..)");
            assert_eq!(check.finish(token, Millis(0)).map(|_| ()), verdict, "{entries:?}");
        }
    }

    #[test]
    fn a_token_in_a_body_is_missing_or_ambiguous_as_elsewhere() {
        let (missing, ambiguous) = (Err(Reason::TokenMissing), Err(Reason::TokenAmbiguous));
        let headers = Headers::from_pairs([]);
        for (path, body, verdict) in [
            ("/token", r#"{"token":"s3cret"}"#, Ok(())),
            ("/token", r#"{"token":"other"}"#, Err(Reason::TokenMismatch)),
            ("/token", r#"{"other":"s3cret"}"#, missing),
            ("/token", "", missing),
            ("/token", r#"{"token":"s3cret","token":"s3cret"}"#, ambiguous),
            ("/value/*/token", r#"{"value":[{"token":"s3cret"}]}"#, Ok(())),
            ("/value/*/token", r#"{"value":[{"token":"s3cret"},{}]}"#, missing),
            ("/value/*/token", r#"{"value":[{"token":"s3cret","token":"s3cret"}]}"#, ambiguous),
        ] {
            let value = Fingerprint::of(b"s3cret");
            let secrets = vec![Secret { id: None, validity: Validity::default(), value }];
            let place = TokenPlace::Json(crate::signature::json_pointer::pointer(path).unwrap());
            let check = TokenCheck { place, secrets };
            assert_eq!(
                check.judge_whole(&facts(&headers), body.as_bytes()).map(|_| ()),
                verdict,
                "{path} {body}"
            );
        }
    }
}
