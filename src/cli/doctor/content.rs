//! Near misses of the signed content: without its time or id, joined by something else, in another order.
//!
//! Responsible for the templates that a sender could have meant.

use super::delivery::Delivery;
use super::layout::is_extendable;
use super::miss::{Candidate, Candidates, EXTENDABLE, Miss};
use webhook_guard_core::signature::key::Algorithm;
use webhook_guard_core::signature::template::SignedContent;

const SEPARATORS: [&str; 11] = [".", ":", "", "\n", "|", "-", "_", "&", "+", ",", ";"];

/// A template taken apart: its placeholders, and the text before each and after the last.
struct Template<'t> {
    start: &'t str,
    /// Each with the text after it.
    parts: Vec<(&'t str, &'t str)>,
}

impl<'t> Template<'t> {
    fn read(text: &'t str) -> Self {
        let mut pieces = text.split('{');
        let start = pieces.next().unwrap_or_default();
        Self { start, parts: pieces.filter_map(|piece| piece.split_once('}')).collect() }
    }

    fn names(&self) -> Vec<&'t str> {
        self.parts.iter().map(|(name, _)| *name).collect()
    }

    /// The separators between placeholders, with the last one's.
    fn joint(&self) -> &'t str {
        self.parts.iter().map(|(_, behind)| *behind).find(|behind| !behind.is_empty()).unwrap_or_default()
    }
}

fn joined(start: &str, names: &[&str], separator: &str) -> String {
    let parts: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    format!("{start}{}", parts.join(separator))
}

/// Every other content.
pub(crate) fn candidates(delivery: &Delivery) -> Candidates<'_> {
    let signed = delivery.layout.signed();
    let Some(scheme) = delivery.scheme() else { return Box::new(std::iter::empty()) };
    let template = Template::read(signed);
    let names = template.names();
    let mut all: Vec<(String, &'static str, String)> = Vec::new();
    let without = |dropped: &[&str]| -> Vec<&str> {
        names.iter().copied().filter(|name| !dropped.contains(name)).collect()
    };
    if names.contains(&"timestamp") {
        for start in [template.start, ""] {
            let kept = without(&["timestamp"]);
            all.push((
                joined(start, &kept, template.joint()),
                "signed-without-time",
                "without the time".to_owned(),
            ));
        }
        let kept = without(&["timestamp", "id"]);
        all.push((joined("", &kept, ""), "signed-without-time", "without the time".to_owned()));
    }
    if names.contains(&"id") {
        let kept = without(&["id"]);
        all.push((
            joined(template.start, &kept, template.joint()),
            "signed-content",
            "without the id".to_owned(),
        ));
    }
    if names.len() > 1 {
        for separator in SEPARATORS {
            let words = match separator {
                "" => "with nothing between the parts".to_owned(),
                "\n" => "with a newline between the parts".to_owned(),
                other => format!("with `{other}` between the parts"),
            };
            for start in [template.start, ""] {
                all.push((joined(start, &names, separator), "separator", words.clone()));
            }
        }
        let backwards: Vec<&str> = names.iter().rev().copied().collect();
        for separator in SEPARATORS {
            all.push((joined("", &backwards, separator), "signed-content", "in another order".to_owned()));
        }
    }
    if names == ["body"] {
        for (name, _) in delivery.request.fields.iter().filter(|(_, value)| is_time(value)) {
            let part = format!("header:{}", name.to_ascii_lowercase());
            for separator in SEPARATORS {
                for order in [[part.as_str(), "body"], ["body", part.as_str()]] {
                    let words = format!("together with the time in {}", name.to_ascii_lowercase());
                    all.push((joined("", &order, separator), "signed-with-time", words));
                }
            }
        }
    }
    let mut seen = vec![signed.to_owned()];
    all.retain(|(template, ..)| {
        let is_new = !seen.contains(template);
        seen.push(template.clone());
        is_new
    });
    let (own, algorithm) = (scheme.signed.clone(), scheme.algorithm);
    Box::new(all.into_iter().filter_map(move |(template, code, words)| {
        let content = SignedContent::parse(&template).ok().filter(|content| *content != own)?;
        let shown = template.replace('\n', "\\n");
        let gateway = match code {
            _ if algorithm == Algorithm::Sha256 && is_extendable(&template) => EXTENDABLE.to_owned(),
            "signed-without-time" => format!(
                "a custom `scheme` with `\"signed\": \"{shown}\"` and without `timestamp`: then nothing stops a replay"
            ),
            _ => format!("a custom `scheme` with `\"signed\": \"{shown}\"`"),
        };
        Some(Candidate {
            delivery: delivery.with_scheme(|scheme| scheme.signed = content),
            miss: Miss::new(
                code,
                format!("The sender signs the content {words}: {shown} instead of {}.", signed.replace('\n', "\\n")),
                format!("sign {} as the provider documents", signed.replace('\n', "\\n")),
                gateway,
            ),
        })
    }))
}

/// Whether a header's value looks like a time: seconds or milliseconds since 1970, or a date.
fn is_time(value: &[u8]) -> bool {
    let is_number = value.iter().all(u8::is_ascii_digit) && (value.len() == 10 || value.len() == 13);
    let is_date = value.len() >= 19 && value.get(10) == Some(&b'T') && value.starts_with(b"20");
    is_number || is_date || value.ends_with(b" GMT")
}
