use super::Problem;
use crate::mapping::{Kind, braces};

/// The longest expression, in bytes.
const LONGEST: usize = 16 << 10;
/// How deep brackets may be nested.
const DEEPEST: usize = 32;
/// How many names and operators may stand between two commas or brackets.
const WIDEST: usize = 160;

/// Refuses what the parser, which goes down one level of the stack for each bracket and operator,
/// could not take. Tables may be long: commas cost nothing.
pub(super) fn check(text: &str) -> Result<(), Problem> {
    let problem = |message: String, at: usize| {
        Err(Problem { kind: Kind::Syntax, message: format!("{message}; split it up"), span: at..at + 1 })
    };
    if text.len() > LONGEST {
        return problem(format!("the expression is longer than {LONGEST} bytes"), 0);
    }
    let bytes = text.as_bytes();
    let mut levels = vec![0_usize];
    let (mut at, mut in_word) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let was_in_word = in_word;
        in_word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
        let counts = match byte {
            b'"' | b'\'' => {
                // The parser says what is wrong with a string that does not end.
                let Some(end) = braces::string_end(bytes, at) else { return Ok(()) };
                at = end;
                true
            }
            b' ' | b'\t' | b'\r' | b'\n' => false,
            b',' => {
                if let Some(level) = levels.last_mut() {
                    *level = 0;
                }
                false
            }
            b')' | b']' | b'}' => {
                if levels.len() > 1 {
                    levels.pop();
                }
                false
            }
            _ => !(in_word && was_in_word),
        };
        if counts && let Some(level) = levels.last_mut() {
            *level += 1;
            if *level > WIDEST {
                return problem(
                    "the expression has too many parts in a row".to_owned(),
                    at.min(bytes.len() - 1),
                );
            }
        }
        match byte {
            b'(' | b'[' | b'{' => {
                levels.push(0);
                if levels.len() > DEEPEST {
                    return problem("the expression is nested too deeply".to_owned(), at);
                }
            }
            b'"' | b'\'' => continue,
            _ => {}
        }
        at += 1;
    }
    Ok(())
}
