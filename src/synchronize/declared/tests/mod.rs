//! A small engine to play sequences with, and what they come to.

mod any;
mod batches;
mod content;
mod jumps;
mod lookups;
mod steps;
mod wrong;

use super::*;
use crate::{
    mapping::Locator,
    model::{
        Answer, Call, Cell, Change, ChangeId, Column, Image, Link, Lsn, Row, RowBuilder, Table, TableId, Type,
    },
    synchronize::Sequences,
};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The loan of the architecture page.
pub(in crate::synchronize) fn loan() -> Value {
    json!({
        "upsert": [
            {
                "name": "create",
                "if": "{{ !has(link.loan_id) }}",
                "post": "/loans",
                "body": { "customer": "{{ row.customer_id }}", "amount": "{{ row.amount }}" },
                "save": { "loan_id": "{{ answer.body.id }}" },
            },
            {
                "name": "update",
                "if": "{{ has(link.loan_id) }}",
                "patch": "/loans/{{ link.loan_id }}",
                "body": { "amount": "{{ row.amount }}" },
                "on": { "404": "create" },
            },
            {
                "name": "schedule",
                "post": "/loans/{{ saved.?loan_id.orValue(link.loan_id) }}/schedule",
                "body": { "months": "{{ row.months }}" },
            },
        ],
        "delete": [{
            "name": "close", "delete": "/loans/{{ link.loan_id }}", "if": "{{ has(link.loan_id) }}",
            "accept": [200, 204, 404],
        }],
    })
}

pub(in crate::synchronize) fn read(sequences: Value) -> Result<Declared, Vec<BuildError>> {
    read_as(sequences, false)
}

fn read_as(sequences: Value, batched: bool) -> Result<Declared, Vec<BuildError>> {
    let sequences: Sequences = serde_json::from_value(sequences).expect("well-formed settings");
    let at = Locator::default().at("entities.loan");
    Declared::new(&Declaration {
        entity: "loan",
        sequences: &sequences,
        settings: &Value::Null,
        when: None,
        validate: &[],
        rules: &[],
        always: false,
        at,
        columns: None,
        batched,
        fetched: false,
        parents: [].into(),
    })
}

pub(in crate::synchronize) fn row() -> Row {
    let columns = [
        ("id", Type::Int, "7"),
        ("customer_id", Type::Int, "42"),
        ("amount", Type::Text, "1.10"),
        ("months", Type::Int, "12"),
        ("items", Type::Json, r#"[{"sku":"a/b"},{"sku":"c"}]"#),
        ("none", Type::Text, ""),
        ("empty", Type::Text, ""),
    ];
    let column = |(name, ty, _): &(&str, Type, &str)| Column {
        name: (*name).into(),
        ty: ty.clone(),
        identity: *name == "id",
    };
    let table = Table {
        id: TableId(1),
        name: "loans".parse().expect("a name"),
        columns: columns.iter().map(column).collect(),
    };
    let mut builder = RowBuilder::default();
    for (name, _, text) in &columns {
        builder.push(if *name == "none" { Cell::Null } else { Cell::Text(text) });
    }
    builder.finish(Arc::new(table))
}

/// One change of one entity, in front of a synchronizer.
pub(in crate::synchronize) struct Case {
    pub declared: Declared,
    pub change: Change,
    pub link: Option<Link>,
    pub uncertain: bool,
}

impl Case {
    pub fn new(sequences: Value, op: Op) -> Self {
        let declared = match read(sequences) {
            Ok(declared) => declared,
            Err(errors) => panic!("{errors:#?}"),
        };
        let new = row();
        let table = new.table.clone();
        let image = match op {
            Op::Insert => Image::Insert { new },
            Op::Update => Image::Update { old: None, new },
            Op::Read => Image::Read { new },
            Op::Delete => Image::Delete { old: new },
            Op::Truncate => Image::Truncate,
        };
        let id = ChangeId { commit: Lsn::new(0x16), ordinal: 2 };
        let change = Change { id, table, image, committed_at: Timestamp::UNIX_EPOCH, transaction: None };
        Self { declared, change, link: None, uncertain: false }
    }

    pub fn linked(mut self, saved: Value) -> Self {
        let Value::Object(saved) = saved else { panic!("an object") };
        self.link = Some(Link { saved, ..Link::default() });
        self
    }

    pub fn uncertain(mut self) -> Self {
        self.uncertain = true;
        self
    }

    /// The next step; asked twice, it is the same.
    pub fn next(&self, answers: &[Answered]) -> Step {
        let Self { declared, change, link, uncertain } = self;
        let link = link.as_ref();
        let work = Work { change, key: "7", link, fetched: None, parents: None, uncertain: *uncertain };
        let step = declared.next_step(&work, answers);
        assert_eq!(step, declared.next_step(&work, answers), "the same inputs, the same step");
        step
    }

    /// Plays the engine: makes every call, remembers what may be remembered.
    pub fn play(&self, mut remote: impl FnMut(&Call) -> (u16, Value)) -> Played {
        let mut answers = Vec::new();
        let mut calls = Vec::new();
        for _ in 0..100 {
            let call = match self.next(&answers) {
                Step::Send(call) => call,
                end => return Played { calls, answers, end: End::Step(end) },
            };
            let (status, body) = remote(&call);
            calls.push(shown(&call));
            assert!(answers.iter().all(|it: &Answered| it.step != call.step), "`{}` twice", call.step);
            if !call.accepts(status) && !call.handles.contains(&status) {
                return Played { calls, answers, end: End::Failed(status) };
            }
            answers.push(answered(&call.step, status, body));
        }
        panic!("no end: {calls:#?}");
    }
}

#[derive(Debug)]
pub(in crate::synchronize) struct Played {
    pub calls: Vec<String>,
    pub answers: Vec<Answered>,
    pub end: End,
}

#[derive(Debug, PartialEq)]
pub(in crate::synchronize) enum End {
    Step(Step),
    Failed(u16),
}

impl Played {
    pub fn rejected(&self) -> (crate::model::ParkReason, &str) {
        match &self.end {
            End::Step(Step::Reject { reason, message }) => (*reason, message),
            other => panic!("{other:?} after {:#?}", self.calls),
        }
    }
}

pub(in crate::synchronize) fn saved(values: Value) -> End {
    let Value::Object(values) = values else { panic!("an object") };
    End::Step(Step::Finish(LinkUpdate::Save(values)))
}

pub(in crate::synchronize) fn answered(step: &str, status: u16, body: Value) -> Answered {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    Answered { step: step.into(), answer: Answer { status, headers: [].into(), body } }
}

/// `create POST /loans {"amount":"1.10"}`.
pub(in crate::synchronize) fn shown(call: &Call) -> String {
    let body =
        call.body.bytes().map(|body| format!(" {}", String::from_utf8_lossy(body))).unwrap_or_default();
    format!("{} {} {}{body}", call.step, call.method.name(), call.path)
}
