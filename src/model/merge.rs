//! Two changes of one key as one: the newest state, with what only the older one carried.

use super::{Change, Image, Op};

impl Change {
    /// Whether the older change of the same key may merge into this one.
    ///
    /// A change that deletes is never absorbed, since what follows it is another object.
    pub fn may_absorb(&self, older: &Change) -> bool {
        matches!(older.op(), Op::Insert | Op::Update | Op::Read)
            && self.op() != Op::Truncate
            && older.table.id == self.table.id
    }

    /// Whether no older change of its key says anything that this one does not.
    pub fn says_all(&self) -> bool {
        matches!(self.op(), Op::Delete | Op::Truncate)
            || self.image.row().is_some_and(|row| !row.is_partial())
    }

    /// This change with the older one merged into it.
    ///
    /// Known columns are merged forward: the newer image may lack an unchanged one that the older
    /// carried.
    #[must_use]
    pub fn absorbing(&self, older: &Change) -> Self {
        Self { image: merged(&older.image, self.image.clone()), ..self.clone() }
    }
}

fn merged(older: &Image, newer: Image) -> Image {
    let Some(known) = older.row() else { return newer };
    match (older, newer) {
        (Image::Insert { .. }, Image::Update { new, .. } | Image::Read { new }) => {
            Image::Insert { new: new.filled_from(known) }
        }
        (Image::Update { old, .. }, Image::Update { new, .. }) => {
            Image::Update { old: old.clone(), new: new.filled_from(known) }
        }
        (_, Image::Insert { new }) => Image::Insert { new: new.filled_from(known) },
        (_, Image::Update { old, new }) => Image::Update { old, new: new.filled_from(known) },
        (_, Image::Read { new }) => Image::Read { new: new.filled_from(known) },
        (_, Image::Delete { old }) => Image::Delete { old: old.filled_from(known) },
        (_, Image::Truncate) => Image::Truncate,
    }
}
