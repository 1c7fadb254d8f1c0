//! One line of bounded, clean text.

use unicode_normalization::UnicodeNormalization;

use super::Invalid;

/// One line of 1 to `MAX` characters: composed (NFC), trimmed, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Line<const MAX: usize>(String);

impl<const MAX: usize> Line<MAX> {
    /// Cleans and checks.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let text: String = raw.nfc().collect();
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::Required);
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::Format);
        }
        if MAX < text.chars().count() {
            return Err(Invalid::TooLong);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("  Acme ", Ok("Acme"))]
    #[case("杭州示例", Ok("杭州示例"))]
    #[case("e\u{301}", Ok("é"))]
    #[case(" \u{3000} ", Err(Invalid::Required))]
    #[case("a\nb", Err(Invalid::Format))]
    #[case("a\0", Err(Invalid::Format))]
    #[case("杭州示例科", Err(Invalid::TooLong))]
    fn a_line_is_clean_and_bounded(#[case] raw: &str, #[case] expected: Result<&str, Invalid>) {
        assert_eq!(Line::<4>::parse(raw).as_ref().map(Line::as_str).map_err(|e| *e), expected);
    }
}
