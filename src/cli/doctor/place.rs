//! Near misses of the place: another provider's scheme, another header, a token where a signature is expected.
//!
//! Responsible for all that the catalogue knows, and for headers that look like a signature.

use super::delivery::Delivery;
use super::layout::{Layout, place_name};
use super::miss::{Candidate, Candidates, EXTENDABLE, Miss};
use super::url;
use std::sync::Arc;
use webhook_guard_core::catalogue::Way;
use webhook_guard_core::check::token::TokenPlace;
use webhook_guard_core::request::Occurrence;
use webhook_guard_core::signature::field::Place;
use webhook_guard_core::signature::json_pointer;

/// The delivery as every other layout of the catalogue has it; those of the same content first, and of these the ones
/// whose delivery id is in the request: many providers share a signature's header, few the id's.
pub(crate) fn providers<'d>(delivery: &'d Delivery, all: &'d [Arc<Layout>]) -> Candidates<'d> {
    let own = &delivery.layout;
    let rank = |layout: &Layout| {
        let Way::Signed(scheme, _) = &layout.way else { return None };
        let id = scheme.delivery_id.as_ref().and_then(Delivery::header_of);
        let strangeness = match id.map(|name| delivery.header(&name)) {
            Some(Occurrence::Once(_)) => 0,
            None => 1,
            Some(Occurrence::Absent | Occurrence::Many) => 2,
        };
        Some((!layout.is_sibling(own), strangeness))
    };
    let others = all.iter().filter(|other| other.json != own.json);
    let mut others: Vec<_> = others.filter_map(|layout| Some((rank(layout)?, layout))).collect();
    others.sort_by_key(|(rank, _)| *rank);
    Box::new(others.into_iter().map(|(_, layout)| {
        let mut other = delivery.as_layout(layout);
        if other.public_url.is_none() && other.scheme().is_some_and(url::signs_base) {
            other.public_url = Some(Arc::from(url::guess(&delivery.request)));
        }
        Candidate { delivery: other, miss: provider_miss(own, layout, all) }
    }))
}

/// Who else does it this way but for the id of the delivery is named too: nothing tells them apart.
fn provider_miss(own: &Layout, layout: &Layout, all: &[Arc<Layout>]) -> Miss {
    let twins = all.iter().filter(|other| other.json != layout.json && other.is_twin(layout));
    let names = layout.names.iter().chain(twins.flat_map(|twin| &twin.names)).cloned();
    let layout = Layout { names: names.collect(), ..layout.clone() };
    let names = layout.listed();
    let asked = own.names.first().map_or("the scheme".to_owned(), |name| name.clone());
    let first = layout.names.first().map(String::as_str).unwrap_or_default();
    let gateway = match layout.names.len() {
        1 => format!("use `\"provider\": \"{first}\"`"),
        _ => format!("use `\"provider\": \"{first}\"`, or whichever of these the sender is"),
    };
    let sender = format!("nothing to do, if it is meant to sign as {names}");
    let (sender, gateway) = if layout.can_be_extended() {
        let is_stronger = |other: &&Arc<Layout>| {
            matches!(other.way, Way::Signed(..))
                && other.documentation == layout.documentation
                && !other.can_be_extended()
        };
        match all.iter().find(is_stronger).filter(|_| layout.documentation.is_some()) {
            Some(stronger) => {
                let stronger = stronger.listed();
                (
                    format!("sign as {stronger}, the provider's stronger scheme"),
                    format!("{EXTENDABLE}; let the sender sign as {stronger}"),
                )
            }
            None => ("use an HMAC (RFC 2104)".to_owned(), EXTENDABLE.to_owned()),
        }
    } else {
        (sender, gateway)
    };
    if matches!(own.way, Way::Signed(..)) && layout.is_sibling(own) {
        let cause = format!(
            "The signature is in the headers of {names}, not in those of {asked}: {}.",
            layout.summary
        );
        Miss::new("sibling-header", cause, sender, gateway)
    } else {
        let cause = format!("The delivery is signed as {names}, not as {asked}: {}.", layout.summary);
        Miss::new("other-provider", cause, sender, gateway)
    }
}

/// The own scheme with its signature in another header of the request.
pub(crate) fn headers(delivery: &Delivery) -> Candidates<'_> {
    let Some(scheme) = delivery.scheme() else { return Box::new(std::iter::empty()) };
    let Some(field) = scheme.signature.first().filter(|field| field.search().is_none()) else {
        return Box::new(std::iter::empty());
    };
    let own: Vec<Arc<str>> = scheme.signature.iter().filter_map(Delivery::header_of).collect();
    let mut names: Vec<Arc<str>> = Vec::new();
    for (name, _) in &delivery.request.fields {
        let name: Arc<str> = Arc::from(name.to_ascii_lowercase());
        if !own.contains(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    Box::new(names.into_iter().flat_map(move |name| {
        let moved = delivery.with_scheme(|scheme| {
            let field = webhook_guard_core::signature::field::Field {
                place: Place::Header(name.clone()),
                ..field.clone()
            };
            scheme.signature = vec![field];
        });
        let miss = Miss::new(
            "other-header",
            format!("The signature is in {name}, and the scheme expects it in {}.", own.join(" or ")),
            format!("send it in {}", own.join(" or ")),
            format!("a custom `scheme` with `\"header\": \"{name}\"` in `signature`; or stop the proxy that renames it"),
        );
        let rewritten: Vec<Candidate> = super::signature::candidates(&moved)
            .map(|candidate| Candidate { miss: joined(&miss, &candidate.miss), ..candidate })
            .collect();
        std::iter::once(Candidate { delivery: moved, miss }).chain(rewritten)
    }))
}

/// Two causes at once; the first names it.
pub(crate) fn joined(one: &Miss, other: &Miss) -> Miss {
    let both = |one: &str, other: &str| {
        if one == other { one.to_owned() } else { format!("{one}; {other}") }
    };
    Miss {
        code: one.code,
        cause: format!("{} {}", one.cause, other.cause),
        sender: both(&one.sender, &other.sender),
        gateway: both(&one.gateway, &other.gateway),
    }
}

/// The secret itself, sent as a token.
pub(crate) fn tokens<'d>(delivery: &'d Delivery, all: &'d [Arc<Layout>]) -> Candidates<'d> {
    let mut places = vec![TokenPlace::Bearer, TokenPlace::BasicAny];
    for (name, _) in &delivery.request.fields {
        places.push(TokenPlace::Header(Arc::from(name.to_ascii_lowercase())));
    }
    let query = delivery.request.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        places.push(TokenPlace::Query(Arc::from(pair.split('=').next().unwrap_or_default())));
    }
    let own = match &delivery.way {
        Way::Token(place) => place_name(place),
        Way::Signed(..) => String::new(),
    };
    let is_signed = own.is_empty();
    Box::new(places.into_iter().filter(move |place| place_name(place) != own).map(move |place| {
        let words = place_name(&place);
        let names = all.iter().find(|layout| match &layout.way {
            Way::Token(known) => place_name(known) == words,
            Way::Signed(..) => false,
        });
        let named = names.map(|layout| format!(", as {} sends it", layout.listed())).unwrap_or_default();
        let remedy = match &place {
            TokenPlace::Header(name) => format!("`\"token\": {{\"header\": \"{name}\", …}}`"),
            TokenPlace::Query(name) => format!("`\"token\": {{\"query\": \"{name}\", …}}`"),
            TokenPlace::Bearer => "`\"token\": {\"bearer\": true, …}`".to_owned(),
            TokenPlace::Basic { .. } | TokenPlace::BasicAny => {
                "`\"token\": {\"basic\": {\"username\": …}, …}`".to_owned()
            }
            TokenPlace::Json(path) => {
                format!("`\"token\": {{\"json\": \"{}\", …}}`", json_pointer::text(path))
            }
        };
        let miss = if is_signed {
            Miss::new(
                "token-not-signature",
                format!("The sender signs nothing: it sends the secret itself {words}{named}."),
                "switch signing on, if it can sign: a token does not protect the body",
                format!("require a token instead of a signature: {remedy}"),
            )
        } else {
            Miss::new(
                "token-place",
                format!("The token is {words}{named}, and is expected elsewhere."),
                "send it where the provider's documentation says",
                format!("require it there: {remedy}"),
            )
        };
        Candidate { delivery: delivery.with_token(place), miss }
    }))
}
