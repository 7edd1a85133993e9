//! Every row of crds/rules.yaml, sent to a real API server: what it accepts, what
//! it refuses, at which field and with which words.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::sync::atomic::{AtomicU32, Ordering};

use kube::Client;
use kube::core::Status;
use payplane_crds::{samples, schema};
use payplane_e2e::apiserver::ApiServer;
use payplane_e2e::manifests::{api, apply, create, delete, merge, merge_status, merged};
use serde_json::{Value, json};

static COUNTER: AtomicU32 = AtomicU32::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_keeps_every_rule() {
    let server = ApiServer::start().await.unwrap();
    let client = server.client().await.unwrap();
    install(&client).await;
    let table = "../../crds/rules.yaml";
    let table: Vec<Value> = serde_yaml::from_str(&std::fs::read_to_string(table).unwrap()).unwrap();
    let (mut cases, mut wrong) = (0, vec![]);
    for group in &table {
        for (expected, key) in [(true, "accepted"), (false, "refused")] {
            for case in group[key].as_array().into_iter().flatten() {
                cases += 1;
                let answer = send(&client, group, case).await;
                if let Err(problem) = judge(group, expected, &answer) {
                    wrong.push(format!("{case}: {problem}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
    println!("{cases} cases");
}

/// The kinds, and the namespace that the samples name.
async fn install(client: &Client) {
    for crd in schema::crds().unwrap() {
        let mut crd = serde_json::to_value(crd).unwrap();
        crd["apiVersion"] = json!("apiextensions.k8s.io/v1");
        crd["kind"] = json!("CustomResourceDefinition");
        apply(client, &crd).await.unwrap().expect("the API server takes the CRD, CEL cost included");
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ptn-demo"}});
    apply(client, &namespace).await.unwrap().unwrap();
    for sample in samples::all() {
        for _ in 0..100 {
            if api(client, &sample.manifest).await.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        create(client, &sample.manifest, true).await.unwrap().expect("every sample is accepted");
    }
    // Whoever reads before the operator has looked is told so.
    let sample = samples::all().into_iter().find(|sample| sample.name == "minimal").unwrap().manifest;
    create(client, &sample, false).await.unwrap().expect("accepted");
    let name = sample["metadata"]["name"].as_str().unwrap();
    let live = api(client, &sample).await.unwrap().get(name).await.unwrap();
    let ready = &live.data["status"]["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["reason"]),
        (&json!("Ready"), &json!("Unknown"), &json!("Pending"))
    );
    delete(client, &sample, false).await.unwrap().unwrap();
}

/// Sends one case; an update goes to an object of its own.
async fn send(client: &Client, group: &Value, case: &Value) -> Result<(), Status> {
    let wanted = group["sample"].as_str().unwrap();
    let sample = samples::all().into_iter().find(|sample| sample.name == wanted).unwrap().manifest;
    if let Some(patch) = case.get("create") {
        return create(client, &merged(&sample, patch), true).await.unwrap();
    }
    let name = format!("row-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
    let before = case.get("before").cloned().unwrap_or_else(|| json!({}));
    let mut object = merged(&sample, &before);
    object["metadata"]["name"] = json!(name);
    create(client, &object, false)
        .await
        .unwrap()
        .unwrap_or_else(|status| panic!("{case}: {}", status.message));
    if let Some(status) = group.get("status") {
        merge_status(client, &object, status).await.unwrap();
    }
    let answer = merge(client, &object, &case["update"], true).await.unwrap();
    delete(client, &object, false).await.unwrap().unwrap();
    answer
}

fn judge(group: &Value, accepted: bool, answer: &Result<(), Status>) -> Result<(), String> {
    let (field, message) = (group["field"].as_str().unwrap(), group["message"].as_str().unwrap());
    match answer {
        Ok(()) if accepted => Ok(()),
        Ok(()) => Err(format!("accepted, though {field} should say {message:?}")),
        Err(status) if accepted => Err(format!("refused: {}", status.message)),
        Err(status) => {
            let causes: Vec<_> = status.details.iter().flat_map(|details| &details.causes).collect();
            let named = causes.iter().any(|cause| cause.field == field && cause.message.contains(message));
            if named {
                Ok(())
            } else {
                Err(format!("should say {message:?} at {field}, but says {}", status.message))
            }
        }
    }
}
