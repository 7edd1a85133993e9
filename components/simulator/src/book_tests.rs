#![allow(clippy::arithmetic_side_effects)]
use std::sync::Arc;

use super::*;

fn pay(number: &str, amount_minor: i64) -> PayRequest {
    PayRequest { number: number.into(), amount_minor, currency: "CNY".into(), method: "card".into() }
}

fn refund(number: &str, original: &str, amount_minor: i64) -> RefundRequest {
    RefundRequest { number: number.into(), original_number: original.into(), amount_minor }
}

fn book() -> (tempfile::TempDir, Book) {
    let folder = tempfile::tempdir().unwrap();
    let book = Book::open(&folder.path().join("journal.jsonl")).unwrap();
    (folder, book)
}

#[tokio::test]
async fn a_number_is_paid_once_and_belongs_to_its_merchant() {
    let (folder, book) = book();
    let first = book.pay("M1", pay("n1", 500)).await.unwrap();
    assert_eq!(book.pay("M1", pay("n1", 500)).await.unwrap(), first);
    assert!(matches!(book.pay("M1", pay("n1", 501)).await, Err(BookError::Conflict)));
    assert!(matches!(book.refund("M1", refund("n1", "n1", 500)).await, Err(BookError::Conflict)));
    assert!(matches!(book.query("M2", "n1").await, Err(BookError::NotFound)));
    assert_ne!(book.pay("M2", pay("n1", 900)).await.unwrap().network_id, first.network_id);
    let mut record = book.record().await.unwrap();
    drop(book);
    assert_eq!(record[0].repeated, 3, "refused ones too");
    record[0].repeated = 0;
    let again = Book::open(&folder.path().join("journal.jsonl")).unwrap();
    assert_eq!(again.record().await.unwrap(), record);
    assert_eq!(again.query("M1", "n1").await.unwrap(), first);
}

#[tokio::test]
async fn a_payout_is_made_once_and_for_one_payee() {
    let (folder, book) = book();
    let payout = |account: &str, amount_minor| PayoutRequest {
        number: "o1".into(),
        amount_minor,
        currency: "CNY".into(),
        payee_account: account.into(),
        payee_name: "Shop".into(),
    };
    let first = book.payout("M1", payout("6228", 500)).await.unwrap();
    assert_eq!(first.state, State::Succeeded);
    drop(book);
    let book = Book::open(&folder.path().join("journal.jsonl")).unwrap();
    assert_eq!(book.payout("M1", payout("6228", 500)).await.unwrap(), first);
    for other in [payout("6229", 500), payout("6228", 501)] {
        assert!(matches!(book.payout("M1", other).await, Err(BookError::Conflict)));
    }
    assert!(matches!(book.pay("M1", pay("o1", 500)).await, Err(BookError::Conflict)));
    let refunded = book.refund("M1", refund("r1", "o1", 1)).await.unwrap();
    assert_eq!(refunded.code.as_deref(), Some("OriginalNotSucceeded"), "nobody paid it");
}

#[tokio::test]
async fn refunds_are_bounded_by_the_original_also_after_a_restart() {
    let (folder, book) = book();
    book.pay("M1", pay("n1", 1000)).await.unwrap();
    assert_eq!(book.refund("M1", refund("r1", "n1", 600)).await.unwrap().state, State::Succeeded);
    drop(book);
    let book = Book::open(&folder.path().join("journal.jsonl")).unwrap();
    let over = book.refund("M1", refund("r2", "n1", 401)).await.unwrap();
    assert_eq!((over.state, over.code.as_deref()), (State::Declined, Some("RefundExceedsOriginal")));
    assert_eq!(book.refund("M1", refund("r3", "n1", 400)).await.unwrap().state, State::Succeeded);
    assert!(matches!(book.refund("M1", refund("r4", "none", 1)).await, Err(BookError::NotFound)));
    book.pay("M1", pay("n2", 9001)).await.unwrap();
    let of_declined = book.refund("M1", refund("r5", "n2", 1)).await.unwrap();
    assert_eq!(of_declined.code.as_deref(), Some("OriginalNotSucceeded"));
}

#[tokio::test]
async fn many_at_once_refund_no_more_than_the_original() {
    let (_folder, book) = book();
    let book = Arc::new(book);
    book.pay("M1", pay("n1", 1000)).await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let book = book.clone();
            tokio::spawn(async move { book.refund("M1", refund(&format!("r{n}"), "n1", 100)).await })
        })
        .collect();
    let mut succeeded = 0;
    for task in tasks {
        succeeded += i32::from(task.await.unwrap().unwrap().state == State::Succeeded);
    }
    assert_eq!(succeeded, 10);
}

#[tokio::test]
async fn an_asynchronous_result_comes_and_stays() {
    let (folder, book) = book();
    assert_eq!(book.pay("M1", pay("n1", 19_002)).await.unwrap().state, State::Processing);
    assert_eq!(book.query("M1", "n1").await.unwrap().state, State::Processing);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let done = book.query("M1", "n1").await.unwrap();
    assert_eq!(done.state, State::Succeeded);
    drop(book);
    let book = Book::open(&folder.path().join("journal.jsonl")).unwrap();
    assert_eq!(book.query("M1", "n1").await.unwrap(), done);
    assert_eq!(book.pay("M1", pay("n1", 19_002)).await.unwrap(), done);
}

#[tokio::test]
async fn a_journal_from_before_the_real_networks_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let journal = Journal::open(&path, |_: serde_json::Value| ()).unwrap();
    for line in [
        r#"{"event":"Taken","merchantId":"M1","number":"n1","kind":"Pay","currency":"CNY","method":"card","amountMinor":19002,"networkId":"01","state":"Processing","networkTime":"2026-01-01T00:00:00Z"}"#,
        r#"{"event":"Completed","merchantId":"M1","number":"n1","networkTime":"2026-01-01T00:00:02Z"}"#,
        r#"{"event":"Taken","merchantId":"M1","number":"r1","kind":"Refund","originalNumber":"n1","amountMinor":2,"networkId":"02","state":"Succeeded","networkTime":"2026-01-01T00:00:03Z"}"#,
    ] {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        journal.append(&line).unwrap().wait().await.unwrap();
    }
    let book = Book::open(&path).unwrap();
    assert_eq!(book.query("M1", "n1").await.unwrap().state, State::Succeeded);
    let over = book.refund("M1", refund("r2", "n1", 19_001)).await.unwrap();
    assert_eq!(over.code.as_deref(), Some("RefundExceedsOriginal"));
    let record = serde_json::to_value(&book.record().await.unwrap()[0]).unwrap();
    assert_eq!((record.get("network"), record.get("details")), (None, None));
}

mod orders {
    use super::*;
    use crate::book::orders::Order;
    use crate::book::refunds::{Amount, Refund, RefundError};

    fn order(network: NetworkName, number: &str, amount_minor: i64) -> Order {
        Order {
            network,
            merchant: "M1".into(),
            number: number.into(),
            method: "NATIVE",
            amount_minor,
            asked: Details::default().with("notify_url", "https://a.example"),
            made: Details::default().with("transaction_id", "4200001460"),
        }
    }

    fn refund(number: &str, amount: Amount) -> Refund {
        Refund {
            network: NetworkName::WechatPay,
            merchant: "M1".into(),
            number: number.into(),
            original: "n1".into(),
            amount,
            state: State::Succeeded,
            asked: Details::default(),
            made: Details::default(),
        }
    }

    #[tokio::test]
    async fn a_number_belongs_to_its_network_also_after_a_restart() {
        let (folder, book) = book();
        book.pay("M1", pay("n1", 500)).await.unwrap();
        let first = book.order(order(NetworkName::WechatPay, "n1", 700)).await.unwrap();
        assert!(first.new && first.payment.state == State::Processing);
        let again = book.order(order(NetworkName::WechatPay, "n1", 700)).await.unwrap();
        assert!(!again.new && !again.differs);
        assert!(book.order(order(NetworkName::WechatPay, "n1", 701)).await.unwrap().differs);
        assert!(book.order(order(NetworkName::Alipay, "n1", 900)).await.unwrap().new);
        let key = first.payment.key();
        let paid = book.complete_order(&key, Details::default().with("openid", "o1"), 700).await.unwrap();
        assert_eq!(paid.unwrap().details.get("openid"), Some("o1"));
        assert!(book.close_order(&key).await.unwrap().is_none(), "it is paid");
        drop(book);
        let book = Book::open(&folder.path().join("journal.jsonl")).unwrap();
        let kept = book.find(&key).await.unwrap().payment;
        assert_eq!((kept.state, kept.details.get("openid")), (State::Succeeded, Some("o1")));
        assert_eq!(book.key_of_id(NetworkName::WechatPay, "M1", "4200001460"), Some(key));
        assert_eq!(book.key_of_id(NetworkName::WechatPay, "M2", "4200001460"), None);
        assert_eq!(book.key_of_id(NetworkName::WechatPay, "M1", "nothing"), None);
        assert_eq!(book.key_of_id(NetworkName::WechatPay, "M1", "+4200001460"), None);
        assert_eq!(book.unended().len(), 1, "the Alipay one");
        assert_eq!(book.query("M1", "n1").await.unwrap().state, State::Succeeded);
    }

    #[tokio::test]
    async fn many_at_once_refund_no_more_than_was_paid() {
        let (_folder, book) = book();
        let book = Arc::new(book);
        let key = book.order(order(NetworkName::WechatPay, "n1", 1000)).await.unwrap().payment.key();
        let unpaid = book.refund_order(refund("r", Amount::Minor(1))).await;
        assert!(matches!(unpaid, Err(RefundError::NotPaid { .. })));
        book.complete_order(&key, Details::default(), 1000).await.unwrap();
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let book = book.clone();
                tokio::spawn(
                    async move { book.refund_order(refund(&format!("r{n}"), Amount::Minor(100))).await },
                )
            })
            .collect();
        let mut taken = 0;
        for task in tasks {
            taken += i32::from(task.await.unwrap().is_ok());
        }
        assert_eq!((taken, book.find(&key).await.unwrap().refunded_minor), (10, 1000));
        assert!(matches!(book.refund_order(refund("rest", Amount::Rest)).await, Err(RefundError::Exceeds)));
    }

    #[tokio::test]
    async fn one_that_is_closed_is_never_paid() {
        let (_folder, book) = book();
        let key = book.order(order(NetworkName::WechatPay, "n1", 1000)).await.unwrap().payment.key();
        assert!(book.close_order(&key).await.unwrap().is_some());
        assert!(book.complete_order(&key, Details::default(), 1000).await.unwrap().is_none());
        assert_eq!(book.find(&key).await.unwrap().payment.state, State::Declined);
        let closed = book.refund_order(refund("r1", Amount::Whole(1000))).await;
        assert!(matches!(closed, Err(RefundError::NotPaid { state: State::Declined })));
    }
}
