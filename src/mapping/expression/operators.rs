use super::{
    Fault, Val,
    exact::{Arithmetic, Exact},
    node::Comparison,
};
use crate::mapping::{Kind, moment::parse};
use std::{borrow::Cow, cmp::Ordering};

/// `a + b` and its like.
pub(super) fn calculate<'a>(how: Arithmetic, a: Val<'a>, b: Val<'a>) -> Result<Val<'a>, Fault> {
    use Val::{Decimal, Float, Int, List, Text};
    match (a, b) {
        (Int(a), Int(b)) => integers(how, a, b).map(Int),
        (Float(a), b @ (Float(_) | Int(_) | Decimal(_))) => Ok(Float(floats(how, a, float(&b)?))),
        (a @ (Int(_) | Decimal(_)), Float(b)) => Ok(Float(floats(how, float(&a)?, b))),
        (Decimal(a), Decimal(b)) => a.calculate(how, &b).map(Decimal),
        (Decimal(a), Int(b)) => a.calculate(how, &Exact::from(b)).map(Decimal),
        (Int(a), Decimal(b)) => Exact::from(a).calculate(how, &b).map(Decimal),
        (Text(a), Text(b)) if how == Arithmetic::Add => Ok(Text(Cow::Owned(format!("{a}{b}")))),
        (a, b) => match (how, a.into_items(), b.into_items()) {
            (Arithmetic::Add, Ok(mut a), Ok(b)) => {
                a.extend(b);
                Ok(List(a))
            }
            (_, a, b) => {
                let whole = |side: Result<Vec<Val<'a>>, Val<'a>>| side.map_or_else(|it| it, List);
                Err(mismatch(how, &whole(a), &whole(b)))
            }
        },
    }
}

fn mismatch(how: Arithmetic, a: &Val<'_>, b: &Val<'_>) -> Fault {
    let sign = match how {
        Arithmetic::Add => '+',
        Arithmetic::Subtract => '-',
        Arithmetic::Multiply => '*',
        Arithmetic::Divide => '/',
        Arithmetic::Remainder => '%',
    };
    let hint = match (a, b) {
        (Val::Text(_), Val::Int(_) | Val::Decimal(_) | Val::Float(_) | Val::Bool(_) | Val::Time(_))
        | (Val::Int(_) | Val::Decimal(_) | Val::Float(_) | Val::Bool(_) | Val::Time(_), Val::Text(_)) => {
            "; `string(x)` makes text of a number, `int(x)` and `decimal(x)` a number of text"
        }
        _ => "",
    };
    format!("`{sign}` does not go with {} and {}{hint}", a.kind(), b.kind()).into()
}

fn integers(how: Arithmetic, a: i64, b: i64) -> Result<i64, Fault> {
    let result = match how {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err("division by zero".into()),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    result.ok_or_else(|| format!("the result of {a} and {b} does not fit a 64-bit integer").into())
}

fn floats(how: Arithmetic, a: f64, b: f64) -> f64 {
    match how {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    }
}

/// A number as a float, which is exact for literals and the integers that fit.
fn float(number: &Val<'_>) -> Result<f64, Fault> {
    match number {
        Val::Float(float) => Ok(*float),
        Val::Int(int) => Ok(*int as f64),
        Val::Decimal(exact) => {
            exact.text().parse().map_err(|_| format!("{} is no number", exact.text()).into())
        }
        other => Err(format!("{} is no number", other.kind()).into()),
    }
}

/// `-x`.
pub(super) fn negate<'a>(value: Val<'a>) -> Result<Val<'a>, Fault> {
    match value {
        Val::Int(int) => int
            .checked_neg()
            .map(Val::Int)
            .ok_or_else(|| format!("-({int}) does not fit a 64-bit integer").into()),
        Val::Float(float) => Ok(Val::Float(-float)),
        Val::Decimal(exact) => Ok(Val::Decimal(exact.negate())),
        other => Err(format!("`-` does not go with {}", other.kind()).into()),
    }
}

/// `a == b`, `a < b` and their like.
pub(super) fn compare(how: Comparison, a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    match how {
        Comparison::Equal => equal(a, b),
        Comparison::NotEqual => Ok(!equal(a, b)?),
        _ => {
            let ordering = order(a, b)?
                .ok_or_else(|| Fault::from(format!("{} and {} have no order", a.kind(), b.kind())))?;
            let Some(ordering) = ordering else { return Ok(false) };
            Ok(match how {
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Greater => ordering.is_gt(),
                _ => ordering.is_ge(),
            })
        }
    }
}

/// How two values are ordered: `None` if they cannot be, `Some(None)` if one is `NaN`.
#[allow(clippy::option_option, reason = "the two kinds of no answer mean different things")]
fn order(a: &Val<'_>, b: &Val<'_>) -> Result<Option<Option<Ordering>>, Fault> {
    use Val::{Bool, Decimal, Float, Int, Text, Time};
    Ok(Some(match (a, b) {
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Float(_), Int(_) | Decimal(_) | Float(_)) | (Int(_) | Decimal(_), Float(_)) => {
            float(a)?.partial_cmp(&float(b)?)
        }
        (Decimal(a), Decimal(b)) => Some(a.compare(b)?),
        (Decimal(a), Int(b)) => Some(a.compare(&Exact::from(*b))?),
        (Int(a), Decimal(b)) => Some(Exact::from(*a).compare(b)?),
        (Text(a), Text(b)) => Some(a.cmp(b)),
        (Bool(a), Bool(b)) => Some(a.cmp(b)),
        (Time(a), Time(b)) => match a.compare(b) {
            Some(ordering) => Some(ordering),
            None => return Err(format!("{} and {} cannot be compared", a.kind(), b.kind()).into()),
        },
        (Time(moment), Text(text)) => Some(against_text(moment, text)?),
        (Text(text), Time(moment)) => Some(against_text(moment, text)?.reverse()),
        _ => return Ok(None),
    }))
}

fn against_text(moment: &crate::mapping::moment::Moment, text: &str) -> Result<Ordering, Fault> {
    let other = parse::parse(text, moment.form).or_else(|| parse::guess(text));
    other.and_then(|other| moment.compare(&other)).ok_or_else(|| {
        format!("{} cannot be compared with {}; it is `{moment}`", moment.kind(), super::shown(text)).into()
    })
}

/// Whether two values are equal. Null equals null and nothing else; different kinds are an error
/// rather than a silent false.
pub(super) fn equal(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    match (a, b) {
        (Val::Null, b) => Ok(matches!(b, Val::Null)),
        (_, Val::Null) => Ok(false),
        (Val::Optional(a), Val::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b),
            (a, b) => Ok(a.is_none() && b.is_none()),
        },
        _ => match order(a, b)? {
            Some(ordering) => Ok(ordering == Some(Ordering::Equal)),
            None => containers(a, b)?.ok_or_else(|| {
                Fault::new(
                    Kind::Evaluation,
                    format!("compares {} with {}, which are never equal; convert one with `string(x)`, `int(x)` or \
                             `decimal(x)`", a.kind(), b.kind()),
                )
            }),
        },
    }
}

fn containers(a: &Val<'_>, b: &Val<'_>) -> Result<Option<bool>, Fault> {
    if let (Ok(a), Ok(b)) = (a.clone().into_items(), b.clone().into_items()) {
        let equal = a.len() == b.len() && every(a.iter().zip(&b), |(a, b)| same(a, b))?;
        return Ok(Some(equal));
    }
    if let (Ok(a), Ok(b)) = (a.clone().into_entries(), b.clone().into_entries()) {
        let in_b = |(key, value): &(Cow<'_, str>, Val<'_>)| match b.iter().find(|(other, _)| other == key) {
            Some((_, other)) => same(value, other),
            None => Ok(false),
        };
        return Ok(Some(a.len() == b.len() && every(a.iter(), in_b)?));
    }
    Ok(None)
}

fn every<T>(
    items: impl Iterator<Item = T>,
    mut test: impl FnMut(T) -> Result<bool, Fault>,
) -> Result<bool, Fault> {
    for item in items {
        if !test(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Like [`equal`], for the insides of data: there, different kinds just differ.
pub(super) fn same(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    match (a, b) {
        (Val::Null, _) | (_, Val::Null) => equal(a, b),
        (Val::Time(_), Val::Text(_)) | (Val::Text(_), Val::Time(_)) => Ok(equal(a, b).unwrap_or(false)),
        _ => match order(a, b)? {
            Some(ordering) => Ok(ordering == Some(Ordering::Equal)),
            None => Ok(containers(a, b)?.unwrap_or(false)),
        },
    }
}
