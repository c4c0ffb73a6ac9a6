//! `serve`: receive records, keep them, serve the page.
//!
//! Responsible for putting the parts together, for what may be reached from where, and for the end: what has been taken is
//! written before the program goes.

use crate::access::{self, Access};
use crate::listen::{Peer, TlsListener};
use crate::options::{self, DatabaseArguments, GatewayArguments};
use crate::store::{self, Limits, StoreError};
use crate::web::{self, Shared};
use crate::{follow, otlp, writer};
use clap::Args;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    database: DatabaseArguments,
    /// Where the page is
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8095")]
    listen: SocketAddr,
    /// Where records are received: OTLP over gRPC, and over HTTP at /v1/logs; by default 127.0.0.1:4317 unless files are
    /// followed
    #[arg(long, value_name = "ADDRESS:PORT")]
    otlp: Option<SocketAddr>,
    /// The file with the token that senders of records must present (`authorization: Bearer`)
    #[arg(long, value_name = "FILE")]
    otlp_token_file: Option<PathBuf>,
    /// A JSON access log to follow; may be given several times
    #[arg(long, value_name = "FILE")]
    follow: Vec<PathBuf>,
    /// How long messages are kept
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = options::duration)]
    keep: i64,
    /// How large the database may become; the oldest messages go first
    #[arg(long, value_name = "SIZE", default_value = "10GiB", value_parser = options::size)]
    max_size: i64,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// The file that says who may do what: {"users": [{"name": "anna", "token_sha256": HEX, "may": ["list", "payload",
    /// "resubmit"]}]}
    #[arg(long, value_name = "FILE")]
    access: Option<PathBuf>,
    /// Who it is that sends messages again where nobody has to say who he is: on loopback, without --access
    #[arg(long, value_name = "NAME", default_value = "operator")]
    name: String,
    /// The certificate chain, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The address of a proxy in front, or its network: nobody else is answered
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    proxy: Vec<IpNet>,
    /// The URL under which a browser knows the page, such as https://messages.example.com
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse::<IpNet>()).map_err(|_| "is neither an address nor a network".to_owned())
}

/// Runs until it is told to stop.
pub(crate) fn run(arguments: ServeArguments) -> Result<(), String> {
    let users = arguments.access.as_deref().map(access::read_users).transpose()?.unwrap_or_default();
    if !access::is_name(&arguments.name) {
        return Err("--name: must be 1 to 64 of A-Z a-z 0-9 . _ @ -".to_owned());
    }
    let is_encrypted = arguments.tls_cert.is_some();
    let gateway = arguments.gateway.read()?;
    let token = arguments.otlp_token_file.as_deref().map(access::read_token).transpose()?;
    let otlp = match arguments.otlp {
        None if arguments.follow.is_empty() => Some(SocketAddr::from(([127, 0, 0, 1], 4317))),
        otlp => otlp,
    };
    if let Some(otlp) = otlp.filter(|otlp| !otlp.ip().is_loopback() && token.is_none()) {
        return Err(format!(
            "{otlp} can be reached by others: --otlp-token-file must say what senders present"
        ));
    }
    let database = arguments.database.database.clone();
    let limits = Limits { keep: arguments.keep, max_size: arguments.max_size };
    let store = store::open(&database).map_err(|StoreError(words)| words)?;
    let mut followed = Vec::new();
    for path in &arguments.follow {
        let at = store.followed(&follow::name(path)).map_err(|StoreError(words)| words)?;
        followed.push((path.clone(), at));
    }
    let (writer, thread) = writer::start(store, limits);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let ended = runtime.block_on(async {
        let listener = bind(arguments.listen).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let access = Access::new(
            address,
            users,
            &arguments.name,
            is_encrypted,
            arguments.proxy.clone(),
            arguments.public_url.as_deref(),
        )?;
        let tls = arguments.tls_cert.as_ref().zip(arguments.tls_key.as_ref());
        let shared = Shared::new(access, database, writer.clone(), gateway, arguments.keep);
        let scheme = if is_encrypted { "https" } else { "http" };
        let url = match &arguments.public_url {
            Some(url) => format!("{url}, on {address}"),
            None => format!("{scheme}://{address}"),
        };
        let routes = web::routes(shared).into_make_service_with_connect_info::<Peer>();
        match tls {
            Some((certificate, key)) => {
                let listener = TlsListener::new(listener, certificate, key)?;
                tokio::spawn(async move { axum::serve(listener, routes).await });
            }
            None => {
                tokio::spawn(async move { axum::serve(listener, routes).await });
            }
        }
        println!("page at {url}");
        if let Some(otlp) = otlp {
            let listener = bind(otlp).await?;
            let address = listener.local_addr().map_err(|error| error.to_string())?;
            let routes = otlp::routes(writer.clone(), token.map(Arc::from));
            tokio::spawn(async move { axum::serve(listener, routes).await });
            println!("records over OTLP at {address}");
        }
        for (path, at) in followed {
            println!("following {}", path.display());
            tokio::spawn(follow::follow(path, at, writer.clone()));
        }
        stopped().await
    });
    // Whatever has been handed in is written; who has no answer yet tries again.
    drop(writer);
    runtime.shutdown_timeout(Duration::from_secs(2));
    thread.join().map_err(|_| "the database was not closed".to_owned())?;
    ended
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))
}

async fn stopped() -> Result<(), String> {
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tokio::select! {
        _ = terminated.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(|error| error.to_string()),
    }
}
