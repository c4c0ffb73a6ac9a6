//! Fetches a list that a provider publishes.
//!
//! Responsible for HTTPS with the certificates that the system trusts, through the proxy that the environment names
//! (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), for a bounded answer, and for following no redirect: the gateway follows none
//! either.

use rustls::crypto::ring;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::HeaderMap;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};
use webhook_guard_core::feed::{MOST_BYTES, Source};

const TIMEOUT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// No more than one byte more than a list may have.
    pub(crate) body: Vec<u8>,
}

/// Fetches the list of a source, as the gateway does.
pub(crate) fn get(source: &Source) -> Result<Answer, String> {
    let trusted = rustls_native_certs::load_native_certs().certs;
    if trusted.is_empty() {
        return Err("this machine has no list of trusted certificates; name one in SSL_CERT_FILE".to_owned());
    }
    let trusted: Vec<Certificate<'static>> =
        trusted.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&trusted))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    let agent: Agent = Agent::config_builder()
        .tls_config(tls)
        .proxy(Proxy::try_from_env())
        .https_only(true)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .build()
        .into();
    let mut request = agent.get(format!("https://{}{}", source.authority, source.path));
    for (name, value) in source.request(None).into_iter().filter(|(name, _)| !name.starts_with(':')) {
        request = request.header(name, value);
    }
    let response = request.call().map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    body.into_reader().take(most).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: bytes })
}
