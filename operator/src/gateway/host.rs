//! Host names: the one form in which they are compared, and which one a request is for.
//!
//! Whatever two parsers could read differently is refused here, because the tenant behind the gateway reads the request
//! again: two `Host` lines, an authority in the request line that differs from `Host`, user information, white space.

use std::fmt;

use http::{HeaderValue, Version, header::HOST, request::Parts};

/// The longest name that DNS allows.
const MAX_NAME_LEN: usize = 253;
const MAX_LABEL_LEN: usize = 63;

/// A host name as it is compared: lower case, without port and trailing dot, international names in punycode.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(String);

/// Where a request wants to go: a host, and the port as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The host in the form in which it is compared.
    pub host: Host,
    /// The port, if the client named one. The application needs it to recognise its own origin.
    pub port: Option<u16>,
}

/// Why a host name or a request's address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// Neither a `Host` line nor an authority.
    #[error("no host is named")]
    Missing,
    /// More than one `Host` line, even with the same value.
    #[error("more than one Host line")]
    Duplicate,
    /// The request line and `Host` name different places.
    #[error("request line and Host disagree")]
    Disagreement,
    /// Not a host name with an optional port.
    #[error("not a host name")]
    Malformed,
}

impl Host {
    /// Reads a name from configuration, where international names may be written as people write them.
    pub fn from_config(raw: &str) -> Result<Self, InvalidHost> {
        let name = raw.strip_suffix('.').unwrap_or(raw);
        let ascii = idna::domain_to_ascii_strict(name).map_err(|_| InvalidHost::Malformed)?;
        Self::from_wire(&ascii)
    }

    /// Reads a name as it travels in HTTP and TLS: ASCII only.
    pub fn from_wire(raw: &str) -> Result<Self, InvalidHost> {
        let name = raw.strip_suffix('.').unwrap_or(raw);
        let well_formed = name.len() <= MAX_NAME_LEN && name.split('.').all(is_label);
        if well_formed { Ok(Self(name.to_ascii_lowercase())) } else { Err(InvalidHost::Malformed) }
    }

    /// Whether this is a name directly under `base`, which is what a wildcard certificate for `*.base` covers.
    pub fn is_directly_under(&self, base: &Self) -> bool {
        self.0.strip_suffix(&base.0).and_then(|rest| rest.strip_suffix('.')).is_some_and(is_label)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// Reads `host` or `host:port`.
    pub fn parse(raw: &str) -> Result<Self, InvalidHost> {
        // An IPv6 literal is well-formed HTTP, but no tenant's address: it must end as "unknown", not as "malformed".
        if let Some(rest) = raw.strip_prefix('[') {
            let (literal, after) = rest.split_once(']').ok_or(InvalidHost::Malformed)?;
            literal.parse::<std::net::Ipv6Addr>().map_err(|_| InvalidHost::Malformed)?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(parse_port(port)?),
                None if after.is_empty() => None,
                None => return Err(InvalidHost::Malformed),
            };
            return Ok(Self { host: Host(format!("[{}]", literal.to_ascii_lowercase())), port });
        }
        let (name, port) = match raw.split_once(':') {
            Some((name, port)) => (name, Some(parse_port(port)?)),
            None => (raw, None),
        };
        Ok(Self { host: Host::from_wire(name)?, port })
    }

    /// The address of a request, if all places that name one agree.
    pub fn of(request: &Parts) -> Result<Self, InvalidHost> {
        let mut lines = request.headers.get_all(HOST).iter();
        let header = lines.next();
        if lines.next().is_some() {
            return Err(InvalidHost::Duplicate);
        }
        let header = header.map(parse_header).transpose()?;
        let authority = request.uri.authority().map(|it| Self::parse(it.as_str())).transpose()?;
        match (authority, header) {
            (Some(authority), Some(header)) if authority != header => Err(InvalidHost::Disagreement),
            // HTTP/2 names the place in `:authority`; HTTP/1.1 must always have a `Host` line.
            (Some(authority), None) if request.version == Version::HTTP_2 => Ok(authority),
            (_, Some(header)) => Ok(header),
            (_, None) => Err(InvalidHost::Missing),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

fn parse_header(value: &HeaderValue) -> Result<Address, InvalidHost> {
    Address::parse(value.to_str().map_err(|_| InvalidHost::Malformed)?)
}

fn parse_port(raw: &str) -> Result<u16, InvalidHost> {
    // `u16::from_str` would take a sign.
    let digits = !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_digit());
    if digits { raw.parse().map_err(|_| InvalidHost::Malformed) } else { Err(InvalidHost::Malformed) }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= MAX_LABEL_LEN
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use http::Request;
    use rstest::rstest;

    use super::*;

    fn address_of(builder: http::request::Builder) -> Result<Address, InvalidHost> {
        Address::of(&builder.body(()).unwrap().into_parts().0)
    }

    #[rstest]
    #[case("acme.crm.localhost", "acme.crm.localhost", None)]
    #[case("ACME.crm.LocalHost:8080", "acme.crm.localhost", Some(8080))]
    #[case("acme.crm.localhost.", "acme.crm.localhost", None)]
    #[case("acme.crm.localhost.:443", "acme.crm.localhost", Some(443))]
    #[case("xn--fiq228c.example", "xn--fiq228c.example", None)]
    #[case("127.0.0.1:80", "127.0.0.1", Some(80))]
    #[case("[::1]:80", "[::1]", Some(80))]
    fn one_form_for_all_spellings(#[case] raw: &str, #[case] host: &str, #[case] port: Option<u16>) {
        let address = Address::parse(raw).unwrap();
        assert_eq!((address.host.as_str(), address.port), (host, port));
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("acme..example")]
    #[case("acme.example..")]
    #[case("acme example")]
    #[case("acme.example ")]
    #[case("user@acme.example")]
    #[case("acme.example:")]
    #[case("acme.example:+80")]
    #[case("acme.example:99999")]
    #[case("acme.example:80:80")]
    #[case("acme.example/path")]
    #[case("acme.example,other.example")]
    #[case("中文.example")]
    #[case("[::1")]
    #[case("[::1]x")]
    fn what_is_no_host_is_refused(#[case] raw: &str) {
        assert_eq!(Address::parse(raw), Err(InvalidHost::Malformed));
    }

    #[test]
    fn configuration_may_be_international() {
        assert_eq!(Host::from_config("客户.Example.").unwrap().as_str(), "xn--ubt06m.example");
        assert_eq!(Host::from_config("acme example"), Err(InvalidHost::Malformed));
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let base = Host::from_config("crm.localhost").unwrap();
        let is_under = |raw| Host::from_config(raw).unwrap().is_directly_under(&base);
        assert!(is_under("acme.crm.localhost"));
        assert!(!is_under("crm.localhost"));
        assert!(!is_under("a.acme.crm.localhost"));
        assert!(!is_under("evilcrm.localhost"));
    }

    #[test]
    fn all_places_that_name_a_host_must_agree() {
        let get = || Request::get("/").version(Version::HTTP_11);
        assert_eq!(address_of(get().header(HOST, "a.example")).unwrap().host.as_str(), "a.example");
        assert_eq!(address_of(get()), Err(InvalidHost::Missing));
        assert_eq!(
            address_of(get().header(HOST, "a.example").header(HOST, "a.example")),
            Err(InvalidHost::Duplicate)
        );
        let absolute = || Request::get("http://a.example/").version(Version::HTTP_11);
        assert!(address_of(absolute().header(HOST, "A.example")).is_ok());
        assert_eq!(address_of(absolute().header(HOST, "b.example")), Err(InvalidHost::Disagreement));
        assert_eq!(address_of(absolute().header(HOST, "a.example:81")), Err(InvalidHost::Disagreement));
        assert_eq!(address_of(absolute()), Err(InvalidHost::Missing));
        let with_user = Request::get("http://u@a.example/").header(HOST, "a.example");
        assert_eq!(address_of(with_user), Err(InvalidHost::Malformed));
    }

    #[test]
    fn http_2_names_the_host_in_its_authority() {
        let get = |uri: &str| Request::get(uri).version(Version::HTTP_2);
        assert!(address_of(get("https://a.example/")).is_ok());
        assert!(address_of(get("https://a.example/").header(HOST, "a.example")).is_ok());
        assert!(address_of(get("/").header(HOST, "a.example")).is_ok());
        assert_eq!(
            address_of(get("https://a.example/").header(HOST, "b.example")),
            Err(InvalidHost::Disagreement)
        );
    }
}
