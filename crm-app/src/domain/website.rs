//! Web addresses that are safe to show as a link.

use super::Invalid;

/// An `http` or `https` address; a bare host name gets `https://`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Website(String);

impl Website {
    /// Refuses every other scheme: `javascript:` in a link would run as the reader.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let text = raw.trim();
        if text.is_empty() {
            return Err(Invalid::Required);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("https".to_owned(), text),
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host_is_valid = host.contains('.')
            && !host.starts_with('.')
            && host.chars().all(|c| c.is_alphanumeric() || ".-:".contains(c))
            && !host.ends_with(':')
            && host.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok());
        let clean = !rest.chars().any(|c| c.is_control() || c.is_whitespace() || "\"<>\\^`{|}".contains(c));
        if !matches!(scheme.as_str(), "http" | "https") || !host_is_valid || !clean {
            return Err(Invalid::Format);
        }
        let address = format!("{scheme}://{rest}");
        if 500 < address.chars().count() {
            return Err(Invalid::TooLong);
        }
        Ok(Self(address))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("www.acme.example", Some("https://www.acme.example"))]
    #[case("HTTP://acme.example/关于?a=b#c", Some("http://acme.example/关于?a=b#c"))]
    #[case("https://acme.example:8443/", Some("https://acme.example:8443/"))]
    #[case("javascript://acme.example/%0aalert(1)", None)]
    #[case("javascript:alert(1)", None)]
    #[case("data:text/html,x", None)]
    #[case("https://user@acme.example", None)]
    #[case("https://acme.example:99999", None)]
    #[case("https://a b.example", None)]
    #[case("https://acme.example/\"><script>", None)]
    #[case("localhost", None)]
    fn only_links_that_are_safe_to_show(#[case] raw: &str, #[case] expected: Option<&str>) {
        assert_eq!(Website::parse(raw).ok().as_ref().map(Website::as_str), expected);
    }
}
