//! JSON under `/api/v1`: a file per resource, with its handlers and their documentation.

pub mod companies;
pub mod company_audit;
mod company_input;
pub mod exit_bundle;
pub mod page;
pub mod session;
pub mod users;
pub mod welcome;
pub mod workspace;

use axum::{Json, Router, routing::get};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, ContentBuilder, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{ApiKey, ApiKeyValue, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, error::Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenantry CRM",
        description = "One customer's CRM. Errors are `application/problem+json` (RFC 9457) with a stable `type`. \
                       Requests that change something must come from the CRM's own pages (Origin, Sec-Fetch-Site) \
                       and repeat the session's CSRF token in `X-CSRF-Token`."
    ),
    components(schemas(Problem)),
    modifiers(&SecuritySchemes)
)]
struct Document;

/// All routes, and their description.
pub fn routes() -> (Router<App>, openapi::OpenApi) {
    let resources = OpenApiRouter::new()
        .routes(routes!(workspace::get))
        .routes(routes!(session::get, session::sign_in, session::sign_out))
        .routes(routes!(welcome::inspect))
        .routes(routes!(welcome::spend))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::update))
        .routes(routes!(users::new_link))
        .routes(routes!(companies::list, companies::create))
        .routes(routes!(companies::get, companies::update))
        .routes(routes!(company_audit::list))
        .routes(routes!(exit_bundle::new_link, exit_bundle::fetch));
    let (router, mut document) =
        OpenApiRouter::with_openapi(Document::openapi()).nest("/api/v1", resources).split_for_parts();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    describe_problems(&mut document);
    let served = document.clone();
    let router = router.route("/api/v1/openapi.json", get(async move || Json(served)));
    (router, document)
}

/// Every operation can fail, and always in the same form.
fn describe_problems(document: &mut openapi::OpenApi) {
    let problem = ResponseBuilder::new()
        .description("What went wrong")
        .content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build(),
        )
        .build();
    for path in document.paths.paths.values_mut() {
        let operations: [&mut Option<Operation>; 5] =
            [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem.clone()));
        }
    }
}

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme =
            |key: fn(ApiKeyValue) -> ApiKey, name: &str| SecurityScheme::ApiKey(key(ApiKeyValue::new(name)));
        components.add_security_scheme("session", scheme(ApiKey::Cookie, "__Host-session"));
        components.add_security_scheme("csrf", scheme(ApiKey::Header, "X-CSRF-Token"));
    }
}
