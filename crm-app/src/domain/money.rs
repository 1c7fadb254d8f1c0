//! Amounts of money: decimals, never floating point.

use super::Invalid;

/// A non-negative amount with two decimals, in the workspace's currency.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Amount(String);

impl Amount {
    /// Up to 16 digits before the point and 2 after it; the result always has both decimals.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let text = raw.trim();
        if text.is_empty() {
            return Err(Invalid::Required);
        }
        let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
        let only_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !only_digits(whole) || !only_digits(cents) {
            return Err(Invalid::Format);
        }
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            trimmed => trimmed,
        };
        if 16 < whole.len() || 2 < cents.len() {
            return Err(Invalid::Range);
        }
        Ok(Self(format!("{whole}.{cents:0<2}")))
    }

    /// The amount as decimal text, as PostgreSQL writes it too.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1234.5", Ok("1234.50"))]
    #[case(" 007 ", Ok("7.00"))]
    #[case("0", Ok("0.00"))]
    #[case("9999999999999999.99", Ok("9999999999999999.99"))]
    #[case("10000000000000000", Err(Invalid::Range))]
    #[case("0.001", Err(Invalid::Range))]
    #[case("-1", Err(Invalid::Format))]
    #[case("1e5", Err(Invalid::Format))]
    #[case("1,000", Err(Invalid::Format))]
    #[case(".5", Err(Invalid::Format))]
    #[case("5.", Err(Invalid::Format))]
    #[case("NaN", Err(Invalid::Format))]
    fn an_amount_has_one_spelling(#[case] raw: &str, #[case] expected: Result<&str, Invalid>) {
        assert_eq!(Amount::parse(raw).as_ref().map(Amount::as_str).map_err(|e| *e), expected);
    }
}
