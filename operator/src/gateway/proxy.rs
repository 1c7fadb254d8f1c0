//! From a client's request to an answer: admit, hand over, hand back.

use std::{convert::Infallible, sync::Arc};

use http::{
    Request, Response, StatusCode, Uri, Version,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme as UriScheme},
};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::{
    Gateway,
    admission::{Arrival, Step, Verdict, admit},
    answer::Answer,
    body::{ClientBody, RequestBody, ResponseBody},
    connection::Client,
    exchange::{Exchange, Outcome},
    headers::{self, Origin, Passage},
    host::Address,
    pages::{self, Asker},
    routes::Route,
    tunnel,
};

/// Answers one request. There is always an answer.
pub(super) async fn handle(
    gateway: Arc<Gateway>,
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ClientBody>, Infallible> {
    let (parts, body) = request.into_parts();
    let exchange = Exchange::begin(&gateway, &client, &parts);
    let asker = Asker::of(&parts);
    let own = |answer: Answer, asker: Asker| {
        exchange.answered(Outcome::Own(answer));
        pages::render(answer, asker, &exchange.id)
    };

    let table = gateway.routes();
    let verdict = match &table {
        None => Verdict::Refuse(Answer::Unreachable),
        Some(table) => {
            let arrival = Arrival {
                request: &parts,
                announced_bytes: body.size_hint().lower(),
                max_body_bytes: gateway.limits.max_body_bytes,
                scheme: client.scheme,
                certificate: client.certificate.as_deref(),
                certificate_for: &|host| gateway.certificate_for(host).map(|(secret, _)| secret),
                https_port: gateway.https_port,
            };
            admit(table, &arrival)
        }
    };
    let mut response = match verdict {
        Verdict::Refuse(answer) => own(answer, asker),
        Verdict::For(route, address, step) => {
            exchange.belongs_to(&route.tenant, address.host.as_str());
            match step {
                Step::Answer(answer) => own(answer, asker.in_language(route.locale)),
                Step::Redirect(location) => {
                    exchange.answered(Outcome::Redirected);
                    pages::redirect(location)
                }
                Step::Pass => {
                    let request = Request::from_parts(parts, body);
                    match pass(&gateway, &client, &exchange, route, &address, request).await {
                        Ok(response) => return Ok(response),
                        Err(answer) => own(answer, asker.in_language(route.locale)),
                    }
                }
            }
        }
    };
    headers::to_client(response.headers_mut(), client.scheme, &exchange.id, Passage::Message);
    exchange.complete();
    Ok(response)
}

async fn pass(
    gateway: &Arc<Gateway>,
    client: &Client,
    exchange: &Arc<Exchange>,
    route: &Route,
    address: &Address,
    request: Request<Incoming>,
) -> Result<Response<ClientBody>, Answer> {
    exchange.occupy(gateway.tenants.reserve(&route.tenant).ok_or(Answer::Busy)?);
    let (mut parts, body) = request.into_parts();
    let client_half = tunnel::requested(&mut parts, &body);
    let passage = if client_half.is_some() { Passage::WebSocket } else { Passage::Message };
    let origin = Origin {
        client: client.peer.ip().to_canonical(),
        scheme: client.scheme,
        address,
        request_id: &exchange.id,
    };
    headers::to_tenant(&mut parts.headers, &origin, passage);
    let parts = redirected(parts, &route.upstream)?;
    let limits = &gateway.limits;
    let body = RequestBody::new(body, limits.max_body_bytes, limits.body_timeout, Arc::clone(exchange));

    let response = gateway.upstreams.send(parts, body.boxed_unsync(), exchange).await?;
    let (mut parts, body) = response.into_parts();
    let status = parts.status;
    let passage = match (status == StatusCode::SWITCHING_PROTOCOLS, client_half) {
        (true, Some(client_half)) if headers::wants_web_socket(&parts.headers) => {
            let tenant_half = parts.extensions.remove().ok_or(Answer::BrokenAnswer)?;
            tunnel::join(gateway, client_half, tenant_half, Arc::clone(exchange));
            Passage::WebSocket
        }
        (true, _) => return Err(Answer::BrokenAnswer),
        (false, _) => Passage::Message,
    };
    exchange.answered(Outcome::Answered(status));
    parts.version = Version::HTTP_11;
    headers::to_client(&mut parts.headers, client.scheme, &exchange.id, passage);
    let body = ResponseBody::new(body, limits.response_timeout, status, Arc::clone(exchange));
    Ok(Response::from_parts(parts, body.boxed_unsync()))
}

/// The same request to the tenant's Service, over HTTP/1.1.
fn redirected(mut parts: Parts, upstream: &Authority) -> Result<Parts, Answer> {
    let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    parts.uri = Uri::builder()
        .scheme(UriScheme::HTTP)
        .authority(upstream.clone())
        .path_and_query(path)
        .build()
        .map_err(|_| Answer::BadRequest)?;
    parts.version = Version::HTTP_11;
    // What the server part of hyper keeps here is about the client's connection.
    parts.extensions.clear();
    Ok(parts)
}
