//! The client certificate check: did the sender open its connection with a certificate that may send?
//!
//! Responsible for comparing what the host saw of the certificate with the names and digests of a policy. The host says
//! that a certificate was presented and what stands in it. That its chain was verified no attribute says: it is what the
//! listener does with a certificate before any request is read (docs/configuration.md, "The sender's certificate").

use crate::decision::Reason;
use crate::request::ClientCertificate;
use crate::uri::authority;
use std::sync::Arc;

/// A host's name, or one label below a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// This name, in lower case.
    Exact(Arc<str>),
    /// Any one label before this suffix: `.example.com`, in lower case.
    Below(Arc<str>),
}

impl NamePattern {
    /// Whether a certificate's name is one of these. Case does not matter (RFC 5280 7.2). A wildcard of the certificate
    /// stands for no name but itself: whoever has `*.example.com` is `*.example.com`.
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => name.eq_ignore_ascii_case(exact.as_bytes()),
            Self::Below(suffix) => {
                name.len().checked_sub(suffix.len()).and_then(|at| name.split_at_checked(at)).is_some_and(
                    |(label, rest)| is_label(label) && rest.eq_ignore_ascii_case(suffix.as_bytes()),
                )
            }
        }
    }
}

fn is_label(label: &[u8]) -> bool {
    let is_of_a_label = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    label == b"*" || !label.is_empty() && label.iter().all(is_of_a_label)
}

/// A URI, or all URIs of some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UriPattern {
    /// This URI, byte for byte.
    Exact(Arc<str>),
    /// Every URI whose host is one of these.
    Host(NamePattern),
}

impl UriPattern {
    fn matches(&self, uri: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => uri == exact.as_bytes(),
            Self::Host(pattern) => host(uri).is_some_and(|host| pattern.matches(&host)),
        }
    }
}

/// The host of a URI in lower case; nothing where it has none, or userinfo before it (RFC 3986 3.2).
fn host(uri: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = uri.split_at_checked(uri.iter().position(|byte| *byte == b':')?)?;
    let rest = rest.strip_prefix(b"://").filter(|_| !scheme.is_empty())?;
    let authority = rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()?;
    authority::host(authority).map(std::borrow::Cow::into_owned)
}

/// Which certificates may send. Every member that is there must hold, by one entry of its list.
#[derive(Clone, Debug, Default)]
pub struct CertificateCheck {
    /// The names of hosts: the certificate's first subject alternative name of that kind, all that the host shows.
    pub dns: Option<Vec<NamePattern>>,
    /// The URIs: likewise the first.
    pub uri: Option<Vec<UriPattern>>,
    /// The subjects as RFC 2253 writes them, byte for byte.
    pub subject: Option<Vec<Arc<str>>>,
    /// The SHA-256 of certificates, in lower-case hexadecimal digits.
    pub sha256: Option<Vec<Arc<str>>>,
}

impl CertificateCheck {
    /// Judges the certificate of the connection.
    ///
    /// # Errors
    /// `client_certificate_missing` where there is none, `client_certificate_not_allowed` where it is another one.
    pub fn judge(&self, certificate: Option<&ClientCertificate>) -> Result<(), Reason> {
        let certificate = certificate.ok_or(Reason::ClientCertificateMissing)?;
        let holds = is_met(self.dns.as_deref(), &certificate.dns, NamePattern::matches)
            && is_met(self.uri.as_deref(), &certificate.uri, UriPattern::matches)
            && is_met(self.subject.as_deref(), &certificate.subject, |entry, seen| entry.as_bytes() == seen)
            && is_met(self.sha256.as_deref(), &certificate.sha256, |entry, seen| entry.as_bytes() == seen);
        if holds { Ok(()) } else { Err(Reason::ClientCertificateNotAllowed) }
    }
}

/// Whether a list is not there, or has what the certificate shows. What it does not show is on no list.
fn is_met<T>(list: Option<&[T]>, seen: &[u8], matches: impl Fn(&T, &[u8]) -> bool) -> bool {
    list.is_none_or(|list| !seen.is_empty() && list.iter().any(|entry| matches(entry, seen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_whole_and_a_wildcard_is_one_label() {
        let exact = NamePattern::Exact(Arc::from("hooks.example.com"));
        let below = NamePattern::Below(Arc::from(".example.com"));
        for (name, is_exact, is_below) in [
            ("hooks.example.com", true, true),
            ("Hooks.EXAMPLE.com", true, true),
            ("other.example.com", false, true),
            ("a_b-1.example.com", false, true),
            ("*.example.com", false, true),
            ("a.hooks.example.com", false, false),
            ("*.hooks.example.com", false, false),
            ("example.com", false, false),
            (".example.com", false, false),
            ("hooks.example.com.", false, false),
            ("hooks.example.comx", false, false),
            ("xhooks.example.com.evil.test", false, false),
            ("hooks.example.org", false, false),
            ("h oks.example.com", false, false),
            ("evil.test\0.example.com", false, false),
            ("evil\0.example.com", false, false),
            ("h*.example.com", false, false),
            ("hooks-example.com", false, false),
            ("", false, false),
        ] {
            assert_eq!(exact.matches(name.as_bytes()), is_exact, "exact: {name:?}");
            assert_eq!(below.matches(name.as_bytes()), is_below, "below: {name:?}");
        }
    }

    #[test]
    fn a_uri_is_compared_whole_or_by_its_host() {
        let exact = UriPattern::Exact(Arc::from("spiffe://mesh.example.com/ns/hooks"));
        let below = UriPattern::Host(NamePattern::Below(Arc::from(".example.com")));
        for (uri, is_exact, is_below) in [
            ("spiffe://mesh.example.com/ns/hooks", true, true),
            ("spiffe://mesh.example.com/ns/Hooks", false, true),
            ("spiffe://mesh.example.com/ns/hooks/", false, true),
            ("spiffe://MESH.example.com", false, true),
            ("https://a.example.com:8443?x=//evil.test", false, true),
            ("https://a.b.example.com/", false, false),
            ("https://example.com/", false, false),
            ("https://evil.test/.example.com", false, false),
            ("https://evil.test#a.example.com", false, false),
            ("https://evil.test\\a.example.com", false, false),
            ("https://a.example.com@evil.test/", false, false),
            ("https://user@a.example.com/", false, false),
            ("https:a.example.com", false, false),
            ("urn:a.example.com", false, false),
            ("://a.example.com", false, false),
            ("a.example.com", false, false),
            ("", false, false),
        ] {
            assert_eq!(exact.matches(uri.as_bytes()), is_exact, "exact: {uri:?}");
            assert_eq!(below.matches(uri.as_bytes()), is_below, "below: {uri:?}");
        }
    }

    #[test]
    fn every_member_must_hold_and_what_is_not_shown_is_on_no_list() {
        let shown = ClientCertificate {
            sha256: b"ab".to_vec(),
            subject: b"CN=hooks".to_vec(),
            dns: b"hooks.example.com".to_vec(),
            uri: Vec::new(),
        };
        let dns = |name: &str| Some(vec![NamePattern::Exact(Arc::from(name))]);
        let texts = |text: &str| Some(vec![Arc::from("other"), Arc::from(text)]);
        let uri = Some(vec![UriPattern::Exact(Arc::from(""))]);
        let other = Err(Reason::ClientCertificateNotAllowed);
        let none = CertificateCheck::default();
        let rows = [
            (CertificateCheck { dns: dns("hooks.example.com"), ..none.clone() }, Ok(())),
            (CertificateCheck { dns: dns("other.example.com"), ..none.clone() }, other),
            (CertificateCheck { subject: texts("CN=hooks"), sha256: texts("ab"), ..none.clone() }, Ok(())),
            (CertificateCheck { subject: texts("CN=hooks"), sha256: texts("AB"), ..none.clone() }, other),
            (CertificateCheck { subject: texts("CN=Hooks"), sha256: texts("ab"), ..none.clone() }, other),
            (CertificateCheck { subject: texts("CN=hooks,O=x"), ..none.clone() }, other),
            (CertificateCheck { dns: dns("hooks.example.com"), uri, ..none.clone() }, other),
            (CertificateCheck { dns: Some(Vec::new()), ..none }, other),
        ];
        for (check, verdict) in rows {
            assert_eq!(check.judge(Some(&shown)), verdict, "{check:?}");
            assert_eq!(check.judge(None), Err(Reason::ClientCertificateMissing), "{check:?}");
        }
    }
}
