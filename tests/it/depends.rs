//! `depends_on`: parents before children, and children deleted before parents. The bank refuses
//! anything else and counts it, so that the oracle is that it never had to.

mod before;
mod deletes;
mod order;

use crate::harness::{Live, Postgres, Version};
use rowcall::demo::Bank;

/// Loans may be committed before their customers, and have none.
const TABLES: &str = "
    create table customers (id int primary key, name text);
    create table loans (id int primary key, customer_id int, amount int)";

/// The same with the database's word for it.
const REFERENCES: &str = "
    create table customers (id int primary key, name text);
    create table loans (id int primary key, amount int,
        customer_id int references customers on delete cascade on update cascade deferrable initially deferred);
    create index on loans (customer_id)";

const ENTITIES: &str = "
  customer:
    table: customers
    upsert:
      - name: put
        put: /objects/customer/{{ row.id }}
        body: { name: '{{ row.name }}' }
        save: { remote_id: 'C-{{ row.id }}', ok: '{{ answer.body.ok }}' }
    delete: [{ name: delete, delete: '/objects/customer/{{ row.id }}' }]
  loan:
    table: loans
    depends_on: { customer: '{{ row.customer_id }}' }
    upsert:
      - name: put
        put: /objects/loan/{{ row.id }}
        body: { customer: '{{ row.customer_id }}', amount: '{{ row.amount }}', of: '{{ parent.?customer.?remote_id }}' }
    delete: [{ name: delete, delete: '/objects/loan/{{ row.id }}' }]";

async fn family(tables: &str) -> Live {
    let postgres = Postgres::start(Version::V16).await;
    let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
    bank.relate("/objects/loan", "customer", "/objects/customer");
    Live::between(postgres, bank, tables, ENTITIES).await
}

/// The calls' methods and paths.
fn paths(calls: &[String]) -> Vec<&str> {
    calls.iter().map(|call| call.split(" {").next().expect("a path")).collect()
}

/// The bank never saw a child without its parent, nor a parent leave before its children.
fn in_order(live: &Live) {
    assert_eq!(live.bank.stats().out_of_order, 0);
}
