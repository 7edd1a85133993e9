//! What holds books is not deleted or unmarked by hand, by anyone, and neither
//! is a kind that it is of.

use payplane_e2e::{env, kubectl};

use crate::s03_payments::ready;

const HOLDERS: [&[&str]; 3] = [
    &["namespace", "ptn-alpha"],
    &["cluster.postgresql.cnpg.io", "database", "-n", "ptn-alpha"],
    &["pvc", "database-1", "-n", "ptn-alpha"],
];

fn refused(args: &[&str]) {
    let said = kubectl::attempt(args);
    assert!(said.as_ref().is_err_and(|e| e.contains("books")), "{args:?}: {said:?}");
}

#[test]
fn books_are_not_deleted_by_hand() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let kinds = [
        &["crd", "clusters.postgresql.cnpg.io"][..],
        &["crd", "paymenttenants.payplane.io"],
        &["crd", "channels.payplane.io"],
    ];
    for target in HOLDERS.into_iter().chain(kinds) {
        refused(&[&["delete", "--wait=false"][..], target].concat());
    }
    refused(&["delete", "pvc", "--all", "-n", "ptn-alpha", "--wait=false"]);
    for target in HOLDERS {
        let (kind, rest) = target.split_first().expect("a kind");
        refused(&[&["annotate", kind][..], rest, &["payplane.io/books-id-"]].concat());
        refused(&[&["annotate", "--overwrite", kind][..], rest, &["payplane.io/books-id=other"]].concat());
    }
    // As other people of the cluster with every right: impersonation changes nothing.
    for who in [
        ["--as=root", "--as-group=system:masters"],
        ["--as=system:serviceaccount:cnpg-system:cnpg-manager", "--as-group=system:masters"],
    ] {
        refused(&[&["delete", "--wait=false"][..], HOLDERS[0], &who].concat());
        refused(&[&["delete", "--wait=false"][..], HOLDERS[1], &who].concat());
    }
    for target in HOLDERS {
        let live = kubectl::get(target).expect("it is there");
        assert!(live["metadata"]["deletionTimestamp"].is_null(), "{target:?}");
    }
}
