use super::{Val, exact::Arithmetic, functions::Function};
use crate::mapping::Json;
use std::{ops::Range, sync::Arc};

/// A part of an expression, ready to be evaluated, and where it is written.
#[derive(Debug)]
pub(super) struct Node {
    /// Bytes of the expression's text: what the caret points at.
    pub span: Range<usize>,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Literal(Val<'static>),
    Name(Name),
    /// The loop variable so many loops out, counted from the outermost.
    Local(usize),
    Field {
        of: Box<Node>,
        name: Arc<str>,
        how: Access,
    },
    Index {
        of: Box<Node>,
        index: Box<Node>,
        how: Access,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    /// `&&` is decided by a false side, `||` by a true one.
    Logic {
        decisive: bool,
        sides: Box<[Node; 2]>,
    },
    /// `condition ? yes : no`.
    If(Box<[Node; 3]>),
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    Compare(Comparison, Box<[Node; 2]>),
    /// `x in list`.
    In(Box<[Node; 2]>),
    List(Vec<(Node, Presence)>),
    Map(Vec<(Node, Node, Presence)>),
    Call(&'static Function, Vec<Node>),
    /// `x.lookup({…}, default)` over a map that is written out: only the entry found is evaluated.
    Lookup {
        of: Box<Node>,
        entries: Vec<(Node, Node)>,
        default: Option<Box<Node>>,
    },
    /// `x.matches('…')` with a pattern known beforehand.
    Matches {
        of: Box<Node>,
        pattern: regex::Regex,
    },
    /// `optional.orValue(default)`.
    OrValue {
        of: Box<Node>,
        default: Box<Node>,
    },
    /// What stands behind `fragment.<name>`.
    Fragment(Box<Json>),
    Each {
        how: Each,
        over: Box<Node>,
        filter: Option<Box<Node>>,
        body: Box<Node>,
    },
}

/// What stands in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Row,
    Old,
    Op,
    Key,
    Link,
    Fetched,
    Parent,
    Change,
    Saved,
    Answers,
    Answer,
    Item,
    /// How the change ended, in `write_back`.
    Outcome,
    /// Why it failed, in `write_back`.
    Error,
    Rows,
    Keys,
    Links,
    Index,
}

/// The name that fragments stand behind.
pub(super) const FRAGMENT: &str = "fragment";

/// The names as they are written.
pub(super) const NAMES: &[(&str, Name)] = &[
    ("row", Name::Row),
    ("old", Name::Old),
    ("op", Name::Op),
    ("key", Name::Key),
    ("link", Name::Link),
    ("fetched", Name::Fetched),
    ("parent", Name::Parent),
    ("change", Name::Change),
    ("saved", Name::Saved),
    ("answers", Name::Answers),
    ("answer", Name::Answer),
    ("item", Name::Item),
    ("outcome", Name::Outcome),
    ("error", Name::Error),
    ("rows", Name::Rows),
    ("keys", Name::Keys),
    ("links", Name::Links),
    ("index", Name::Index),
];

/// What is asked of a field or an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// `x.y`: it must be there.
    Need,
    /// `has(x.y)`.
    Test,
    /// `x.?y`.
    Maybe,
}

/// An item or entry of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Always,
    /// `[?x]`, `{?k: x}`: left out if it is missing.
    IfSome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The macros over lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}
