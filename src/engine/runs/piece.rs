//! A piece of a table between being read and having all its outcomes. Pure.

use crate::{
    capture::{KeyValues, Visible},
    engine::work::Charge,
    model::{Image, Lsn, RunCounts},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// What the stream brought while a piece is being read.
#[derive(Debug)]
pub(super) struct Reading {
    /// How many transactions had arrived when the reading began.
    pub(super) began: u64,
    touched: Vec<(Touched, Option<u32>)>,
}

#[derive(Debug)]
enum Touched {
    Key(Arc<str>),
    Table,
}

impl Reading {
    pub(super) fn new(began: u64) -> Self {
        Self { began, touched: Vec::new() }
    }

    pub(super) fn touch(&mut self, key: &Arc<str>, transaction: Option<u32>) {
        self.touched.push((Touched::Key(Arc::clone(key)), transaction));
    }

    pub(super) fn truncate(&mut self, transaction: Option<u32>) {
        self.touched.push((Touched::Table, transaction));
    }
}

/// How far a piece has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is read; how far it goes is not durable yet.
    Read,
    /// Its mark is on its way.
    Marked,
    /// Its rows are with the lanes, as changes of this transaction.
    Placed(Lsn),
}

/// Rows that were read together.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) no: u64,
    pub(super) stage: Stage,
    /// Where it is gone on with behind it: the last key looked at…
    pub(super) end: Option<KeyValues>,
    /// … and, of a prune, of which of its routes.
    pub(super) route: usize,
    /// An earlier process may have sent its rows.
    pub(super) suspect: bool,
    /// What became of its rows: told together with the cursor that has passed it, since a crash before
    /// that reads it again.
    pub(super) counts: RunCounts,
    visible: Visible,
    rows: Vec<Option<(Arc<str>, Image)>>,
    places: HashMap<Arc<str>, usize>,
    left_out: u64,
    _charge: Charge,
}

impl Piece {
    /// A piece as it was read, without what has overtaken it since.
    pub(super) fn new(
        no: u64,
        visible: Visible,
        rows: Vec<(Arc<str>, Image)>,
        reading: Reading,
        charge: Charge,
    ) -> Self {
        let places = rows.iter().enumerate().map(|(at, (key, _))| (Arc::clone(key), at)).collect();
        let mut piece = Self {
            no,
            stage: Stage::Read,
            end: None,
            route: 0,
            suspect: false,
            counts: RunCounts::default(),
            visible,
            rows: rows.into_iter().map(Some).collect(),
            places,
            left_out: 0,
            _charge: charge,
        };
        for (touched, transaction) in reading.touched {
            match touched {
                Touched::Key(key) => piece.touch(&key, transaction),
                Touched::Table => piece.truncate(transaction),
            }
        }
        piece
    }

    fn is_news(&self, transaction: Option<u32>) -> bool {
        !matches!(self.stage, Stage::Placed(_)) && transaction.is_none_or(|it| !self.visible.sees(it))
    }

    /// The stream brought a change of this key.
    pub(super) fn touch(&mut self, key: &str, transaction: Option<u32>) {
        if !self.is_news(transaction) {
            return;
        }
        if let Some(&at) = self.places.get(key)
            && self.rows[at].take().is_some()
        {
            self.left_out += 1;
        }
    }

    /// The stream emptied the table.
    pub(super) fn truncate(&mut self, transaction: Option<u32>) {
        if self.is_news(transaction) {
            self.left_out += self.rows.drain(..).flatten().count() as u64;
            self.places.clear();
        }
    }

    /// What is left of it, with each row's place.
    pub(super) fn take_rows(&mut self) -> Vec<(usize, Arc<str>, Image)> {
        self.places.clear();
        let rows = std::mem::take(&mut self.rows).into_iter().enumerate();
        rows.filter_map(|(at, row)| row.map(|(key, image)| (at, key, image))).collect()
    }

    /// How many rows were overtaken since this was last asked.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

/// The newest transactions that the stream brought. A piece must see all that came before it was
/// read: a commit is in the log before others see it, and with synchronous replication long before.
#[derive(Debug, Default)]
pub(super) struct Recent {
    transactions: VecDeque<u32>,
    count: u64,
}

/// So many transactions are not overtaken between being in the log and being seen: no more than
/// there are sessions can be in between.
const REMEMBERED: usize = 8_192;

impl Recent {
    pub(super) fn arrived(&mut self, transaction: u32) {
        if self.transactions.back() == Some(&transaction) {
            return;
        }
        if self.transactions.len() == REMEMBERED {
            self.transactions.pop_front();
        }
        self.transactions.push_back(transaction);
        self.count += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether all of those that had arrived when there were `count` are seen.
    pub(super) fn all_seen(&self, count: u64, visible: &Visible) -> bool {
        let later = usize::try_from(self.count - count).unwrap_or(usize::MAX);
        let before = self.transactions.len().saturating_sub(later);
        self.transactions.iter().take(before).all(|it| visible.sees(*it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::Budget,
        model::{Cell, Column, RowBuilder, Table, TableId, Type},
    };

    fn piece(keys: &[&str], visible: &str, reading: Reading) -> Piece {
        let column = Column { name: "id".into(), ty: Type::Text, identity: true };
        let name = "public.t".parse().expect("a name");
        let table = Arc::new(Table { id: TableId(1), name, columns: vec![column] });
        let row = |key: &&str| {
            let mut row = RowBuilder::default();
            row.push(Cell::Text(key));
            (Arc::from(*key), Image::Read { new: row.finish(Arc::clone(&table)) })
        };
        let visible = Visible::parse(visible).expect("a snapshot");
        let charge = Charge::make(&Budget::new(1_000), 1);
        Piece::new(7, visible, keys.iter().map(row).collect(), reading, charge)
    }

    fn left(piece: &mut Piece) -> Vec<String> {
        piece.take_rows().into_iter().map(|(_, key, _)| key.to_string()).collect()
    }

    #[test]
    fn a_row_is_overtaken_by_what_its_snapshot_does_not_see() {
        let mut reading = Reading::new(0);
        reading.touch(&Arc::from("a"), Some(11));
        reading.touch(&Arc::from("b"), Some(9));
        let mut piece = piece(&["a", "b", "c", "d"], "10:12:10", reading);
        piece.touch("c", Some(12));
        piece.touch("c", Some(13));
        piece.touch("d", Some(9));
        piece.touch("elsewhere", Some(14));
        assert_eq!(piece.take_left_out(), 1, "c");
        assert_eq!(left(&mut piece), ["a", "b", "d"], "11 is seen: it is over and not listed");
    }

    #[test]
    fn a_truncate_that_is_not_seen_leaves_nothing() {
        let mut reading = Reading::new(0);
        reading.truncate(Some(10));
        let mut gone = piece(&["a", "b"], "10:12:10", reading);
        assert_eq!((gone.take_left_out(), left(&mut gone).len()), (2, 0));
        let mut still = piece(&["a", "b"], "10:12:10", Reading::new(0));
        still.truncate(Some(9));
        assert_eq!(left(&mut still).len(), 2);
    }

    #[test]
    fn what_is_placed_is_overtaken_by_nothing() {
        let mut piece = piece(&["a"], "10:10:", Reading::new(0));
        piece.stage = Stage::Placed(Lsn::new(5));
        piece.touch("a", Some(12));
        assert_eq!(piece.take_left_out(), 0);
    }

    #[test]
    fn what_arrived_before_the_reading_must_be_seen() {
        let mut recent = Recent::default();
        [4, 5, 5, 6].into_iter().for_each(|it| recent.arrived(it));
        let before = recent.count();
        assert_eq!(before, 3);
        recent.arrived(9);
        let visible = Visible::parse("7:7:").expect("a snapshot");
        assert!(recent.all_seen(before, &visible), "9 came later and is looked at key by key");
        let stale = Visible::parse("6:7:6").expect("a snapshot");
        assert!(!recent.all_seen(before, &stale));
        (0..2 * REMEMBERED as u32).for_each(|it| recent.arrived(100 + it));
        assert!(recent.all_seen(before, &stale), "long ago");
    }
}
