//! The database: SQLite, in one file beside its write-ahead log.
//!
//! Responsible for the schema and its version, for writing messages and what was sent again, and for forgetting what is too
//! old or too much. What is committed survives the process being killed at any moment, and with `synchronous = FULL` the
//! machine as well. Reading is in `query`.

pub(crate) mod query;

use crate::message::Message;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use std::path::Path;
use std::time::Duration;

/// The version of the schema, kept in `user_version` of the file.
const VERSION: i64 = 1;

/// How many are forgotten at once: what is written waits meanwhile.
const FORGOTTEN_AT_ONCE: i64 = 2000;

/// How long who sent what again is kept, in milliseconds: a year.
const KEEP_AUDIT: i64 = 366 * 86_400_000;

/// `messages` is what lists show and filter by, and small; a body is read by itself. `search` has no copy of the texts.
/// `hours` counts as messages come and go, so that nobody counts millions.
const SCHEMA: &str = "
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, received INTEGER NOT NULL, method TEXT, path TEXT,
    host TEXT, status INTEGER, verdict TEXT NOT NULL, reason TEXT NOT NULL, policy TEXT, provider TEXT, delivery_id TEXT,
    secret_id TEXT, checks TEXT, duplicate TEXT, details TEXT, source TEXT, request_id TEXT, body_sha256 TEXT,
    body_bytes INTEGER) STRICT;
CREATE TABLE bodies (id INTEGER PRIMARY KEY, headers TEXT, body BLOB, is_text INTEGER, is_truncated INTEGER) STRICT;
CREATE VIRTUAL TABLE search USING fts5(
    text, content='', contentless_delete=1, detail=none, tokenize='unicode61');
CREATE TABLE hours (
    hour INTEGER NOT NULL, verdict TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (hour, verdict)) STRICT, WITHOUT ROWID;
CREATE TABLE resubmits (
    id INTEGER PRIMARY KEY, message INTEGER NOT NULL, request_id TEXT, at INTEGER NOT NULL, by TEXT NOT NULL,
    gateway TEXT NOT NULL, status INTEGER, outcome TEXT NOT NULL) STRICT;
CREATE TABLE followed (path TEXT PRIMARY KEY, device INTEGER, inode INTEGER, offset INTEGER) STRICT;
CREATE INDEX messages_time ON messages (time);
CREATE INDEX messages_verdict ON messages (verdict);
CREATE INDEX messages_reason ON messages (reason);
CREATE INDEX messages_policy ON messages (policy);
CREATE INDEX messages_provider ON messages (provider);
CREATE INDEX messages_status ON messages (status);
CREATE INDEX messages_delivery_id ON messages (delivery_id) WHERE delivery_id IS NOT NULL;
CREATE INDEX messages_request_id ON messages (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX resubmits_message ON resubmits (message);
";

/// What went wrong with the database, in words.
#[derive(Debug)]
pub(crate) struct StoreError(pub(crate) String);

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self(format!("the database: {error}"))
    }
}

/// How far a file has been followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) path: String,
    pub(crate) device: i64,
    pub(crate) inode: i64,
    pub(crate) offset: i64,
}

/// What is forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a message is kept, in milliseconds.
    pub(crate) keep: i64,
    /// How large the database may become, in bytes.
    pub(crate) max_size: i64,
}

/// Somebody sent a message again, or tried to.
#[derive(Clone, Debug)]
pub(crate) struct Resubmit {
    pub(crate) message: i64,
    pub(crate) request_id: Option<String>,
    pub(crate) at: i64,
    pub(crate) by: String,
    pub(crate) gateway: String,
}

/// The database, open for writing.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
}

/// Opens the file, and makes it where there is none.
pub(crate) fn open(path: &Path) -> Result<Store, StoreError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        0 => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        VERSION => {}
        other => {
            let words = format!("{} is of version {other}, this program knows {VERSION}", path.display());
            return Err(StoreError(words));
        }
    }
    transaction.commit()?;
    Ok(Store { connection })
}

impl Store {
    /// Writes messages, and how far a file has been followed, all or nothing. Returns the id of the last one.
    pub(crate) fn write(
        &mut self,
        messages: &[Message],
        followed: &[Followed],
        now: i64,
    ) -> Result<Option<i64>, StoreError> {
        let transaction = self.connection.transaction()?;
        let mut last = None;
        for message in messages {
            last = Some(insert(&transaction, message, now)?);
        }
        for file in followed {
            let sql = "INSERT OR REPLACE INTO followed (path, device, inode, offset) VALUES (?, ?, ?, ?)";
            transaction.prepare_cached(sql)?.execute(params![
                file.path,
                file.device,
                file.inode,
                file.offset
            ])?;
        }
        transaction.commit()?;
        Ok(last)
    }

    /// How far a file has been followed.
    pub(crate) fn followed(&self, path: &str) -> Result<Option<Followed>, StoreError> {
        let sql = "SELECT device, inode, offset FROM followed WHERE path = ?";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Followed {
                path: path.to_owned(),
                device: row.get(0)?,
                inode: row.get(1)?,
                offset: row.get(2)?,
            })
        };
        Ok(self.connection.query_row(sql, [path], read).optional()?)
    }

    /// Notes that somebody sends a message again, before it is sent. Returns the number of the note.
    pub(crate) fn note_resubmit(&mut self, resubmit: &Resubmit, outcome: &str) -> Result<i64, StoreError> {
        let sql =
            "INSERT INTO resubmits (message, request_id, at, by, gateway, outcome) VALUES (?, ?, ?, ?, ?, ?)";
        let Resubmit { message, request_id, at, by, gateway } = resubmit;
        self.connection.execute(sql, params![message, request_id, at, by, gateway, outcome])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Notes what became of it.
    pub(crate) fn end_resubmit(
        &mut self,
        note: i64,
        status: Option<u16>,
        outcome: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE resubmits SET status = ?, outcome = ? WHERE id = ?";
        self.connection.execute(sql, params![status, outcome, note])?;
        Ok(())
    }

    /// Forgets some of what is too old or too much. Says whether there may be more.
    pub(crate) fn forget(&mut self, limits: Limits, now: i64) -> Result<bool, StoreError> {
        let excess = self.excess(limits.max_size)?;
        let before = if excess > 0 { i64::MAX } else { now.saturating_sub(limits.keep) };
        let most = if excess > 0 { excess.min(FORGOTTEN_AT_ONCE) } else { FORGOTTEN_AT_ONCE };
        let transaction = self.connection.transaction()?;
        let old: Vec<(i64, i64, String)> = {
            let sql = "SELECT id, time, verdict FROM messages WHERE time < ? ORDER BY time LIMIT ?";
            let mut statement = transaction.prepare_cached(sql)?;
            let rows = statement
                .query_map(params![before, most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        for (id, time, verdict) in &old {
            for sql in [
                "DELETE FROM messages WHERE id = ?",
                "DELETE FROM bodies WHERE id = ?",
                "DELETE FROM search WHERE rowid = ?",
            ] {
                transaction.prepare_cached(sql)?.execute([id])?;
            }
            count(&transaction, *time, verdict, -1)?;
        }
        transaction.execute("DELETE FROM hours WHERE count <= 0", [])?;
        transaction.execute("DELETE FROM resubmits WHERE at < ?", [now.saturating_sub(KEEP_AUDIT)])?;
        transaction.commit()?;
        Ok(!old.is_empty() && (excess > 0 || i64::try_from(old.len()).is_ok_and(|count| count == most)))
    }

    /// How many messages are too many, going by the size of one on the average.
    fn excess(&self, max_size: i64) -> Result<i64, StoreError> {
        let used = self.used_bytes()?;
        if used <= max_size {
            return Ok(0);
        }
        let sql = "SELECT coalesce(sum(count), 0) FROM hours";
        let count: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        let size = used.checked_div(count).unwrap_or(used).max(1);
        Ok(used.saturating_sub(max_size).div_euclid(size).saturating_add(1))
    }

    /// The bytes of the database that hold something: what was forgotten leaves room for what comes.
    pub(crate) fn used_bytes(&self) -> Result<i64, StoreError> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        Ok(pages.saturating_mul(number("PRAGMA page_size")?))
    }
}

fn insert(transaction: &Transaction<'_>, message: &Message, now: i64) -> Result<i64, StoreError> {
    // A clock that is ahead would keep a message longer than others.
    let time = if message.time <= 0 { now } else { message.time.min(now) };
    let sql = "INSERT INTO messages (time, received, method, path, host, status, verdict, reason, policy, provider, \
               delivery_id, secret_id, checks, duplicate, details, source, request_id, body_sha256, body_bytes) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    transaction.prepare_cached(sql)?.execute(params![
        time,
        now,
        message.method,
        message.path,
        message.host,
        message.status,
        message.verdict,
        message.reason,
        message.policy,
        message.provider,
        message.delivery_id,
        message.secret_id,
        message.checks,
        message.duplicate,
        message.details,
        message.source,
        message.request_id,
        message.body_sha256,
        message.body_bytes,
    ])?;
    let id = transaction.last_insert_rowid();
    if message.body.is_some() || message.headers.is_some() {
        let body = message.body.as_ref();
        let sql = "INSERT INTO bodies (id, headers, body, is_text, is_truncated) VALUES (?, ?, ?, ?, ?)";
        transaction.prepare_cached(sql)?.execute(params![
            id,
            message.headers,
            body.map(|body| &body.bytes),
            body.map(|body| body.is_text),
            body.map(|body| body.is_truncated),
        ])?;
    }
    let sql = "INSERT INTO search (rowid, text) VALUES (?, ?)";
    transaction.prepare_cached(sql)?.execute(params![id, message.searchable()])?;
    count(transaction, time, &message.verdict, 1)?;
    Ok(id)
}

fn count(transaction: &Transaction<'_>, time: i64, verdict: &str, more: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO hours (hour, verdict, count) VALUES (?, ?, ?) \
               ON CONFLICT (hour, verdict) DO UPDATE SET count = count + excluded.count";
    transaction.prepare_cached(sql)?.execute(params![time.div_euclid(3_600_000), verdict, more])?;
    Ok(())
}
