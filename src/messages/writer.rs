//! The one thread that writes to the database.
//!
//! Responsible for committing what several senders bring together, for saying to each when it is safe, and for refusing what
//! there is no room for: a sender is told at once, and tries again or drops it. Nothing here can make a gateway wait: Envoy's
//! loggers have buffers of their own.

use crate::message::Message;
use crate::store::{Followed, Limits, Resubmit, Store, StoreError};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// How many batches may wait, and how many bytes of messages.
const MOST_BATCHES: usize = 1024;
const MOST_BYTES: usize = 64 << 20;

/// How many messages are committed together at most.
const MOST_TOGETHER: usize = 20_000;

/// How often it is looked for what is too old or too much.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// Why messages were not written.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is no room: try again later.
    Overloaded,
    /// The database failed.
    Failed(String),
}

type Reply<T> = oneshot::Sender<Result<T, String>>;

enum Job {
    Messages {
        messages: Vec<Message>,
        followed: Option<Followed>,
        room: OwnedSemaphorePermit,
        done: Reply<()>,
    },
    NoteResubmit {
        resubmit: Resubmit,
        outcome: String,
        done: Reply<i64>,
    },
    EndResubmit {
        note: i64,
        status: Option<u16>,
        outcome: String,
        done: Reply<()>,
    },
}

/// Where messages are handed in, by as many as want to.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    jobs: mpsc::SyncSender<Job>,
    room: Arc<Semaphore>,
    newest: watch::Receiver<i64>,
}

/// Starts the thread. It ends when nobody can hand anything in any more, and all is written.
pub(crate) fn start(mut store: Store, limits: Limits) -> (Writer, JoinHandle<()>) {
    let (jobs, waiting) = mpsc::sync_channel(MOST_BATCHES);
    let (tell, newest) = watch::channel(0);
    let thread = std::thread::spawn(move || {
        let mut has_more = true;
        let mut forgotten_at = Instant::now();
        loop {
            // What is to be forgotten does not wait for a pause, and what waits to be written comes in between.
            let patience = if has_more { Duration::ZERO } else { FORGET_EVERY };
            match waiting.recv_timeout(patience) {
                Ok(job) => work(&mut store, job, &waiting, &tell),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if has_more || forgotten_at.elapsed() >= FORGET_EVERY {
                forgotten_at = Instant::now();
                has_more = store.forget(limits, now()).unwrap_or_else(|StoreError(error)| {
                    eprintln!("webhook-guard-messages: nothing could be forgotten: {error}");
                    false
                });
            }
        }
    });
    (Writer { jobs, room: Arc::new(Semaphore::new(MOST_BYTES)), newest }, thread)
}

/// Does a job, and commits the messages that wait behind it together with it.
fn work(store: &mut Store, first: Job, waiting: &mpsc::Receiver<Job>, tell: &watch::Sender<i64>) {
    let (mut messages, mut followed, mut dones, mut rooms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut next = Some(first);
    let mut other = None;
    while let Some(job) = next.take() {
        match job {
            Job::Messages { messages: some, followed: file, room, done } => {
                messages.extend(some);
                followed.extend(file);
                dones.push(done);
                rooms.push(room);
            }
            job => {
                other = Some(job);
                break;
            }
        }
        if messages.len() < MOST_TOGETHER {
            next = waiting.try_recv().ok();
        }
    }
    if !dones.is_empty() {
        let written = store.write(&messages, &followed, now());
        drop(rooms);
        if let Ok(Some(id)) = written {
            tell.send_replace(id);
        }
        let answer = written.map(|_| ()).map_err(|StoreError(error)| error);
        for done in dones {
            // Whoever has gone away does not want to know.
            let _ = done.send(answer.clone());
        }
    }
    match other {
        Some(Job::NoteResubmit { resubmit, outcome, done }) => {
            let _ = done.send(store.note_resubmit(&resubmit, &outcome).map_err(|StoreError(error)| error));
        }
        Some(Job::EndResubmit { note, status, outcome, done }) => {
            let ended = store.end_resubmit(note, status, &outcome);
            let _ = done.send(ended.map_err(|StoreError(error)| error));
        }
        Some(Job::Messages { .. }) | None => {}
    }
}

impl Writer {
    /// Hands messages in, and waits until they are safe.
    pub(crate) async fn write(
        &self,
        messages: Vec<Message>,
        followed: Option<Followed>,
    ) -> Result<(), Refused> {
        let bytes = messages.iter().map(Message::weight).fold(0_usize, usize::saturating_add);
        let bytes = u32::try_from(bytes.clamp(1, MOST_BYTES)).unwrap_or(u32::MAX);
        let room = self.room.clone();
        let is_patient = followed.is_some();
        // A file can wait; who sends over the network is told.
        let room = match is_patient {
            true => room.acquire_many_owned(bytes).await.map_err(|_| Refused::Overloaded)?,
            false => room.try_acquire_many_owned(bytes).map_err(|_| Refused::Overloaded)?,
        };
        let (done, answer) = oneshot::channel();
        let job = Job::Messages { messages, followed, room, done };
        match is_patient {
            true => self.send(job).await.map_err(|_| Refused::Overloaded)?,
            false => self.jobs.try_send(job).map_err(|_| Refused::Overloaded)?,
        }
        answer.await.map_err(|_| Refused::Overloaded)?.map_err(Refused::Failed)
    }

    /// Notes that somebody sends a message again, before it is sent. Returns the number of the note.
    pub(crate) async fn note_resubmit(&self, resubmit: Resubmit, outcome: String) -> Result<i64, String> {
        let (done, answer) = oneshot::channel();
        self.ask(Job::NoteResubmit { resubmit, outcome, done }, answer).await
    }

    /// Notes what became of it.
    pub(crate) async fn end_resubmit(
        &self,
        note: i64,
        status: Option<u16>,
        outcome: String,
    ) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        self.ask(Job::EndResubmit { note, status, outcome, done }, answer).await
    }

    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<Result<T, String>>) -> Result<T, String> {
        let gone = || "the database is closed".to_owned();
        self.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Hands a job in as soon as there is room for it.
    async fn send(&self, mut job: Job) -> Result<(), ()> {
        loop {
            job = match self.jobs.try_send(job) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(()),
                Err(TrySendError::Full(job)) => job,
            };
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The id of the newest message, as it changes.
    pub(crate) fn newest(&self) -> watch::Receiver<i64> {
        self.newest.clone()
    }
}

/// The time, in milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the program's one clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
