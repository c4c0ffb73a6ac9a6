//! Records as OpenTelemetry sends them: OTLP over gRPC, and over HTTP as protobuf, on one port.
//!
//! Responsible for what a request may hold and for the answer to it. A sender is told that its records are taken when they
//! are safe; where there is no room it is told so at once, and tries again or drops them.

mod records;

use crate::access::is_same;
use crate::writer::{Refused, Writer};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use prost::Message as _;
use records::messages;
use std::io::Read as _;
use std::sync::Arc;
use tonic::service::Routes;
use tonic::{Request, Status};

/// The largest request, in bytes: Envoy sends a batch as soon as it is larger than its buffer, and one record may have 3 MiB.
const MOST_BYTES: usize = 16 << 20;

/// Where records are taken.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    writer: Writer,
    /// What a sender has to present, where anything.
    token: Option<Arc<str>>,
}

/// The routes of both forms.
pub(crate) fn routes(writer: Writer, token: Option<Arc<str>>) -> Router {
    let receiver = Receiver { writer, token };
    let service = LogsServiceServer::new(receiver.clone())
        .max_decoding_message_size(MOST_BYTES)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip);
    Routes::new(service)
        .into_axum_router()
        .route("/v1/logs", post(over_http).with_state(receiver))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
}

impl Receiver {
    fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else { return true };
        let given = authorization.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        is_same(given, token.as_bytes())
    }

    async fn take(&self, request: ExportLogsServiceRequest) -> Result<(), Refused> {
        let messages = messages(request);
        if messages.is_empty() { Ok(()) } else { self.writer.write(messages, None).await }
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        let authorization = request.metadata().get("authorization").map(|value| value.as_bytes().to_vec());
        if !self.admits(authorization.as_deref()) {
            return Err(Status::unauthenticated("the token is missing or wrong"));
        }
        match self.take(request.into_inner()).await {
            Ok(()) => Ok(tonic::Response::new(ExportLogsServiceResponse::default())),
            Err(Refused::Overloaded) => Err(Status::unavailable("there is no room just now")),
            Err(Refused::Failed(error)) => {
                eprintln!("webhook-guard-messages: records were not written: {error}");
                Err(Status::unavailable("the records could not be written"))
            }
        }
    }
}

/// Only protobuf, and nothing that a web page could send without being asked: such a request has an origin, or is of a type
/// that a form has.
async fn over_http(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let of = |name| headers.get(name).map(axum::http::HeaderValue::as_bytes);
    if !receiver.admits(of(header::AUTHORIZATION)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if headers.contains_key(header::ORIGIN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if of(header::CONTENT_TYPE) != Some(b"application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let body = match of(header::CONTENT_ENCODING) {
        None | Some(b"identity") => Some(body),
        Some(b"gzip") => unpacked(&body),
        Some(_) => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    };
    let request = body.and_then(|body| ExportLogsServiceRequest::decode(body).ok());
    let Some(request) = request else { return StatusCode::BAD_REQUEST.into_response() };
    match receiver.take(request).await {
        Ok(()) => {
            let answer = ExportLogsServiceResponse::default().encode_to_vec();
            ([(header::CONTENT_TYPE, "application/x-protobuf")], answer).into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response(),
    }
}

fn unpacked(body: &[u8]) -> Option<Bytes> {
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = GzDecoder::new(body).take(most.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (read <= MOST_BYTES).then(|| Bytes::from(bytes))
}
