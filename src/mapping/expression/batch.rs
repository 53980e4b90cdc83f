use super::Val;
use crate::mapping::{Scope, expression::field};

/// One thing of every row of a batch, without a list being made of them.
#[derive(Clone, Copy, Debug)]
pub(in crate::mapping) struct Batch<'a> {
    members: &'a [Scope<'a>],
    what: What,
}

/// What is looked at of each row.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Rows,
    Keys,
    Links,
}

impl<'a> Batch<'a> {
    pub(super) fn new(members: &'a [Scope<'a>], what: What) -> Self {
        Self { members, what }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn get(&self, at: usize) -> Option<Val<'a>> {
        self.members.get(at).map(|member| self.of(member))
    }

    pub fn items(self) -> impl Iterator<Item = Val<'a>> {
        self.members.iter().map(move |member| self.of(member))
    }

    fn of(&self, member: &Scope<'a>) -> Val<'a> {
        match self.what {
            // A truncate has none.
            What::Rows => member.row.map_or(Val::Null, Val::Row),
            What::Keys => member.key.into(),
            What::Links => field::link(member),
        }
    }
}
