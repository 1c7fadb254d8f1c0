//! A small client for a tenant's CRM: it keeps the session cookie and the CSRF token as a browser would.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

/// Status and JSON body of an answer; `Null` where the body is not JSON.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Body.
    pub body: Value,
}

/// One person at one tenant's CRM.
#[derive(Clone, Debug)]
pub struct Crm {
    http: reqwest::Client,
    origin: String,
    cookie: Option<String>,
    csrf_token: Option<String>,
}

impl Crm {
    /// A person who has not signed in yet. `host` need not resolve: connections go to `gateway`.
    pub fn new(host: &str, gateway: SocketAddr) -> Result<Self> {
        let http = reqwest::Client::builder()
            .resolve(host, gateway)
            .timeout(Duration::from_secs(10))
            .no_proxy()
            .build()?;
        Ok(Self { http, origin: format!("http://{host}:{}", gateway.port()), cookie: None, csrf_token: None })
    }

    /// Spends a one-time link: sets the password and signs in.
    ///
    /// # Errors
    /// When the CRM does not answer or refuses the link.
    pub async fn welcome(&mut self, link: &str, password: &str) -> Result<()> {
        let (_, token) = link.split_once('#').with_context(|| format!("{link} is no one-time link"))?;
        self.sign_in_at("/welcome", json!({ "token": token, "password": password })).await
    }

    /// Signs in by password.
    ///
    /// # Errors
    /// When the CRM does not answer or refuses.
    pub async fn sign_in(&mut self, email: &str, password: &str) -> Result<()> {
        self.sign_in_at("/session", json!({ "email": email, "password": password })).await
    }

    async fn sign_in_at(&mut self, path: &str, body: Value) -> Result<()> {
        let response = self.request(Method::POST, path).json(&body).send().await?;
        let status = response.status();
        let cookie = response.headers().get(header::SET_COOKIE).and_then(|value| value.to_str().ok());
        let cookie = cookie.and_then(|value| value.split(';').next()).map(str::to_owned);
        let body: Value = response.json().await.unwrap_or_default();
        if !status.is_success() {
            bail!("POST {path} answered {status}: {body}");
        }
        self.cookie = Some(cookie.context("no session cookie was set")?);
        self.csrf_token = Some(body["csrfToken"].as_str().context("no csrfToken in the answer")?.to_owned());
        Ok(())
    }

    /// The same person, with connections of its own: those of another test's runtime end with it.
    #[must_use]
    pub fn in_the_session_of(self, other: &Self) -> Self {
        Self { cookie: other.cookie.clone(), csrf_token: other.csrf_token.clone(), ..self }
    }

    /// What the browser shows to be known again, if somebody has signed in.
    pub fn session(&self) -> Option<&str> {
        self.cookie.as_deref()?.split_once('=').map(|(_, value)| value)
    }

    /// Creates a company and returns it.
    ///
    /// # Errors
    /// When the CRM does not answer with 201.
    pub async fn create_company(&self, name: &str) -> Result<Value> {
        let reply = self.send(Method::POST, "/companies", Some(json!({ "name": name }))).await?;
        match reply.status {
            StatusCode::CREATED => Ok(reply.body),
            status => bail!("creating a company answered {status}: {}", reply.body),
        }
    }

    /// Gives a company, as it was returned last, another name.
    ///
    /// # Errors
    /// When the CRM does not answer with 200.
    pub async fn rename_company(&self, company: &Value, name: &str) -> Result<()> {
        let path = format!("/companies/{}", company["id"].as_str().context("it has no id")?);
        let version = format!("\"{}\"", company["version"]);
        let request = self.request(Method::PATCH, &path).header(header::IF_MATCH, version);
        let response = request.json(&json!({ "name": name })).send().await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            status => bail!("PATCH {path} answered {status}: {}", response.text().await?),
        }
    }

    /// Sends a request to the API and returns whatever it answers.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Reply> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        Ok(Reply { status, body: response.json().await.unwrap_or_default() })
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.origin));
        request = request.header(header::ORIGIN, &self.origin).header(header::ACCEPT, "application/json");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(token) = &self.csrf_token {
            request = request.header("x-csrf-token", token);
        }
        request
    }
}
