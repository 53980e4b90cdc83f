use super::super::message::RawCell;
use super::*;
use pg_walstream::{
    ColumnData, ColumnInfo, LogicalReplicationMessage as Theirs, LogicalReplicationParser, TupleData,
    encode_message_to_bytes,
};
use proptest::{collection::vec, prelude::*};

/// One line that says everything, so that two decoders can be compared.
fn ours(message: &Message<'_>) -> String {
    let micros = |at: &Timestamp| at.as_microsecond() - EPOCH;
    match message {
        Message::Begin { lsn, at, xid } => format!("begin {} {} {xid}", lsn.raw(), micros(at)),
        Message::Commit { lsn, end, at } => format!("commit {} {} {}", lsn.raw(), end.raw(), micros(at)),
        Message::Origin { lsn, name } => format!("origin {} {name:?}", lsn.raw()),
        Message::Relation(it) => {
            let columns: Vec<_> = it.columns.iter().map(|c| (c.identity, c.name, c.ty, c.modifier)).collect();
            format!("relation {} {:?} {:?} {:?} {columns:?}", it.table.0, it.schema, it.name, it.identity)
        }
        Message::Type { id, schema, name } => format!("type {id} {schema:?} {name:?}"),
        Message::Insert { table, new } => format!("insert {} {}", table.0, our_row(new)),
        Message::Update { table, old, new } => {
            let old = old.as_ref().map(our_old);
            format!("update {} {old:?} {}", table.0, our_row(new))
        }
        Message::Delete { table, old } => format!("delete {} {}", table.0, our_old(old)),
        Message::Truncate { options, tables } => {
            format!("truncate {options} {:?}", tables.iter().map(|it| it.0).collect::<Vec<_>>())
        }
        Message::Message { transactional, lsn, prefix, content } => {
            format!("message {transactional} {} {prefix:?} {content:?}", lsn.raw())
        }
    }
}

fn our_old(old: &Old<'_>) -> String {
    match old {
        Old::Key(row) => format!("K{}", our_row(row)),
        Old::Full(row) => format!("O{}", our_row(row)),
    }
}

fn our_row(row: &Tuple<'_>) -> String {
    let text: usize =
        row.cells().map(|cell| if let RawCell::Text(text) = cell { text.len() } else { 0 }).sum();
    assert_eq!((text, row.cells().count()), (row.text(), row.columns()), "what was counted is what is there");
    let cell = |cell| match cell {
        RawCell::Null => "n".to_owned(),
        RawCell::Unchanged => "u".to_owned(),
        RawCell::Text(text) => format!("t{text:?}"),
    };
    row.cells().map(cell).collect::<Vec<_>>().join(",")
}

fn theirs(message: &Theirs) -> Option<String> {
    Some(match message {
        Theirs::Begin { final_lsn, timestamp, xid } => format!("begin {final_lsn} {timestamp} {xid}"),
        Theirs::Commit { commit_lsn, end_lsn, timestamp, .. } => {
            format!("commit {commit_lsn} {end_lsn} {timestamp}")
        }
        Theirs::Origin { origin_lsn, origin_name } => format!("origin {origin_lsn} {origin_name:?}"),
        Theirs::Relation { relation_id, namespace, relation_name, replica_identity, columns } => {
            let identity = ReplicaIdentity::from_letter(*replica_identity)?;
            let schema = if namespace.is_empty() { "pg_catalog" } else { namespace };
            let columns: Vec<_> =
                columns.iter().map(|c| (c.is_key(), &*c.name, c.type_id, c.type_modifier)).collect();
            format!("relation {relation_id} {schema:?} {relation_name:?} {identity:?} {columns:?}")
        }
        Theirs::Type { type_id, namespace, type_name } => {
            format!("type {type_id} {namespace:?} {type_name:?}")
        }
        Theirs::Insert { relation_id, tuple } => format!("insert {relation_id} {}", their_row(tuple)?),
        Theirs::Update { relation_id, old_tuple, new_tuple, key_type } => {
            let old = match (old_tuple, key_type) {
                (Some(old), Some(kind)) => Some(format!("{kind}{}", their_row(old)?)),
                _ => None,
            };
            format!("update {relation_id} {old:?} {}", their_row(new_tuple)?)
        }
        Theirs::Delete { relation_id, old_tuple, key_type } => {
            format!("delete {relation_id} {key_type}{}", their_row(old_tuple)?)
        }
        Theirs::Truncate { relation_ids, flags } => format!("truncate {flags} {relation_ids:?}"),
        Theirs::Message { flags, lsn, prefix, content } => {
            format!("message {} {lsn} {prefix:?} {:?}", flags & 1 == 1, &**content)
        }
        _ => return None,
    })
}

fn their_row(row: &TupleData) -> Option<String> {
    let mut cells = Vec::new();
    for cell in &row.columns {
        cells.push(match cell.data_type {
            b'n' => "n".to_owned(),
            b'u' => "u".to_owned(),
            b't' => format!("t{:?}", cell.as_bytes()),
            _ => return None,
        });
    }
    Some(cells.join(","))
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z_ é\"']{0,12}"
}

fn row() -> impl Strategy<Value = TupleData> {
    let cell = prop_oneof![
        Just(ColumnData::null()),
        Just(ColumnData::unchanged()),
        vec(any::<u8>(), 0..40).prop_map(ColumnData::text),
    ];
    vec(cell, 0..20).prop_map(TupleData::new)
}

/// A time that a `timestamptz` can hold.
fn time() -> impl Strategy<Value = i64> {
    -1_000_000_000_000_000_i64..200_000_000_000_000_000
}

fn message() -> impl Strategy<Value = Theirs> {
    let kind = || prop_oneof![Just('K'), Just('O')];
    let column = (any::<bool>(), name(), any::<u32>(), any::<i32>())
        .prop_map(|(key, name, ty, modifier)| ColumnInfo::new(u8::from(key), name, ty, modifier));
    prop_oneof![
        (any::<u64>(), time(), any::<u32>()).prop_map(|(final_lsn, timestamp, xid)| Theirs::Begin {
            final_lsn,
            timestamp,
            xid
        }),
        (any::<u64>(), any::<u64>(), time()).prop_map(|(commit_lsn, end_lsn, timestamp)| Theirs::Commit {
            flags: 0,
            commit_lsn,
            end_lsn,
            timestamp
        }),
        (any::<u64>(), name())
            .prop_map(|(origin_lsn, origin_name)| Theirs::Origin { origin_lsn, origin_name }),
        (any::<u32>(), name(), name(), prop::sample::select(&b"dnfi"[..]), vec(column, 0..12)).prop_map(
            |(relation_id, namespace, relation_name, replica_identity, columns)| Theirs::Relation {
                relation_id,
                namespace: namespace.into(),
                relation_name: relation_name.into(),
                replica_identity,
                columns
            }
        ),
        (any::<u32>(), name(), name()).prop_map(|(type_id, namespace, type_name)| Theirs::Type {
            type_id,
            namespace,
            type_name
        }),
        (any::<u32>(), row()).prop_map(|(relation_id, tuple)| Theirs::Insert { relation_id, tuple }),
        (any::<u32>(), prop::option::of((row(), kind())), row()).prop_map(|(relation_id, old, new_tuple)| {
            let (old_tuple, key_type) = old.unzip();
            Theirs::Update { relation_id, old_tuple, new_tuple, key_type }
        }),
        (any::<u32>(), row(), kind()).prop_map(|(relation_id, old_tuple, key_type)| Theirs::Delete {
            relation_id,
            old_tuple,
            key_type
        }),
        (vec(any::<u32>(), 0..8), 0_u8..4)
            .prop_map(|(relation_ids, flags)| Theirs::Truncate { relation_ids, flags }),
        (0_u8..2, any::<u64>(), name(), vec(any::<u8>(), 0..40)).prop_map(|(flags, lsn, prefix, content)| {
            Theirs::Message { flags, lsn, prefix, content: content.into() }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_message_decodes_to_what_another_decoder_reads(message in message()) {
        let bytes = encode_message_to_bytes(&message, 1);
        let decoded = decode(&bytes).expect("a well-formed message");
        let parsed = LogicalReplicationParser::with_protocol_version(1)
            .parse_wal_message(&bytes)
            .expect("the other decoder reads it");
        prop_assert_eq!(Some(ours(&decoded)), theirs(&parsed.message));
        prop_assert_eq!(Some(ours(&decoded)), theirs(&message));
    }

    #[test]
    fn every_truncated_message_is_an_error(message in message(), cut in any::<prop::sample::Index>()) {
        let bytes = encode_message_to_bytes(&message, 1);
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_mutated_message_never_panics_and_both_decoders_agree_where_both_read_it(
        message in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode_message_to_bytes(&message, 1).to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let parsed = LogicalReplicationParser::with_protocol_version(1).parse_wal_message(&bytes);
        if let (Ok(decoded), Ok(parsed)) = (decode(&bytes), parsed)
            && let Some(theirs) = theirs(&parsed.message)
        {
            // The other one takes damaged names by replacing what is not UTF-8.
            if !theirs.contains('\u{fffd}') {
                prop_assert_eq!(ours(&decoded), theirs);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes));
        let _ = table_of(&bytes);
    }
}

#[test]
fn a_lying_count_is_an_error_and_allocates_nothing() {
    let mut relation = b"R\0\0\0\x01public\0t\0d".to_vec();
    relation.extend(u16::MAX.to_be_bytes());
    assert!(decode(&relation).is_err());
    assert!(decode(b"T\x7f\xff\xff\xff\0").is_err());
    assert!(decode(b"I\0\0\0\x01N\xff\xfft\x7f\xff\xff\xff").is_err());
    assert!(decode(b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff").is_err(), "a negative length");
}

#[test]
fn the_table_of_a_row_is_read_without_the_row() {
    assert_eq!(table_of(b"I\0\0\x01\x02N"), Some(TableId(258)));
    assert_eq!(table_of(b"D\0\0\0"), None);
    assert_eq!(table_of(b"B\0\0\0\0"), None);
}
