//! Registers merchants and apps with the admin's certificate, as an operator of the tenant
//! would, before anything is measured.

use std::sync::Arc;

use anyhow::{Result, ensure};
use payplane_client::key::{KeygenArgs, keygen};
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::rig::Rig;

/// The app of most runs, and the one beside which it wants its share.
pub(super) const APP: &str = "good";
pub(super) const FLOOD: &str = "flood";
const AT_ONCE: usize = 16;

pub(super) async fn all(rig: &Rig) -> Result<()> {
    for app in [APP, FLOOD] {
        let path = |ending: &str| rig.folder.path().join(format!("{app}.{ending}"));
        keygen(&KeygenArgs { key: path("key"), public: path("pub") })?;
        let keys = json!([{"keyId": "k1", "publicKeyPem": std::fs::read_to_string(path("pub"))?}]);
        let body = json!({"displayName": app, "keys": keys, "notification": rig.receiver.notification()});
        let (client, url) = (admin(rig)?, format!("{}/admin/v1/apps/{app}", rig.admin_url()));
        put(&client, &url, &body).await?;
        put(&client, &format!("{url}/merchants/*"), &json!({})).await?;
    }
    let (client, places) = (admin(rig)?, Arc::new(Semaphore::new(AT_ONCE)));
    let checker = identified(rig, "admin-checker")?;
    let mut tasks = vec![];
    for n in 0..rig.merchants {
        let (client, checker, place) =
            (client.clone(), checker.clone(), places.clone().acquire_owned().await?);
        let url = format!("{}/admin/v1/merchants/{}", rig.admin_url(), merchant(n));
        tasks.push(tokio::spawn(async move {
            put(&client, &url, &json!({"displayName": "Shop"})).await?;
            done(checker.post(format!("{url}/approve"))).await?;
            drop(place);
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

pub(super) fn merchant(n: usize) -> String {
    format!("m{n}")
}

/// A client with the admin's certificate.
pub(super) fn admin(rig: &Rig) -> Result<Client> {
    identified(rig, "admin-client")
}

fn identified(rig: &Rig, name: &str) -> Result<Client> {
    let folder = rig.postgres.pki.leaf(name, &[])?;
    let pem = [std::fs::read(folder.join("tls.crt"))?, std::fs::read(folder.join("tls.key"))?];
    let roots = Certificate::from_pem_bundle(&std::fs::read(rig.trust())?)?;
    let builder = Client::builder().tls_certs_only(roots).no_proxy();
    Ok(builder.identity(Identity::from_pem(&pem.concat())?).build()?)
}

async fn put(client: &Client, url: &str, body: &Value) -> Result<()> {
    done(client.put(url).json(body)).await
}

async fn done(request: reqwest::RequestBuilder) -> Result<()> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    ensure!(status.is_success(), "{url}: {status} {}", answer.text().await?);
    Ok(())
}
