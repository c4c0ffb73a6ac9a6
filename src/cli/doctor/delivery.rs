//! A delivery in question: the captured request, and the way in which it is to be verified.
//!
//! Responsible for asking the core, with one thing changed or with none.

use super::layout::Layout;
use crate::input::capture::Capture;
use std::borrow::Cow;
use std::sync::Arc;
use webhook_guard_core::catalogue::Way;
use webhook_guard_core::check::token::{TokenCheck, TokenPlace};
use webhook_guard_core::decision::Reason;
use webhook_guard_core::request::{Facts, Headers, Millis, Occurrence};
use webhook_guard_core::secret::{Fingerprint, Secret, Validity};
use webhook_guard_core::signature::End;
use webhook_guard_core::signature::field::{Field, Found};
use webhook_guard_core::signature::key::{Algorithm, Key};
use webhook_guard_core::signature::public_url::{Form, PublicUrl};
use webhook_guard_core::signature::timestamp::Freshness;
use webhook_guard_core::signature::{Scheme, SignatureCheck};

/// A delivery, cheap to copy and to change.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// The provider's way.
    pub(crate) layout: Arc<Layout>,
    /// The way that is tried.
    pub(crate) way: Way,
    /// The request without its body.
    pub(crate) request: Arc<Capture>,
    pub(crate) body: Arc<Vec<u8>>,
    /// The base of the URL, as the sender is thought to know it.
    pub(crate) public_url: Option<Arc<str>>,
    pub(crate) now: Millis,
}

impl Delivery {
    /// The scheme, where the delivery is to be verified by a signature.
    pub(crate) fn scheme(&self) -> Option<&Scheme> {
        match &self.way {
            Way::Signed(scheme, _) => Some(scheme),
            Way::Token(_) => None,
        }
    }

    /// The same with another scheme.
    pub(crate) fn with_scheme(&self, change: impl FnOnce(&mut Scheme)) -> Self {
        let mut other = self.clone();
        if let Way::Signed(scheme, _) = &mut other.way {
            change(scheme);
        }
        other
    }

    /// The same with another body.
    pub(crate) fn with_body(&self, body: Vec<u8>) -> Self {
        Self { body: Arc::new(body), ..self.clone() }
    }

    /// The same with another head.
    pub(crate) fn with_request(&self, change: impl FnOnce(&mut Capture)) -> Self {
        let mut request = (*self.request).clone();
        change(&mut request);
        Self { request: Arc::new(request), ..self.clone() }
    }

    /// The same as another layout has it.
    pub(crate) fn as_layout(&self, layout: &Arc<Layout>) -> Self {
        Self { layout: layout.clone(), way: layout.way.clone(), ..self.clone() }
    }

    /// Gives the facts to whoever asks.
    pub(crate) fn with_facts<T>(&self, now: Millis, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let headers: Headers = self.request.headers();
        ask(&Facts {
            headers: &headers,
            source: None,
            client_certificate: None,
            route_policy: None,
            now,
            ends_with_headers: self.body.is_empty(),
        })
    }

    /// The place of the key that verifies the delivery, however old it is.
    pub(crate) fn holds_at_its_time(&self, keys: &[Vec<u8>]) -> Result<usize, Reason> {
        let ageless = self.with_scheme(|scheme| {
            if let Some(freshness) = &mut scheme.freshness {
                freshness.tolerance_seconds = u32::MAX;
                freshness.future_seconds = u32::MAX;
            }
        });
        ageless.ask(keys, self.sent().unwrap_or(self.now))
    }

    fn ask(&self, keys: &[Vec<u8>], now: Millis) -> Result<usize, Reason> {
        match &self.way {
            Way::Signed(scheme, _) => {
                let (places, secrets) = self.keys(scheme.algorithm, keys);
                let public_url = self.public_url.clone().map(|base| PublicUrl::new(vec![base], Form::Free));
                let check = SignatureCheck {
                    fetched: None,
                    scheme: (**scheme).clone(),
                    secrets,
                    public_url,
                    has_exact_paths: true,
                    names: None,
                };
                let check = Arc::new(check);
                let held = judge_signature(&check, self, now)?;
                places.get(held).copied().ok_or(Reason::SignatureMismatch)
            }
            Way::Token(place) => {
                let secrets = keys.iter().enumerate().map(|(index, key)| Secret {
                    id: Some(Arc::from(index.to_string())),
                    validity: Validity::default(),
                    value: Fingerprint::of(key),
                });
                let check = TokenCheck { place: place.clone(), secrets: secrets.collect() };
                let id = self.with_facts(now, |facts| {
                    check.judge_whole(facts, &self.body).map(|secret| secret.id.clone())
                })?;
                id.and_then(|id| id.parse().ok()).ok_or(Reason::TokenMismatch)
            }
        }
    }

    /// The keys that are some for the algorithm, with their places among the given ones.
    fn keys(&self, algorithm: Algorithm, keys: &[Vec<u8>]) -> (Vec<usize>, Vec<Secret<Key>>) {
        let secret = |value| Secret { id: None, validity: Validity::default(), value };
        let usable = keys.iter().enumerate();
        usable.filter_map(|(index, key)| Some((index, secret(algorithm.key(key)?)))).unzip()
    }

    /// When the sender says that it signed, where that can be read.
    pub(crate) fn sent(&self) -> Option<Millis> {
        let freshness = self.scheme()?.freshness.as_ref()?;
        freshness.unit.read(&self.time_text(freshness)?)
    }

    /// The signed time as the sender wrote it.
    pub(crate) fn time_text(&self, freshness: &Freshness) -> Option<Vec<u8>> {
        if let Some(mut search) = freshness.field.search() {
            search.update(&self.body);
            let value = search.finish().value()?;
            return freshness.field.items(&value).first().map(|item| item.to_vec());
        }
        let items = self.items(&freshness.field);
        items.first().cloned()
    }

    /// The items of a field outside the body that count.
    pub(crate) fn items(&self, field: &Field) -> Vec<Vec<u8>> {
        self.with_facts(self.now, |facts| match field.read(facts) {
            Found::Items(items) => items.into_iter().map(Cow::into_owned).collect(),
            Found::Later | Found::Absent | Found::Ambiguous => Vec::new(),
        })
    }

    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> Occurrence<Vec<u8>> {
        self.with_facts(self.now, |facts| facts.headers.one(name.as_bytes()).map(<[u8]>::to_vec))
    }

    /// The same with one item of a header replaced: the first one equal to `item`, the field's prefix included.
    pub(crate) fn replacing(&self, name: &str, split: Option<u8>, item: &[u8], by: &[u8]) -> Self {
        self.with_request(|request| {
            let mut named = request.fields.iter_mut().filter(|(given, _)| given.eq_ignore_ascii_case(name));
            if let Some((_, value)) = named.next() {
                *value = match split {
                    None => by.to_vec(),
                    Some(split) => {
                        let items = value.split(|byte| *byte == split);
                        let replaced = items.map(|one| if one.trim_ascii() == item { by } else { one });
                        replaced.collect::<Vec<_>>().join(&split)
                    }
                };
            }
        })
    }

    /// The header of a place that is one.
    pub(crate) fn header_of(field: &Field) -> Option<Arc<str>> {
        match &field.place {
            webhook_guard_core::signature::field::Place::Header(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// The same with a token at that place.
    pub(crate) fn with_token(&self, place: TokenPlace) -> Self {
        let way = Way::Token(place);
        let layout = Layout { way: way.clone(), ..(*self.layout).clone() };
        Self { layout: Arc::new(layout), way, ..self.clone() }
    }
}

/// Judges as the filter does: headers, body, end.
pub(crate) fn judge_signature(
    check: &Arc<SignatureCheck>,
    delivery: &Delivery,
    now: Millis,
) -> Result<usize, Reason> {
    delivery.with_facts(now, |facts| {
        let mut running = check.begin(facts, None).map_err(|refusal| refusal.reason)?;
        running.update(&delivery.body);
        let body = running.needs_body().then(|| delivery.body.to_vec());
        running.finish(End { now, body }).map(|verified| verified.secret).map_err(|refusal| refusal.reason)
    })
}
