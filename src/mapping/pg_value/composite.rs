use super::{Malformed, element::element, write_json};
use crate::{mapping::expression::write_string, model::Field};

const MALFORMED: Malformed = Malformed("a value of its composite type");

/// `(1,"a b",)` as an object by the names of the fields.
pub(super) fn write(fields: &[Field], text: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = text.strip_prefix('(').ok_or(MALFORMED)?;
    out.push(b'{');
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(',').ok_or(MALFORMED)?;
            out.push(b',');
        }
        write_string(&field.name, out);
        out.push(b':');
        match element(&mut rest, &[',', ')']).ok_or(MALFORMED)? {
            Some(value) => write_json(&field.ty, &value, out)?,
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    if rest == ")" { Ok(()) } else { Err(MALFORMED) }
}
