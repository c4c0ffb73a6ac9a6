//! Raw HTTP/1.1: a request line, headers, an empty line, the body.
//!
//! Responsible for both line endings, and for chunked bodies as tcpdump shows them.

use super::Capture;

const MAX_HEADERS: usize = 256;

/// Reads a request. The body ends where `content-length` says, so a newline that an editor added is not part of it.
pub(super) fn read(bytes: &[u8]) -> Result<Capture, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let forms = "is none of raw HTTP, a curl command line, a HAR file and an access-log line";
    let parsed = request.parse(bytes).map_err(|error| format!("{forms}: {error}"))?;
    let httparse::Status::Complete(head) = parsed else {
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let is_request = first.windows(6).any(|window| window == b" HTTP/");
        return Err(
            if is_request { "ends before the empty line behind the headers" } else { forms }.to_owned()
        );
    };
    let mut capture = Capture { method: request.method.unwrap_or_default().to_owned(), ..Capture::default() };
    let target = request.path.unwrap_or_default();
    if target.starts_with('/') {
        capture.target = target.to_owned()
    } else {
        capture.set_url(target)
    }
    for header in request.headers.iter() {
        capture.push(header.name, header.value);
    }
    let rest = bytes.get(head..).unwrap_or_default();
    let is_chunked = capture
        .field("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().ends_with(b"chunked"));
    if is_chunked {
        capture.body = dechunked(rest)?;
        return Ok(capture);
    }
    let declared = capture.text("content-length");
    let declared = declared.and_then(|text| text.trim().parse::<usize>().ok());
    capture.body = match declared {
        Some(length) => {
            capture.cut = Some(length).filter(|length| *length > rest.len());
            let (body, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            capture.behind = behind.to_vec();
            body.to_vec()
        }
        None => rest.to_vec(),
    };
    if declared.is_none() && rest.ends_with(b"\n") {
        let note =
            "the capture has no content-length: a newline at the end of the file counts as part of the body";
        capture.notes.push(note.to_owned());
    }
    Ok(capture)
}

fn dechunked(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let broken = || "the chunked body is broken or cut".to_owned();
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) else {
            return Err(broken());
        };
        if size == 0 {
            return Ok(body);
        }
        let size = usize::try_from(size).map_err(|_| broken())?;
        let end = start.checked_add(size).ok_or_else(broken)?;
        body.extend_from_slice(rest.get(start..end).ok_or_else(broken)?);
        let behind = rest.get(end..).ok_or_else(broken)?;
        rest = behind.strip_prefix(b"\r\n").ok_or_else(broken)?;
    }
}
