//! An account that is frozen or closed takes nothing that was not committed before.

use std::time::Duration;

use payplane_api::ledger::v1::*;
use tonic::Code;

use crate::harness::*;
use crate::hostile::post_sql;
use crate::service::{self, Served};

async fn put(ledger: &Ledger, account: &str, state: &'static str) -> String {
    let refused = ledger.books.set_account_state(account, "CNY", state, "gateway", soon()).await.unwrap();
    refused.map(|(reason, ..)| reason).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn once_an_account_is_frozen_nothing_under_way_gets_onto_it() {
    let ledger = Ledger::start().await;
    let slow = ledger.postgres.connect("ledger").await.unwrap();
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(&post_sql(&sale("sale:slow", 0, 5), "gateway")).await.unwrap();
    let books = ledger.books.clone();
    let freezing = tokio::spawn(async move {
        books.set_account_state(&merchant(0), "CNY", "frozen", "gateway", soon()).await.unwrap()
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!freezing.is_finished(), "the account was frozen past a posting that was under way");
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(freezing.await.unwrap(), None);
    assert_eq!(ledger.word(sale("sale:after", 0, 5)).await, "ACCOUNT_NOT_OPEN");
    assert_eq!(
        (ledger.balance(&merchant(0)).await, put(&ledger, &merchant(0), "open").await),
        (5, String::new())
    );
    assert_eq!(ledger.word(sale("sale:after", 0, 5)).await, "ACCOUNT_NOT_OPEN", "decided for ever");
    assert_eq!(ledger.word(sale("sale:again", 0, 5)).await, "booked");
    ledger.check().await;
    // What was booked since is found where the account was never opened again, or nothing decided so late.
    let admin = ledger.postgres.connect("postgres").await.unwrap();
    let forged = "ALTER TABLE ledger.account_states DISABLE TRIGGER USER;
        DELETE FROM ledger.account_states WHERE state = 'open';
        UPDATE ledger.accounts SET state = 'frozen' WHERE code = 'merchant:m0:pending';
        INSERT INTO ledger.config_epochs (config_epoch, batch_number) VALUES (2, 1);
        UPDATE ledger.control SET config_epoch_min = 2";
    admin.batch_execute(forged).await.unwrap();
    let found = payplane_ledger::verify::invariants(&ledger.owner).await.unwrap();
    let found: std::collections::BTreeSet<_> = found.iter().map(|finding| finding.what.as_str()).collect();
    let wanted = [
        "a transaction was decided on a config epoch in force",
        "an account takes nothing in a state that forbids it",
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn an_account_is_closed_when_nothing_is_on_it() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 50)).await;
    ledger.post(hold("hold:1", 0, 20)).await;
    assert_eq!(put(&ledger, &merchant(0), "closed").await, "INVALID");
    ledger.post(capture("capture:1", "hold:1", 0, 20)).await;
    ledger.post(payout("payout:1", 0, 30)).await;
    assert_eq!(put(&ledger, FEE, "closed").await, "", "also one without a floor");
    assert_eq!(put(&ledger, &merchant(0), "closed").await, "");
    assert_eq!(put(&ledger, &merchant(0), "closed").await, "", "asked again");
    assert_eq!(put(&ledger, &merchant(0), "open").await, "ACCOUNT_NOT_OPEN");
    assert_eq!(put(&ledger, "nobody", "frozen").await, "UNKNOWN_ACCOUNT");
    assert_eq!(ledger.word(sale("sale:2", 0, 5)).await, "ACCOUNT_NOT_OPEN");
    assert_eq!(ledger.number("SELECT count(*) FROM ledger.account_states").await, 2);
    ledger.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn states_are_set_by_whoever_may() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    service::open(&mut gateway).await;
    let ask = |state: AccountState| SetAccountStateRequest {
        account: "merchant:m:pending".into(),
        currency: "CNY".into(),
        state: state.into(),
    };
    let none = gateway.set_account_state(ask(AccountState::FrozenCredit)).await.unwrap().into_inner().refusal;
    assert_eq!(none, None);
    let refused = gateway.post(service::sale("sale:1")).await.unwrap().into_inner().refusal.unwrap();
    assert_eq!(refused.reason(), RefusalReason::AccountNotOpen);
    assert!(refused.message.contains("frozen for credit"), "{refused:?}");
    let odd = gateway.set_account_state(ask(AccountState::Unspecified)).await.unwrap_err();
    assert_eq!(odd.code(), Code::InvalidArgument);
    let refused = served.client("operator").set_account_state(ask(AccountState::Open)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
