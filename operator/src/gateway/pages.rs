//! The gateway's own answers as a page for people or a problem document for programs.
//!
//! Pages are self-contained (a tenant that is down can serve no style sheet) and hold nothing that came with the request.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::StatusCode;
use http::{
    HeaderMap, HeaderValue, Method, Response,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
use http_body_util::{BodyExt, Empty, Full};
use sha2::{Digest, Sha256};

use super::{
    answer::{Answer, preferred_locale},
    body::ClientBody,
    routes::Locale,
};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Nothing but our own style sheet, named by its digest.
static CONTENT_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What the asker wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Page,
    Problem,
}

/// The asker, as far as the form of an answer depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    format: Format,
    locale: Locale,
    is_head: bool,
}

impl Asker {
    pub(super) fn of(request: &Parts) -> Self {
        Self {
            format: format(request.uri.path(), &request.headers),
            locale: preferred_locale(
                request.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()),
            ),
            is_head: request.method == Method::HEAD,
        }
    }

    /// The same asker, answered in a tenant's language.
    pub(super) fn in_language(self, locale: Locale) -> Self {
        Self { locale, ..self }
    }
}

/// Renders an answer.
pub(super) fn render(answer: Answer, asker: Asker, request_id: &HeaderValue) -> Response<ClientBody> {
    let (content_type, text) = match asker.format {
        Format::Page => ("text/html; charset=utf-8", page(answer, asker.locale, request_id)),
        Format::Problem => ("application/problem+json", problem(answer, asker.locale, request_id)),
    };
    let mut response = Response::new(if asker.is_head { empty() } else { full(text) });
    *response.status_mut() = answer.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language_tag(asker.locale)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CONTENT_SECURITY_POLICY, CONTENT_POLICY.clone());
    if let Some(seconds) = answer.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Sends a client to the same place over TLS. 308 keeps the method; `no-store`, because the certificate that makes it
/// possible may be taken away again.
pub(super) fn redirect(location: HeaderValue) -> Response<ClientBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn format(path: &str, headers: &HeaderMap) -> Format {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wants_page = accept.contains("text/html");
    let wants_json = accept.contains("application/json") || accept.contains("+json");
    if path.starts_with("/api/") || (wants_json && !wants_page) { Format::Problem } else { Format::Page }
}

fn page(answer: Answer, locale: Locale, request_id: &HeaderValue) -> String {
    let words = answer.words(locale);
    let refresh = if answer.comes_back() { "<meta http-equiv=\"refresh\" content=\"10\">\n" } else { "" };
    TEMPLATE
        .replace("{lang}", language_tag(locale))
        .replace("{refresh}", refresh)
        .replace("{title}", words.title)
        .replace("{detail}", words.detail)
        .replace("{status}", answer.status().as_str())
        .replace("{id}", request_id.to_str().unwrap_or_default())
        .replace("{style}", STYLE)
}

fn problem(answer: Answer, locale: Locale, request_id: &HeaderValue) -> String {
    let words = answer.words(locale);
    serde_json::json!({
        "type": answer.problem_type(),
        "title": words.title,
        "status": answer.status().as_u16(),
        "detail": words.detail,
        "requestId": request_id.to_str().unwrap_or_default(),
    })
    .to_string()
}

fn language_tag(locale: Locale) -> &'static str {
    match locale {
        Locale::ZhCn => "zh-CN",
        Locale::En => "en",
    }
}

fn full(text: String) -> ClientBody {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> ClientBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("id-1");

    fn asker(path: &str, accept: &str) -> Asker {
        let request = Request::get(path).header(ACCEPT, accept).body(()).unwrap();
        Asker::of(&request.into_parts().0)
    }

    async fn text(answer: Answer, asker: Asker) -> String {
        let body = render(answer, asker, &ID).into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn programs_get_json_and_people_get_a_page() {
        assert_eq!(asker("/api/v1/companies", "text/html").format, Format::Problem);
        assert_eq!(asker("/", "application/json").format, Format::Problem);
        assert_eq!(asker("/", "application/problem+json").format, Format::Problem);
        assert_eq!(asker("/", "text/html,application/json;q=0.9").format, Format::Page);
        assert_eq!(asker("/", "*/*").format, Format::Page);
        assert_eq!(asker("/apiary", "*/*").format, Format::Page);
    }

    #[tokio::test]
    async fn every_answer_has_a_complete_page_and_problem_in_both_languages() {
        for answer in Answer::ALL {
            for locale in [Locale::ZhCn, Locale::En] {
                let html = text(answer, asker("/", "text/html").in_language(locale)).await;
                assert!(html.contains(answer.words(locale).title), "{html}");
                assert!(html.contains("id-1") && html.contains(answer.status().as_str()), "{html}");
                for placeholder in ["{lang}", "{refresh}", "{title}", "{detail}", "{style}", "{id}"] {
                    assert!(!html.contains(placeholder), "{placeholder} in {html}");
                }
                let json = text(answer, asker("/api/x", "").in_language(locale)).await;
                let json: serde_json::Value = serde_json::from_str(&json).unwrap();
                assert_eq!(json["status"], answer.status().as_u16());
            }
        }
    }

    #[test]
    fn the_content_policy_allows_exactly_the_style_sheet_of_the_page() {
        let html = page(Answer::UnknownAddress, Locale::En, &ID);
        let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let digest = BASE64_STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(CONTENT_POLICY.to_str().unwrap().contains(&format!("'sha256-{digest}'")));
    }
}
