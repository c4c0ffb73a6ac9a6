//! A verifier as anyone would write it with the SDK: one header, one HMAC over the buffered body, nothing else.

use hmac::{Hmac, KeyInit as _, Mac as _};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};
use sha2::Sha256;
use std::sync::Arc;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { secret: Arc::from([]) }) });
}}

struct Root {
    secret: Arc<[u8]>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.secret = self.get_plugin_configuration().unwrap_or_default().into();
        !self.secret.is_empty()
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Verifier { secret: self.secret.clone(), claimed: None }))
    }
}

struct Verifier {
    secret: Arc<[u8]>,
    claimed: Option<[u8; 32]>,
}

impl Verifier {
    fn verify(&self, body: &[u8]) -> Action {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).unwrap();
        mac.update(body);
        match self.claimed {
            Some(claimed) if mac.verify_slice(&claimed).is_ok() => Action::Continue,
            _ => self.refuse(),
        }
    }

    fn refuse(&self) -> Action {
        self.send_http_response(401, vec![], None);
        Action::Pause
    }
}

impl Context for Verifier {}

impl HttpContext for Verifier {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let header = self.get_http_request_header_bytes("x-hub-signature-256");
        self.claimed = header.and_then(|value| tag(&value));
        if self.claimed.is_none() {
            return self.refuse();
        }
        if end_of_stream { self.verify(b"") } else { Action::Pause }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        self.verify(&body)
    }
}

fn tag(header: &[u8]) -> Option<[u8; 32]> {
    let hex = header.strip_prefix(b"sha256=")?;
    let mut tag = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in tag.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(tag)
}
