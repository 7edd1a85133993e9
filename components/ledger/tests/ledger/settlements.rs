//! The network's settlement date, told after a transaction was booked: once, and sealed.

use payplane_api::ledger::v1::*;
use tonic::Code;

use crate::events;
use crate::harness::today;
use crate::service::{Served, open, sale};

fn date(key: &str, day: &str) -> SettlementDate {
    SettlementDate { identity: sale(key).identity, settlement_date: day.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_settlement_date_is_told_once() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let undated = |key: &str| PostRequest { settlement_date: String::new(), ..sale(key) };
    for request in [undated("sale:1"), undated("sale:2"), sale("sale:dated")] {
        gateway.post(request).await.unwrap();
    }
    let mut told = vec![];
    for dates in [
        vec![date("sale:1", "2024-01-18"), date("sale:dated", "2024-01-17"), date("nothing", "2024-01-18")],
        // The same again, another date, and twice in one request.
        vec![date("sale:1", "2024-01-18"), date("sale:1", "2024-01-19"), date("sale:dated", "2024-01-18")],
        vec![date("sale:2", "2024-01-20"), date("sale:2", "2024-01-21")],
    ] {
        let answers = gateway.set_settlement_dates(SetSettlementDatesRequest { dates }).await.unwrap();
        let answers = answers.into_inner().answers.into_iter();
        let why = |refusal: Refusal| format!("{} {}", refusal.subject, refusal.message);
        told.push(answers.map(|a| a.refusal.map(why).unwrap_or_default()).collect::<Vec<_>>());
    }
    assert_eq!(
        told,
        [
            vec!["", "", "dates[2] the transaction is not in the books"],
            vec!["", "dates[1] it is settled on 2024-01-18", "dates[2] it is settled on 2024-01-17"],
            vec!["", "dates[1] it is settled on 2024-01-20"],
        ]
    );
    let read = GetTransactionRequest { identity: sale("sale:1").identity };
    let read = gateway.get_transaction(read).await.unwrap().into_inner();
    let by = Some(find_transactions_request::By::TransactionId(read.transaction_id.clone()));
    let found = FindTransactionsRequest { by, ..FindTransactionsRequest::default() };
    let found = gateway.find_transactions(found).await.unwrap().into_inner();
    let found = found.transactions[0].transaction.as_ref().unwrap();
    assert_eq!([&read.settlement_date, &found.settlement_date], ["2024-01-18"; 2]);
    let told = events::read(&mut gateway, (0, 0, vec![]), 5).await;
    assert!(told.iter().all(|answer| answer.transactions.is_empty() || answer.settled.is_empty()));
    let settled = told.iter().flat_map(|answer| &answer.settled);
    let settled = settled.map(|s| (s.identity.clone(), s.settlement_date.as_str(), s.caller.as_str()));
    let expected = [("sale:1", "2024-01-18"), ("sale:2", "2024-01-20")];
    let expected = expected.map(|(key, date)| (sale(key).identity, date, "gateway"));
    assert_eq!(settled.collect::<Vec<_>>(), expected, "each once, in the order of the books");
    for dates in [vec![], vec![date("sale:1", "soon")], vec![SettlementDate::default()]] {
        let refused = gateway.set_settlement_dates(SetSettlementDatesRequest { dates }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let dates = vec![date("sale:1", &today().to_string())];
    let denied = served.client("operator").set_settlement_dates(SetSettlementDatesRequest { dates }).await;
    assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);

    // What stands behind the function.
    let owner = served.postgres.connect("payplane_owner").await.unwrap();
    for sql in [
        "INSERT INTO ledger.settlements VALUES (gen_random_uuid(), '2024-01-18', 'gateway', 1)",
        "INSERT INTO ledger.settlements SELECT transaction_id, '2024-01-18', 'gateway', 1 FROM ledger.transactions WHERE key = 'sale:dated'",
        "UPDATE ledger.settlements SET settlement_date = '2024-01-18'",
    ] {
        let refused = owner.batch_execute(sql).await.unwrap_err();
        assert_eq!(refused.code().map(|state| state.code()), Some("23000"), "{sql}: {refused:?}");
    }
}
