use super::*;
use crate::model::CallKey;

/// A remote that honours call keys, draws the ids of loans, and holds its foreign keys.
#[derive(Default)]
pub(super) struct Office {
    objects: BTreeMap<String, Object>,
    /// What was answered to calls that took effect.
    answered: BTreeMap<String, Answer>,
    drawn: u64,
    /// By which call each object was last written or deleted.
    touched: BTreeMap<String, String>,
    /// What came before its parent or went before its children, by whose call that object was as it was, and how
    /// many calls had been asked again until then.
    broken: Vec<(String, String, usize)>,
    /// Calls that had taken effect and were made again: their answer was not known.
    again: Vec<String>,
    /// What was done, for the one who looks for the cause of something.
    pub(super) history: Vec<String>,
}

/// A row's table, key and version.
pub(super) type TableRow = (String, String, String);

struct Object {
    /// The row's table and key.
    of: (String, String),
    parent: Option<String>,
    v: Value,
}

impl Office {
    pub(super) fn call(&mut self, call: &Call, key: &CallKey) -> Answer {
        if let Some(answer) = self.answered.get(&key.to_string()) {
            self.again.push(key.to_string());
            return answer.clone();
        }
        let answer = self.call_anew(call, &key.to_string());
        self.note(format!("{} {} {key}: {}", call.method.name(), call.path, answer.status));
        if answer.status < 300 {
            self.answered.insert(key.to_string(), answer.clone());
        }
        answer
    }

    pub(super) fn note(&mut self, what: String) {
        if self.history.last() != Some(&what) {
            self.history.push(what);
        }
    }

    fn call_anew(&mut self, call: &Call, key: &str) -> Answer {
        let refused = |status| Answer { status, ..Answer::default() };
        let body: Value =
            call.body.bytes().map_or(Value::Null, |it| serde_json::from_slice(it).expect("JSON"));
        let path = &*call.path;
        if let Some(object) = path.strip_suffix("/second") {
            return refused(if self.objects.contains_key(object) { 200 } else { 404 });
        }
        let (table, name) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        if call.method == Method::Delete {
            let mut children = self.objects.iter().filter(|(_, it)| it.parent.as_deref() == Some(path));
            if let Some((child, _)) = children.next() {
                self.out_of_order(key, child.clone());
                return refused(409);
            }
            self.touched.insert(path.to_owned(), key.to_owned());
            self.objects.remove(path);
            return refused(200);
        }
        let parent = [("customer", &body["customer"]), ("tree", &body["above"])];
        let parent = parent.iter().find_map(|(of, key)| Some(format!("/{of}/{}", key.as_str()?)));
        let parent = parent.filter(|it| it != path);
        if let Some(missing) = parent.clone().filter(|it| !self.objects.contains_key(it)) {
            self.out_of_order(key, missing);
            return refused(422);
        }
        let path = match call.method {
            Method::Post => {
                self.drawn += 1;
                format!("{path}/{}", self.drawn)
            }
            Method::Patch if !self.objects.contains_key(path) => return refused(404),
            _ => path.to_owned(),
        };
        let id = path.rsplit('/').next().unwrap_or_default().to_owned();
        self.touched.insert(path.clone(), key.to_owned());
        let key = body["ref"].as_str().unwrap_or(name).to_owned();
        self.objects
            .insert(path.clone(), Object { of: (table.to_owned(), key), parent, v: body["v"].clone() });
        Answer { status: 200, headers: [].into(), body: json!({ "id": id }).to_string().into() }
    }

    fn out_of_order(&mut self, key: &str, other: String) {
        let by = self.touched.get(&other).cloned().unwrap_or_else(|| format!("nobody made {other}"));
        self.broken.push((key.to_owned(), by, self.again.len()));
    }

    /// Refusals that no lost answer explains: nobody knew yet that the other call had taken effect, and so it was
    /// made again later.
    pub(super) fn unexplained(&self) -> Vec<&str> {
        let explained = |(_, by, since): &&(String, String, usize)| self.again[*since..].contains(by);
        self.broken.iter().filter(|it| !explained(it)).map(|(key, ..)| &**key).collect()
    }

    /// Each object's table, key and version.
    pub(super) fn rows(&self) -> Vec<TableRow> {
        let row = |it: &Object| {
            let v = it.v.as_str().unwrap_or_default();
            (it.of.0.clone(), it.of.1.clone(), v.to_owned())
        };
        let mut rows: Vec<_> = self.objects.values().map(row).collect();
        rows.sort();
        rows
    }
}
