//! What can be called. A new function is its code in a file here and one row of [`FUNCTIONS`].

mod encode;
mod number;
mod standard;
mod text;

use super::{Fault, Val, field::shown_value};

/// A function of the expression language.
#[derive(Debug)]
pub(in crate::mapping) struct Function {
    pub name: &'static str,
    pub style: Style,
    /// How many arguments it takes, the one it is called on not counted.
    pub least: usize,
    pub most: usize,
    /// Whether null makes sense as what it is called on.
    pub takes_null: bool,
    run: for<'a> fn(Vec<Val<'a>>) -> Result<Val<'a>, Fault>,
}

/// How it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Style {
    /// `x.f(…)`.
    Member,
    /// `f(x, …)`.
    Global,
    /// Either.
    Both,
}

type Run = for<'a> fn(Vec<Val<'a>>) -> Result<Val<'a>, Fault>;

const fn member(name: &'static str, least: usize, most: usize, run: Run) -> Function {
    Function { name, style: Style::Member, least, most, takes_null: false, run }
}

const fn global(name: &'static str, run: Run) -> Function {
    Function { name, style: Style::Global, least: 1, most: 1, takes_null: false, run }
}

/// Every function.
pub(in crate::mapping) static FUNCTIONS: &[Function] = &[
    member("fixed", 1, 1, number::fixed),
    member("phone", 0, 1, text::phone),
    member("date", 1, 1, text::date),
    member("upper", 0, 0, text::upper),
    member("lower", 0, 0, text::lower),
    member("trim", 0, 0, text::trim),
    member("replace", 2, 2, text::replace),
    member("split", 1, 1, text::split),
    member("join", 0, 1, text::join),
    member("lookup", 1, 2, standard::lookup),
    member("hash", 0, 0, encode::hash),
    member("base64", 0, 0, encode::base64),
    member("url_encode", 0, 0, encode::url_encode),
    Function { takes_null: true, ..member("to_json", 0, 0, encode::to_json) },
    member("contains", 1, 1, text::contains),
    member("startsWith", 1, 1, text::starts_with),
    member("endsWith", 1, 1, text::ends_with),
    member("matches", 1, 1, text::matches),
    Function { style: Style::Both, ..member("size", 0, 0, standard::size) },
    global("string", standard::string),
    global("int", number::int),
    global("double", number::double),
    global("decimal", number::decimal),
    global("bool", standard::bool),
    Function { takes_null: true, ..global("type", standard::type_name) },
    member("hasValue", 0, 0, standard::has_value),
    member("value", 0, 0, standard::value),
    member("or", 1, 1, standard::or),
];

/// `optional.of(x)`, which is not called by its bare name.
pub(in crate::mapping) static OPTIONAL_OF: Function =
    Function { takes_null: true, ..member("of", 0, 0, standard::optional_of) };

/// The function of that name.
pub(in crate::mapping) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|it| it.name == name)
}

impl Function {
    /// Calls it; for a member, the first argument is what it is called on.
    pub fn call<'a>(&self, arguments: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
        if !self.takes_null && matches!(arguments.first(), Some(Val::Null)) {
            let name = self.name;
            return Err(format!(
                "`{name}` wants a value, but it is null; say what null becomes: `x == null ? null : …`"
            )
            .into());
        }
        (self.run)(arguments)
    }
}

/// A table has no entry for the value, and no default.
pub(super) fn not_in_table(value: &Val<'_>) -> Fault {
    let shown = shown_value(value);
    format!("{shown} is not in the table of `lookup`, and there is no default: `x.lookup({{…}}, default)`")
        .into()
}

/// Takes the arguments of a call apart. The number of them is checked when the expression is read.
fn arguments<'a, const N: usize>(values: Vec<Val<'a>>) -> Result<[Val<'a>; N], Fault> {
    values.try_into().map_err(|_| Fault::from("wrong number of arguments"))
}

fn want_text<'v>(function: &str, value: &'v Val<'_>) -> Result<&'v str, Fault> {
    match value {
        Val::Text(text) => Ok(text),
        other => {
            Err(format!("`{function}` wants text, but it is {}; `string(x)` makes text of it", other.kind())
                .into())
        }
    }
}
