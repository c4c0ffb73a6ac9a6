//! Just enough HTTP/1.1 to find the end of a message, for peers that are known to write it well.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Reads messages off one connection, whose buffer is kept.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// A message: its head with the blank line, and its body.
pub struct Message<'a> {
    pub head: &'a [u8],
    pub body: &'a [u8],
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; 1 << 17], start: 0, end: 0 }
    }

    /// The next message; nothing at the end of the connection.
    pub fn message(&mut self) -> io::Result<Option<Message<'_>>> {
        let head = loop {
            let seen = &self.buffer[self.start..self.end];
            if let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill()? {
                return Ok(None);
            }
        };
        let length = content_length(&self.buffer[self.start..self.start + head]);
        while self.end - self.start < head + length {
            if !self.fill()? {
                return Ok(None);
            }
        }
        let (from, body, to) = (self.start, self.start + head, self.start + head + length);
        self.start = to;
        Ok(Some(Message { head: &self.buffer[from..body], body: &self.buffer[body..to] }))
    }

    fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 && (self.start == self.end || self.end == self.buffer.len()) {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read > 0)
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// The value of a header; its name in any case.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(name.as_bytes()).then(|| line[colon + 1..].trim_ascii())
    })
}

fn content_length(head: &[u8]) -> usize {
    header(head, "content-length")
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
        .unwrap_or(0)
}

/// Says its port, and serves each connection in a thread of its own.
pub fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Copy + Send + 'static) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
}
