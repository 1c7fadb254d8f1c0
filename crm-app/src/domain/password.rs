//! Passwords: long enough and not among those that attackers try first. No rules of composition: they make
//! passwords worse (NIST SP 800-63B, OWASP ASVS 6.2).

use super::{Invalid, email::Email};

const FEWEST_CHARS: usize = 8;
const MOST_BYTES: usize = 512;

/// 3,000 passwords of the public frequency list that zxcvbn (MIT) uses, those of 8 characters and more, and
/// some that are common in China; lower case, sorted.
const COMMON: &str = include_str!("common_passwords.txt");

/// A password that may be set. It is never shown, logged or stored.
pub struct NewPassword(String);

impl NewPassword {
    /// Accepts every character; what people typed is taken as it is.
    pub fn parse(raw: String, owner: &Email) -> Result<Self, Invalid> {
        if raw.chars().count() < FEWEST_CHARS {
            return Err(Invalid::TooShort);
        }
        if MOST_BYTES < raw.len() {
            return Err(Invalid::TooLong);
        }
        let lower = raw.to_lowercase();
        let address = owner.as_str();
        let own_name = address.split('@').next().unwrap_or(address);
        if lower == address || lower == own_name || is_common(&lower) || is_one_character(&lower) {
            return Err(Invalid::Common);
        }
        Ok(Self(raw))
    }

    /// The clear text, for the hash function only.
    pub fn reveal(self) -> String {
        self.0
    }
}

fn is_common(lower: &str) -> bool {
    COMMON.lines().any(|common| common == lower)
}

fn is_one_character(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    characters.all(|c| Some(c) == first)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("correct horse", Ok(()))]
    #[case("密码要够长才行啊", Ok(()))]
    #[case("short77", Err(Invalid::TooShort))]
    #[case("密码要够长", Err(Invalid::TooShort))]
    #[case("Password123", Err(Invalid::Common))]
    #[case("woaini1314", Err(Invalid::Common))]
    #[case("zzzzzzzzzzzzzz", Err(Invalid::Common))]
    #[case("Fang.Wang", Err(Invalid::Common))]
    #[case("fang.wang@acme.example", Err(Invalid::Common))]
    fn what_may_be_a_password(#[case] raw: &str, #[case] expected: Result<(), Invalid>) {
        let owner = Email::parse("fang.wang@acme.example").unwrap();
        assert_eq!(NewPassword::parse(raw.to_owned(), &owner).map(|_| ()), expected);
    }

    #[test]
    fn the_list_holds_what_the_length_rule_lets_pass() {
        assert!(3_000 <= COMMON.lines().count());
        assert!(COMMON.lines().all(|line| FEWEST_CHARS <= line.len() && line == line.to_lowercase()));
    }
}
