//! Whether and where a request may pass: a list of checks that reads as the specification. The first that holds it wins.

use http::{HeaderValue, Method, request::Parts};

use super::{
    answer::Answer,
    headers::Scheme,
    host::{Address, Host},
    routes::{Route, RouteTable, ServiceState},
};

/// What is known when a request's head has been read.
pub(super) struct Arrival<'a> {
    pub(super) request: &'a Parts,
    /// The size of the body, as far as it is announced.
    pub(super) announced_bytes: u64,
    pub(super) max_body_bytes: u64,
    pub(super) scheme: Scheme,
    /// The Secret whose certificate the TLS connection was made with.
    pub(super) certificate: Option<&'a str>,
    /// The Secret that has a certificate for a host now.
    pub(super) certificate_for: &'a dyn Fn(&Host) -> Option<String>,
    /// The port of TLS addresses as clients see it.
    pub(super) https_port: u16,
}

/// What is to be done with a request.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict<'a> {
    /// It is nobody's.
    Refuse(Answer),
    /// It is this tenant's.
    For(&'a Route, Address, Step),
}

/// What is to be done with a tenant's request.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Hand it to the tenant.
    Pass,
    /// Send the client to the same place over TLS.
    Redirect(HeaderValue),
    /// Answer instead of the tenant.
    Answer(Answer),
}

/// Decides about a request.
pub(super) fn admit<'a>(table: &'a RouteTable, arrival: &Arrival<'_>) -> Verdict<'a> {
    let request = arrival.request;
    // CONNECT would make a proxy of the gateway; TRACE shows a page what only the browser may know.
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Verdict::Refuse(Answer::MethodNotAllowed);
    }
    let address = match Address::of(request) {
        Ok(address) => address,
        Err(reason) => {
            tracing::debug!(%reason, "refused an ambiguous address");
            return Verdict::Refuse(Answer::BadRequest);
        }
    };
    // `OPTIONS *` asks about the server as a whole, which is no tenant's.
    if !request.uri.path().starts_with('/') {
        return Verdict::Refuse(Answer::BadRequest);
    }
    let Some(route) = table.get(&address.host) else { return Verdict::Refuse(Answer::UnknownAddress) };
    let step = step(route, &address.host, arrival);
    Verdict::For(route, address, step)
}

fn step(route: &Route, host: &Host, arrival: &Arrival<'_>) -> Step {
    let certificate = (arrival.certificate_for)(host);
    match (arrival.scheme, certificate) {
        // HTTP/2 clients use one connection for every host that its certificate covers, and for no other.
        (Scheme::Https, current) if current.is_none() || current.as_deref() != arrival.certificate => {
            return Step::Answer(Answer::Misdirected);
        }
        (Scheme::Http, Some(_)) => {
            return https_address(host, arrival).map_or(Step::Answer(Answer::BadRequest), Step::Redirect);
        }
        (Scheme::Https, _) | (Scheme::Http, None) => {}
    }
    match route.state {
        ServiceState::Suspended => Step::Answer(Answer::Suspended),
        ServiceState::Restoring => Step::Answer(Answer::Restoring),
        ServiceState::Unavailable => Step::Answer(Answer::Unreachable),
        ServiceState::Active | ServiceState::ReadOnly if arrival.max_body_bytes < arrival.announced_bytes => {
            Step::Answer(Answer::TooLarge)
        }
        ServiceState::Active | ServiceState::ReadOnly => Step::Pass,
    }
}

fn https_address(host: &Host, arrival: &Arrival<'_>) -> Option<HeaderValue> {
    let path = arrival.request.uri.path_and_query().map_or("/", |it| it.as_str());
    let location = match arrival.https_port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::from_str(&location).ok()
}

#[cfg(test)]
mod tests {
    use http::{Request, header::HOST};
    use serde_json::json;

    use super::*;

    fn table() -> RouteTable {
        let entry = |host: &str, state: &str, secret: Option<&str>| {
            json!({"host": host, "tenant": "acme", "upstream": "crm.tenant-acme.svc:80", "state": state,
                   "locale": "en", "tlsSecret": secret})
        };
        let document = json!({"version": 1, "routes": [
            entry("plain.example", "Active", None),
            entry("suspended.example", "Suspended", None),
            entry("restoring.example", "Restoring", None),
            entry("hibernated.example", "Hibernated", None),
            entry("tls.example", "Active", Some("one")),
            entry("other-tls.example", "Active", Some("two")),
        ]});
        RouteTable::parse(&document.to_string()).unwrap().0
    }

    fn verdict(request: http::request::Builder, scheme: Scheme, certificate: Option<&str>) -> String {
        let table = table();
        let parts = request.body(()).unwrap().into_parts().0;
        let arrival = Arrival {
            request: &parts,
            announced_bytes: parts
                .headers
                .get("content-length")
                .map_or(0, |it| it.to_str().unwrap().parse().unwrap()),
            max_body_bytes: 100,
            scheme,
            certificate,
            certificate_for: &|host| table.get(host)?.tls_secret.clone(),
            https_port: 443,
        };
        match admit(&table, &arrival) {
            Verdict::Refuse(answer) => format!("refuse {}", answer.label()),
            Verdict::For(_, _, Step::Answer(answer)) => answer.label().to_owned(),
            Verdict::For(_, _, Step::Redirect(location)) => {
                format!("redirect {}", location.to_str().unwrap())
            }
            Verdict::For(route, address, Step::Pass) => format!("pass {} {address}", route.tenant),
        }
    }

    fn plain(request: http::request::Builder) -> String {
        verdict(request, Scheme::Http, None)
    }

    #[test]
    fn the_first_check_that_holds_wins() {
        let get = |host: &str| Request::get("/x?y=1").header(HOST, host);
        assert_eq!(plain(get("plain.example:8080")), "pass acme plain.example:8080");
        assert_eq!(plain(get("unknown.example")), "refuse unknown_address");
        assert_eq!(plain(get("suspended.example")), "suspended");
        assert_eq!(plain(get("restoring.example")), "restoring");
        assert_eq!(plain(get("hibernated.example")), "unreachable", "a state of a newer operator");
        assert_eq!(plain(get("bad host")), "refuse bad_request");
        assert_eq!(plain(get("plain.example").header(HOST, "plain.example")), "refuse bad_request");
        assert_eq!(plain(get("plain.example").header("content-length", "101")), "too_large");
        assert_eq!(plain(get("plain.example").header("content-length", "100")), "pass acme plain.example");
        assert_eq!(plain(Request::options("*").header(HOST, "plain.example")), "refuse bad_request");
        assert_eq!(plain(Request::trace("/").header(HOST, "plain.example")), "refuse method_not_allowed");
        assert_eq!(
            plain(Request::connect("plain.example:443").header(HOST, "plain.example:443")),
            "refuse method_not_allowed"
        );
    }

    #[test]
    fn hosts_with_a_certificate_are_served_over_their_own_certificate_only() {
        let get = |host: &str| Request::get("/x?y=1").header(HOST, host);
        assert_eq!(plain(get("tls.example:8080")), "redirect https://tls.example/x?y=1");
        assert_eq!(verdict(get("tls.example"), Scheme::Https, Some("one")), "pass acme tls.example");
        assert_eq!(verdict(get("other-tls.example"), Scheme::Https, Some("one")), "misdirected");
        assert_eq!(verdict(get("plain.example"), Scheme::Https, Some("one")), "misdirected");
        assert_eq!(verdict(get("unknown.example"), Scheme::Https, Some("one")), "refuse unknown_address");
    }
}
