use super::*;

/// What the remote holds: the paths, and what each depends on. It refuses what has no parent, and
/// to delete what something depends on.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) objects: BTreeMap<String, Vec<String>>,
    pub(super) refused: Vec<String>,
}

impl Held {
    pub(super) fn answer(&mut self, call: &Call) -> u16 {
        let body: Value =
            call.body.bytes().map_or(Value::Null, |it| serde_json::from_slice(it).expect("JSON"));
        let path = call.path.clone();
        let of = |folder: &str, keys: &Value| -> Vec<String> {
            let keys = keys.as_str().into_iter().flat_map(|keys| keys.split('+'));
            keys.map(|key| format!("/{folder}/{key}")).filter(|parent| *parent != path).collect()
        };
        let parents = [of("customer", &body["customer"]), of("tree", &body["above"])].concat();
        if call.method == Method::Delete {
            if self.objects.values().any(|it| it.contains(&path)) {
                self.refused.push(format!("DELETE {path}"));
                return 409;
            }
            self.objects.remove(&path);
        } else {
            if let Some(missing) = parents.iter().find(|it| !self.objects.contains_key(*it)) {
                self.refused.push(format!("PUT {path} below {missing}"));
                return 422;
            }
            self.objects.insert(path, parents);
        }
        200
    }
}
