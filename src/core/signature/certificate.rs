//! Certificates (X.509, RFC 5280), as far as a signature needs them: the public key, and when it may be used.
//!
//! Responsible for reading one. Whose it is is told by where it was fetched from: the host's cluster verifies that server, as
//! the senders' own libraries do.

use crate::request::Millis;
use crate::secret::Validity;
use p256::pkcs8::der::asn1::{GeneralizedTime, UtcTime};
use p256::pkcs8::der::{Decode as _, Error, Reader, SliceReader, Tag};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The public key, in the DER of a `SubjectPublicKeyInfo`.
    pub(super) public_key: Vec<u8>,
    /// When it may be used.
    pub(super) validity: Validity,
}

impl Certificate {
    /// Reads a certificate in DER; nothing where it is none.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let mut reader = SliceReader::new(der).ok()?;
        let certificate = reader.sequence(|whole| {
            let certificate = whole.sequence(signed)?;
            // The algorithm of the issuer's signature, and the signature.
            whole.tlv_bytes()?;
            whole.tlv_bytes()?;
            Ok::<_, Error>(certificate)
        });
        reader.finish().ok()?;
        certificate.ok()
    }
}

/// What the issuer signed (RFC 5280 4.1).
fn signed<'d>(reader: &mut SliceReader<'d>) -> Result<Certificate, Error> {
    // The version, which a certificate of the first one does not have.
    if Tag::peek(reader)?.is_context_specific() {
        reader.tlv_bytes()?;
    }
    // The serial number, the algorithm, the issuer.
    for _ in 0..3 {
        reader.tlv_bytes()?;
    }
    let validity = reader.sequence(|times| {
        Ok::<_, Error>(Validity { not_before: Some(time(times)?), not_after: Some(time(times)?) })
    })?;
    // The subject.
    reader.tlv_bytes()?;
    let public_key = reader.tlv_bytes()?.to_vec();
    while !reader.is_finished() {
        reader.tlv_bytes()?;
    }
    Ok(Certificate { public_key, validity })
}

fn time<'d>(reader: &mut SliceReader<'d>) -> Result<Millis, Error> {
    let since = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
