//! What each reason means, in the words of the README's table.
//!
//! Responsible for one sentence a reason.

use webhook_guard_core::decision::Reason;

/// What a reason means, and for whom it is to act.
pub(crate) const fn of(reason: Reason) -> &'static str {
    match reason {
        Reason::NoPolicy => "no policy governs the request",
        Reason::PathMalformed => "the path can be read in more than one way",
        Reason::MethodNotAllowed => "a policy governs the path, for other methods",
        Reason::UpgradeNotAllowed => "Upgrade or CONNECT: what follows could not be judged",
        Reason::ContentTypeNotAllowed => "the content type is not in the policy's list",
        Reason::ContentEncodingNotAllowed => "the content encoding is not in the policy's list",
        Reason::BodyTooLarge => "the body is longer than max_body_bytes",
        Reason::SourceIpUnknown => "there is no source address; give it with --source-ip",
        Reason::SourceIpNotAllowed => "the source address may not send",
        Reason::TokenMissing => "the request carries no token there",
        Reason::TokenAmbiguous => "the request carries the token more than once",
        Reason::TokenMismatch => "the token is none of the configured ones",
        Reason::SignatureMissing => "the header that holds the signature is not there",
        Reason::SignatureAmbiguous => "a header that the scheme reads is there more than once",
        Reason::SignatureMalformed => "the signature, or something it is computed over, cannot be read",
        Reason::SignatureMismatch => "no claimed signature is right: another secret, or other bytes",
        Reason::TimestampMissing => "the signed time is not there",
        Reason::TimestampMalformed => "the signed time cannot be read in the scheme's unit",
        Reason::TimestampStale => "the signed time is too old: a replay, or a clock that is wrong",
        Reason::TimestampFuture => "the signed time is ahead of the gateway's clock",
        Reason::RequirementNotMet => "an equality that the scheme demands beside the signature does not hold",
        Reason::NoAlternativeHeld => "no branch of an any_of holds",
        Reason::ClientCertificateMissing => {
            "the connection has no client certificate; give what stands in it with --client-dns and its kin"
        }
        Reason::ClientCertificateNotAllowed => "the client certificate is none of those that may send",
        Reason::HandshakeRefused => "a handshake that is not of the provider's shape",
        Reason::DuplicateDelivery => "the delivery was seen before",
        Reason::PolicyUnknown => "the route names a policy that is not configured",
        Reason::MemoryUnavailable => "the memory of deliveries could not be asked",
        Reason::Overloaded => "as much is held for requests whose body is awaited as may be held",
        Reason::HostCannotHold => "the gateway never delivers the body: its option is missing",
        Reason::HostFault => "the host failed, or chose another route",
    }
}
