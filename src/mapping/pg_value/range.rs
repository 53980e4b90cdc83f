use super::{Malformed, element::element, write_json};
use crate::model::Type;

const MALFORMED: Malformed = Malformed("a range");

/// `[1,10)` as `{"lower":1,"upper":10,"bounds":"[)"}`, `empty` as `{"empty":true}`. A bound that is
/// not there is null.
pub(super) fn write(of: &Type, text: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = text;
    one(of, &mut rest, out)?;
    if rest.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

/// `{[1,3),[5,8)}` as an array of ranges.
pub(super) fn write_many(of: &Type, text: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = text.strip_prefix('{').ok_or(MALFORMED)?;
    out.push(b'[');
    while rest != "}" {
        one(of, &mut rest, out)?;
        if let Some(next) = rest.strip_prefix(',') {
            rest = next;
            out.push(b',');
        } else if rest != "}" {
            return Err(MALFORMED);
        }
    }
    out.push(b']');
    Ok(())
}

fn one(of: &Type, rest: &mut &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if let Some(after) = rest.strip_prefix("empty") {
        *rest = after;
        out.extend_from_slice(b"{\"empty\":true}");
        return Ok(());
    }
    let opening = rest.bytes().next().filter(|b| matches!(b, b'[' | b'(')).ok_or(MALFORMED)?;
    *rest = &rest[1..];
    out.extend_from_slice(b"{\"lower\":");
    bound(of, rest, &[','], out)?;
    *rest = rest.strip_prefix(',').ok_or(MALFORMED)?;
    out.extend_from_slice(b",\"upper\":");
    bound(of, rest, &[']', ')'], out)?;
    let closing = rest.bytes().next().filter(|b| matches!(b, b']' | b')')).ok_or(MALFORMED)?;
    *rest = &rest[1..];
    out.extend_from_slice(b",\"bounds\":\"");
    out.extend_from_slice(&[opening, closing]);
    out.extend_from_slice(b"\"}");
    Ok(())
}

fn bound(of: &Type, rest: &mut &str, stops: &[char], out: &mut Vec<u8>) -> Result<(), Malformed> {
    match element(rest, stops).ok_or(MALFORMED)? {
        Some(value) => write_json(of, &value, out),
        None => {
            out.extend_from_slice(b"null");
            Ok(())
        }
    }
}
