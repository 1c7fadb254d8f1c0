//! Whether a request that changes something comes from our own pages.
//!
//! Browsers say so in `Sec-Fetch-Site` and `Origin`, and pages cannot forge either. A tenant has several
//! hosts, so the request's own `Host` counts as ours (the gateway lets only granted hosts through), beside the
//! public address.

use axum::http::{HeaderMap, HeaderValue, Uri, header};

use crate::args::PublicUrl;

/// Whether the request's headers name one of our own pages as its source.
pub fn is_our_own(headers: &HeaderMap, public: &PublicUrl) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin") {
        return false;
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => origin.to_str().is_ok_and(|origin| is_our_origin(origin, headers, public)),
        None => site.is_some(),
    }
}

fn is_our_origin(origin: &str, headers: &HeaderMap, public: &PublicUrl) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let (Some("http" | "https"), Some(authority)) = (origin.scheme_str(), origin.authority()) else {
        return false;
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is = |ours: &str| authority.as_str().eq_ignore_ascii_case(ours);
    host.is_some_and(is) || is(&public.authority)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_browser(&[("origin", "http://acme.crm.localhost:8080"), ("sec-fetch-site", "same-origin")], true)]
    #[case::an_old_browser(&[("origin", "http://acme.crm.localhost:8080")], true)]
    #[case::only_the_site(&[("sec-fetch-site", "same-origin")], true)]
    #[case::another_granted_host(&[("origin", "https://crm.acme.example"), ("host", "crm.acme.example")], true)]
    #[case::capital_letters(&[("origin", "http://ACME.crm.localhost:8080")], true)]
    #[case::neither(&[], false)]
    #[case::another_site(&[("origin", "https://evil.example")], false)]
    #[case::another_tenant(&[("origin", "http://bluesky.crm.localhost:8080"), ("host", "acme.crm.localhost:8080")], false)]
    #[case::another_port(&[("origin", "http://acme.crm.localhost:9999")], false)]
    #[case::a_sibling(&[("origin", "http://acme.crm.localhost:8080"), ("sec-fetch-site", "same-site")], false)]
    #[case::a_link_elsewhere(&[("sec-fetch-site", "cross-site")], false)]
    #[case::typed_by_hand(&[("sec-fetch-site", "none")], false)]
    #[case::an_opaque_origin(&[("origin", "null")], false)]
    #[case::our_name_in_theirs(&[("origin", "https://acme.crm.localhost:8080.evil.example")], false)]
    #[case::our_name_as_user(&[("origin", "https://acme.crm.localhost:8080@evil.example")], false)]
    #[case::another_scheme(&[("origin", "ftp://acme.crm.localhost:8080")], false)]
    fn sources(#[case] headers: &[(&'static str, &'static str)], #[case] ours: bool) {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let public = PublicUrl { https: false, authority: "acme.crm.localhost:8080".into() };
        assert_eq!(is_our_own(&headers, &public), ours);
    }
}
