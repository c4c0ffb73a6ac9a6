//! What is asked of the database: lists by filters, one message, the week by the hour.
//!
//! Responsible for answers within a bounded time, whatever is asked of however many messages: a list is walked from the
//! newest on along the index of the filter that is likely to leave least, and a question that takes too long is given up.

use crate::message::Body;
use crate::store::StoreError;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many messages a list has at most.
pub(crate) const MOST_LISTED: u32 = 500;

/// How many words are searched for at most.
const MOST_WORDS: usize = 12;

/// How many words that begin alike are searched for at most.
const MOST_BEGINNING: usize = 200;

/// The columns of a list, in the order in which [`summary`] reads them.
const COLUMNS: &str = "messages.id, time, method, path, host, status, verdict, reason, policy, provider, delivery_id, \
                       secret_id, checks, duplicate, details, source, request_id, body_sha256, body_bytes";

/// Which messages are asked for. Everything that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    pub(crate) verdict: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) provider: Option<String>,
    /// A status, or a class such as `5xx`.
    pub(crate) status: Option<String>,
    /// The beginning of the path.
    pub(crate) path: Option<String>,
    /// An id, or words of the payload.
    pub(crate) q: Option<String>,
    /// From this time on, in milliseconds since the Unix epoch.
    pub(crate) from: Option<i64>,
    /// Before this time.
    pub(crate) to: Option<i64>,
    /// Only those with a smaller id.
    pub(crate) before: Option<i64>,
    /// Only those with a larger id.
    pub(crate) after: Option<i64>,
    pub(crate) limit: Option<u32>,
}

/// A message in a list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) id: i64,
    pub(crate) time: i64,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) status: Option<i64>,
    pub(crate) verdict: String,
    pub(crate) reason: String,
    pub(crate) policy: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) delivery_id: Option<String>,
    pub(crate) secret_id: Option<String>,
    pub(crate) checks: Option<String>,
    pub(crate) duplicate: Option<String>,
    pub(crate) details: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) body_sha256: Option<String>,
    pub(crate) body_bytes: Option<i64>,
}

/// What was recorded of a request beside that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    /// A JSON object.
    pub(crate) headers: Option<String>,
    pub(crate) body: Option<Body>,
}

/// Somebody sent a message again, or tried to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Resubmitted {
    pub(crate) at: i64,
    pub(crate) by: String,
    pub(crate) gateway: String,
    pub(crate) status: Option<i64>,
    pub(crate) outcome: String,
}

/// An hour of messages with one verdict.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hour {
    /// Hours since the Unix epoch.
    pub(crate) hour: i64,
    pub(crate) verdict: String,
    pub(crate) count: i64,
}

/// The values that there are to filter by.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Values {
    pub(crate) reason: Vec<String>,
    pub(crate) policy: Vec<String>,
    pub(crate) provider: Vec<String>,
}

/// The database, open for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
}

/// Opens the file for reading alone.
pub(crate) fn open(path: &Path) -> Result<Reader, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection
        .execute_batch("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'search', 'instance')")?;
    Ok(Reader { connection })
}

impl Reader {
    /// The messages that a filter leaves, the newest first; those after an id the oldest first.
    pub(crate) fn list(&self, filter: &Filter) -> Result<Vec<Summary>, StoreError> {
        let question = Question::new(self, filter)?;
        let limit = filter.limit.unwrap_or(50).clamp(1, MOST_LISTED);
        let order = if filter.after.is_some() { "ASC" } else { "DESC" };
        let (table, id) = match question.is_search {
            true => ("search JOIN messages ON messages.id = search.rowid", "search.rowid"),
            false => ("messages", "messages.id"),
        };
        let terms = question.terms.join(" AND ").replace("{id}", id);
        let condition = if terms.is_empty() { String::new() } else { format!("WHERE {terms}") };
        let sql = format!("SELECT {COLUMNS} FROM {table} {condition} ORDER BY {id} {order} LIMIT {limit}");
        self.patiently(|| {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(question.values), summary)?;
            rows.collect()
        })
    }

    /// One message.
    pub(crate) fn message(&self, id: i64) -> Result<Option<Summary>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM messages WHERE id = ?");
        Ok(self.connection.query_row(&sql, [id], summary).optional()?)
    }

    /// The newest message with that `x-request-id`.
    pub(crate) fn by_request_id(&self, request_id: &str) -> Result<Option<Summary>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM messages WHERE request_id = ? ORDER BY id DESC LIMIT 1");
        Ok(self.connection.query_row(&sql, [request_id], summary).optional()?)
    }

    /// What was recorded of its headers and its body.
    pub(crate) fn payload(&self, id: i64) -> Result<Payload, StoreError> {
        let read = |row: &Row<'_>| {
            let bytes: Option<Vec<u8>> = row.get(1)?;
            let is_text = row.get::<_, Option<bool>>(2)?.unwrap_or_default();
            let is_truncated = row.get::<_, Option<bool>>(3)?.unwrap_or_default();
            let body = bytes.map(|bytes| Body { bytes, is_text, is_truncated });
            Ok(Payload { headers: row.get(0)?, body })
        };
        let sql = "SELECT headers, body, is_text, is_truncated FROM bodies WHERE id = ?";
        Ok(self.connection.query_row(sql, [id], read).optional()?.unwrap_or_default())
    }

    /// Who sent a message again, the newest first.
    pub(crate) fn resubmits(&self, message: i64) -> Result<Vec<Resubmitted>, StoreError> {
        let sql = "SELECT at, by, gateway, status, outcome FROM resubmits WHERE message = ? ORDER BY id DESC LIMIT 100";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([message], |row| {
            Ok(Resubmitted {
                at: row.get(0)?,
                by: row.get(1)?,
                gateway: row.get(2)?,
                status: row.get(3)?,
                outcome: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many messages of each verdict every hour since that one had.
    pub(crate) fn hours(&self, since: i64) -> Result<Vec<Hour>, StoreError> {
        let sql = "SELECT hour, verdict, count FROM hours WHERE hour >= ? AND count > 0 ORDER BY hour, verdict LIMIT 10000";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([since], |row| {
            Ok(Hour { hour: row.get(0)?, verdict: row.get(1)?, count: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The values of what is filtered by. From one to the next along the index, which need not be counted.
    pub(crate) fn values(&self) -> Result<Values, StoreError> {
        let of = |column: &str| -> Result<Vec<String>, StoreError> {
            let sql = format!(
                "WITH RECURSIVE one(value) AS (SELECT min({column}) FROM messages UNION ALL \
                 SELECT (SELECT min({column}) FROM messages WHERE {column} > value) FROM one WHERE value IS NOT NULL) \
                 SELECT value FROM one WHERE value IS NOT NULL LIMIT 200"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        Ok(Values { reason: of("reason")?, policy: of("policy")?, provider: of("provider")? })
    }

    /// The words that begin so, of any message, in the order of their bytes. From one to the next along the index, past all
    /// that hold it.
    fn words(&self, beginning: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT term FROM temp.words WHERE term >= ? AND term < ? LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        // No word holds a control character, and none goes on with the last character that there is.
        let end = format!("{beginning}\u{10ffff}");
        let mut words = Vec::new();
        let mut from = beginning.to_owned();
        while let Some(word) = statement.query_row([&from, &end], |row| row.get::<_, String>(0)).optional()? {
            if words.len() == MOST_BEGINNING {
                let most =
                    format!("more than {MOST_BEGINNING} words begin with \"{beginning}\": say more of it");
                return Err(StoreError(most));
            }
            from = format!("{word}\u{1}");
            words.push(word);
        }
        Ok(words)
    }

    /// The id at a time, with some room: several gateways do not report in order.
    fn id_at(
        &self,
        time: i64,
        order: &str,
        extreme: &str,
        comparison: &str,
    ) -> Result<Option<i64>, StoreError> {
        let sql = format!(
            "SELECT {extreme}(id) FROM (SELECT id FROM messages WHERE time {comparison} ? ORDER BY time {order} LIMIT 5000)"
        );
        Ok(self.connection.query_row(&sql, [time], |row| row.get(0))?)
    }

    fn patiently<T>(&self, ask: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let until = Instant::now().checked_add(PATIENCE);
        let is_over = move || until.is_some_and(|until| Instant::now() > until);
        self.connection.progress_handler(10_000, Some(is_over));
        let answer = ask();
        self.connection.progress_handler(0, None::<fn() -> bool>);
        match answer {
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.code == rusqlite::ErrorCode::OperationInterrupted =>
            {
                Err(StoreError("the search takes too long: narrow it, by the time for example".to_owned()))
            }
            answer => Ok(answer?),
        }
    }
}

/// A filter as a condition of SQL. `{id}` stands for the column of the id.
struct Question {
    terms: Vec<String>,
    values: Vec<Value>,
    is_search: bool,
}

impl Question {
    fn new(reader: &Reader, filter: &Filter) -> Result<Self, StoreError> {
        let mut question = Self { terms: Vec::new(), values: Vec::new(), is_search: false };
        let words = filter.q.as_deref().map(str::trim).filter(|words| !words.is_empty());
        let is_id = match words {
            Some(words) => question.id(reader, words)?,
            None => false,
        };
        if let Some(words) = words.filter(|_| !is_id) {
            match expression(reader, words)? {
                Some(expression) => {
                    question.is_search = true;
                    question.add("search MATCH ?", Value::from(expression));
                }
                None => question.terms.push("0".to_owned()),
            }
        }
        question.columns(filter, is_id);
        question.bound("{id} < ?", filter.before);
        question.bound("{id} > ?", filter.after);
        if let Some(from) = filter.from {
            question.bound("{id} >= ?", reader.id_at(from, "ASC", "min", ">=")?);
            question.bound("+messages.time >= ?", Some(from));
        }
        if let Some(to) = filter.to {
            question.bound("{id} <= ?", reader.id_at(to, "DESC", "max", "<")?);
            question.bound("+messages.time < ?", Some(to));
        }
        Ok(question)
    }

    fn add(&mut self, term: &str, value: Value) {
        self.terms.push(term.to_owned());
        self.values.push(value);
    }

    fn bound(&mut self, term: &str, number: Option<i64>) {
        if let Some(number) = number {
            self.add(term, Value::from(number));
        }
    }

    /// Whether the words are an id that there is: then it is what is meant.
    fn id(&mut self, reader: &Reader, words: &str) -> Result<bool, StoreError> {
        for column in ["request_id", "delivery_id"] {
            let sql = format!("SELECT 1 FROM messages WHERE {column} = ? LIMIT 1");
            if reader.connection.query_row(&sql, params![words], |_| Ok(())).optional()?.is_some() {
                self.add(&format!("messages.{column} = ?"), Value::from(words.to_owned()));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The filters that are columns, the index of the first alone being used: the sooner it stands in this list the less
    /// it leaves. `+` keeps SQLite from another one.
    fn columns(&mut self, filter: &Filter, is_id: bool) {
        let mut is_driven = is_id || self.is_search;
        let is_rare =
            |value: &Option<String>, common: &str| value.as_deref().is_some_and(|one| one != common);
        let (reason, verdict) = (is_rare(&filter.reason, "ok"), is_rare(&filter.verdict, "allow"));
        let mut columns = [
            ("reason", &filter.reason, if reason { 0 } else { 5 }),
            ("verdict", &filter.verdict, if verdict { 1 } else { 6 }),
            ("provider", &filter.provider, 3),
            ("policy", &filter.policy, 4),
        ];
        columns.sort_by_key(|(_, _, rank)| *rank);
        for (name, value, _) in columns {
            if let Some(value) = value {
                let plus = if std::mem::replace(&mut is_driven, true) { "+" } else { "" };
                self.add(&format!("{plus}messages.{name} = ?"), Value::from(value.clone()));
            }
        }
        if let Some(status) = &filter.status {
            self.status(status, is_driven);
        }
        if let Some(path) = &filter.path {
            let length = i64::try_from(path.chars().count()).unwrap_or(i64::MAX);
            self.add("substr(messages.path, 1, ?) = ?", Value::from(length));
            self.values.push(Value::from(path.clone()));
        }
    }

    fn status(&mut self, status: &str, is_driven: bool) {
        let class = status.strip_suffix("xx").and_then(|class| class.parse::<i64>().ok());
        match (class, status.parse::<i64>()) {
            (Some(class), _) => {
                let start = class.saturating_mul(100);
                self.bound("+messages.status >= ?", Some(start));
                self.bound("+messages.status < ?", Some(start.saturating_add(100)));
            }
            (None, Ok(status)) => {
                let plus = if is_driven { "+" } else { "" };
                self.bound(&format!("{plus}messages.status = ?"), Some(status));
            }
            (None, Err(_)) => self.terms.push("0".to_owned()),
        }
    }
}

/// What is searched for: every word, and with `*` behind the last one what begins so. Nothing where there is no such word.
///
/// The engine would merge all messages of all words that begin alike before the first of them is found; of words that are
/// named one by one it reads no more than is listed.
fn expression(reader: &Reader, text: &str) -> Result<Option<String>, StoreError> {
    let words = text.split(|one: char| !one.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut words: Vec<String> = words.take(MOST_WORDS).map(str::to_lowercase).collect();
    let beginning = if text.ends_with('*') { words.pop() } else { None };
    let mut terms: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    if let Some(beginning) = beginning {
        let any: Vec<String> = reader.words(&beginning)?.iter().map(|word| format!("\"{word}\"")).collect();
        if any.is_empty() {
            return Ok(None);
        }
        terms.push(format!("({})", any.join(" OR ")));
    }
    Ok((!terms.is_empty()).then(|| terms.join(" AND ")))
}

fn summary(row: &Row<'_>) -> rusqlite::Result<Summary> {
    Ok(Summary {
        id: row.get(0)?,
        time: row.get(1)?,
        method: row.get(2)?,
        path: row.get(3)?,
        host: row.get(4)?,
        status: row.get(5)?,
        verdict: row.get(6)?,
        reason: row.get(7)?,
        policy: row.get(8)?,
        provider: row.get(9)?,
        delivery_id: row.get(10)?,
        secret_id: row.get(11)?,
        checks: row.get(12)?,
        duplicate: row.get(13)?,
        details: row.get(14)?,
        source: row.get(15)?,
        request_id: row.get(16)?,
        body_sha256: row.get(17)?,
        body_bytes: row.get(18)?,
    })
}
