//! Keys of the design that later versions bring. They are refused by name: a key that were
//! accepted and ignored would promise what does not happen.

use super::tree::Segment;

/// The paths, `*` for any name or item. Bringing one means taking its row out.
pub const PLANNED: &[&str] = &["sources.*.capture.trigger", "sources.*.capture.query"];

/// Whether the key at the path's end belongs to a later version.
pub fn is_planned(path: &[Segment]) -> bool {
    PLANNED.iter().any(|pattern| {
        let mut parts = pattern.split('.');
        path.iter().all(|segment| match (parts.next(), segment) {
            (Some("*"), _) => true,
            (Some(part), Segment::Key(key)) => part == key,
            _ => false,
        }) && parts.next().is_none()
    })
}
