//! Unified social credit codes (统一社会信用代码, GB 32100-2015).

use super::Invalid;

/// The characters in the order of their values; I, O, S, V and Z are not used.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
const MODULUS: usize = ALPHABET.len();

/// The number under which a Chinese organisation is registered: 18 characters, the last one a check.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Uscc(String);

impl Uscc {
    /// Checks length, alphabet and check character.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let text = raw.trim().to_ascii_uppercase();
        if text.is_empty() {
            return Err(Invalid::Required);
        }
        let values: Vec<usize> = text.bytes().map(value).collect::<Option<_>>().ok_or(Invalid::Format)?;
        let (check, body) = values.split_last().ok_or(Invalid::Format)?;
        if body.len() != 17 {
            return Err(Invalid::Format);
        }
        if *check != check_value(body) {
            return Err(Invalid::Checksum);
        }
        Ok(Self(text))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn value(character: u8) -> Option<usize> {
    ALPHABET.iter().position(|&c| c == character)
}

/// The weights are the powers of 3 modulo 31.
fn check_value(body: &[usize]) -> usize {
    let (sum, _) = body
        .iter()
        .fold((0, 1), |(sum, weight), value| ((sum + value * weight) % MODULUS, weight * 3 % MODULUS));
    (MODULUS - sum) % MODULUS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("91330100799655058B", Ok(()))]
    #[case("91440300708461136T", Ok(()))]
    #[case("91440300708461136t", Ok(()))]
    #[case("91440300708461136X", Err(Invalid::Checksum))]
    #[case("9144030070846113", Err(Invalid::Format))]
    #[case("91440300708461136I", Err(Invalid::Format))]
    #[case("", Err(Invalid::Required))]
    fn known_codes(#[case] raw: &str, #[case] expected: Result<(), Invalid>) {
        assert_eq!(Uscc::parse(raw).map(|_| ()), expected);
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_always_noticed(body in prop::collection::vec(0..MODULUS, 17), at in 0..17_usize, other in 1..MODULUS) {
            let code = |values: &[usize], check: usize| -> String {
                values.iter().chain([&check]).map(|&v| char::from(ALPHABET[v])).collect()
            };
            let check = check_value(&body);
            prop_assert!(Uscc::parse(&code(&body, check)).is_ok());
            let mut wrong = body.clone();
            wrong[at] = (wrong[at] + other) % MODULUS;
            prop_assert_eq!(Uscc::parse(&code(&wrong, check)), Err(Invalid::Checksum));
        }
    }
}
