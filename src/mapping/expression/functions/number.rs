use super::{Fault, Val, arguments};
use crate::mapping::expression::{exact::Exact, field::shown_value, shown};
use std::borrow::Cow;

/// `x.fixed(n)`: a decimal with exactly `n` digits behind the point, half away from zero.
pub(super) fn fixed<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, places] = arguments(values)?;
    let places = match places {
        Val::Int(places @ 0..=100) => places.unsigned_abs() as usize,
        other => return Err(format!("`fixed` wants 0 to 100 digits, not {}", shown_value(&other)).into()),
    };
    let exact = match value {
        Val::Decimal(exact) => exact,
        Val::Int(int) => Exact::from(int),
        Val::Float(float) if float.is_finite() => Exact::new(Cow::Owned(format!("{float}"))),
        Val::Text(text) => {
            let text = shown(&text);
            return Err(format!(
                "`fixed` wants a number, but it is the text {text}; `decimal(x)` makes a number of it"
            )
            .into());
        }
        other => return Err(format!("`fixed` wants a number, but it is {}", shown_value(&other)).into()),
    };
    exact.fixed(places).map(Val::Decimal)
}

/// `int(x)`: of a number with nothing behind the point, or of text.
pub(super) fn int<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    let wrong = |value: &Val<'_>| Fault::from(format!("{} is no 64-bit integer", shown_value(value)));
    match &value {
        Val::Int(_) => Ok(value),
        Val::Bool(truth) => Ok(Val::Int((*truth).into())),
        Val::Text(text) => text.trim().parse().map(Val::Int).map_err(|_| wrong(&value)),
        // Towards zero, as CEL has it.
        Val::Float(float) if float.is_finite() && float.abs() < 9.2e18 => Ok(Val::Int(float.trunc() as i64)),
        Val::Decimal(exact) => {
            let whole = exact.decimal()?.trunc();
            i64::try_from(whole).map(Val::Int).map_err(|_| wrong(&value))
        }
        _ => Err(wrong(&value)),
    }
}

/// `double(x)`.
pub(super) fn double<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    let float = match &value {
        Val::Float(float) => Some(*float),
        Val::Int(int) => Some(*int as f64),
        Val::Decimal(exact) => exact.text().parse().ok(),
        Val::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    float.map(Val::Float).ok_or_else(|| format!("{} is no number", shown_value(&value)).into())
}

/// `decimal(x)`: exact, of a number or text.
pub(super) fn decimal<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    match value {
        Val::Decimal(_) => Ok(value),
        Val::Int(int) => Ok(Val::Decimal(int.into())),
        Val::Float(float) if float.is_finite() => {
            Ok(Val::Decimal(Exact::new(Cow::Owned(format!("{float}")))))
        }
        Val::Text(text) => match crate::mapping::pg_value::json_number(text.trim()) {
            true => Ok(Val::Decimal(Exact::new(Cow::Owned(text.trim().to_owned())))),
            false => Err(format!("{} is no number", shown(&text)).into()),
        },
        other => Err(format!("{} is no number", shown_value(&other)).into()),
    }
}
