//! The client: each transfer has a moment at which it is to be sent, whether
//! those before it are answered or not, and its latency counts from that moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use payplane_api::ledger::v1::{
    Outcome, PostRequest, PostStreamRequest, RefusalReason, post_stream_response::Answer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::mix::Mix;
use crate::pace::histogram;
use crate::rig::Rig;

/// When each transfer was due; and of what may be captured or refused what was asked for.
type Open = HashMap<u64, (Instant, Option<PostRequest>)>;

const CONNECTIONS: usize = 4;
const STREAMS: usize = 32;
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);

/// What became of all that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Outcomes {
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) late: u64,
    pub(crate) failed: u64,
    /// What was asked for, and why it was refused.
    pub(crate) refused: Vec<(PostRequest, RefusalReason)>,
    pub(crate) booked: u64,
    /// Booked in each second since the beginning.
    pub(crate) per_second: Vec<u64>,
    began: Instant,
}

impl Outcomes {
    fn new() -> Result<Self> {
        let (counts, refused) = (BTreeMap::new(), vec![]);
        let (per_second, began) = (vec![], Instant::now());
        let latency_us = histogram()?;
        let [sent, answered, booked, late, failed] = [0; 5];
        Ok(Self { counts, latency_us, sent, answered, booked, late, failed, refused, per_second, began })
    }

    fn count(&mut self, word: &str, took: Duration) {
        *self.counts.entry(word.to_owned()).or_default() += 1;
        self.answered += 1;
        if word == Outcome::Created.as_str_name() {
            self.booked += 1;
            let second = usize::try_from(self.began.elapsed().as_secs()).unwrap_or(usize::MAX);
            self.per_second.resize(self.per_second.len().max(second.saturating_add(1)), 0);
            self.per_second[second] += 1;
        }
        self.late += u64::from(took > DEADLINE);
        self.latency_us.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Each was answered in time, by a decision.
    pub(crate) fn holds(&self) -> bool {
        self.failed == 0 && self.late == 0 && self.answered == self.sent
    }
}

/// Sends at a rate for so long.
pub(crate) async fn run(
    rig: &Rig,
    mix: Mix,
    accounts: usize,
    rate: u64,
    during: Duration,
) -> Result<Outcomes> {
    let outcomes = Arc::new(Mutex::new(Outcomes::new()?));
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| rig.client()).collect::<Result<_>>()?;
    let today = today()?;
    let start = Instant::now() + Duration::from_millis(200);
    let mut tasks = vec![];
    for n in 0..STREAMS {
        let (client, today) = (clients[n % CONNECTIONS].clone(), today.clone());
        let stream = Stream { client, mix, accounts, today, outcomes: outcomes.clone() };
        let every = Duration::from_secs_f64(STREAMS as f64 / rate as f64);
        let first = start + every.mul_f64(n as f64 / STREAMS as f64);
        tasks.push(tokio::spawn(stream.run(first, every, start + during)));
    }
    for task in tasks {
        task.await??;
    }
    let outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(outcomes)
}

/// In the zone of the books.
pub(crate) fn today() -> Result<String> {
    Ok(jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::get("Asia/Shanghai")?).date().to_string())
}

struct Stream {
    client: payplane_api::ledger::v1::ledger_client::LedgerClient<tonic::transport::Channel>,
    mix: Mix,
    accounts: usize,
    today: String,
    outcomes: Arc<Mutex<Outcomes>>,
}

impl Stream {
    async fn run(mut self, first: Instant, every: Duration, end: Instant) -> Result<()> {
        let (requests, outbound) = mpsc::channel::<PostStreamRequest>(4_096);
        let open: Arc<Mutex<Open>> = Arc::default();
        // Holds that were booked, to be captured.
        let held: Arc<Mutex<Vec<PostRequest>>> = Arc::default();
        let (sender_open, sender_held) = (open.clone(), held.clone());
        let (mix, accounts, today) = (self.mix, self.accounts, self.today.clone());
        let sending = tokio::spawn(async move {
            let (mut sequence, mut due) = (0_u64, first);
            while due < end {
                tokio::time::sleep_until(due.into()).await;
                while due <= Instant::now() && due < end {
                    let post = mix.request(accounts, &today, &mut lock(&sender_held));
                    let kept = (post.kind != "sale").then(|| post.clone());
                    let request = PostStreamRequest { sequence, post: Some(post), timeout_ms: 1_000 };
                    lock(&sender_open).insert(sequence, (due, kept));
                    if requests.send(request).await.is_err() {
                        return sequence;
                    }
                    sequence += 1;
                    due += every;
                }
            }
            sequence
        });
        let mut answers = self.client.post_stream(ReceiverStream::new(outbound)).await?.into_inner();
        while let Ok(Some(answer)) = answers.message().await {
            let Some((due, kept)) = lock(&open).remove(&answer.sequence) else { continue };
            let mut outcomes = lock(&self.outcomes);
            match answer.answer {
                Some(Answer::Post(post)) => {
                    let word = match post.outcome() {
                        Outcome::Refused => {
                            let reason = post.refusal.map(|refusal| refusal.reason()).unwrap_or_default();
                            outcomes.refused.extend(kept.map(|request| (request, reason)));
                            reason.as_str_name()
                        }
                        outcome => {
                            lock(&held).extend(kept.filter(|request| request.kind == "hold"));
                            outcome.as_str_name()
                        }
                    };
                    outcomes.count(word, due.elapsed());
                }
                Some(Answer::Failure(failure)) => {
                    outcomes.failed += 1;
                    outcomes.count(&failure.message, due.elapsed());
                }
                None => outcomes.failed += 1,
            }
        }
        lock(&self.outcomes).sent += sending.await?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
