//! Kubernetes quantities: read, compared, and written in the one form in which the API server stores them.
//!
//! The form matters: what we send must equal what we read back, or every reconcile would find a difference.

use std::{fmt, ops};

/// An amount, exact to a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    milli: i128,
    base: Base,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Base {
    Decimal,
    Binary,
}

const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
const DECIMAL: [(&str, u32); 6] = [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3)];

impl Quantity {
    /// Reads an amount such as `500m`, `0.5`, `5Gi`.
    pub fn parse(raw: &str) -> Result<Self, InvalidQuantity> {
        let invalid = || InvalidQuantity(raw.to_owned());
        let digits_end = raw.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(raw.len());
        let (number, suffix) = raw.split_at(digits_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0
            || 15 < whole.len()
            || 9 < fraction.len()
            || fraction.contains('.')
        {
            return Err(invalid());
        }
        let scale = 10_i128.pow(u32::try_from(fraction.len()).map_err(|_| invalid())?);
        let mantissa: i128 = format!("{whole}{fraction}").parse().map_err(|_| invalid())?;
        let (multiplier, base) = multiplier(suffix).ok_or_else(invalid)?;
        let product = mantissa.checked_mul(multiplier).ok_or_else(invalid)?;
        // Like the API server: what is finer than a thousandth is rounded up.
        Ok(Self { milli: product.div_ceil_exact(scale), base })
    }

    /// A number of bytes, written with binary suffixes.
    pub fn bytes(bytes: i64) -> Self {
        Self { milli: i128::from(bytes) * 1000, base: Base::Binary }
    }

    /// The whole number, rounded down: bytes of a size.
    pub fn value(self) -> i64 {
        i64::try_from(self.milli / 1000).unwrap_or(i64::MAX)
    }

    /// Whether two quantities are the same amount, however they are written.
    pub fn same_amount(self, other: Self) -> bool {
        self.milli == other.milli
    }

    /// The larger amount; the first when they are equal.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        if self.milli < other.milli { other } else { self }
    }

    /// So many times the amount.
    #[must_use]
    pub fn times(self, factor: i32) -> Self {
        Self { milli: self.milli.saturating_mul(factor.into()), base: self.base }
    }
}

/// Suffix to thousandths.
fn multiplier(suffix: &str) -> Option<(i128, Base)> {
    match suffix {
        "" => return Some((1000, Base::Decimal)),
        "m" => return Some((1, Base::Decimal)),
        _ => (),
    }
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((1000 << power, Base::Binary));
    }
    let (_, power) = DECIMAL.iter().find(|(name, _)| *name == suffix)?;
    Some((1000 * 10_i128.pow(*power), Base::Decimal))
}

impl ops::Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { milli: self.milli.saturating_add(other.milli), base: self.base }
    }
}

impl fmt::Display for Quantity {
    /// The largest suffix that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli % 1000 != 0 {
            return write!(f, "{}m", self.milli);
        }
        let whole = self.milli / 1000;
        // The API server writes small binary amounts without suffix, and switches to decimal suffixes below 1 Ki.
        let (suffixes, unit): (&[_; 6], fn(u32) -> i128) = match self.base {
            Base::Binary if 1024 <= whole => (&BINARY, |power| 1 << power),
            Base::Binary | Base::Decimal => (&DECIMAL, |power| 10_i128.pow(power)),
        };
        let fitting = suffixes.iter().find(|(_, power)| whole != 0 && whole % unit(*power) == 0);
        match fitting {
            Some((suffix, power)) => write!(f, "{}{suffix}", whole / unit(*power)),
            None => write!(f, "{whole}"),
        }
    }
}

trait DivCeil {
    fn div_ceil_exact(self, by: Self) -> Self;
}

impl DivCeil for i128 {
    fn div_ceil_exact(self, by: Self) -> Self {
        self / by + Self::from(self % by != 0)
    }
}

/// Not an amount that we understand.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no amount: write a number with an optional suffix, such as 500m, 0.5 or 5Gi")]
pub struct InvalidQuantity(String);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // The right column is what a kube-apiserver answers.
    #[rstest]
    #[case("500m", "500m")]
    #[case("0.5", "500m")]
    #[case("1000m", "1")]
    #[case("1500m", "1500m")]
    #[case("2", "2")]
    #[case("2000", "2k")]
    #[case("1Gi", "1Gi")]
    #[case("1024Mi", "1Gi")]
    #[case("1.5Gi", "1536Mi")]
    #[case("0.5Ki", "512")]
    #[case("1000Mi", "1000Mi")]
    #[case("1G", "1G")]
    #[case("1073741824", "1073741824")]
    #[case("0.0001", "1m")]
    fn an_amount_has_one_form(#[case] raw: &str, #[case] form: &str) {
        assert_eq!(Quantity::parse(raw).unwrap().to_string(), form);
    }

    #[rstest]
    #[case("")]
    #[case("Gi")]
    #[case("1e3")]
    #[case("-1")]
    #[case("1.2.3")]
    #[case("5gb")]
    fn nonsense_is_refused(#[case] raw: &str) {
        assert!(Quantity::parse(raw).is_err());
    }

    #[test]
    fn amounts_compare_across_suffixes() {
        let parse = |raw| Quantity::parse(raw).unwrap();
        assert!(parse("1024Mi").same_amount(parse("1Gi")));
        assert_eq!(parse("1Gi").at_least(parse("2Gi")).to_string(), "2Gi");
        assert_eq!((parse("128Mi").times(2) + parse("256Mi")).to_string(), "512Mi");
        assert_eq!(parse("256Mi").value(), 268_435_456);
    }
}
