//! Sends a request as it stands, and reads what comes back.
//!
//! Responsible for HTTP/1.1 over TCP or TLS without any tidying up: a path in disguise and a header that occurs twice
//! must arrive as they are, which ordinary clients prevent. Tells the guard's own refusals by the form that the core
//! gives them.

use crate::input::capture::{Capture, host_and_port};
use crate::output::terminal::Failure;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;
use webhook_guard_core::decision::{Denial, Reason};
use webhook_guard_core::reply::request_id;

const MAX_HEADERS: usize = 128;
/// More of an answer than this is not read: a refusal is short, and nothing else is looked at.
const MAX_ANSWER: u64 = 1 << 20;

/// Where requests are sent to.
pub(crate) struct Gateway {
    url: String,
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: Duration,
    /// Its host, with a port where the URL has one.
    pub(crate) authority: String,
    /// The address that this machine connects from.
    pub(crate) source: IpAddr,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Gateway {
    /// Looks the gateway up and knocks at its door.
    pub(crate) fn reach(url: &Capture, timeout: Duration) -> Result<Self, Failure> {
        let scheme = url.scheme.as_deref().unwrap_or("http");
        let name = format!("{scheme}://{}", url.authority);
        let fail = |what: &dyn fmt::Display| {
            Failure::new(format!(
                "{name}: {what}; is the gateway running there, and reachable from this machine?"
            ))
        };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            other => return Err(Failure::new(format!("{name}: {other} is neither http nor https"))),
        };
        let (host, port) = host_and_port(&url.authority)
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| Failure::new(format!("{name}: is not a URL with a host")))?;
        let port = port.trim_start_matches(':').parse().unwrap_or(default_port);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = (bare, port).to_socket_addrs().map_err(|error| fail(&error))?.peekable();
        addresses.peek().ok_or_else(|| fail(&"has no address"))?;
        let tls = match scheme {
            "https" => Some(secure(bare).map_err(|what| Failure::new(format!("{name}: {what}")))?),
            _ => None,
        };
        let mut last = io::Error::from(io::ErrorKind::NotConnected);
        for address in addresses {
            // `::ffff:127.0.0.1` is IPv4, and is spoken to as such.
            let address = match address.ip().to_canonical() {
                ip if ip == address.ip() => address,
                ip => SocketAddr::new(ip, port),
            };
            match connect(address, None, timeout).and_then(|stream| stream.local_addr()) {
                Ok(local) => {
                    let (url, authority, source) =
                        (name.clone(), url.authority.clone(), local.ip().to_canonical());
                    return Ok(Self { url, address, tls, timeout, authority, source });
                }
                Err(error) => last = error,
            }
        }
        Err(fail(&last))
    }

    /// Whether it runs on this machine, and a request can come to it from another loopback address: IPv6 has one only.
    pub(crate) fn is_reached_from_all_of_loopback(&self) -> bool {
        self.address.is_ipv4() && self.address.ip().is_loopback()
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn send(&self, capture: &Capture, source: Option<IpAddr>) -> Result<Response, String> {
        let explain = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("no answer within {} s", self.timeout.as_secs())
            }
            _ => error.to_string(),
        };
        let stream = connect(self.address, source, self.timeout).map_err(explain)?;
        let Some((config, name)) = &self.tls else { return exchange(stream, capture).map_err(explain) };
        let connection =
            ClientConnection::new(config.clone(), name.clone()).map_err(|error| error.to_string())?;
        exchange(StreamOwned::new(connection, stream), capture).map_err(explain)
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// The certificates that the system trusts, as curl does: a gateway's own may be signed by a company's.
fn secure(host: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine has no list of trusted certificates; name one in SSL_CERT_FILE".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    Ok((Arc::new(config), name))
}

fn connect(address: SocketAddr, source: Option<IpAddr>, timeout: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
    }
    socket.connect_timeout(&SockAddr::from(address), timeout)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

fn exchange(mut stream: impl Read + Write, capture: &Capture) -> io::Result<Response> {
    let sent = stream.write_all(&wire(capture)).and_then(|()| stream.flush());
    let mut bytes = Vec::new();
    let mut answer = stream.take(MAX_ANSWER);
    let mut chunk = [0; 8192];
    loop {
        if let Some(response) = parse(&bytes, false) {
            return Ok(response);
        }
        match answer.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            // A gateway may answer and close before it has read all: what it said counts.
            Err(error) if bytes.is_empty() => return Err(sent.err().unwrap_or(error)),
            Err(_) => break,
        }
    }
    let none = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed without an answer");
    parse(&bytes, true).ok_or_else(none)
}

/// The request on the wire.
fn wire(capture: &Capture) -> Vec<u8> {
    let mut bytes =
        format!("{} {} HTTP/1.1\r\nhost: {}\r\n", capture.method, capture.target, capture.authority)
            .into_bytes();
    for (name, value) in &capture.fields {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if !capture.body.is_empty() || capture.method == "POST" {
        bytes.extend(format!("content-length: {}\r\n", capture.body.len()).into_bytes());
    }
    bytes.extend(b"connection: close\r\n\r\n");
    bytes.extend_from_slice(&capture.body);
    bytes
}

/// The answer, once it is whole; with `is_over`, what there is of it.
fn parse(bytes: &[u8], is_over: bool) -> Option<Response> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else { return None };
    let rest = bytes.get(head..)?;
    let status = response.code?;
    if (100..200).contains(&status) {
        return parse(rest, is_over);
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers: Vec<(String, String)> = response
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse::<usize>().ok());
    let is_whole = length.is_some_and(|length| rest.len() >= length) || [204, 304].contains(&status);
    (is_whole || is_over).then(|| Response { status, headers, body: rest.to_vec() })
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The request id in a refusal of the guard's; nothing where the answer is not exactly what the guard would say.
    pub(crate) fn refusal(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let id = body.get("request_id")?.as_str()?;
        // The status alone shapes a reply: any reason will do.
        let denial = Denial { status: self.status, ..Denial::from(Reason::NoPolicy) };
        let reply = denial.reply(request_id(Some(id.as_bytes())));
        let is_json = self.header("content-type") == Some("application/json");
        ((400..600).contains(&self.status) && is_json && reply.body.as_bytes() == self.body)
            .then(|| id.to_owned())
    }
}
