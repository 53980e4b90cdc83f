use super::{WorldError, doing};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};
use tokio_postgres::Client;

/// How alike the database and the bank are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Objects that are the same on both sides.
    pub equal: usize,
    /// Objects on either side.
    pub of: usize,
    /// What differs, one line an object.
    pub differences: Vec<String>,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} objects equal", self.equal, self.of)?;
        for line in self.differences.iter().take(20) {
            write!(f, "\n  {line}")?;
        }
        match self.differences.len().saturating_sub(20) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}

/// Compares what the bank should hold with what it holds.
pub fn compare(expected: &BTreeMap<String, Value>, held: &BTreeMap<String, Value>) -> Comparison {
    let mut result = Comparison::default();
    for (name, expected) in expected {
        match held.get(name) {
            Some(held) if held == expected => result.equal += 1,
            Some(held) => result.differences.push(format!("{name}: {}", difference(expected, held))),
            None => result.differences.push(format!("{name}: missing at the bank, should be {expected}")),
        }
    }
    for (name, held) in held.iter().filter(|(name, _)| !expected.contains_key(*name)) {
        result.differences.push(format!("{name}: not in the database, but the bank has {held}"));
    }
    result.of = result.equal + result.differences.len();
    result
}

/// The members that differ, as `member: database … bank …`.
fn difference(expected: &Value, held: &Value) -> String {
    let (Value::Object(ours), Value::Object(theirs)) = (expected, held) else {
        return format!("the database says {expected}, the bank {held}");
    };
    let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
    let shown = |members: &Map<String, Value>, name: &str| {
        members.get(name).map_or("nothing".to_owned(), Value::to_string)
    };
    let differing = names.filter(|name| ours.get(*name) != theirs.get(*name));
    let lines =
        differing.map(|name| format!("{name}: database {}, bank {}", shown(ours, name), shown(theirs, name)));
    lines.collect::<Vec<_>>().join("; ")
}

/// What the bank should hold, by names such as `loan 7`, from one consistent view of the tables.
pub async fn expected(client: &Client) -> Result<BTreeMap<String, Value>, WorldError> {
    let rows = client
        .query(
            "select 'customer ' || id, jsonb_build_object('name', name, 'phone', phone, 'version', version)::text from customers
             union all
             select 'loan ' || id, jsonb_build_object('ref', id, 'customer', customer_id, 'amount', amount,
                 'status', case status when 'active' then 'A' when 'closed' then 'C' else 'U' end,
                 'version', version, 'schedule', jsonb_build_object('months', months, 'version', version))::text from loans
             union all
             select 'collateral ' || id, jsonb_build_object('loan', loan_id, 'kind', kind, 'value', value,
                 'version', version)::text from collateral",
            &[],
        )
        .await
        .map_err(doing("reading its rows"))?;
    let parse = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    Ok(rows.iter().map(|row| (row.get(0), parse(row.get(1)))).collect())
}

/// What the bank holds, by the same names. An object it holds twice differs from any it should.
pub fn held(dump: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut held = BTreeMap::new();
    for (path, value) in dump {
        let name = match path.split('/').collect::<Vec<_>>()[..] {
            ["", "customers", id] => format!("customer {id}"),
            ["", "loans", _] => format!("loan {}", value["ref"]),
            ["", "objects", kind, id] => format!("{kind} {id}"),
            _ => path.clone(),
        };
        match held.entry(name) {
            Entry::Vacant(vacant) => {
                vacant.insert(value.clone());
            }
            Entry::Occupied(mut twice) => {
                let first = twice.get().clone();
                twice.insert(json!({ "held twice": [first, value] }));
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects<const N: usize>(objects: [(&str, Value); N]) -> BTreeMap<String, Value> {
        objects.map(|(name, value)| (name.to_owned(), value)).into()
    }

    #[test]
    fn what_differs_is_said_object_by_object() {
        let ours =
            objects([("a", json!({"x": 1, "y": 2})), ("b", json!(1)), ("c", json!(1)), ("e", json!(1))]);
        let theirs = objects([
            ("a", json!({"x": 1, "y": 3, "z": 4})),
            ("c", json!(2)),
            ("d", json!(1)),
            ("e", json!(1)),
        ]);
        let comparison = compare(&ours, &theirs);
        assert_eq!((comparison.equal, comparison.of, comparison.is_equal()), (1, 5, false));
        let said = comparison.to_string();
        let expected = "1 of 5 objects equal\n  a: y: database 2, bank 3; z: database nothing, bank 4\n  \
             b: missing at the bank, should be 1\n  c: the database says 1, the bank 2\n  \
             d: not in the database, but the bank has 1";
        assert_eq!(said, expected);
        assert!(compare(&ours, &ours).is_equal());
    }

    #[test]
    fn a_loan_the_bank_holds_twice_is_no_equal() {
        let dump = objects([("/loans/L1", json!({"ref": 7})), ("/loans/L2", json!({"ref": 7}))]);
        assert!(!compare(&objects([("loan 7", json!({"ref": 7}))]), &held(&dump)).is_equal());
    }
}
