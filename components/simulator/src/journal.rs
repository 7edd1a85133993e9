//! The network's memory: an append-only file of checked lines. Many writers
//! share one fsync, and nobody is answered before it.
//!
//! A line is the first 16 hex digits of its JSON's SHA-256, a blank, the JSON.
//! A last line that a crash tore was never answered for: it is cut off.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu};
use tokio::sync::{mpsc, oneshot};

/// Lines and barriers that may wait for the disk.
const QUEUE_MAX: usize = 4096;
/// Lines that share one fsync at most.
const BATCH_MAX: usize = 512;
const CHECK_DIGITS: usize = 16;

#[derive(Debug, Snafu)]
pub enum JournalError {
    #[snafu(display("cannot open journal {}", path.display()))]
    Open { path: PathBuf, source: std::io::Error },
    #[snafu(display("journal {} is damaged at byte {at}, before lines that are whole", path.display()))]
    Damaged { path: PathBuf, at: usize },
    #[snafu(display("a journal line cannot be written as JSON"))]
    Encode { source: serde_json::Error },
    #[snafu(display("the journal's queue is full"))]
    Full,
    #[snafu(display("the journal cannot be written any more"))]
    Broken,
}

struct Job {
    /// Empty for a barrier, which only waits for what was queued before it.
    line: Vec<u8>,
    done: oneshot::Sender<()>,
}

/// The way to the writer. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    jobs: mpsc::Sender<Job>,
}

/// Resolves when the line, and all lines before it, are on disk.
#[must_use]
pub struct Durable(oneshot::Receiver<()>);

impl Durable {
    pub async fn wait(self) -> Result<(), JournalError> {
        self.0.await.map_err(|_| JournalError::Broken)
    }
}

impl Journal {
    /// Opens the journal, hands every whole record to `replay` in order, cuts
    /// off a torn end and starts the writer.
    pub fn open<T: DeserializeOwned>(path: &Path, replay: impl FnMut(T)) -> Result<Self, JournalError> {
        let file = recover(path, replay)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_all(file, queue))
            .context(OpenSnafu { path })?;
        Ok(Self { jobs })
    }

    /// Queues a record. The order of calls is the order on disk.
    pub fn append(&self, record: &impl Serialize) -> Result<Durable, JournalError> {
        self.push(line(record)?)
    }

    /// Waits for everything that was queued before.
    pub fn barrier(&self) -> Result<Durable, JournalError> {
        self.push(Vec::new())
    }

    /// False once a write failed: memory is ahead of the disk from then on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Resolves when the writer gave up.
    pub async fn broken(&self) {
        self.jobs.closed().await;
    }

    fn push(&self, line: Vec<u8>) -> Result<Durable, JournalError> {
        let (done, waiting) = oneshot::channel();
        self.jobs.try_send(Job { line, done }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => JournalError::Full,
            mpsc::error::TrySendError::Closed(_) => JournalError::Broken,
        })?;
        Ok(Durable(waiting))
    }
}

/// Writes batches until nobody is left or the disk refuses. After a refusal
/// what is on disk is unknown, so nothing more is taken: a restart finds out.
fn write_all(mut file: File, mut queue: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        let bytes: Vec<u8> = batch.iter().flat_map(|job: &Job| job.line.iter().copied()).collect();
        if let Err(error) = write_batch(&mut file, &bytes) {
            tracing::error!(%error, "the journal cannot be written; the simulator ends");
            return;
        }
        for job in batch.drain(..) {
            // Whoever asked may have gone; the record stands all the same.
            let _ = job.done.send(());
        }
    }
}

fn write_batch(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    file.write_all(bytes)?;
    file.sync_data()
}

fn line(record: &impl Serialize) -> Result<Vec<u8>, JournalError> {
    let json = serde_json::to_vec(record).context(EncodeSnafu)?;
    let mut line = check(&json).into_bytes();
    line.push(b' ');
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

fn check(json: &[u8]) -> String {
    let mut hex = hex::encode(digest(&SHA256, json));
    hex.truncate(CHECK_DIGITS);
    hex
}

fn recover<T: DeserializeOwned>(path: &Path, replay: impl FnMut(T)) -> Result<File, JournalError> {
    let open = OpenSnafu { path };
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).open(path).context(open)?;
    // The file's name must survive a crash too.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).context(open)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context(open)?;
    let whole = replay_whole(&bytes, replay);
    if whole < bytes.len() {
        if holds_a_whole_line(&bytes[whole..]) {
            return DamagedSnafu { path, at: whole }.fail();
        }
        tracing::info!(bytes = bytes.len() - whole, "a torn end of the journal was cut off");
        file.set_len(whole as u64).context(open)?;
        file.sync_all().context(open)?;
    }
    file.seek(SeekFrom::End(0)).context(open)?;
    Ok(file)
}

/// Replays whole lines from the start; says how many bytes they fill.
fn replay_whole<T: DeserializeOwned>(bytes: &[u8], mut replay: impl FnMut(T)) -> usize {
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(record) = read(line) else { break };
        replay(record);
        at += line.len();
    }
    at
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(json_of(line)?).ok()
}

/// A line's JSON, where the line is whole and its check agrees.
fn json_of(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    let (claimed, json) = line.split_at_checked(CHECK_DIGITS)?;
    let json = json.strip_prefix(b" ")?;
    (check(json).as_bytes() == claimed).then_some(json)
}

fn holds_a_whole_line(bytes: &[u8]) -> bool {
    bytes.split_inclusive(|byte| *byte == b'\n').any(|line| json_of(line).is_some())
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
