/// What a path names. Objects go by their path: it is their name in dumps and in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// A place that draws ids: `/loans`, below `parent` if there is one.
    Collection { parent: Option<&'a str>, letter: char },
    Object {
        /// The bank draws this object's id, so that it cannot be made by `PUT`.
        drawn: bool,
    },
    /// A part of an object that is posted: `/loans/L1/schedule`.
    Part { object: &'a str, name: &'a str },
    /// Many objects of this collection at once.
    Batch { collection: &'a str, removes: bool },
}

impl<'a> Address<'a> {
    pub fn of(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        if parts.contains(&Some("")) {
            return None;
        }
        // The path without its last `n` segments.
        let above = |n: usize| path.rmatch_indices('/').nth(n - 1).map(|(at, _)| &path[..at]);
        Some(match parts {
            [Some("customers"), Some(_), None, ..] => Self::Object { drawn: false },
            [Some("loans"), None, ..] => Self::Collection { parent: None, letter: 'L' },
            [Some("loans"), Some(_), None, ..] => Self::Object { drawn: true },
            [Some("loans"), Some(_), Some("schedule"), None, _] => {
                Self::Part { object: above(1)?, name: "schedule" }
            }
            [Some("loans"), Some(_), Some("collateral"), None, _] => {
                Self::Collection { parent: above(1), letter: 'K' }
            }
            [Some("loans"), Some(_), Some("collateral"), Some(_), None] => Self::Object { drawn: true },
            [Some("objects"), Some(_), None, ..] => Self::Collection { parent: None, letter: 'O' },
            [Some("objects"), Some(_), Some(_), None, _] => Self::Object { drawn: false },
            [Some("batch"), Some("objects"), Some(_), None, _] => {
                Self::Batch { collection: &path["/batch".len()..], removes: false }
            }
            [Some("batch"), Some("objects"), Some(_), Some("remove"), None] => {
                Self::Batch { collection: &above(1)?["/batch".len()..], removes: true }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_objects_collections_and_parts() {
        let loan_parts = Some(Address::Part { object: "/loans/L1", name: "schedule" });
        let collateral = Some(Address::Collection { parent: Some("/loans/L1"), letter: 'K' });
        for (path, expected) in [
            ("/customers/7", Some(Address::Object { drawn: false })),
            ("/loans", Some(Address::Collection { parent: None, letter: 'L' })),
            ("/loans/L1", Some(Address::Object { drawn: true })),
            ("/loans/L1/schedule", loan_parts),
            ("/loans/L1/collateral", collateral),
            ("/loans/L1/collateral/K2", Some(Address::Object { drawn: true })),
            ("/objects/row", Some(Address::Collection { parent: None, letter: 'O' })),
            ("/objects/row/7", Some(Address::Object { drawn: false })),
            ("/objects/row/7/x", None),
            ("/batch/objects/row", Some(Address::Batch { collection: "/objects/row", removes: false })),
            ("/batch/objects/row/remove", Some(Address::Batch { collection: "/objects/row", removes: true })),
            ("/batch/objects/row/x", None),
            ("/batch/objects", None),
            ("/loans/L1/collateral/K2/x", None),
            ("/customers/", None),
            ("/customers", None),
            ("//7", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Address::of(path), expected, "{path}");
        }
    }
}
