//! The page, and the JSON behind it.
//!
//! Responsible for the routes, for what each of them asks of the user's permissions, and for the headers that keep what
//! strangers wrote from being more than text: a strict Content-Security-Policy, no frames, no sniffing, no referrer.

use crate::access::{Access, Permission, Refusal, Request as Asked, User};
use crate::listen::Peer;
use crate::resubmit::{self, Gateway};
use crate::store::query::{Filter, Payload, Reader, Summary};
use crate::store::{Resubmit, StoreError, query};
use crate::writer::{Writer, now};
use crate::{advice, message};
use axum::extract::{ConnectInfo, Path as InPath, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::convert::Infallible;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_stream::{Stream, StreamExt as _};

/// How many readers wait for work at most; more questions wait for one of them.
const READERS: usize = 4;

/// How often a page is told of what is new.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// Nothing is loaded from elsewhere, nothing is run that is not this program's, and no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) access: Arc<Access>,
    pub(crate) database: Arc<PathBuf>,
    pub(crate) readers: Arc<Mutex<Vec<Reader>>>,
    pub(crate) questions: Arc<tokio::sync::Semaphore>,
    pub(crate) writer: Writer,
    pub(crate) gateway: Option<Arc<Gateway>>,
    /// How long messages are kept, in milliseconds.
    pub(crate) keep: i64,
}

impl Shared {
    pub(crate) fn new(
        access: Access,
        database: PathBuf,
        writer: Writer,
        gateway: Option<Gateway>,
        keep: i64,
    ) -> Self {
        Self {
            access: Arc::new(access),
            database: Arc::new(database),
            readers: Arc::default(),
            questions: Arc::new(tokio::sync::Semaphore::new(READERS)),
            writer,
            gateway: gateway.map(Arc::new),
            keep,
        }
    }

    /// Asks the database, on a thread that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = self.questions.clone().acquire_owned().await.map_err(|_| Failure::unavailable())?;
        let (readers, database) = (self.readers.clone(), self.database.clone());
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let known = readers.lock().ok().and_then(|mut readers| readers.pop());
            let reader = known.map_or_else(|| query::open(&database), Ok)?;
            let answer = question(&reader);
            if let Ok(mut readers) = readers.lock() {
                readers.push(reader);
            }
            answer
        });
        answer
            .await
            .map_err(|_| Failure::unavailable())?
            .map_err(|StoreError(words)| Failure::new(StatusCode::SERVICE_UNAVAILABLE, words))
    }
}

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    words: String,
}

impl Failure {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database is not available")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.words}))).into_response()
    }
}

/// All routes.
pub(crate) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/", get(|| async { page("text/html; charset=utf-8", include_str!("page/index.html")) }))
        .route(
            "/page.js",
            get(|| async { page("text/javascript; charset=utf-8", include_str!("page/page.js")) }),
        )
        .route("/page.css", get(|| async { page("text/css; charset=utf-8", include_str!("page/page.css")) }))
        .route("/icon.svg", get(|| async { page("image/svg+xml", include_str!("page/icon.svg")) }))
        .route("/api/me", get(me))
        .route("/api/messages", get(list))
        .route("/api/messages/{id}", get(show))
        .route("/api/messages/{id}/body", get(body))
        .route("/api/messages/{id}/resubmit", post(again))
        .route("/api/hours", get(hours))
        .route("/api/values", get(values))
        .route("/api/live", get(live))
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .layer(middleware::from_fn_with_state(shared.clone(), admit))
        .layer(middleware::map_response(with_headers))
        .with_state(shared)
}

fn page(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets in who may come in, from where they may.
async fn admit(
    State(shared): State<Shared>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let of = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    // In HTTP/2 the host is part of the target.
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let asked = Asked {
        peer: peer.ip(),
        host: of("host").or(authority),
        origin: of("origin"),
        site: of("sec-fetch-site"),
        authorization: of("authorization"),
        is_change: request.method() != Method::GET && request.method() != Method::HEAD,
        is_page: request.uri().path() == "/",
    };
    match shared.access.admit(asked) {
        Ok(user) => {
            let user = user.clone();
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        Err(Refusal::Host) => {
            Failure::new(StatusCode::MISDIRECTED_REQUEST, "this is another host's").into_response()
        }
        Err(Refusal::Origin) => {
            Failure::new(StatusCode::FORBIDDEN, "another page asks for this").into_response()
        }
        Err(Refusal::Proxy) => {
            Failure::new(StatusCode::FORBIDDEN, "this does not come from the proxy").into_response()
        }
        Err(Refusal::Nobody) => {
            let mut response = Failure::new(StatusCode::UNAUTHORIZED, "who are you?").into_response();
            let challenge =
                HeaderValue::from_static("Basic realm=\"webhook-guard messages\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

fn must(user: &User, permission: Permission) -> Result<(), Failure> {
    match user.may(permission) {
        true => Ok(()),
        false => Err(Failure::new(StatusCode::FORBIDDEN, "you may not do this")),
    }
}

async fn me(State(shared): State<Shared>, Extension(user): Extension<User>) -> Json<Value> {
    let gateway = shared.gateway.as_ref().map(|gateway| gateway.url().to_owned());
    Json(json!({
        "name": user.name,
        "list": user.may(Permission::List),
        "payload": user.may(Permission::Payload),
        "resubmit": user.may(Permission::Resubmit) && gateway.is_some(),
        "gateway": gateway,
        "keep": shared.keep,
    }))
}

async fn list(
    State(shared): State<Shared>,
    Extension(user): Extension<User>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Failure> {
    must(&user, Permission::List)?;
    // Who may not see payloads may not find out what is in them either.
    let asks_for_words = filter.q.as_deref().is_some_and(|words| !words.trim().is_empty());
    if asks_for_words {
        must(&user, Permission::Payload)?;
    }
    let messages = shared.ask(move |reader| reader.list(&filter)).await?;
    Ok(Json(json!({"messages": messages})))
}

async fn found(shared: &Shared, id: i64) -> Result<(Summary, Payload), Failure> {
    let found = shared
        .ask(move |reader| match reader.message(id)? {
            Some(message) => Ok(Some((message, reader.payload(id)?))),
            None => Ok(None),
        })
        .await?;
    found.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "there is no such message, or not any more"))
}

async fn show(
    State(shared): State<Shared>,
    Extension(user): Extension<User>,
    InPath(id): InPath<i64>,
) -> Result<Json<Value>, Failure> {
    must(&user, Permission::List)?;
    let (message, payload) = found(&shared, id).await?;
    let resubmits = shared.ask(move |reader| reader.resubmits(id)).await?;
    let obstacle = message::obstacle(payload.body.as_ref(), message.body_sha256.as_deref());
    let prepared =
        shared.gateway.as_ref().map(|gateway| gateway.prepare(&message, payload.clone(), now()).err());
    let shown = user.may(Permission::Payload).then(|| {
        let body = payload.body.as_ref();
        let text = body.and_then(|body| std::str::from_utf8(&body.bytes).ok());
        json!({
            "headers": advice::headers(&payload),
            "text": text,
            "base64": body.filter(|_| text.is_none()).map(|body| BASE64.encode(&body.bytes)),
            "truncated": body.map(|body| body.is_truncated),
            "curl": advice::curl(&message, &payload),
        })
    });
    Ok(Json(json!({
        "message": message,
        "advice": advice::of(&message),
        "resubmits": resubmits,
        "obstacle": prepared.flatten().or(obstacle.map(str::to_owned)),
        "payload": shown,
    })))
}

/// The bytes, as nothing that a browser would show.
async fn body(
    State(shared): State<Shared>,
    Extension(user): Extension<User>,
    InPath(id): InPath<i64>,
) -> Result<Response, Failure> {
    must(&user, Permission::List)?;
    must(&user, Permission::Payload)?;
    let (_, payload) = found(&shared, id).await?;
    let body =
        payload.body.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "its body was not recorded"))?;
    let name = format!("attachment; filename=\"message-{id}.bin\"");
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, body.bytes).into_response())
}

async fn again(
    State(shared): State<Shared>,
    Extension(user): Extension<User>,
    InPath(id): InPath<i64>,
) -> Result<Json<Value>, Failure> {
    must(&user, Permission::Resubmit)?;
    let gateway = shared.gateway.clone();
    let gateway =
        gateway.ok_or_else(|| Failure::new(StatusCode::CONFLICT, "no gateway and key are configured"))?;
    let (message, payload) = found(&shared, id).await?;
    let note = Resubmit {
        message: id,
        request_id: message.request_id.clone(),
        at: now(),
        by: user.name.clone(),
        gateway: gateway.url().to_owned(),
    };
    let internal = |words: String| Failure::new(StatusCode::SERVICE_UNAVAILABLE, words);
    let request = match gateway.prepare(&message, payload, now()) {
        Ok(request) => request,
        Err(obstacle) => {
            shared.writer.note_resubmit(note, format!("not sent: {obstacle}")).await.map_err(internal)?;
            return Err(Failure::new(StatusCode::CONFLICT, format!("it was not sent: {obstacle}")));
        }
    };
    let number =
        shared.writer.note_resubmit(note, "sent, no answer yet".to_owned()).await.map_err(internal)?;
    let (of, by) = (resubmit::id(&message), user.name);
    let sent = tokio::task::spawn_blocking(move || gateway.send(request, &of, &by, now())).await;
    let sent = sent.unwrap_or_else(|_| Err("it could not be sent".to_owned()));
    let (status, outcome) = match &sent {
        Ok(status) => (Some(*status), "answered".to_owned()),
        Err(error) => (None, error.clone()),
    };
    shared.writer.end_resubmit(number, status, outcome).await.map_err(internal)?;
    match sent {
        Ok(status) => Ok(Json(json!({"status": status}))),
        Err(error) => Err(Failure::new(StatusCode::BAD_GATEWAY, error)),
    }
}

async fn hours(
    State(shared): State<Shared>,
    Extension(user): Extension<User>,
) -> Result<Json<Value>, Failure> {
    must(&user, Permission::List)?;
    let since = now().saturating_sub(shared.keep).div_euclid(3_600_000);
    let hours = shared.ask(move |reader| reader.hours(since)).await?;
    Ok(Json(json!({"now": now(), "since": since, "hours": hours})))
}

async fn values(
    State(shared): State<Shared>,
    Extension(user): Extension<User>,
) -> Result<Json<Value>, Failure> {
    must(&user, Permission::List)?;
    let values = shared.ask(Reader::values).await?;
    Ok(Json(json!(values)))
}

/// The id of the newest message, each time that there is one.
async fn live(
    State(shared): State<Shared>,
    Extension(user): Extension<User>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    must(&user, Permission::List)?;
    let newest = tokio_stream::wrappers::WatchStream::from_changes(shared.writer.newest());
    let events =
        newest.throttle(TOLD_EVERY).map(|id| Ok(Event::default().event("newest").data(id.to_string())));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
