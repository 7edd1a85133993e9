//! Stored objects that our types cannot read, as a later release may leave them
//! behind. They say so themselves: nobody who waits for one reads our log.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use payplane_api::error::chain;
use payplane_crds::condition::{ConditionType, Reason};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::framework::cluster::Cluster;
use crate::framework::condition::{State, conditions};
use crate::tenant::status;

/// An object that cannot be read, and where.
pub struct Unreadable {
    kind: String,
    live: Value,
    field: String,
}

/// Reads an object of ours.
pub fn read<K>(live: &Value) -> Result<K, Unreadable>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    serde_path_to_error::deserialize(live).map_err(|error| {
        let (kind, field) = (K::kind(&()).into_owned(), error.path().to_string());
        let name = live["metadata"]["name"].as_str();
        tracing::error!(name, field, error = %error.inner(), "a stored {kind} cannot be read");
        Unreadable { kind, live: live.clone(), field }
    })
}

impl Unreadable {
    #[must_use]
    pub fn name(&self) -> &str {
        self.live["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Says it in the object's conditions. What else its status holds stays. A
    /// status that cannot be written keeps nobody else waiting.
    pub async fn tell(&self, cluster: &Cluster) {
        let Some(status) = self.status() else { return };
        let namespace = self.live["metadata"]["namespace"].as_str();
        if let Err(error) = status::write(cluster, &self.kind, namespace, self.name(), &status).await {
            tracing::info!(name = self.name(), error = chain(&error), "not told that it cannot be read");
        }
    }

    /// The status that it should have, where it has another one.
    fn status(&self) -> Option<Value> {
        let types: &[ConditionType] = match self.kind.as_str() {
            "PaymentTenant" => &ConditionType::TENANT,
            _ => &ConditionType::CHANNEL,
        };
        let before = &self.live["status"]["conditions"];
        let former: Vec<Condition> = serde_json::from_value(before.clone()).unwrap_or_default();
        let generation = self.live["metadata"]["generation"].as_i64();
        let states = types.iter().map(|&kind| {
            let holds = (kind == ConditionType::Ready).then_some(false);
            State::new(kind, holds, Reason::Unreadable, format!("See {}.", self.field))
        });
        let now = json!(conditions(&former, generation, "", &states.collect::<Vec<_>>()));
        let mut status = self.live["status"].clone();
        status["observedGeneration"] = json!(generation);
        status["conditions"] = now;
        (status != self.live["status"]).then_some(status)
    }
}

#[cfg(test)]
mod tests {
    use payplane_crds::PaymentTenant;

    use super::*;

    #[test]
    fn the_field_is_named_the_rest_of_the_status_stays_and_it_is_said_once() {
        let mut live = json!({
            "apiVersion": "payplane.io/v1alpha1", "kind": "PaymentTenant",
            "metadata": {"name": "huge", "generation": 3},
            "spec": {"displayName": "Huge", "currencies": ["CNY"], "profile": "Huge"},
            "status": {"booksId": "b", "conditions": []},
        });
        let odd = read::<PaymentTenant>(&live).expect_err("no such profile");
        let status = odd.status().expect("it is new");
        assert_eq!(status["booksId"], "b");
        let told = status["conditions"].as_array().unwrap();
        assert_eq!(told.len(), ConditionType::TENANT.len());
        let ready = told.iter().find(|c| c["type"] == "Ready").unwrap();
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Unreadable")));
        assert!(ready["message"].as_str().unwrap().contains("spec.profile"), "{ready}");
        live["status"] = status;
        assert!(read::<PaymentTenant>(&live).unwrap_err().status().is_none());
        live["spec"]["profile"] = json!("Development");
        assert!(read::<PaymentTenant>(&live).is_ok());
    }
}
