//! What an expression reads of a change.

use super::{
    Expression,
    node::{Name, Node, NodeKind},
};
use crate::mapping::{Reads, reads::Fields};
use std::sync::Arc;

impl Expression {
    /// Adds what this expression reads.
    pub fn reads(&self, reads: &mut Reads) {
        node(&self.root, reads);
    }
}

fn node(at: &Node, reads: &mut Reads) {
    match &at.kind {
        NodeKind::Name(it) => name(*it, None, reads),
        NodeKind::Field { of, name: field, .. } => match of.kind {
            NodeKind::Name(root) => name(root, Some(field), reads),
            _ => node(of, reads),
        },
        NodeKind::Literal(_) | NodeKind::Local(_) => {}
        NodeKind::Fragment(json) => {
            json.reads(reads);
            reads.fragments.insert(json.fingerprint());
        }
        NodeKind::Not(of) | NodeKind::Negate(of) | NodeKind::Matches { of, pattern: _ } => node(of, reads),
        NodeKind::Index { of, index: other, .. } | NodeKind::OrValue { of, default: other } => {
            node(of, reads);
            node(other, reads);
        }
        NodeKind::Logic { sides, .. }
        | NodeKind::Arithmetic(_, sides)
        | NodeKind::Compare(_, sides)
        | NodeKind::In(sides) => sides.iter().for_each(|it| node(it, reads)),
        NodeKind::If(parts) => parts.iter().for_each(|it| node(it, reads)),
        NodeKind::List(items) => items.iter().for_each(|(it, _)| node(it, reads)),
        NodeKind::Map(entries) => entries.iter().for_each(|(key, value, _)| {
            node(key, reads);
            node(value, reads);
        }),
        NodeKind::Call(_, arguments) => arguments.iter().for_each(|it| node(it, reads)),
        NodeKind::Lookup { of, entries, default } => {
            node(of, reads);
            for (key, value) in entries {
                node(key, reads);
                node(value, reads);
            }
            default.iter().for_each(|it| node(it, reads));
        }
        NodeKind::Each { over, filter, body, .. } => {
            node(over, reads);
            filter.iter().for_each(|it| node(it, reads));
            node(body, reads);
        }
    }
}

/// Something in scope, or one field of it. A name that is new must be sorted in here.
fn name(root: Name, field: Option<&Arc<str>>, reads: &mut Reads) {
    let fields = match root {
        Name::Row => &mut reads.row,
        Name::Old => &mut reads.old,
        Name::Fetched => &mut reads.fetched,
        Name::Parent => &mut reads.parents,
        Name::Op => {
            reads.op = true;
            return;
        }
        Name::Change => {
            reads.change = true;
            return;
        }
        Name::Rows => {
            reads.row = Fields::All;
            return;
        }
        Name::Link | Name::Links | Name::Saved => {
            reads.link = true;
            return;
        }
        Name::Key | Name::Keys | Name::Answers | Name::Answer | Name::Item | Name::Index => return,
        // Known only when all is sent.
        Name::Outcome | Name::Error => return,
    };
    match field {
        Some(field) => fields.name(field),
        None => *fields = Fields::All,
    }
}
