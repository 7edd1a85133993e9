//! Manifests that reach the operator: every row of crds/reasons.yaml gives its
//! reason with the remedy, and heals within 30 s of being mended, without
//! another touch. All rows run side by side.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kube::Client;
use payplane_crds::condition::Reason;
use payplane_crds::samples;
use payplane_e2e::env;
use payplane_e2e::manifests::{api, apply, create, delete, merge, merged};
use payplane_e2e::tenant::{self, HEALED_WITHIN};
use serde_json::{Value, json};

const FOUND_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_names_what_is_wrong_and_heals() {
    if !env::cluster() {
        return;
    }
    let client = Client::try_default().await.expect("the suite's own");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes"}});
    let service = read(&client, &service).await.expect("the suite's own")["spec"]["clusterIP"]
        .as_str()
        .expect("the suite's own")
        .to_owned();
    let rows: Vec<Value> = table("reasons")
        .into_iter()
        .filter(|row| row["elsewhere"].is_null())
        .enumerate()
        .map(|(index, row)| {
            let text = row.to_string().replace("NAME", &format!("bad-{index}")).replace("SERVICE", &service);
            merged(
                &serde_json::from_str(&text).expect("the suite's own"),
                &json!({"name": format!("bad-{index}")}),
            )
        })
        .collect();
    assert!(rows.len() >= 10, "at least ten manifests reach the operator");
    let results = join_all(rows.iter().map(|row| show(&client, row))).await;
    join_all(rows.iter().map(|row| clean(&client, row))).await;
    println!("figure: manifests_for_the_operator={} rows", rows.len());
    let wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// A table of crds/, as rows.
pub(crate) fn table(name: &str) -> Vec<Value> {
    let path = env::root().join(format!("crds/{name}.yaml"));
    serde_yaml::from_str(&std::fs::read_to_string(path).expect("the suite's own")).expect("the suite's own")
}

/// Applies a row, waits for its reason, mends it, waits for the reason to go.
async fn show(client: &Client, row: &Value) -> Result<(), String> {
    let (tenant, channel) = (small_tenant(row), channel(row));
    for object in items(&row["before"]) {
        try_apply(client, object).await?;
    }
    if row["reason"] != Reason::TenantMissing.as_str() {
        try_apply(client, &tenant).await?;
    }
    let subject = if row["kind"] == "Channel" { &channel } else { &tenant };
    if row["kind"] == "Channel" {
        try_apply(client, &channel).await?;
    }
    for object in items(&row["then"]) {
        try_apply(client, object).await?;
    }
    if row["delete"] == true {
        wait_for(FOUND_WITHIN, "a finalizer", async || match read(client, subject).await {
            Some(live) if live["metadata"]["finalizers"].is_array() => Ok(()),
            live => Err(format!("{live:?}")),
        })
        .await?;
        delete(client, subject, false).await.map_err(text)?.map_err(|status| status.message)?;
    }
    let reason = row["reason"].as_str().unwrap_or_default();
    let what = format!("{} {reason}", row["kind"]);
    wait_for(FOUND_WITHIN, &what, async || says(row, reason, read(client, subject).await)).await?;
    mend(client, row, subject).await?;
    wait_for(HEALED_WITHIN, &format!("{what} mended"), async || match read(client, subject).await {
        None if row["delete"] == true || row["mend"]["delete"].is_array() => Ok(()),
        live => healed(row, &live.ok_or("it is gone")?),
    })
    .await
}

/// The present generation was looked at, and got to where the row says it gets next.
fn healed(row: &Value, live: &Value) -> Result<(), String> {
    let becomes = row["becomes"].as_str().unwrap_or("StorageClassMissing");
    match tenant::condition(live, "Ready") {
        Some((_, now, _)) if now == becomes => Ok(()),
        _ => Err(format!("should become {becomes}: {}", live["status"])),
    }
}

/// The reason is there for the present generation, with the words and the remedy.
pub(crate) fn says(row: &Value, reason: &str, live: Option<Value>) -> Result<(), String> {
    tenant::says(&live.ok_or("there is no such object")?, reason, row["says"].as_str().unwrap_or_default())
}

async fn mend(client: &Client, row: &Value, subject: &Value) -> Result<(), String> {
    let mend = &row["mend"];
    if mend["patch"].is_object() {
        merge(client, subject, &mend["patch"], false)
            .await
            .map_err(text)?
            .map_err(|status| status.message)?;
    }
    for object in items(&mend["apply"]) {
        try_apply(client, object).await?;
    }
    for object in items(&mend["delete"]).chain(items(&mend["replace"])) {
        delete(client, object, false).await.map_err(text)?.map_err(|status| status.message)?;
    }
    for object in items(&mend["replace"]) {
        create(client, object, false).await.map_err(text)?.map_err(|status| status.message)?;
    }
    Ok(())
}

/// A small tenant that stops short of a database, as the row changes it.
fn small_tenant(row: &Value) -> Value {
    let small = json!({
        "apiVersion": "payplane.io/v1alpha1", "kind": "PaymentTenant", "metadata": {"name": row["name"]},
        "spec": {
            "displayName": "A row of reasons.yaml", "currencies": ["CNY"],
            "environment": "Test", "profile": "Development",
            "database": {"managed": {"storage": {"className": "none-such"}}},
        },
    });
    let small = if row["tenant"].is_object() { merged(&small, &row["tenant"]) } else { small };
    if row["kind"] == "PaymentTenant" { merged(&small, &row["create"]) } else { small }
}

fn channel(row: &Value) -> Value {
    let sample = samples::all()
        .into_iter()
        .find(|sample| sample.name == "demo-channel")
        .expect("the suite's own")
        .manifest;
    let home = format!("ptn-{}", row["name"].as_str().expect("the suite's own"));
    let fees = json!([{"name": "card", "fees": [{"currency": "CNY", "basisPoints": 60}]}]);
    let own = json!({"metadata": {"name": row["name"], "namespace": home}, "spec": {"methods": fees}});
    let channel = merged(&sample, &own);
    if row["kind"] == "Channel" { merged(&channel, &row["create"]) } else { channel }
}

async fn clean(client: &Client, row: &Value) {
    for object in [&channel(row), &small_tenant(row)] {
        let _ = merge(client, object, &json!({"spec": {"paused": false}}), false).await;
        let _ = delete(client, object, false).await;
    }
    for object in items(&row["mend"]["apply"]).filter(|object| object["kind"] == "StorageClass") {
        let _ = delete(client, object, false).await;
    }
}

/// The namespace of an object may be on its way.
async fn try_apply(client: &Client, object: &Value) -> Result<(), String> {
    wait_for(FOUND_WITHIN, &format!("apply {object}"), async || {
        apply(client, object).await.map_err(text)?.map_err(|status| status.message)
    })
    .await
}

async fn read(client: &Client, object: &Value) -> Option<Value> {
    let name = object["metadata"]["name"].as_str()?;
    let live = api(client, object).await.ok()?.get_opt(name).await.ok()??;
    serde_json::to_value(live).ok()
}

async fn wait_for(
    at_most: Duration,
    what: &str,
    check: impl AsyncFn() -> Result<(), String>,
) -> Result<(), String> {
    let until = Instant::now() + at_most;
    loop {
        match check().await {
            Ok(()) => return Ok(()),
            Err(last) if Instant::now() > until => {
                return Err(format!("{what}: not within {at_most:?}: {last}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(error: anyhow::Error) -> String {
    format!("{error:#}")
}
