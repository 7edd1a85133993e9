//! Events: one for each turn of the Ready condition, so that `kubectl describe`
//! tells the story. They are counted up by the recorder, not repeated.

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use payplane_crds::PaymentTenant;
use payplane_crds::condition::{Cause, ConditionType};

use crate::tenant::conditions::{Findings, states};

/// Tells of a new reason of Ready. A lost event harms nobody.
pub async fn tell(recorder: &Recorder, object: &PaymentTenant, findings: &Findings) {
    let before = object.status.iter().flat_map(|s| &s.conditions).find(|c| c.type_ == "Ready");
    let states = states(findings);
    let Some(ready) = states.iter().find(|state| state.kind == ConditionType::Ready) else { return };
    if before.is_some_and(|b| b.reason == ready.reason.as_str()) {
        return;
    }
    let normal = ready.status == Some(true) || ready.reason.cause() == Cause::Course;
    let event = Event {
        type_: if normal { EventType::Normal } else { EventType::Warning },
        reason: ready.reason.as_str().to_owned(),
        note: Some(format!("{} {}", ready.reason.meaning(), ready.detail).trim().to_owned()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &object.object_ref(&())).await {
        tracing::info!(reason = event.reason, %error, "event not told");
    }
}
