//! Transactions are found by id and by reference, a page at a time, and say their
//! place in the order of the books once it is sealed.

use std::collections::BTreeSet;
use std::time::Duration;

use payplane_api::ledger::v1::find_transactions_request::By;
use payplane_api::ledger::v1::*;
use tonic::Code;

use crate::service::{Served, open, sale};

const MANY: usize = 230;

fn by_reference(r#type: &str, value: &str) -> FindTransactionsRequest {
    let reference = Reference { r#type: r#type.into(), value: value.into() };
    FindTransactionsRequest { by: Some(By::Reference(reference)), after: String::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transactions_are_found_by_id_and_reference() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let mut alone = sale("sale:alone");
    alone.references.push(Reference { r#type: "network".into(), value: "N-7".into() });
    let booked = gateway.post(alone.clone()).await.unwrap().into_inner().transaction_id;

    // Committed is found at once; its place follows.
    let found = gateway.find_transactions(by_reference("network", "N-7")).await.unwrap().into_inner();
    let [one] = &found.transactions[..] else { panic!("{found:?}") };
    let told = one.transaction.clone().unwrap();
    assert_eq!((&told.transaction_id, &told.entries), (&booked, &alone.entries));
    assert_eq!((&told.identity, told.references.len()), (&alone.identity, 2));
    let by_id = FindTransactionsRequest { by: Some(By::TransactionId(booked)), after: String::new() };
    let placed = loop {
        let found = gateway.find_transactions(by_id.clone()).await.unwrap().into_inner();
        let one = found.transactions.into_iter().next().unwrap();
        assert_eq!(one.transaction.as_ref(), Some(&told));
        assert_eq!(one.position == 0, one.epoch == 0);
        if one.position > 0 {
            break one;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((placed.epoch, placed.position), (1, 2), "behind the batch that opened the accounts");

    let posts = (0..MANY).map(|n| {
        let mut client = gateway.clone();
        async move { client.post(sale(&format!("sale:{n}"))).await.unwrap().into_inner().transaction_id }
    });
    let mut wanted: BTreeSet<_> = futures_util::future::join_all(posts).await.into_iter().collect();
    wanted.insert(told.transaction_id);
    let (mut seen, mut pages, mut asked) = (BTreeSet::new(), vec![], by_reference("order", "o-1"));
    loop {
        let page = gateway.find_transactions(asked.clone()).await.unwrap().into_inner();
        pages.push(page.transactions.len());
        seen.extend(page.transactions.into_iter().map(|found| found.transaction.unwrap().transaction_id));
        if page.next.is_empty() {
            break;
        }
        asked.after = page.next;
    }
    assert_eq!((seen, pages), (wanted, vec![100, 100, MANY + 1 - 200]));

    for nothing in [by_reference("order", "o-2"), by_reference("attempt", "o-1")] {
        assert_eq!(gateway.find_transactions(nothing).await.unwrap().into_inner().transactions, vec![]);
    }
    let odd = FindTransactionsRequest { by: Some(By::TransactionId("7".into())), after: String::new() };
    for wrong in [FindTransactionsRequest::default(), odd] {
        let refused = gateway.find_transactions(wrong.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong:?}");
    }
    let mut operator = served.client("operator");
    let refused = operator.find_transactions(by_reference("order", "o-1")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
