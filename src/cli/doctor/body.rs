//! Near misses of the body: written anew, with other line ends, decoded, or not there at all.
//!
//! Responsible for the bodies that the sender may have signed where the capture has this one. Each is made when it is
//! tried, since bodies can be large.

use super::delivery::Delivery;
use super::json::{Blanks, Escapes, Tree};
use super::miss::{Candidate, Candidates, Miss, NOTHING};
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use std::io::Read;
use webhook_guard_core::uri::percent;

/// No body is unpacked further than this, whatever it claims to hold.
const LARGEST: u64 = 64 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What to do where something has parsed the body and written it anew.
const RAW: &str = "forward the bytes as they came: let no proxy, framework or capturing tool parse and rewrite the body \
                   before the filter";

type Make<'d> = Box<dyn Fn() -> Option<Vec<u8>> + 'd>;

/// Every other body.
pub(crate) fn candidates<'d>(delivery: &'d Delivery, behind: &'d [u8]) -> Candidates<'d> {
    let body = delivery.body.as_slice();
    let plain = bytes(body, behind).into_iter();
    let packed = packed(delivery, body).into_iter();
    let forms = forms(body).into_iter();
    let candidates = plain.chain(packed).chain(forms).chain(json(body)).filter_map(move |(make, miss)| {
        let signed = make().filter(|other| other.as_slice() != body)?;
        let cause = format!("{}; {}.", miss.cause.trim_end_matches('.'), difference(&signed, body));
        Some(Candidate { delivery: delivery.with_body(signed), miss: Miss { cause, ..miss } })
    });
    Box::new(candidates)
}

/// Where both part, so that one can look.
fn difference(signed: &[u8], body: &[u8]) -> String {
    let same = signed.iter().zip(body).take_while(|(one, other)| one == other).count();
    let (first, signed, body) = (same.saturating_add(1), signed.len(), body.len());
    format!("{signed} bytes were signed and {body} are here, which differ from byte {first} on")
}

/// What needs no understanding of the body.
fn bytes<'d>(body: &'d [u8], behind: &'d [u8]) -> Vec<(Make<'d>, Miss)> {
    let mut all: Vec<(Make<'d>, Miss)> = Vec::new();
    let mut add = |make: Make<'d>, miss: Miss| all.push((make, miss));
    let and = move |end: &'static [u8]| -> Make<'d> { Box::new(move || Some([body, end].concat())) };
    for end in [&b"\n"[..], b"\r\n"] {
        let cause = "The sender signs a newline at the end of the body that is missing here.";
        let gateway = "keep the newline: something before the filter, or the capture, has taken it off";
        add(and(end), Miss::new("body-newline-missing", cause, "send what it signs", gateway));
    }
    for end in [&b"\n"[..], b"\r\n"] {
        let cause = "The body has a newline at its end that the sender did not sign.";
        let gateway =
            "take it off the capture (an editor or `echo` adds one), or stop the proxy that adds it";
        let cut = move || body.strip_suffix(end).map(<[u8]>::to_vec);
        add(Box::new(cut), Miss::new("body-newline-added", cause, "send what it signs", gateway));
    }
    let blanks = Miss::new(
        "body-blanks",
        "The body has blanks or newlines around it that the sender did not sign.",
        "send what it signs",
        RAW,
    );
    add(Box::new(move || Some(body.trim_ascii().to_vec())), blanks);
    let to_lf: Make<'d> = Box::new(move || body.contains(&b'\r').then(|| with_lf(body)));
    let lf = Miss::new(
        "body-line-endings",
        "The sender signed line ends of LF, and the body has CRLF.",
        "send the line ends that it signs",
        "keep the line ends: an editor, git or a text-mode copy has changed them to CRLF",
    );
    add(to_lf, lf);
    let to_crlf: Make<'d> = Box::new(move || body.contains(&b'\n').then(|| with_crlf(body)));
    let crlf = Miss::new(
        "body-line-endings",
        "The sender signed line ends of CRLF, and the body has LF.",
        "send the line ends that it signs",
        "keep the line ends: an editor, git or a text-mode copy has changed them to LF",
    );
    add(to_crlf, crlf);
    let bom = |words: &str| {
        Miss::new(
            "body-bom",
            format!("The body {words}."),
            "send what it signs, best without a byte order mark",
            "keep the body's bytes: a tool that reads and writes text has changed the mark at its start",
        )
    };
    add(
        Box::new(move || body.strip_prefix(BOM).map(<[u8]>::to_vec)),
        bom("has a byte order mark at its start that the sender did not sign"),
    );
    add(
        Box::new(move || Some([BOM, body].concat())),
        bom("lacks a byte order mark at its start that the sender signed"),
    );
    if !behind.is_empty() {
        let miss = Miss::new(
            "body-length",
            "The sender signed the whole text of the capture, and content-length names less.",
            "send the length of what it signs",
            "capture the request anew: its body was changed after content-length was written",
        );
        add(Box::new(move || Some([body, behind].concat())), miss);
    }
    let empty = Miss::new(
        "body-empty",
        "The sender signed an empty body.",
        "sign the body that it sends; a stream that was read once is empty the second time",
        "nothing: such a signature does not cover the body",
    );
    add(Box::new(|| Some(Vec::new())), empty);
    let charset = |words: &str| {
        Miss::new(
            "body-charset",
            format!("The sender signed the body in {words}."),
            "sign the bytes that it sends",
            RAW,
        )
    };
    add(Box::new(move || to_latin1(body)), charset("ISO 8859-1, and it is here in UTF-8"));
    add(Box::new(move || from_latin1(body)), charset("UTF-8, and it is here in ISO 8859-1"));
    all
}

fn with_lf(body: &[u8]) -> Vec<u8> {
    let mut rest = body.iter().peekable();
    let mut out = Vec::with_capacity(body.len());
    while let Some(byte) = rest.next() {
        if *byte != b'\r' || rest.peek() != Some(&&b'\n') {
            out.push(*byte);
        }
    }
    out
}

fn with_crlf(body: &[u8]) -> Vec<u8> {
    let mut last = 0;
    let mut out = Vec::with_capacity(body.len());
    for byte in body {
        if *byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        last = *byte;
    }
    out
}

fn to_latin1(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.is_ascii())?;
    text.chars().map(|one| u8::try_from(u32::from(one)).ok()).collect()
}

fn from_latin1(body: &[u8]) -> Option<Vec<u8>> {
    let is_other = std::str::from_utf8(body).is_err();
    is_other.then(|| body.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes())
}

/// A body that was packed for the way.
fn packed<'d>(delivery: &'d Delivery, body: &'d [u8]) -> Vec<(Make<'d>, Miss)> {
    let encoding = delivery.request.field("content-encoding").map(|value| value.to_ascii_lowercase());
    let is_gzip = body.starts_with(&[0x1f, 0x8b]);
    let is_deflate = encoding.as_deref() == Some(b"deflate");
    if !is_gzip && !is_deflate {
        return Vec::new();
    }
    let name = if is_gzip { "gzip" } else { "deflate" };
    let miss = || {
        Miss::new(
            "body-encoded",
            format!("The body is packed with {name}, and the sender signed it unpacked."),
            "sign the bytes that it sends, or send them without a content-encoding",
            "nothing: the filter judges the bytes as they come; let the sender send them unpacked",
        )
    };
    if is_gzip {
        return vec![(Box::new(move || unpacked(GzDecoder::new(body))), miss())];
    }
    vec![
        (Box::new(move || unpacked(ZlibDecoder::new(body))), miss()),
        (Box::new(move || unpacked(DeflateDecoder::new(body))), miss()),
    ]
}

fn unpacked(reader: impl Read) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(LARGEST).read_to_end(&mut out).ok()?;
    Some(out)
}

/// A form that was decoded, or encoded in another way.
fn forms<'d>(body: &'d [u8]) -> Vec<(Make<'d>, Miss)> {
    let is_form = body.contains(&b'=') || body.contains(&b'%');
    if !is_form || body.starts_with(b"{") || body.starts_with(b"[") {
        return Vec::new();
    }
    let miss = |code, words: &str| {
        let cause = format!("The sender signed the form {words}.");
        Miss::new(code, cause, "sign the bytes that it sends", RAW)
    };
    let replace = move |from: &'static str, to: &'static str| -> Make<'d> {
        Box::new(move || std::str::from_utf8(body).ok().map(|text| text.replace(from, to).into_bytes()))
    };
    vec![
        (replace("+", "%20"), miss("body-form-blanks", "with `%20` for blanks, and it has `+` here")),
        (replace("%20", "+"), miss("body-form-blanks", "with `+` for blanks, and it has `%20` here")),
        (Box::new(move || Some(decoded(body, true))), miss("body-form-decoded", "decoded")),
        (Box::new(move || Some(decoded(body, false))), miss("body-form-decoded", "decoded, but for `+`")),
        (
            Box::new(move || Some(recased(body, u8::to_ascii_lowercase))),
            miss("body-form-escapes", "with its escapes in small letters"),
        ),
        (
            Box::new(move || Some(recased(body, u8::to_ascii_uppercase))),
            miss("body-form-escapes", "with its escapes in capitals"),
        ),
        (
            Box::new(move || {
                let pairs = body.split(|byte| *byte == b'&');
                let payload = pairs.into_iter().find_map(|pair| pair.strip_prefix(b"payload="))?;
                Some(decoded(payload, true))
            }),
            miss("body-form-decoded", "as the JSON that its parameter `payload` holds"),
        ),
    ]
}

fn decoded(body: &[u8], plus_is_blank: bool) -> Vec<u8> {
    let blank = |byte: &u8| if plus_is_blank && *byte == b'+' { b' ' } else { *byte };
    percent::decode(&body.iter().map(blank).collect::<Vec<_>>()).into_owned()
}

fn recased(body: &[u8], case: fn(&u8) -> u8) -> Vec<u8> {
    let mut left = 0_u8;
    let recase = |byte: &u8| {
        let digit = left > 0;
        left = if *byte == b'%' { 2 } else { left.saturating_sub(1) };
        if digit { case(byte) } else { *byte }
    };
    body.iter().map(recase).collect()
}

/// JSON as the usual libraries write it: what is written most often first.
fn json<'d>(body: &'d [u8]) -> Box<dyn Iterator<Item = (Make<'d>, Miss)> + 'd> {
    let Some(tree) = Tree::read(body.strip_prefix(BOM).unwrap_or(body)) else {
        return Box::new(std::iter::empty());
    };
    let tree = std::sync::Arc::new(tree);
    let blanks = [
        (Blanks::Minified, "without blanks"),
        (Blanks::Python, "with a blank behind each comma and colon, as Python's json.dumps writes it"),
        (Blanks::Lines(b"  "), "over several lines, indented by 2"),
        (Blanks::Lines(b"    "), "over several lines, indented by 4"),
        (Blanks::Lines(b"\t"), "over several lines, indented by tabs"),
    ];
    let escapes = [
        (Escapes::Kept, ""),
        (Escapes::Least, ", with characters for \\u escapes"),
        (Escapes::Ascii, ", with \\u escapes for all but ASCII"),
        (Escapes::Slash, ", with `\\/` for each slash"),
        (
            Escapes::AsciiAndSlash,
            ", with \\u escapes for all but ASCII and `\\/` for each slash, as PHP writes it",
        ),
        (Escapes::Html, ", with \\u escapes for <, > and &, as Go writes them"),
    ];
    let forms = [false, true].into_iter().flat_map(move |is_sorted| {
        escapes.into_iter().flat_map(move |escape| blanks.map(|blank| (is_sorted, escape, blank, "")))
    });
    // As command-line tools and Go's encoder end it.
    let ended = [Escapes::Kept, Escapes::Html].into_iter().flat_map(move |own| {
        let escape = escapes.into_iter().filter(move |(escape, _)| *escape == own);
        escape.flat_map(move |escape| blanks.map(|blank| (false, escape, blank, "\n")))
    });
    let rewritten =
        forms.chain(ended).map(move |(is_sorted, (escapes, escape_words), (blanks, words), end)| {
            let code = match (is_sorted, escapes, blanks) {
                (true, ..) => "body-sorted-keys",
                (_, Escapes::Kept, Blanks::Minified) => "body-minified",
                (_, Escapes::Kept, Blanks::Python) => "body-python-separators",
                (_, Escapes::Kept, Blanks::Lines(_)) => "body-pretty",
                (_, Escapes::Least | Escapes::Ascii, _) => "body-unicode-escapes",
                (_, Escapes::Slash | Escapes::AsciiAndSlash, _) => "body-slash-escapes",
                (_, Escapes::Html, _) => "body-html-escapes",
            };
            let order = if is_sorted { ", its keys sorted" } else { "" };
            let ended = if end.is_empty() { "" } else { ", with a newline at its end" };
            let cause = format!("The sender signed the JSON {words}{escape_words}{order}{ended}.");
            let tree = tree.clone();
            let make: Make<'d> = Box::new(move || {
                Some([&tree.write(blanks, is_sorted, escapes).ok()?, end.as_bytes()].concat())
            });
            (make, Miss::new(code, cause, "send the bytes that it signs", RAW))
        });
    // The text of a body that was itself written as a JSON text.
    let inner: Make<'d> =
        Box::new(move || serde_json::from_slice::<String>(body).ok().map(String::into_bytes));
    let outer: Make<'d> = Box::new(move || serde_json::to_vec(std::str::from_utf8(body).ok()?).ok());
    let twice = |words: &str| {
        Miss::new("body-json-text", format!("The sender signed the JSON {words}."), NOTHING, RAW)
    };
    let texts = [
        (inner, twice("inside the JSON text that the body is here")),
        (outer, twice("once more encoded as a JSON text")),
    ];
    Box::new(rewritten.chain(texts))
}
