use std::borrow::Cow;

/// A field of a composite or a bound of a range, up to one of the stops, which stays.
///
/// Nothing at all is a null or no bound: `Some(None)`. In quotes a doubled quote is one, and a
/// backslash makes the next character plain. `None` if the text ends first.
#[allow(clippy::option_option, reason = "the inner one is the value, the outer one whether it could be read")]
pub(super) fn element<'t>(rest: &mut &'t str, stops: &[char]) -> Option<Option<Cow<'t, str>>> {
    let text = *rest;
    let first = text.find(|c| c == '"' || c == '\\' || stops.contains(&c))?;
    if !text[first..].starts_with(['"', '\\']) {
        *rest = &text[first..];
        return Some((first > 0).then(|| Cow::Borrowed(&text[..first])));
    }
    let mut plain = text[..first].to_owned();
    let mut in_quotes = false;
    let mut characters = text[first..].char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => plain.push(characters.next()?.1),
            '"' if in_quotes && characters.peek().is_some_and(|(_, next)| *next == '"') => {
                characters.next();
                plain.push('"');
            }
            '"' => in_quotes = !in_quotes,
            c if !in_quotes && stops.contains(&c) => {
                *rest = &text[first + at..];
                return Some(Some(Cow::Owned(plain)));
            }
            c => plain.push(c),
        }
    }
    None
}
