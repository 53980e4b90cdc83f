use super::*;

#[test]
fn endless_expressions_are_refused_rather_than_run() {
    let nested = format!("{}1{}", "(".repeat(3000), ")".repeat(3000));
    let chain = vec!["1"; 5000].join("+");
    let not = format!("{}true", "!".repeat(5000));
    let fields = format!("row{}", ".a".repeat(5000));
    let lists = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let ands = vec!["true"; 3000].join("&&");
    let words = "a in ".repeat(3000) + "a";
    let ifs = "true ? 1 : ".repeat(1500) + "1";
    for text in [nested, chain, not, fields, lists, ands, words, ifs, "x".repeat(20_000)] {
        let error = Expression::parse(&text, &at(), &Names::default()).map(drop);
        assert!(error.is_err_and(|it| it.short().contains("split it up")), "{}", &text[..20]);
    }
    // As far as it may go, the stack holds.
    let deep = format!("{}1{}", "(".repeat(30), ")".repeat(30));
    let calls = format!("{}1{}", "string(".repeat(30), ")".repeat(30));
    let lists = format!("{}{}", "[".repeat(30), "]".repeat(30));
    let maps = format!("{}1{}", "{'a':".repeat(30), "}".repeat(30));
    for text in [
        deep,
        calls,
        lists,
        maps,
        vec!["1"; 80].join("+"),
        "!".repeat(159) + "true",
        vec!["true"; 53].join("&&"),
        vec!["row.ok"; 32].join("||"),
        "true ? 1 : ".repeat(35) + "1",
        "a in ".repeat(70) + "a",
        format!("row.data{}", ".a".repeat(78)),
        format!(
            "'x'.lookup({{{}}}, 0)",
            (0..900).map(|n| format!("'{n}': {n}")).collect::<Vec<_>>().join(", ")
        ),
        format!("{}'x'{}", "(".repeat(15), " + 'x' + 'x' + 'x')".repeat(15)),
    ] {
        let _ = Expression::parse(&text, &at(), &Names::default())
            .map(|it| it.truth(&World::new().scope()).is_ok());
    }
}
