//! Phone numbers: kept as people write them, found by their digits.

use unicode_normalization::UnicodeNormalization;

use super::Invalid;

/// A phone number as it was written, with ordinary (not full-width) characters.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Phone(String);

impl Phone {
    /// 3 to 20 digits, with the usual separators.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let text: String = raw.nfkc().collect();
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::Required);
        }
        let separators_only = |c: char| c.is_ascii_digit() || " +-().".contains(c);
        if 40 < text.len() || !text.chars().all(separators_only) {
            return Err(Invalid::Format);
        }
        if !(3..=20).contains(&digits(text).len()) {
            return Err(Invalid::Format);
        }
        Ok(Self(text.to_owned()))
    }

    /// The number as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Only its digits.
    pub fn digits(&self) -> String {
        digits(&self.0)
    }
}

/// The digits of a text.
pub fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("138 0013 8000", Some("13800138000"))]
    #[case("+86-571-8888 6666", Some("8657188886666"))]
    #[case("（0571）88886666", Some("057188886666"))]
    #[case("110", Some("110"))]
    #[case("12", None)]
    #[case("123456789012345678901", None)]
    #[case("call me", None)]
    fn a_phone_number_is_its_digits(#[case] raw: &str, #[case] expected: Option<&str>) {
        assert_eq!(Phone::parse(raw).ok().map(|p| p.digits()).as_deref(), expected);
    }
}
