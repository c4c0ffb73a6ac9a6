//! The URL of a request as its sender knows it, for schemes that sign the URL.
//!
//! Responsible for the difference between the two: the gateway sees a path; the sender signed what was entered at its side. The operator writes that down: the base that
//! stands before every path, or the whole URLs.

use crate::decision::Reason;
use crate::request::Facts;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What the operator wrote: at least one URL.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl {
    urls: Vec<Arc<str>>,
    form: Form,
}

/// How the URLs are meant. Where the URL touches another part of what is signed, a piece of one could be moved into the
/// other, so the request's URL must be one that was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The URL touches nothing: a base, or whole URLs.
    Free,
    /// It does, and the policy governs single paths: a base, for requests without a query.
    PinnedBase,
    /// It does: whole URLs.
    PinnedWhole,
}

/// Which part of the URL is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What stands before the query.
    NoQuery,
}

/// Prints nothing: a token can be part of a URL.
impl fmt::Debug for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicUrl(..)")
    }
}

impl PublicUrl {
    /// URLs that are meant so.
    #[must_use]
    pub const fn new(urls: Vec<Arc<str>>, form: Form) -> Self {
        Self { urls, form }
    }

    /// The URLs as they were written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.urls.iter().map(AsRef::as_ref)
    }

    /// The URL of this request: the one that was written down whole, else the base with the request's target after it.
    ///
    /// # Errors
    /// `signature_malformed` where the URL is pinned and the request's is none of them, and where there are several and
    /// it is none of them.
    pub fn of(&self, facts: &Facts<'_>, extent: Extent) -> Result<Cow<'_, [u8]>, Reason> {
        let target = match extent {
            Extent::Whole => facts.target(),
            Extent::NoQuery => facts.path(),
        };
        let cut = |url| match extent {
            Extent::Whole => url,
            Extent::NoQuery => before_query(url),
        };
        if let Some(url) = self.iter().map(cut).find(|url| is_whole(url, target)) {
            return Ok(Cow::Borrowed(url.as_bytes()));
        }
        let [base] = self.urls.as_slice() else { return Err(Reason::SignatureMalformed) };
        let is_base = match self.form {
            Form::Free => true,
            Form::PinnedBase => extent == Extent::NoQuery || facts.query().is_none(),
            Form::PinnedWhole => false,
        };
        if !is_base || base.contains('?') {
            return Err(Reason::SignatureMalformed);
        }
        Ok(Cow::Owned([base.trim_end_matches('/').as_bytes(), target].concat()))
    }

    /// Whether every URL is a whole one for some path that `governs` knows.
    pub fn is_whole_for(&self, governs: impl Fn(&[u8]) -> bool) -> bool {
        self.iter().all(|url| governed_path(url, &governs).is_some())
    }

    /// The paths of these URLs that `governs` knows, as the gateway sees them.
    pub fn paths(&self, governs: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = &str> {
        self.iter().filter_map(move |url| governed_path(url, &governs))
    }
}

/// The path of a URL that `governs` knows. A proxy in front may take a first part of the path off, so every end of it is
/// asked for, the longest first.
fn governed_path(url: &str, governs: impl Fn(&[u8]) -> bool) -> Option<&str> {
    let url = before_query(url);
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let mut ends = rest.match_indices('/').filter_map(|(at, _)| rest.get(at..));
    ends.find(|path| governs(path.as_bytes()))
}

fn before_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// Whether a URL ends with this target, and what stands before it is a scheme with an authority at least.
fn is_whole(url: &str, target: &[u8]) -> bool {
    let front = url.as_bytes().strip_suffix(target).filter(|_| target.first() == Some(&b'/'));
    let front = front.and_then(|front| std::str::from_utf8(front).ok());
    front.and_then(|front| front.split_once("://")).is_some_and(|(_, authority)| !authority.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Headers, Millis};

    fn of(urls: &[&str], form: Form, target: &str, extent: Extent) -> Result<String, Reason> {
        let headers = Headers::from_pairs([(&b":path"[..], target.as_bytes())]);
        let facts = Facts {
            headers: &headers,
            source: None,
            client_certificate: None,
            route_policy: None,
            now: Millis(0),
            ends_with_headers: true,
        };
        let urls = PublicUrl::new(urls.iter().map(|url| Arc::from(*url)).collect(), form);
        urls.of(&facts, extent).map(|url| String::from_utf8(url.into_owned()).unwrap())
    }

    #[test]
    fn a_whole_url_is_taken_as_it_stands_and_a_base_is_put_in_front() {
        let malformed = Err(Reason::SignatureMalformed);
        for (urls, target, free, pinned) in [
            (&["https://h"][..], "/a", Ok("https://h/a"), Ok("https://h/a")),
            (&["https://h/"], "/a", Ok("https://h/a"), Ok("https://h/a")),
            (&["https://h/"], "/", Ok("https://h/"), Ok("https://h/")),
            (&["https://h"], "/a?b=1", Ok("https://h/a?b=1"), malformed),
            (&["https://h/a"], "/a", Ok("https://h/a"), Ok("https://h/a")),
            (&["https://h/m/a"], "/a", Ok("https://h/m/a"), Ok("https://h/m/a")),
            (&["https://h/a?b=1"], "/a?b=1", Ok("https://h/a?b=1"), Ok("https://h/a?b=1")),
            (&["https://h/a?b=1"], "/a", malformed, malformed),
            (&["https://h/a?b=1"], "/a?b=2", malformed, malformed),
            (&["https://h/a", "https://h/b"], "/b", Ok("https://h/b"), Ok("https://h/b")),
            (&["https://h/a", "https://h/b"], "/c", malformed, malformed),
            (&["https://h/a", "https://h/b"], "/b?", malformed, malformed),
            (&["https://h"], "//h", Ok("https://h//h"), Ok("https://h//h")),
        ] {
            let text = |url: Result<&str, Reason>| url.map(str::to_owned);
            assert_eq!(of(urls, Form::Free, target, Extent::Whole), text(free), "{urls:?} {target}");
            assert_eq!(of(urls, Form::PinnedBase, target, Extent::Whole), text(pinned), "{urls:?} {target}");
            let whole = pinned.ok().filter(|url| urls.contains(url)).ok_or(Reason::SignatureMalformed);
            assert_eq!(of(urls, Form::PinnedWhole, target, Extent::Whole), text(whole), "{urls:?} {target}");
        }
        let pinned = Form::PinnedBase;
        assert_eq!(of(&["https://h/a?b=1"], pinned, "/a?c=2", Extent::NoQuery), Ok("https://h/a".to_owned()));
        assert_eq!(of(&["https://h"], pinned, "/a?c=2", Extent::NoQuery), Ok("https://h/a".to_owned()));
    }

    #[test]
    fn a_url_prints_nothing() {
        let url = PublicUrl::new(vec![Arc::from("https://h/a?token=of-the-operator")], Form::PinnedWhole);
        assert_eq!(format!("{url:?}"), "PublicUrl(..)");
    }

    #[test]
    fn a_whole_url_ends_with_a_path_that_is_governed() {
        let governs = |path: &[u8]| path.starts_with(b"/hooks");
        for (url, path) in [
            ("https://h/hooks/a", Some("/hooks/a")),
            ("https://h/front/hooks?x=/y", Some("/hooks")),
            ("https://h", None),
            ("https://h/", None),
            ("https://h/other?x=/hooks", None),
        ] {
            let public_url = PublicUrl::new(vec![Arc::from(url)], Form::Free);
            assert_eq!(public_url.is_whole_for(governs), path.is_some(), "{url}");
            assert_eq!(public_url.paths(governs).collect::<Vec<_>>(), Vec::from_iter(path), "{url}");
        }
    }
}
