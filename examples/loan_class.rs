//! A synchronizer class of one's own, in Rust, through the public API.
//!
//! A loan is three things at the bank: its customer, the loan itself, and each piece of
//! collateral. Configuration names the class instead of listing steps:
//!
//! ```yaml
//! entities:
//!   loan:
//!     table: public.loans
//!     remote: bank
//!     class: loan
//!     settings: { branch: "0042" }
//! ```
//!
//! What the class needs beyond its settings is given to it where it is registered, by capture:
//! there are no globals.
//!
//! `cargo run --example loan_class` shows the calls for a sample row; with arguments it is the whole
//! command line, with the class in it: `cargo run --example loan_class -- run`.

use jiff::Timestamp;
use rowcall::{
    mapping::Locator,
    model::{
        Answer, Answered, Body, Call, Cell, Change, ChangeId, Column, Image, Link, LinkUpdate, Lsn, Method,
        Op, ParkReason, Row, RowBuilder, Table, TableId, Type,
    },
    synchronize::{BuildError, Classes, Declaration, Sequences, Step, Synchronizer, Work},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, error::Error, process::ExitCode, sync::Arc};

/// What the rest of the program knows and the database does not.
type ProductCodes = Arc<BTreeMap<String, String>>;

/// `settings` of the entity.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    branch: String,
}

struct Loan {
    branch: String,
    products: ProductCodes,
    saves: [Arc<str>; 1],
}

impl Loan {
    fn build(
        declaration: &Declaration<'_>,
        products: ProductCodes,
    ) -> Result<Arc<dyn Synchronizer>, Vec<BuildError>> {
        let settings: Result<Settings, _> = serde_json::from_value(declaration.settings.clone());
        match settings {
            Ok(Settings { branch }) => Ok(Arc::new(Self { branch, products, saves: ["loan_id".into()] })),
            Err(error) => Err(vec![BuildError::new(&declaration.at.child("settings"), error.to_string())]),
        }
    }

    /// Goes through the steps in order; the first one without an answer is the next call.
    fn upsert(&self, work: &Work<'_>, row: &Row, answers: &[Answered]) -> Result<Step, Rejected> {
        let customer = text(row, "customer_id")?;
        if answer(answers, "customer").is_none() {
            let body = json!({ "name": text(row, "customer_name")?, "branch": self.branch });
            return Ok(send("customer", Method::Put, format!("/customers/{customer}"), Some(body)));
        }

        let product = text(row, "product")?;
        let code = self.products.get(product).ok_or_else(|| {
            reject(
                ParkReason::Invalid,
                format!("product `{product}` has no code at the bank: add it to the product list"),
            )
        })?;
        let loan = json!({ "customer": customer, "product": code, "amount": text(row, "amount")? });
        let known = work.link.and_then(|link| link.saved.get("loan_id")).and_then(Value::as_str);
        let update = answer(answers, "update");
        let id = match known {
            Some(id) if update.is_none() => {
                let call = call("update", Method::Patch, format!("/loans/{id}"), Some(loan));
                // A loan the bank has lost is created again.
                return Ok(Step::Send(Call { handles: vec![404], ..call }));
            }
            Some(id) if update.is_some_and(|it| it.status != 404) => id.to_owned(),
            _ => match answer(answers, "create") {
                None => return Ok(send("create", Method::Post, "/loans".to_owned(), Some(loan))),
                Some(answer) => loan_id(answer)?,
            },
        };

        let collateral: Vec<Value> = serde_json::from_str(text(row, "collateral")?).map_err(|error| {
            reject(ParkReason::Invalid, format!("column `collateral` is no list: {error}"))
        })?;
        for (number, piece) in collateral.into_iter().enumerate() {
            let step = format!("collateral[{number}]");
            if answer(answers, &step).is_none() {
                let path = format!("/loans/{id}/collateral/{number}");
                return Ok(send(&step, Method::Put, path, Some(piece)));
            }
        }
        Ok(Step::Finish(LinkUpdate::Save(Map::from_iter([("loan_id".to_owned(), Value::String(id))]))))
    }

    fn delete(work: &Work<'_>, answers: &[Answered]) -> Step {
        let known = work.link.and_then(|link| link.saved.get("loan_id")).and_then(Value::as_str);
        match known {
            None => Step::Skip("never sent".into()),
            Some(_) if answer(answers, "close").is_some() => Step::Finish(LinkUpdate::Remove),
            Some(id) => {
                let call = call("close", Method::Delete, format!("/loans/{id}"), None);
                Step::Send(Call { accept: vec![200, 204, 404], ..call })
            }
        }
    }
}

impl Synchronizer for Loan {
    fn next_step(&self, work: &Work<'_>, answers: &[Answered]) -> Step {
        match (work.change.op(), work.change.image.row()) {
            (Op::Delete | Op::Truncate, _) | (_, None) => Self::delete(work, answers),
            (_, Some(row)) => self
                .upsert(work, row, answers)
                .unwrap_or_else(|Rejected { reason, message }| Step::Reject { reason, message }),
        }
    }

    fn saves(&self) -> &[Arc<str>] {
        &self.saves
    }
}

/// Why a row cannot be sent as it is.
struct Rejected {
    reason: ParkReason,
    message: String,
}

fn text<'a>(row: &'a Row, column: &str) -> Result<&'a str, Rejected> {
    match row.get(column) {
        Some(Cell::Text(text)) => Ok(text),
        Some(Cell::Null) => Err(reject(ParkReason::Invalid, format!("column `{column}` is null"))),
        Some(Cell::Unchanged) => {
            let message =
                format!("column `{column}` is large and was not sent: give the entity `fetch: row`");
            Err(reject(ParkReason::Template, message))
        }
        None => Err(reject(ParkReason::Template, format!("the table has no column `{column}`"))),
    }
}

fn loan_id(answer: &Answer) -> Result<String, Rejected> {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let id = body.as_ref().and_then(|body| body.get("id")).and_then(Value::as_str);
    id.map(str::to_owned)
        .ok_or_else(|| reject(ParkReason::Answer, format!("the new loan has no `id`: {}", answer.excerpt())))
}

fn answer<'a>(answers: &'a [Answered], step: &str) -> Option<&'a Answer> {
    answers.iter().find(|it| &*it.step == step).map(|it| &it.answer)
}

fn call(step: &str, method: Method, path: String, body: Option<Value>) -> Call {
    let body = body.map_or(Body::Empty, |body| Body::Json(body.to_string().into()));
    let (headers, handles, accept) = Default::default();
    Call { step: step.into(), method, path, headers, body, handles, accept, lookup: None }
}

fn send(step: &str, method: Method, path: String, body: Option<Value>) -> Step {
    Step::Send(call(step, method, path, body))
}

fn reject(reason: ParkReason, message: String) -> Rejected {
    Rejected { reason, message }
}

/// The class, with what it needs, among Rowcall's own.
fn classes(products: ProductCodes) -> Classes {
    Classes::standard().with("loan", move |declaration| Loan::build(declaration, products.clone()))
}

fn row(table: &Arc<Table>, values: &[&str]) -> Row {
    let mut builder = RowBuilder::default();
    values.iter().for_each(|value| builder.push(Cell::Text(value)));
    builder.finish(table.clone())
}

/// The calls a change comes to at a bank that answers everything with a new id.
fn preview(synchronizer: &dyn Synchronizer, change: &Change, link: Option<&Link>) -> (Vec<String>, Step) {
    let (mut calls, mut answers) = (Vec::new(), Vec::new());
    loop {
        let work = Work { change, key: "7", link, fetched: None, parents: None, uncertain: false };
        match synchronizer.next_step(&work, &answers) {
            Step::Send(call) => {
                let body = call.body.bytes().map(|body| String::from_utf8_lossy(body).into_owned());
                calls.push(format!("{} {} {}", call.method.name(), call.path, body.unwrap_or_default()));
                let answer = Answer { status: 200, headers: [].into(), body: r#"{"id":"L1"}"#.into() };
                answers.push(Answered { step: call.step, answer });
            }
            end => return (calls, end),
        }
    }
}

fn sample() -> Result<(Arc<dyn Synchronizer>, Change), Box<dyn Error>> {
    let products = products();
    let declaration = Declaration {
        entity: "loan",
        sequences: &Sequences::default(),
        settings: &json!({ "branch": "0042" }),
        when: Some("{{ row.amount > 0 }}"),
        validate: &[],
        rules: &[],
        always: false,
        at: Locator::default().at("entities.loan"),
        columns: None,
        batched: false,
        fetched: false,
        parents: [].into(),
    };
    let loan = classes(products).build(Some("loan"), &declaration);
    let loan =
        loan.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let column = |(name, ty): (&str, Type)| Column { name: name.into(), ty, identity: name == "id" };
    let columns = [
        ("id", Type::Int),
        ("customer_id", Type::Int),
        ("customer_name", Type::Text),
        ("product", Type::Text),
        ("amount", Type::Numeric),
        ("collateral", Type::Json),
    ];
    let columns = columns.into_iter().map(column).collect();
    let table = Arc::new(Table { id: TableId(1), name: "loans".parse()?, columns });
    let new = row(&table, &["7", "42", "Ada", "home", "1000.00", r#"[{"kind":"house"},{"kind":"boat"}]"#]);
    let id = ChangeId { commit: Lsn::new(0x16B374D848), ordinal: 0 };
    let (image, committed_at) = (Image::Insert { new }, Timestamp::UNIX_EPOCH);
    Ok((loan, Change { id, table, image, committed_at, transaction: None }))
}

fn products() -> ProductCodes {
    Arc::new(BTreeMap::from([("home".to_owned(), "H-1".to_owned())]))
}

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        return rowcall::cli::main(classes(products()));
    }
    let (loan, change) = match sample() {
        Ok(sample) => sample,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (calls, end) = preview(&*loan, &change, None);
    calls.iter().for_each(|call| println!("{call}"));
    println!("then {end:?}");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_loan_is_its_customer_then_itself_then_its_collateral() {
        let (loan, change) = sample().expect("a sample");
        let (calls, end) = preview(&*loan, &change, None);
        assert_eq!(
            calls,
            [
                r#"PUT /customers/42 {"name":"Ada","branch":"0042"}"#,
                r#"POST /loans {"customer":"42","product":"H-1","amount":"1000.00"}"#,
                r#"PUT /loans/L1/collateral/0 {"kind":"house"}"#,
                r#"PUT /loans/L1/collateral/1 {"kind":"boat"}"#,
            ]
        );
        let saved = Map::from_iter([("loan_id".to_owned(), json!("L1"))]);
        assert_eq!(end, Step::Finish(LinkUpdate::Save(saved)));
    }

    #[test]
    fn a_known_loan_is_updated() {
        let (loan, change) = sample().expect("a sample");
        let saved = Map::from_iter([("loan_id".to_owned(), json!("L0"))]);
        let (calls, _) = preview(&*loan, &change, Some(&Link { saved, ..Link::default() }));
        assert!(calls[1].starts_with("PATCH /loans/L0 "), "{calls:?}");
    }
}
