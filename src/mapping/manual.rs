//! The examples of `docs/expressions.md`, evaluated.

use super::expression::tests::{World, value};

const MANUAL: &str = include_str!("../../docs/expressions.md");

/// The cells of a table's line. A `|` within backticks is none.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.trim().trim_matches('|').chars() {
        match c {
            '`' => quoted = !quoted,
            '|' if !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("never empty").push(c),
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn the_manual_tells_the_truth() {
    let mut columns = None;
    let mut checked = 0;
    for line in MANUAL.lines() {
        let row = cells(line);
        let place = |name| row.iter().position(|cell| cell == name);
        if !line.starts_with('|') {
            columns = None;
        } else if let (Some(example), Some(gives)) =
            (place("expression").or(place("example")), place("gives"))
        {
            columns = Some((example, gives));
        } else if let Some((example, gives)) = columns
            && !line.starts_with("| ---")
        {
            assert_eq!(value(&row[example]).as_deref(), Ok(&*row[gives]), "{line}");
            checked += 1;
        }
    }
    assert!(checked > 55, "only {checked} examples were found");
}

#[test]
fn the_manual_knows_every_function_and_name() {
    for function in super::expression::function_names() {
        assert!(MANUAL.contains(&format!("{function}(")), "`{function}` is not in the manual");
    }
    let error =
        super::Expression::parse("zzzzz", &super::At::default(), &World::names()).expect_err("unknown");
    let message = error.short();
    let known = message.split("there are ").nth(1).expect("a list of names");
    for name in known.split(", ") {
        let name = name.trim_matches('`');
        assert!(MANUAL.contains(&format!("| `{name}")), "`{name}` is not in the manual");
    }
}
