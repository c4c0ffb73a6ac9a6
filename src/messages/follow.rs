//! Records as lines of a file: Envoy's JSON access log, followed as it grows.
//!
//! Responsible for taking each line once: how far a file has been read is written together with what was read of it. A file
//! that was rotated is another file under the same name, one that was cut short begins anew, and a line counts when it ends.

use crate::message::Message;
use crate::store::Followed;
use crate::writer::{Refused, Writer};
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a file is looked at that has nothing new.
const PAUSE: Duration = Duration::from_millis(300);

/// How much is read at once, in bytes.
const PIECE: u64 = 4 << 20;

/// The longest line; what is longer is passed over.
const MOST_LINE: usize = 16 << 20;

/// A file, and what has been read of its last line.
struct Following {
    path: PathBuf,
    name: String,
    writer: Writer,
    file: Option<File>,
    at: Followed,
    /// The start of a line that has not ended.
    rest: Vec<u8>,
    /// Whether the end of a line is awaited that is too long.
    is_skipping: bool,
}

/// Follows a file for ever.
pub(crate) async fn follow(path: PathBuf, at: Option<Followed>, writer: Writer) {
    let name = name(&path);
    let at = at.unwrap_or_else(|| Followed { path: name.clone(), ..Followed::default() });
    let mut following =
        Following { path, name, writer, file: None, at, rest: Vec::new(), is_skipping: false };
    let mut has_complained = false;
    loop {
        match following.step().await {
            Ok(true) => {
                has_complained = false;
                continue;
            }
            Ok(false) => has_complained = false,
            Err(error) if !has_complained => {
                eprintln!("webhook-guard-messages: {}: {error}", following.name);
                has_complained = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The name under which a file is remembered.
pub(crate) fn name(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

impl Following {
    /// Takes what is new. Says whether there may be more.
    async fn step(&mut self) -> io::Result<bool> {
        if self.file.is_none() && !self.open(true)? {
            return Ok(false);
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        let rest = i64::try_from(self.rest.len()).unwrap_or(i64::MAX);
        let read_to = self.at.offset.saturating_add(rest);
        if signed(file.metadata()?.len()) < read_to {
            // It was cut short: what stands there now is new.
            (self.at.offset, self.rest, self.is_skipping) = (0, Vec::new(), false);
        }
        let start = self.at.offset.saturating_add(i64::try_from(self.rest.len()).unwrap_or(i64::MAX));
        file.seek(SeekFrom::Start(start.unsigned_abs()))?;
        let read = file.take(PIECE).read_to_end(&mut self.rest)?;
        if read == 0 {
            // All of it has been read; whatever is under its name now comes next.
            if self.is_rotated() {
                self.file = None;
                return self.open(false);
            }
            return Ok(false);
        }
        self.take_lines().await?;
        Ok(true)
    }

    /// Opens what is under the name. Where it is what was followed before it goes on, else it begins anew; but first comes
    /// the rest of what was followed before, where it was only renamed and has not been read to its end.
    fn open(&mut self, looks_for_renamed: bool) -> io::Result<bool> {
        let renamed = if looks_for_renamed { self.renamed() } else { None };
        let file = match File::open(renamed.as_ref().unwrap_or(&self.path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let (device, inode) = identity(&metadata);
        if (device, inode) != (self.at.device, self.at.inode) || signed(metadata.len()) < self.at.offset {
            self.at = Followed { path: self.name.clone(), device, inode, offset: 0 };
        }
        (self.rest, self.is_skipping) = (Vec::new(), false);
        self.file = Some(file);
        Ok(true)
    }

    /// What was followed before, under another name in the same folder.
    fn renamed(&self) -> Option<PathBuf> {
        let is_it = |path: &Path| {
            let found = std::fs::metadata(path).map(|metadata| identity(&metadata));
            found.is_ok_and(|found| found == (self.at.device, self.at.inode))
        };
        if self.at.inode == 0 || is_it(&self.path) {
            return None;
        }
        let folder = Path::new(&self.name).parent()?;
        let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
        entries.take(10_000).find(|path| is_it(path))
    }

    fn is_rotated(&self) -> bool {
        let now = std::fs::metadata(&self.path).map(|metadata| identity(&metadata));
        now.is_ok_and(|now| now != (self.at.device, self.at.inode))
    }

    async fn take_lines(&mut self) -> io::Result<()> {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            if self.rest.len() > MOST_LINE {
                self.is_skipping = true;
                self.at.offset =
                    self.at.offset.saturating_add(i64::try_from(self.rest.len()).unwrap_or(i64::MAX));
                self.rest = Vec::new();
            }
            return Ok(());
        };
        let rest = self.rest.split_off(end.saturating_add(1));
        let whole = std::mem::replace(&mut self.rest, rest);
        let skipped = usize::from(std::mem::take(&mut self.is_skipping));
        let lines = whole.split(|byte| *byte == b'\n').skip(skipped);
        let messages: Vec<Message> = lines.filter_map(Message::from_json).collect();
        let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
        let at = Followed { offset: self.at.offset.saturating_add(length), ..self.at.clone() };
        match self.writer.write(messages, Some(at.clone())).await {
            Ok(()) => {
                self.at = at;
                Ok(())
            }
            Err(error) => {
                // It is read once more.
                (self.file, self.rest) = (None, Vec::new());
                Err(io::Error::other(match error {
                    Refused::Overloaded => "there is no room just now".to_owned(),
                    Refused::Failed(error) => error,
                }))
            }
        }
    }
}

fn identity(metadata: &Metadata) -> (i64, i64) {
    (signed(metadata.dev()), signed(metadata.ino()))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
