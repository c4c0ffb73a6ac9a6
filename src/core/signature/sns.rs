//! Messages of Amazon SNS, which are signed over some of their own fields, under a certificate that they name.
//!
//! Responsible for reading one, and for the text that is signed
//! (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html). Of the fields only these are signed: who
//! sends may write what it likes into the others, the attributes of a message among them.

use super::hmac::Encoding;
use super::key::Algorithm;
use super::timestamp::{Times, rfc3339};
use crate::decision::Reason;
use crate::request::Millis;
use crate::vocabulary::Json;
use std::sync::Arc;

/// What is signed of a notification, in this order; the subject where there is one.
const NOTIFICATION: [&str; 6] = ["Message", "MessageId", SUBJECT, "Timestamp", "TopicArn", "Type"];
/// What is signed of a question whether a subscription is meant.
const CONFIRMATION: [&str; 7] =
    ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
const SUBJECT: &str = "Subject";
/// What a path begins with that confirms a subscription.
pub(super) const CONFIRM: &str = "/?Action=ConfirmSubscription&";

/// How messages of SNS are judged.
#[derive(Clone, Debug)]
pub struct Sns {
    /// The topics that may send; every one where there is none.
    pub topics: Vec<Arc<str>>,
    /// The age that is admitted, in seconds.
    pub tolerance_seconds: u32,
    /// How far ahead of our clock a message may have been made, in seconds.
    pub future_seconds: u32,
}

/// A message that is not verified yet.
#[derive(Debug)]
pub(super) struct Message {
    /// What is signed.
    pub(super) content: Vec<u8>,
    /// The signature.
    pub(super) signature: Vec<u8>,
    /// The URL of the certificate.
    pub(super) certificate: String,
    /// Its id.
    pub(super) id: String,
    /// What confirms the subscription, where the message asks for that.
    pub(super) confirmation: Option<String>,
}

/// The version of the signatures that an algorithm makes.
const fn version(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::RsaSha1 => Some("1"),
        Algorithm::RsaSha256 => Some("2"),
        _ => None,
    }
}

impl Sns {
    /// Whether messages are signed so.
    pub(super) fn has(algorithm: Algorithm) -> bool {
        version(algorithm).is_some()
    }

    /// Reads a message, and judges what it says but whether the signature holds.
    ///
    /// # Errors
    /// `signature_missing`; `signature_malformed` for what is no message or of another version; `requirement_not_met` for
    /// another topic; `signature_mismatch` for a signature of a wrong length; the reasons of a time.
    pub(super) fn read(&self, body: &[u8], algorithm: Algorithm, now: Millis) -> Result<Message, Reason> {
        let Some(Json::Object(members)) = Json::of_text(body) else { return Err(Reason::SignatureMalformed) };
        let text = |name: &str| {
            let mut values = members.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
            match (values.next(), values.next()) {
                (None, _) => Ok(None),
                (Some(Json::Text(text)), None) => Ok(Some(text.as_str())),
                _ => Err(Reason::SignatureMalformed),
            }
        };
        let needed = |name: &str| text(name)?.ok_or(Reason::SignatureMalformed);
        let signature = text("Signature")?.ok_or(Reason::SignatureMissing)?;
        if Some(needed("SignatureVersion")?) != version(algorithm) {
            return Err(Reason::SignatureMalformed);
        }
        let (fields, is_question): (&[&str], bool) = match needed("Type")? {
            "Notification" => (&NOTIFICATION, false),
            "SubscriptionConfirmation" => (&CONFIRMATION, true),
            "UnsubscribeConfirmation" => (&CONFIRMATION, false),
            _ => return Err(Reason::SignatureMalformed),
        };
        let topic = needed("TopicArn")?;
        if !self.topics.is_empty() && !self.topics.iter().any(|one| **one == *topic) {
            return Err(Reason::RequirementNotMet);
        }
        let issued = rfc3339(needed("Timestamp")?).ok_or(Reason::TimestampMalformed)?;
        let times = Times {
            issued: Some(issued),
            tolerance_seconds: Some(self.tolerance_seconds),
            future_seconds: self.future_seconds,
            ..Times::default()
        };
        times.admit(now)?;
        let mut content = String::new();
        for name in fields {
            let value = match (*name, text(name)?) {
                (SUBJECT, None) => continue,
                (_, None) => return Err(Reason::SignatureMalformed),
                (_, Some(value)) => value,
            };
            // Each field stands in lines of its own. With a line feed in any but the first, another message would have the
            // same text.
            if *name != "Message" && value.contains('\n') {
                return Err(Reason::SignatureMalformed);
            }
            for line in [name, value] {
                content.push_str(line);
                content.push('\n');
            }
        }
        let signature = Encoding::Base64.decode(signature.as_bytes()).ok_or(Reason::SignatureMalformed)?;
        if !algorithm.claim_lengths().contains(&signature.len()) {
            return Err(Reason::SignatureMismatch);
        }
        let confirmation = if is_question { Some(needed("SubscribeURL")?.to_owned()) } else { None };
        Ok(Message {
            content: content.into_bytes(),
            signature,
            certificate: needed("SigningCertURL")?.to_owned(),
            id: needed("MessageId")?.to_owned(),
            confirmation,
        })
    }
}
