//! A browser, as far as the server can tell: one method per request.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, Response, header},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use uuid::Uuid;

pub const ORIGIN: &str = "http://acme.crm.localhost:8080";

#[derive(Clone)]
pub struct Client {
    router: Router,
    pub cookie: Option<String>,
    pub csrf: Option<String>,
}

pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The body, if the status is the expected one.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        let body = self.body();
        assert_eq!(self.status, status, "{body}");
        body
    }

    /// A problem of this type, with its status.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, kind: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["type"], kind, "{body}");
        assert_eq!(body["status"], status);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        body
    }

    /// A refused field.
    #[track_caller]
    pub fn expect_invalid(&self, pointer: &str, code: &str) {
        let body = self.expect_problem(422, "invalid");
        let wanted = json!({"pointer": pointer, "code": code});
        assert!(body["errors"].as_array().unwrap().contains(&wanted), "{body}");
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }
}

impl Client {
    pub fn new(router: Router) -> Self {
        Self { router, cookie: None, csrf: None }
    }

    /// As it is, without anything that a browser adds.
    pub async fn raw(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Reply { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub fn request(&self, method: &Method, path: &str) -> axum::http::request::Builder {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(header::HOST, "acme.crm.localhost:8080");
        if !method.is_safe() {
            request = request.header(header::ORIGIN, ORIGIN).header("sec-fetch-site", "same-origin");
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, format!("theme=dark; __Host-session={cookie}"));
        }
        if let Some(csrf) = self.csrf.as_ref().filter(|_| !method.is_safe()) {
            request = request.header("x-csrf-token", csrf);
        }
        request
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let request = self.request(&method, path);
        let request = match body {
            None => request.body(Body::empty()),
            Some(body) => {
                request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))
            }
        };
        self.raw(request.unwrap()).await
    }

    /// The same person, before another application.
    pub fn at(&self, router: Router) -> Self {
        Self { router, ..self.clone() }
    }

    /// The answer with a body that nobody has read yet.
    pub async fn open(&self, path: &str) -> Response<Body> {
        let request = self.request(&Method::GET, path).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn session(&self) -> Reply {
        self.get("/api/v1/session").await
    }

    pub async fn sign_in(&mut self, email: &str, password: &str) -> Reply {
        let reply = self.post("/api/v1/session", json!({"email": email, "password": password})).await;
        self.remember(reply)
    }

    pub async fn sign_out(&mut self) -> Reply {
        let reply = self.send(Method::DELETE, "/api/v1/session", None).await;
        self.remember(reply)
    }

    pub async fn inspect_link(&self, token: &str) -> Reply {
        self.post("/api/v1/welcome/inspect", json!({"token": token})).await
    }

    pub async fn spend_link(&mut self, token: &str, password: &str) -> Reply {
        let reply = self.post("/api/v1/welcome", json!({"token": token, "password": password})).await;
        self.remember(reply)
    }

    pub async fn users(&self) -> Value {
        self.get("/api/v1/users").await.expect(200)["items"].clone()
    }

    pub async fn user(&self, email: &str) -> Value {
        let users = self.users().await;
        users.as_array().unwrap().iter().find(|user| user["email"] == email).unwrap().clone()
    }

    pub async fn user_id(&self, email: &str) -> String {
        self.user(email).await["id"].as_str().unwrap().to_owned()
    }

    pub async fn create_user(&self, user: Value) -> Reply {
        self.post("/api/v1/users", user).await
    }

    pub async fn update_user(&self, id: &str, patch: Value) -> Reply {
        self.send(Method::PATCH, &format!("/api/v1/users/{id}"), Some(patch)).await
    }

    pub async fn new_link(&self, id: &str) -> Reply {
        self.send(Method::POST, &format!("/api/v1/users/{id}/link"), None).await
    }

    pub async fn new_exit_link(&self, password: &str) -> Reply {
        self.post("/api/v1/exit-bundle", json!({"password": password})).await
    }

    /// A link to an exit bundle that must be given.
    pub async fn exit_link(&self) -> String {
        let given = self.new_exit_link(crate::app::PASSWORD).await.expect(201);
        given["link"].as_str().unwrap().to_owned()
    }

    pub async fn create_company(&self, company: Value) -> Reply {
        self.post("/api/v1/companies", company).await
    }

    /// One that must work; its id.
    pub async fn company_named(&self, name: &str) -> Uuid {
        let company = self.create_company(json!({"name": name})).await.expect(201);
        company["id"].as_str().unwrap().parse().unwrap()
    }

    pub async fn company(&self, id: Uuid) -> Reply {
        self.get(&format!("/api/v1/companies/{id}")).await
    }

    pub async fn companies(&self, query: &[(&str, &str)]) -> Reply {
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        self.get(&format!("/api/v1/companies?{}", query.join("&"))).await
    }

    pub async fn update_company(&self, id: Uuid, version: i64, patch: Value) -> Reply {
        let request = self
            .request(&Method::PATCH, &format!("/api/v1/companies/{id}"))
            .header(header::IF_MATCH, format!("\"{version}\""))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(patch.to_string()));
        self.raw(request.unwrap()).await
    }

    pub async fn company_audit(&self, id: Uuid) -> Value {
        self.get(&format!("/api/v1/companies/{id}/audit")).await.expect(200)["items"].clone()
    }

    /// Takes over cookie and CSRF token, as the front end does.
    fn remember(&mut self, reply: Reply) -> Reply {
        if let Some(cookie) = reply.headers.get(header::SET_COOKIE) {
            let value =
                cookie.to_str().unwrap().split(';').next().unwrap().strip_prefix("__Host-session=").unwrap();
            self.cookie = (!value.is_empty()).then(|| value.to_owned());
            self.csrf = reply.body()["csrfToken"].as_str().map(str::to_owned);
        }
        reply
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| format!("{encoded}%{byte:02X}"))
}
