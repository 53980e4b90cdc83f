//! Rows whose keys a statement yields.

use super::{missed, over};
use crate::harness::{Live, Version, each_version};

const TABLE: &str = "create table loans (branch text, no int, due date, primary key (branch, no));
    insert into loans select 'b' || i % 2, i, '2024-01-01'::date + i % 10 from generate_series(1, 100) i";

const ENTITY: &str = "
  loan:
    table: loans
    upsert: [{ name: put, put: '/objects/l/{{ row.branch }}-{{ row.no }}', body: { due: '{{ row.due }}' } }]
    schedule:
      run: query
      cron: '* * 29 2 *'
      query: \"select branch, no from loans where due = '2024-01-08' -- on that day;\"
      force: true
      rate: 5000";

/// What was told of the loans of that day.
const DAY: [i32; 10] = [7, 17, 27, 37, 47, 57, 67, 77, 87, 97];

fn puts(numbers: &[i32]) -> Vec<String> {
    let put = |no: &i32| {
        let day = 1 + no % 10;
        format!(r#"PUT /objects/l/b{}-{no} {{"due":"2024-01-{day:02}"}}"#, no % 2)
    };
    let mut puts: Vec<String> = numbers.iter().map(put).collect();
    puts.sort();
    puts
}

each_version! {
    async fn what_a_statement_yields_when_it_is_due_is_sent(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        for nth in [1, 2] {
            missed(&live).await;
            over(&live, nth, "done").await;
            let mut calls = live.calls();
            calls.sort();
            assert_eq!(calls, puts(&DAY), "also what was told before");
        }
        let status = live.rowcall.command(&["status"]).await.expect_code(0);
        assert!(status.stdout.contains("schedule query loan `* * 29 2 *` (UTC)"), "{}", status.stdout);
        service.sigkill().await;
    }
}

#[tokio::test]
async fn a_command_sends_what_a_statement_yields_and_says_what_is_wrong_with_it() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let service = live.run();
    let ask = async |query| {
        live.rowcall.command(&["snapshot", "--entity", "loan", "--query", query, "--wait"]).await
    };
    ask("select branch, no from loans where no < 4;").await.expect_code(0);
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(calls, puts(&[1, 2, 3]));
    ask("with few as (select * from loans where no < 6) select branch, no from few").await.expect_code(0);
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(calls, puts(&[4, 5]), "what was told before is not told again");
    for (query, expected) in [
        ("select no from loans", "subquery has too few columns"),
        ("select no, branch from loans", "operator does not exist"),
        ("select branch, no from lone", "does not exist"),
    ] {
        ask(query).await.expect_code(1);
        let error = live.postgres.text("select error from rowcall.run order by id desc limit 1").await;
        assert!(error.as_ref().is_some_and(|it| it.contains(expected)), "{query}: {error:?}");
    }
    let output = live.rowcall.command(&["snapshot", "--query", "select 1"]).await.expect_code(2);
    assert!(output.stderr.contains("--entity"), "{}", output.stderr);
    live.after(&["update loans set due = '2024-02-02' where no = 50"]).await;
    assert_eq!(live.calls().len(), 1, "everything else goes on");
    service.sigkill().await;
}
