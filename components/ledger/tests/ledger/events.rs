//! The stream of what was booked: in the order of the books, from any place on.

use std::time::Duration;

use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_api::ledger::v1::*;
use payplane_ledger::verify;
use tonic::Code;
use tonic::transport::Channel;

use crate::harness;
use crate::service::{Served, open, sale};

/// Reads on until so many transactions and settlement dates were told.
pub(crate) async fn read(
    client: &mut LedgerClient<Channel>,
    (after_epoch, after_position, after_hash): (u64, u64, Vec<u8>),
    many: usize,
) -> Vec<ReadEventsResponse> {
    let asked = ReadEventsRequest { after_epoch, after_position, after_hash };
    let mut events = loop {
        match client.read_events(asked.clone()).await {
            Ok(events) => break events.into_inner(),
            // Places of readers that have just gone.
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (mut told, mut count) = (vec![], 0);
    while count < many {
        let next = tokio::time::timeout(Duration::from_secs(20), events.message()).await;
        let next = next.unwrap().unwrap().unwrap();
        count += next.transactions.len() + next.settled.len();
        told.push(next);
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_goes_on_where_it_was_and_misses_nothing() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let booked = gateway.post(sale("sale:1")).await.unwrap().into_inner();
    // A refusal has a place in the books, and is no event.
    let merchant = Entry {
        account: "merchant:m:pending".into(),
        direction: Direction::Debit.into(),
        ..sale("").entries[1].clone()
    };
    let hold = PostRequest { kind: "hold".into(), entries: vec![merchant], ..sale("hold:1") };
    let held = gateway
        .post(PostRequest { expires_at: "2024-02-01T00:00:00Z".into(), ..hold.clone() })
        .await
        .unwrap();
    assert_eq!(held.into_inner().outcome(), Outcome::Created);
    let refused = PostRequest { identity: sale("hold:2").identity, ..hold };
    assert_eq!(gateway.post(refused).await.unwrap().into_inner().outcome(), Outcome::Refused);
    let first = read(&mut gateway, (0, 0, vec![]), 2).await;
    let all: Vec<_> = first.iter().flat_map(|answer| &answer.transactions).collect();
    let (one, two) = (all[0], all[1]);
    assert_eq!(one.transaction_id, booked.transaction_id);
    assert_eq!((&one.entries, &one.references), (&sale("").entries, &sale("").references));
    assert_eq!(
        (one.kind.as_str(), &one.identity, one.caller.as_str()),
        ("sale", &sale("sale:1").identity, "gateway")
    );
    assert_eq!((one.accounting_date.as_str(), one.settlement_date.as_str()), ("2024-01-16", "2024-01-17"));
    assert_eq!((two.entries.len(), two.expires_at.as_str()), (1, "2024-02-01T00:00:00Z"));

    // While many write, one reader reads on in small steps: each transaction once, positions rising.
    let writing = tokio::spawn({
        let client = served.client("gateway");
        async move {
            for round in 0..6 {
                let posts = (0..100).map(|n| {
                    let mut client = client.clone();
                    async move { client.post(sale(&format!("sale:{round}:{n}"))).await.unwrap() }
                });
                futures_util::future::join_all(posts).await;
            }
        }
    });
    let (mut place, mut seen) = ((0, 0, vec![]), std::collections::BTreeSet::new());
    while seen.len() < 602 {
        for answer in read(&mut gateway, place.clone(), 1).await {
            let at = (answer.epoch, answer.position, answer.hash.clone());
            assert!((at.0, at.1) >= (place.0, place.1), "{at:?} after {place:?}");
            assert_eq!(answer.hash.len(), 32);
            // A place is kept only once all of it was told.
            let fresh = answer.transactions.iter().map(|t| t.transaction_id.clone());
            let before = seen.len();
            seen.extend(fresh);
            assert!(at == place || seen.len() == before + answer.transactions.len(), "told twice");
            place = if answer.more_of_position { place } else { at };
        }
    }
    writing.await.unwrap();
    // The head that proves all of it follows, signed.
    let asked =
        ReadEventsRequest { after_epoch: place.0, after_position: place.1, after_hash: place.2.clone() };
    let mut events = gateway.read_events(asked).await.unwrap().into_inner();
    let next = tokio::time::timeout(Duration::from_secs(20), events.message()).await;
    let head = next.unwrap().unwrap().unwrap();
    let keys = verify::heads::keys(&served.folder.path().join("seal.pub")).unwrap();
    let (heads, others) = verify::heads::read(&head.signed_head, &keys).unwrap();
    assert_eq!((heads.len(), others, head.transactions.len()), (1, 0, 0), "{head:?}");
    assert!(heads[0].position.unsigned_abs() == head.position && head.position >= place.1, "{head:?}");
    assert_eq!(hex::decode(&heads[0].hash).unwrap(), head.hash);
    drop(events);
    // Books that went another way: another epoch, or other content at the same place.
    let (after_epoch, after_position, after_hash) = place;
    let known = ReadEventsRequest { after_epoch, after_position, after_hash };
    let other = ReadEventsRequest { after_epoch: known.after_epoch + 1, ..known.clone() };
    let changed = ReadEventsRequest { after_hash: vec![7; 32], ..known.clone() };
    let ahead = ReadEventsRequest { after_position: known.after_position + 1_000, ..known };
    for unknown in [other, changed, ahead] {
        let refused = gateway.read_events(unknown.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{unknown:?}");
    }
    let mut operator = served.client("operator");
    let asked = ReadEventsRequest::default();
    assert_eq!(operator.read_events(asked.clone()).await.unwrap_err().code(), Code::PermissionDenied);

    // Readers are bounded, and end when the server drains.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut open = vec![];
    let full = loop {
        match gateway.read_events(asked.clone()).await {
            Ok(events) => open.push(events.into_inner()),
            Err(status) => break status,
        }
    };
    assert_eq!((full.code(), open.len()), (Code::ResourceExhausted, 16));
    served.drain();
    for events in &mut open {
        while events.message().await.unwrap().is_some() {}
    }
}

/// Its batch has a lower number than what was told already, and a later position.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_writer_paused_before_its_commit_is_told_when_it_has_committed() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let paused = served.postgres.connect("ledger").await.unwrap();
    paused.batch_execute("BEGIN").await.unwrap();
    let lines = [(harness::CLEARING, "debit", 5), (harness::FEE, "credit", 5)];
    let late = harness::call(&paused, vec![harness::posting("sale", "sale:paused", &lines)]).await;
    assert_eq!(late.unwrap(), ["booked"]);
    gateway.post(sale("sale:1")).await.unwrap();
    let told = read(&mut gateway, (0, 0, vec![]), 1).await.pop().unwrap();
    paused.batch_execute("COMMIT").await.unwrap();
    gateway.post(sale("sale:2")).await.unwrap();
    let told = read(&mut gateway, (told.epoch, told.position, told.hash), 2).await;
    let keys = told.iter().flat_map(|answer| &answer.transactions);
    let keys: Vec<_> = keys.map(|booked| booked.identity.as_ref().unwrap().key.as_str()).collect();
    assert_eq!(keys, ["sale:paused", "sale:2"]);
}
