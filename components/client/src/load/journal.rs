//! Writes the record: many lines share one fsync, nobody goes on before it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use snafu::{ResultExt, Snafu};
use tokio::sync::{mpsc, oneshot};

const QUEUE_MAX: usize = 8192;
const BATCH_MAX: usize = 1024;

#[derive(Debug, Snafu)]
pub enum JournalError {
    #[snafu(display("cannot create {}", path.display()))]
    Create { path: PathBuf, source: std::io::Error },
    #[snafu(display("a line cannot be written as JSON"))]
    Encode { source: serde_json::Error },
    #[snafu(display("the record's disk refused a write"))]
    Broken,
}

type Job = (Vec<u8>, oneshot::Sender<()>);

/// The way to the record's writer. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    jobs: mpsc::Sender<Job>,
}

impl Journal {
    /// Starts a new record; an old one is never written over.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let create = CreateSnafu { path };
        let file = File::options().append(true).create_new(true).open(path).context(create)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).context(create)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let named = std::thread::Builder::new().name("record".to_owned());
        named.spawn(move || write_all(file, queue)).context(create)?;
        Ok(Self { jobs })
    }

    /// Did every write so far succeed?
    pub(super) fn check(&self) -> Result<(), JournalError> {
        if self.jobs.is_closed() { Err(JournalError::Broken) } else { Ok(()) }
    }

    /// Writes a line; it is on disk when this returns.
    pub async fn write(&self, line: &impl Serialize) -> Result<(), JournalError> {
        let mut bytes = serde_json::to_vec(line).context(EncodeSnafu)?;
        bytes.push(b'\n');
        let (done, waiting) = oneshot::channel();
        self.jobs.send((bytes, done)).await.map_err(|_| JournalError::Broken)?;
        waiting.await.map_err(|_| JournalError::Broken)
    }
}

/// Ends with the last sender, or at the first write that fails: what cannot be
/// recorded must not be sent.
fn write_all(mut file: File, mut queue: mpsc::Receiver<Job>) {
    let mut batch: Vec<Job> = Vec::with_capacity(BATCH_MAX);
    while queue.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        let bytes: Vec<u8> = batch.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
        if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        for (_, done) in batch.drain(..) {
            let _ = done.send(());
        }
    }
}
