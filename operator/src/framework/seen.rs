//! What the watches have seen. It may only say that nothing is to be done: before
//! a write, and for a decision about deletion or the config's epoch, the live
//! object is read. So a stale picture costs a read, never a wrong write.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::core::ApiResource;
use serde_json::Value;

/// One watch: a kind, everywhere or in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    pub kind: String,
    pub namespace: Option<String>,
}

impl Scope {
    #[must_use]
    pub fn new(resource: &ApiResource, namespace: Option<&str>) -> Self {
        let kind = format!("{}/{}", resource.group, resource.kind);
        Self { kind, namespace: namespace.map(str::to_owned) }
    }
}

/// Namespace (empty for a kind of the whole cluster) and name.
type Key = (String, String);

#[derive(Default)]
struct Picture {
    objects: HashMap<Key, Arc<Value>>,
    /// A list under way: it replaces the picture when it is complete.
    listing: Option<HashMap<Key, Arc<Value>>>,
    complete: bool,
}

/// Every watch's picture. Clones share it.
#[derive(Clone, Default)]
pub struct Seen {
    pictures: Arc<Mutex<HashMap<Scope, Picture>>>,
}

impl Seen {
    fn pictures(&self) -> MutexGuard<'_, HashMap<Scope, Picture>> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list begins: what it does not name is gone.
    pub fn list_begins(&self, scope: &Scope) {
        self.pictures().entry(scope.clone()).or_default().listing = Some(HashMap::new());
    }

    pub fn list_names(&self, scope: &Scope, object: Value) {
        if let Some(listing) = &mut self.pictures().entry(scope.clone()).or_default().listing {
            listing.insert(key(&object), pruned(object));
        }
    }

    pub fn list_ends(&self, scope: &Scope) {
        let mut pictures = self.pictures();
        let picture = pictures.entry(scope.clone()).or_default();
        if let Some(listing) = picture.listing.take() {
            picture.objects = listing;
            picture.complete = true;
        }
    }

    pub fn changed(&self, scope: &Scope, object: Value) {
        self.pictures().entry(scope.clone()).or_default().objects.insert(key(&object), pruned(object));
    }

    pub fn deleted(&self, scope: &Scope, object: &Value) {
        if let Some(picture) = self.pictures().get_mut(scope) {
            picture.objects.remove(&key(object));
        }
    }

    /// Drops a watch's picture.
    pub fn forget(&self, scope: &Scope) {
        self.pictures().remove(scope);
    }

    /// An object as some watch saw it last.
    #[must_use]
    pub fn get(&self, resource: &ApiResource, namespace: Option<&str>, name: &str) -> Option<Arc<Value>> {
        let key = (namespace.unwrap_or_default().to_owned(), name.to_owned());
        let pictures = self.pictures();
        let of = |namespace| pictures.get(&Scope::new(resource, namespace))?.objects.get(&key).cloned();
        of(None).or_else(|| namespace.and_then(|namespace| of(Some(namespace))))
    }

    /// The objects of a namespace that bear labels, by name. None where no watch
    /// of the kind has a complete picture.
    #[must_use]
    pub fn list(
        &self,
        resource: &ApiResource,
        namespace: &str,
        labels: &[(&str, &str)],
    ) -> Option<Vec<Arc<Value>>> {
        let pictures = self.pictures();
        let picture = pictures.get(&Scope::new(resource, None)).filter(|picture| picture.complete)?;
        let bears = |object: &Value| labels.iter().all(|(k, v)| object["metadata"]["labels"][*k] == *v);
        let mut found: Vec<_> =
            picture.objects.iter().filter(|((home, _), object)| home == namespace && bears(object)).collect();
        found.sort_by_key(|(key, _)| *key);
        Some(found.into_iter().map(|(_, object)| object.clone()).collect())
    }
}

fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

/// Nobody here reads who wrote which field, and it is half of many objects.
fn pruned(mut object: Value) -> Arc<Value> {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    Arc::new(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::framework::object::resource;

    fn pod(name: &str, component: &str) -> Value {
        json!({"metadata": {"namespace": "a", "name": name, "labels": {"c": component}, "managedFields": [1]}})
    }

    #[test]
    fn a_list_replaces_the_picture_only_when_it_is_complete() {
        let (seen, pods) = (Seen::default(), resource("v1", "Pod"));
        let scope = Scope::new(&pods, None);
        seen.list_begins(&scope);
        seen.list_names(&scope, pod("one", "x"));
        assert!(seen.get(&pods, Some("a"), "one").is_none());
        assert!(seen.list(&pods, "a", &[]).is_none());
        seen.list_ends(&scope);
        seen.changed(&scope, pod("two", "y"));
        assert_eq!(seen.list(&pods, "a", &[("c", "y")]).unwrap().len(), 1);
        assert!(seen.get(&pods, Some("a"), "one").unwrap()["metadata"]["managedFields"].is_null());
        seen.list_begins(&scope);
        seen.list_names(&scope, pod("two", "y"));
        assert!(seen.get(&pods, Some("a"), "one").is_some());
        seen.list_ends(&scope);
        assert!(seen.get(&pods, Some("a"), "one").is_none());
        seen.deleted(&scope, &pod("two", "y"));
        assert_eq!(seen.list(&pods, "a", &[]).unwrap().len(), 0);
    }

    #[test]
    fn a_watch_of_one_namespace_says_nothing_of_another() {
        let (seen, secrets) = (Seen::default(), resource("v1", "Secret"));
        seen.changed(&Scope::new(&secrets, Some("a")), json!({"metadata": {"namespace": "a", "name": "s"}}));
        assert!(seen.get(&secrets, Some("a"), "s").is_some());
        assert!(seen.get(&secrets, Some("b"), "s").is_none());
        seen.forget(&Scope::new(&secrets, Some("a")));
        assert!(seen.get(&secrets, Some("a"), "s").is_none());
    }
}
