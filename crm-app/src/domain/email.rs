//! E-mail addresses.

use super::Invalid;

/// An e-mail address in lower case, so that two spellings of one address are one person.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Email(String);

impl Email {
    /// Checks the form that mail systems in use accept; whether mail arrives only mail can tell.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let text = raw.trim();
        if text.is_empty() {
            return Err(Invalid::Required);
        }
        if 254 < text.len() {
            return Err(Invalid::TooLong);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(Invalid::Format)?;
        if local_is_valid(local) && domain_is_valid(domain) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(Invalid::Format)
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn local_is_valid(local: &str) -> bool {
    let dots_are_inside = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    (1..=64).contains(&local.len())
        && dots_are_inside
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&b))
}

fn domain_is_valid(domain: &str) -> bool {
    domain.contains('.') && domain.split('.').all(label_is_valid)
}

fn label_is_valid(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(" Fang@Acme.Example ", Some("fang@acme.example"))]
    #[case("a.b+c@x-y.co", Some("a.b+c@x-y.co"))]
    #[case("fang", None)]
    #[case("fang@localhost", None)]
    #[case("a b@acme.example", None)]
    #[case(".a@acme.example", None)]
    #[case("a..b@acme.example", None)]
    #[case("a@-acme.example", None)]
    #[case("a@acme..example", None)]
    #[case("a@b@acme.example", None)]
    #[case("王芳@acme.example", None)]
    #[case("a@acme.example\r\nBcc: x@y.z", None)]
    fn an_address_has_one_spelling(#[case] raw: &str, #[case] expected: Option<&str>) {
        assert_eq!(Email::parse(raw).ok().as_ref().map(Email::as_str), expected);
    }
}
