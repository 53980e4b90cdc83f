use super::*;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::json;

struct Customer {
    bank: Bank,
    http: Client,
}

impl Customer {
    async fn new() -> Self {
        let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { bank, http }
    }

    async fn send(&self, method: Method, path: &str, key: &str, body: Value) -> reqwest::Result<Response> {
        let request = self.http.request(method, self.bank.url() + path).body(body.to_string());
        (if key.is_empty() { request } else { request.header("Idempotency-Key", key) }).send().await
    }

    async fn status(&self, method: Method, path: &str, body: Value) -> u16 {
        self.send(method, path, "", body).await.expect("an answer").status().as_u16()
    }

    async fn post(&self, path: &str, key: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.send(Method::POST, path, key, body).await.expect("an answer");
        (answer.status(), serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, "", Value::Null).await.expect("an answer");
        serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
    }
}

#[tokio::test]
async fn objects_are_put_patched_read_and_deleted() {
    let customer = Customer::new().await;
    for (method, path, body, status) in [
        (Method::PATCH, "/customers/7", json!({"a": 1}), 404),
        (Method::PUT, "/customers/7", json!({"a": 1}), 201),
        (Method::PUT, "/customers/7", json!({"a": 2, "b": 3}), 200),
        (Method::PATCH, "/customers/7", json!({"b": 4}), 200),
        (Method::POST, "/objects/row/1", json!([1]), 201),
        (Method::POST, "/objects/row/1", json!([2]), 409),
        (Method::PATCH, "/objects/row/1", json!({"b": 4}), 422),
        (Method::DELETE, "/objects/row/1", Value::Null, 204),
        (Method::DELETE, "/objects/row/1", Value::Null, 404),
        (Method::PUT, "/loans/L1", json!({}), 405),
        (Method::POST, "/nothing", json!({}), 404),
    ] {
        assert_eq!(customer.status(method.clone(), path, body).await, status, "{method} {path}");
    }
    assert_eq!(customer.get("/customers/7").await, json!({"a": 2, "b": 4, "id": "7"}));
    assert_eq!(customer.bank.dump(), BTreeMap::from([("/customers/7".to_owned(), json!({"a": 2, "b": 4}))]));
    let broken =
        customer.http.put(customer.bank.url() + "/customers/7").body("{").send().await.expect("an answer");
    assert_eq!(broken.status(), 400);
}

#[tokio::test]
async fn a_loan_gets_an_id_a_schedule_and_collateral() {
    let customer = Customer::new().await;
    let (status, loan) = customer.post("/loans", "", json!({"ref": 7})).await;
    assert_eq!((status.as_u16(), &loan), (201, &json!({"id": "L1"})));
    assert_eq!(customer.post("/loans/L1/schedule", "", json!({"months": 12})).await.0, 201);
    assert_eq!(customer.post("/loans/L2/schedule", "", json!({"months": 12})).await.0, 404);
    assert_eq!(
        customer.post("/loans/L1/collateral", "", json!({"what": "house"})).await.1,
        json!({"id": "K2"})
    );
    assert_eq!(customer.post("/loans/L9/collateral", "", json!({})).await.0, 404);
    assert_eq!(customer.get("/loans/L1").await, json!({"ref": 7, "schedule": {"months": 12}, "id": "L1"}));
    assert_eq!(customer.get("/loans?ref=7").await["items"][0]["id"], "L1");
    assert_eq!(customer.get("/loans?ref=8").await, json!({"items": []}));
    assert_eq!(customer.get("/loans/L1/collateral").await["items"][0]["what"], "house");
}

#[tokio::test]
async fn a_key_is_applied_once_and_answered_alike_ever_after() {
    let customer = Customer::new().await;
    let first = customer.post("/loans", "k1", json!({"n": 1})).await;
    assert_eq!(customer.post("/loans", "k1", json!({"n": 1})).await, first);
    assert_eq!(customer.post("/loans", "k1", json!({"n": 2})).await, first);
    assert_eq!(customer.post("/loans", "k2", json!({"n": 3})).await.1, json!({"id": "L2"}));
    // What was refused may be tried again.
    assert_eq!(customer.post("/loans/L3/schedule", "k3", json!({})).await.0, 404);
    customer.post("/loans", "k4", json!({})).await;
    assert_eq!(customer.post("/loans/L3/schedule", "k3", json!({})).await.0, 201);
    let stats = customer.bank.stats();
    assert_eq!((stats.applied, stats.duplicates, stats.mismatched, stats.refused), (4, 2, 1, 1));
    let journal = customer.bank.journal();
    let said: Vec<_> = journal.iter().map(|entry| (entry.sequence, &*entry.object, entry.effect)).collect();
    use Effect::{Applied, Duplicate};
    let expected = [
        (0, "/loans/L1", Applied),
        (1, "/loans", Duplicate),
        (2, "/loans", Duplicate),
        (3, "/loans/L2", Applied),
        (4, "/loans/L3", Applied),
        (5, "/loans/L3", Applied),
    ];
    assert_eq!(said, expected);
    assert_eq!(journal[3].body(), json!({"n": 3}));
}

#[tokio::test]
async fn faults_befall_the_requests_they_are_meant_for() {
    let customer = Customer::new().await;
    let faults = customer.bank.faults();
    faults.add(Rule::new(Fault::Status(503)).method("PUT").path("/customers").times(1));
    faults.add(Rule::new(Fault::TooMany { retry_after: 3 }).path("/objects/busy").every(2));
    faults.add(Rule::new(Fault::Redirect("http://elsewhere/".to_owned())).path("/objects/moved"));
    faults.add(Rule::new(Fault::BadJson).path("/objects/bad"));
    faults.add(Rule::new(Fault::Delay(1)).path("/objects/slow"));
    let put = async |path: &str| customer.status(Method::PUT, path, json!({})).await;
    assert_eq!([put("/customers/1").await, put("/customers/1").await], [503, 201]);
    assert_eq!([put("/objects/busy/1").await, put("/objects/busy/1").await], [201, 429]);
    let busy = [put("/objects/busy/1").await, put("/objects/moved/1").await, put("/objects/slow/1").await];
    assert_eq!(busy, [200, 307, 201]);
    let bad = customer.send(Method::PUT, "/objects/bad/1", "", json!({})).await.expect("an answer");
    assert!(serde_json::from_str::<Value>(&bad.text().await.expect("a body")).is_err());
    assert!(customer.bank.dump().contains_key("/objects/bad/1"));
    faults.clear();
    assert_eq!(put("/objects/moved/1").await, 201);
}

#[tokio::test]
async fn an_answer_can_be_lost_before_or_after_the_effect() {
    let customer = Customer::new().await;
    customer.bank.faults().add(Rule::new(Fault::DropBefore).times(1));
    customer.send(Method::PUT, "/customers/1", "k", json!({})).await.expect_err("the connection broke");
    assert_eq!(customer.bank.stats().applied, 0);
    customer.bank.faults().clear();
    customer.bank.faults().add(Rule::new(Fault::DropAfter).times(1));
    customer.send(Method::PUT, "/customers/1", "k", json!({})).await.expect_err("the connection broke");
    assert_eq!(customer.bank.stats().applied, 1);
    let again = customer.send(Method::PUT, "/customers/1", "k", json!({})).await.expect("an answer");
    assert_eq!((again.status().as_u16(), customer.bank.stats().duplicates), (201, 1));
}

#[tokio::test]
async fn an_answer_can_be_slow_or_end_in_the_middle_and_every_request_is_known() {
    let customer = Customer::new().await;
    let url = customer.bank.url() + "/customers/1";
    let put = async |span: &str| {
        let parent = format!("00-{}-{span}-01", "1".repeat(32));
        let request = customer.http.put(&url).header("traceparent", parent).body("{}");
        request.send().await?.bytes().await
    };
    customer.bank.faults().add(Rule::new(Fault::Truncate).times(1));
    put("a").await.expect_err("half of it");
    assert_eq!(customer.bank.stats().applied, 1);
    customer.bank.faults().clear();
    customer.bank.faults().add(Rule::new(Fault::SlowBody(20)).times(1));
    assert_eq!(&put("b").await.expect("all of it")[..], b"{\"ok\":true}");
    assert_eq!(customer.bank.spans(), ["a".into(), "b".into()]);
}

#[tokio::test]
async fn it_is_controlled_over_http_too() {
    let customer = Customer::new().await;
    let rule = json!({"fault": {"too_many": {"retry_after": 1}}, "method": "PUT", "times": 1});
    assert_eq!(customer.post("/_control", "", rule.clone()).await.0, 200);
    assert_eq!(customer.post("/_control", "", json!({"fault": "explode"})).await.0, 400);
    assert_eq!(customer.status(Method::PUT, "/customers/1", json!({})).await, 429);
    assert_eq!(customer.get("/_control").await[0]["times"], 0);
    assert_eq!(customer.status(Method::DELETE, "/_control", Value::Null).await, 200);
    assert_eq!(customer.get("/_control").await, json!([]));
    assert_eq!(customer.status(Method::PUT, "/customers/1", json!({"n": 1})).await, 201);
    assert_eq!(customer.get("/_stats").await["faults"], 1);
    assert_eq!(customer.get("/_dump").await, json!({"/customers/1": {"n": 1}}));
    assert_eq!(customer.get("/_journal?from=0").await[0]["object"], "/customers/1");
    assert_eq!(customer.get("/_journal?from=9").await, json!([]));
}

#[tokio::test]
async fn a_forgetful_bank_says_yes_and_keeps_nothing() {
    let mut customer = Customer::new().await;
    customer.bank = Bank::start_with("127.0.0.1:0", Options::FORGETFUL).await.expect("a bank");
    for _ in 0..2 {
        assert_eq!(customer.post("/objects/row/1", "k", json!({})).await.0, 201);
        assert_eq!(customer.post("/loans", "k", json!({})).await.0, 201);
    }
    assert_eq!(customer.bank.stats(), Stats { requests: 4, applied: 4, ..Stats::default() });
    assert_eq!((customer.bank.dump().len(), customer.bank.journal().len()), (0, 0));
}

#[tokio::test]
async fn many_objects_are_put_and_removed_at_once_and_each_is_in_the_journal() {
    let customer = Customer::new().await;
    let items = json!({ "items": [{ "id": 1, "v": "a" }, { "id": 2, "bad": "no" }, { "id": "x" }] });
    let (status, answer) = customer.post("/batch/objects/row", "k1", items.clone()).await;
    assert_eq!(status, 200);
    let results =
        json!([{ "id": "1", "status": 201 }, { "id": "2", "error": "no" }, { "id": "x", "status": 201 }]);
    assert_eq!(answer["results"], results);
    customer.post("/batch/objects/row", "k1", items).await;
    let poison = json!({ "items": [{ "id": 3 }, { "id": 4, "poison": true }] });
    assert_eq!(customer.status(Method::POST, "/batch/objects/row", poison).await, 422);
    let remove = json!({ "ids": [1, 9] });
    let (_, answer) = customer.post("/batch/objects/row/remove", "k2", remove).await;
    assert_eq!(
        answer["results"],
        json!([{ "id": "1", "status": 204 }, { "id": "9", "error": "it does not exist" }])
    );
    let journal = customer.bank.journal();
    let told: Vec<String> =
        journal.iter().map(|it| format!("{:?} {} {}", it.effect, it.method, it.object)).collect();
    assert_eq!(
        told,
        [
            "Applied PUT /objects/row/1",
            "Applied PUT /objects/row/x",
            "Duplicate POST /batch/objects/row",
            "Applied DELETE /objects/row/1",
        ]
    );
    assert_eq!(customer.bank.dump().len(), 1);
    customer.bank.faults().add(Rule::new(Fault::TooLarge(20)));
    assert_eq!(
        customer.status(Method::POST, "/batch/objects/row", json!({ "items": [{ "id": 70 }] })).await,
        413
    );
    assert_eq!(customer.status(Method::POST, "/batch/objects/row", json!({ "items": [] })).await, 200);
}
