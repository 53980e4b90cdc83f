use super::Fault;
use rust_decimal::Decimal;
use std::{borrow::Cow, cmp::Ordering};

/// A decimal number, kept as the digits it was written with.
///
/// Passing it on is exact however long it is. Arithmetic and comparison are exact up to 28 digits
/// and refused beyond.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Exact<'a>(Cow<'a, str>);

/// The four operations and the remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl<'a> Exact<'a> {
    /// The text must be a JSON number.
    pub fn new(text: Cow<'a, str>) -> Self {
        Self(text)
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    pub fn decimal(&self) -> Result<Decimal, Fault> {
        let parsed = if self.0.contains(['e', 'E']) {
            Decimal::from_scientific(&self.0)
        } else {
            Decimal::from_str_exact(&self.0)
        };
        parsed.map_err(|_| too_long(&self.0))
    }

    pub fn compare(&self, other: &Exact<'_>) -> Result<Ordering, Fault> {
        if self.0 == other.0 {
            return Ok(Ordering::Equal);
        }
        Ok(self.decimal()?.cmp(&other.decimal()?))
    }

    pub fn calculate(&self, how: Arithmetic, other: &Exact<'_>) -> Result<Exact<'static>, Fault> {
        let (a, b) = (self.decimal()?, other.decimal()?);
        let result = match how {
            Arithmetic::Add => exactly(a.checked_add(b), a.scale().max(b.scale())),
            Arithmetic::Subtract => exactly(a.checked_sub(b), a.scale().max(b.scale())),
            Arithmetic::Multiply => exactly(a.checked_mul(b), a.scale() + b.scale()),
            Arithmetic::Divide | Arithmetic::Remainder if b.is_zero() => {
                return Err("division by zero".into());
            }
            Arithmetic::Divide => a.checked_div(b),
            Arithmetic::Remainder => a.checked_rem(b),
        };
        let result = result.ok_or_else(|| {
            Fault::from(format!(
                "the result of {} and {} has more than the 28 digits that decimals are calculated with; \
                 `fixed(n)` shortens them",
                self.0, other.0
            ))
        })?;
        Ok(Exact(Cow::Owned(result.to_string())))
    }

    pub fn negate(&self) -> Exact<'static> {
        Exact(Cow::Owned(match self.0.strip_prefix('-') {
            Some(positive) => positive.to_owned(),
            None => format!("-{}", self.0),
        }))
    }

    /// With exactly `places` digits behind the point, half away from zero.
    pub fn fixed(&self, places: usize) -> Result<Exact<'static>, Fault> {
        let plain = if self.0.contains(['e', 'E']) {
            Cow::Owned(self.decimal()?.to_string())
        } else {
            Cow::Borrowed(self.text())
        };
        Ok(Exact(Cow::Owned(round(&plain, places))))
    }
}

impl From<i64> for Exact<'_> {
    fn from(int: i64) -> Self {
        Self(Cow::Owned(int.to_string()))
    }
}

/// Only a result whose scale was not cut: `rust_decimal` rounds silently where digits run out.
fn exactly(result: Option<Decimal>, scale: u32) -> Option<Decimal> {
    result.filter(|it| it.scale() >= scale || it.is_zero())
}

fn too_long(text: &str) -> Fault {
    format!(
        "{} has more than the 28 digits that decimals are compared and calculated with; it can only be passed on \
         as it is, or shortened with `fixed(n)`",
        super::shown(text)
    )
    .into()
}

/// Rounds a plain decimal text, half away from zero. Exact at any length.
fn round(text: &str, places: usize) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut kept: Vec<u8> = Vec::with_capacity(whole.len() + places + 1);
    kept.push(b'0');
    kept.extend_from_slice(whole.as_bytes());
    kept.extend(fraction.bytes().chain(std::iter::repeat(b'0')).take(places));
    if fraction.as_bytes().get(places).is_some_and(|digit| *digit >= b'5') {
        for digit in kept.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
    }
    let point = kept.len() - places;
    let leading = kept[..point].iter().take_while(|digit| **digit == b'0').count().min(point - 1);
    let zero = kept.iter().all(|digit| *digit == b'0');
    let mut out = String::with_capacity(kept.len() + 2);
    out.push_str(if zero { "" } else { sign });
    out.extend(kept[leading..point].iter().map(|digit| char::from(*digit)));
    if places > 0 {
        out.push('.');
        out.extend(kept[point..].iter().map(|digit| char::from(*digit)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(text: &str) -> Exact<'_> {
        Exact::new(Cow::Borrowed(text))
    }

    #[test]
    fn fixed_rounds_half_away_from_zero_at_any_length() {
        for (text, places, expected) in [
            ("12.5", 2, "12.50"),
            ("12.345", 2, "12.35"),
            ("-12.345", 2, "-12.35"),
            ("-0.004", 2, "0.00"),
            ("9.995", 2, "10.00"),
            ("99.5", 0, "100"),
            ("0", 0, "0"),
            ("0", 3, "0.000"),
            ("7", 1, "7.0"),
            ("0.5", 0, "1"),
            ("1e3", 1, "1000.0"),
            ("123456789012345678901234567890.125", 2, "123456789012345678901234567890.13"),
        ] {
            assert_eq!(exact(text).fixed(places).expect(text).text(), expected, "{text} to {places}");
        }
    }

    #[test]
    fn results_that_would_be_rounded_are_refused() {
        let long = "1234567890.123456789012345678";
        let product = exact(long).calculate(Arithmetic::Multiply, &exact(long));
        assert!(product.is_err_and(|fault| fault.message.contains("28 digits")));
        let sum = exact("79228162514264337593543950335").calculate(Arithmetic::Add, &exact("0.1"));
        assert!(sum.is_err());
        let zero = exact("1").calculate(Arithmetic::Divide, &exact("0.00"));
        assert_eq!(zero.map(|it| it.text().to_owned()), Err("division by zero".into()));
        let third = exact("1").calculate(Arithmetic::Divide, &exact("3")).expect("a quotient");
        assert_eq!(third.text(), "0.3333333333333333333333333333");
        let sum = exact("0.10").calculate(Arithmetic::Add, &exact("0.2")).expect("a sum");
        assert_eq!(sum.text(), "0.30");
    }

    #[test]
    fn numbers_compare_by_value_not_by_digits() {
        let compare = |a: &'static str, b: &'static str| exact(a).compare(&exact(b)).expect("comparable");
        assert_eq!(compare("1.0", "1.00"), Ordering::Equal);
        assert_eq!(compare("-2", "1e3"), Ordering::Less);
        let long = "1".repeat(40);
        assert!(exact(&long).compare(&exact("1")).is_err());
    }

    proptest! {
        #[test]
        fn sums_and_products_are_exact_or_refused(
            a in any::<i64>(), b in any::<i64>(), places in 0_u32..12, more in 0_u32..12,
        ) {
            let written = |n: i64, places: u32| Decimal::from_i128_with_scale(n.into(), places).to_string();
            let (x, y) = (written(a, places), written(b, more));
            let unit = |places: u32| 10_i128.pow(places);
            let (wide, most) = (places + more, places.max(more));
            let product = i128::from(a) * i128::from(b);
            let sum = i128::from(a) * unit(most - places) + i128::from(b) * unit(most - more);
            for (how, expected, places) in [(Arithmetic::Multiply, product, wide), (Arithmetic::Add, sum, most)] {
                match exact(&x).calculate(how, &exact(&y)) {
                    Ok(result) => {
                        let digits = expected.unsigned_abs().to_string();
                        let digits = format!("{digits:0>width$}", width = places as usize + 1);
                        let (whole, fraction) = digits.split_at(digits.len() - places as usize);
                        let sign = if expected < 0 { "-" } else { "" };
                        let point = if places > 0 { "." } else { "" };
                        let plain = format!("{sign}{whole}{point}{fraction}");
                        prop_assert_eq!(result.compare(&exact(&plain)), Ok(Ordering::Equal), "{} {}", x, y);
                    }
                    Err(fault) => {
                        prop_assert!(expected.unsigned_abs() > unit(27).unsigned_abs(), "{} {}: {}", x, y, fault.message);
                    }
                }
            }
        }
    }
}
