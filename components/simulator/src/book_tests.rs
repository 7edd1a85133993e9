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
    let record = book.record().await.unwrap();
    drop(book);
    let again = Book::open(&folder.path().join("journal.jsonl")).unwrap();
    assert_eq!(again.record().await.unwrap(), record);
    assert_eq!(again.query("M1", "n1").await.unwrap(), first);
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
