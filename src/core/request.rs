//! A request as the core sees it: a snapshot of bytes, taken once.
//!
//! Responsible for looking headers up without trusting them: names in any case, values that need not be UTF-8, repeated
//! headers kept apart.

/// How often a header or parameter occurs, and its value if that is once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occurrence<T> {
    /// Not at all.
    Absent,
    /// Exactly once.
    Once(T),
    /// More than once: there is no telling which one the next reader would take.
    Many,
}

impl<T> Occurrence<T> {
    /// The same occurrence of another form of the value.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Occurrence<U> {
        match self {
            Self::Absent => Occurrence::Absent,
            Self::Once(value) => Occurrence::Once(form(value)),
            Self::Many => Occurrence::Many,
        }
    }
}

/// The headers of a request, pseudo-headers included, in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    buffer: Vec<u8>,
    spans: Vec<Span>,
}

/// The bytes of an ordinary header, its name and a NUL after each included.
const TYPICAL_LENGTH: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Span {
    name: usize,
    value: usize,
    end: usize,
}

impl Headers {
    /// Reads a header map in the form in which the proxy-wasm ABI hands it over: the count, the lengths of every name
    /// and value (all 32-bit little-endian), then each name and value followed by a NUL.
    ///
    /// Returns nothing when the buffer is not of that form.
    #[must_use]
    pub fn from_abi(buffer: Vec<u8>) -> Option<Self> {
        let count = read_u32(&buffer, 0)?;
        let mut start = count.checked_mul(8)?.checked_add(4)?;
        if start > buffer.len() {
            return None;
        }
        let mut spans = Vec::with_capacity(count);
        for index in 0..count {
            let lengths = index.checked_mul(8)?.checked_add(4)?;
            let value = start.checked_add(read_u32(&buffer, lengths)?)?.checked_add(1)?;
            let end = value.checked_add(read_u32(&buffer, lengths.checked_add(4)?)?)?;
            if end >= buffer.len() {
                return None;
            }
            spans.push(Span { name: start, value, end });
            start = end.checked_add(1)?;
        }
        Some(Self { buffer, spans })
    }

    /// Headers from pairs, as a test or a command line has them.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let pairs = pairs.into_iter();
        let count = pairs.size_hint().0;
        let mut headers = Self {
            buffer: Vec::with_capacity(count.saturating_mul(TYPICAL_LENGTH)),
            spans: Vec::with_capacity(count),
        };
        for (name, value) in pairs {
            let start = headers.buffer.len();
            headers.buffer.extend_from_slice(name);
            headers.buffer.push(0);
            let value_start = headers.buffer.len();
            headers.buffer.extend_from_slice(value);
            headers.spans.push(Span { name: start, value: value_start, end: headers.buffer.len() });
            headers.buffer.push(0);
        }
        headers
    }

    /// The same form, for a map that is handed to the host.
    #[must_use]
    pub fn to_abi(&self) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut buffer = u32::try_from(self.spans.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        for (name, value) in self.iter() {
            buffer.extend(length(name));
            buffer.extend(length(value));
        }
        for (name, value) in self.iter() {
            buffer.extend_from_slice(name);
            buffer.push(0);
            buffer.extend_from_slice(value);
            buffer.push(0);
        }
        buffer
    }

    /// Every header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().filter_map(|span| Some((self.name(span)?, self.buffer.get(span.value..span.end)?)))
    }

    /// Every value of that header, in order; the name in any case. Most headers are told apart by the lengths of their
    /// names, which are known without a look at the bytes.
    pub fn all<'a>(&'a self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let has_its_length =
            |span: &&Span| span.value.saturating_sub(span.name) == name.len().saturating_add(1);
        let is_it = |span: &&Span| self.name(span).is_some_and(|given| given.eq_ignore_ascii_case(name));
        let found = self.spans.iter().filter(has_its_length).filter(is_it);
        found.filter_map(|span| self.buffer.get(span.value..span.end))
    }

    fn name(&self, span: &Span) -> Option<&[u8]> {
        self.buffer.get(span.name..span.value.checked_sub(1)?)
    }

    /// The value of a header that may occur once.
    #[must_use]
    pub fn one<'a>(&'a self, name: &[u8]) -> Occurrence<&'a [u8]> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Occurrence::Absent,
            (Some(value), None) => Occurrence::Once(value),
            (Some(_), Some(_)) => Occurrence::Many,
        }
    }

    /// The first value of that header, or nothing. For pseudo-headers, which the host keeps unique.
    #[must_use]
    pub fn first<'a>(&'a self, name: &[u8]) -> Option<&'a [u8]> {
        self.all(name).next()
    }
}

fn read_u32(buffer: &[u8], at: usize) -> Option<usize> {
    let bytes = buffer.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i64);

impl Millis {
    /// The start of the second that this instant lies in.
    #[must_use]
    pub const fn floor_to_second(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(1000)))
    }
}

/// What the host saw of the certificate with which the sender opened its connection. What the certificate does not have is
/// empty. The host shows the first subject alternative name of a kind, and hides the others (measured; Envoy's
/// `source/extensions/filters/common/expr/context.cc`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The SHA-256 of the certificate, in lower-case hexadecimal digits.
    pub sha256: Vec<u8>,
    /// The subject as RFC 2253 writes it.
    pub subject: Vec<u8>,
    /// The first DNS name.
    pub dns: Vec<u8>,
    /// The first URI.
    pub uri: Vec<u8>,
}

/// What can be asked of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateAttribute {
    /// Its SHA-256, which every certificate has.
    Sha256,
    /// Its subject.
    Subject,
    /// Its first DNS name.
    Dns,
    /// Its first URI.
    Uri,
}

impl ClientCertificate {
    /// Asks the host for the certificate; nothing where the sender presented none, over TLS or without. The digest says
    /// whether it did: `connection.mtls` would say the same, for it does not tell either whether the host verified it.
    ///
    /// # Errors
    /// What `ask` fails with.
    pub fn read<E>(
        mut ask: impl FnMut(CertificateAttribute) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Self>, E> {
        let sha256 = ask(CertificateAttribute::Sha256)?.unwrap_or_default();
        if sha256.is_empty() {
            return Ok(None);
        }
        let mut text = |attribute| ask(attribute).map(Option::unwrap_or_default);
        Ok(Some(Self {
            sha256,
            subject: text(CertificateAttribute::Subject)?,
            dns: text(CertificateAttribute::Dns)?,
            uri: text(CertificateAttribute::Uri)?,
        }))
    }
}

/// All that is known about a request when its headers have come. Nothing is read from the host after this.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The headers with `:method`, `:path` and `:authority`.
    pub headers: &'a Headers,
    /// Envoy's `source.address`: `ip:port`, IPv6 in brackets.
    pub source: Option<&'a [u8]>,
    /// The certificate of its connection; nothing where there is none, or no policy asks for one.
    pub client_certificate: Option<&'a ClientCertificate>,
    /// The policy that the route's metadata names.
    pub route_policy: Option<&'a [u8]>,
    /// When the headers came.
    pub now: Millis,
    /// Whether the request ends with its headers: no body, no trailers.
    pub ends_with_headers: bool,
}

impl<'a> Facts<'a> {
    /// `:method`, empty if there is none.
    #[must_use]
    pub fn method(&self) -> &'a [u8] {
        self.headers.first(b":method").unwrap_or_default()
    }

    /// `:path` with its query, empty if there is none.
    #[must_use]
    pub fn target(&self) -> &'a [u8] {
        self.headers.first(b":path").unwrap_or_default()
    }

    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        self.target().split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// What follows the first `?`, or nothing.
    #[must_use]
    pub fn query(&self) -> Option<&'a [u8]> {
        let target = self.target();
        let mark = target.iter().position(|byte| *byte == b'?')?;
        target.get(mark.checked_add(1)?..)
    }

    /// The declared length of the body; nothing when it is not declared, or not to be believed.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        if self.headers.first(b"transfer-encoding").is_some() {
            return None;
        }
        match self.headers.one(b"content-length") {
            Occurrence::Once(text) => decimal(text),
            Occurrence::Absent | Occurrence::Many => None,
        }
    }
}

/// The number that ASCII digits, and nothing but digits, stand for.
#[must_use]
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abi(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        Headers::from_pairs(pairs.iter().copied()).to_abi()
    }

    #[test]
    fn the_abi_form_gives_the_pairs_back_whatever_their_bytes() {
        let pairs: [(&[u8], &[u8]); 3] = [(b":path", b"/a"), (b"X-Odd", b"\xff\xfe\0"), (b"x-odd", b"")];
        let headers = Headers::from_abi(abi(&pairs)).unwrap();
        assert_eq!(headers.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(headers.one(b"x-odd"), Occurrence::Many);
        assert_eq!(headers.one(b":path"), Occurrence::Once(&b"/a"[..]));
        assert_eq!(headers.one(b"x"), Occurrence::Absent);
    }

    #[test]
    fn a_buffer_that_is_cut_or_lies_about_a_length_is_no_header_map() {
        let whole = abi(&[(b":path", b"/a"), (b"b", b"c")]);
        for cut in 0..whole.len() {
            assert!(Headers::from_abi(whole[..cut].to_vec()).is_none(), "cut at {cut}");
        }
        for at in 0..4 {
            let mut lying = whole.clone();
            lying[at] = 0xff;
            assert!(Headers::from_abi(lying).is_none(), "count byte {at}");
        }
    }

    #[test]
    fn a_map_may_be_empty() {
        assert_eq!(Headers::from_abi(abi(&[])).map(|headers| headers.iter().count()), Some(0));
    }

    #[test]
    fn a_certificate_is_what_the_host_says_of_it_and_none_without_its_digest() {
        let all = |attribute| {
            Ok(match attribute {
                CertificateAttribute::Sha256 => Some(b"00".to_vec()),
                CertificateAttribute::Subject => Some(b"CN=a".to_vec()),
                CertificateAttribute::Dns => Some(b"a.example".to_vec()),
                CertificateAttribute::Uri => None,
            })
        };
        let read: Result<_, ()> = ClientCertificate::read(all);
        let (sha256, subject) = (b"00".to_vec(), b"CN=a".to_vec());
        assert_eq!(
            read,
            Ok(Some(ClientCertificate { sha256, subject, dns: b"a.example".to_vec(), uri: Vec::new() }))
        );
        for digest in [None, Some(Vec::new())] {
            assert_eq!(ClientCertificate::read(|_| Ok::<_, ()>(digest.clone())), Ok(None));
        }
        assert_eq!(ClientCertificate::read(|_| Err("no host")), Err("no host"));
    }

    #[test]
    fn only_ascii_digits_are_a_number() {
        for (text, number) in [
            (&b"0"[..], Some(0)),
            (b"007", Some(7)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"+5", None),
            (b"-5", None),
            (b" 5", None),
            (b"5.0", None),
            ("٣".as_bytes(), None),
        ] {
            assert_eq!(decimal(text), number, "{}", String::from_utf8_lossy(text));
        }
    }
}
