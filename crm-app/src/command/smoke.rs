//! Serves a restored database for a moment, and asks it what people would ask: the routes of `serve`, on loopback ports, as the role of
//! `serve`. What is made here stays in the database, which therefore has to be one that is thrown away.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::http::{Method, Request, header, request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::serve;
use crate::{
    app::{self, App},
    args::PublicUrl,
    auth::{password::Passwords, session, token::Token},
    backup::{Deadline, Problem, Programs},
    clock::Clock,
    db::{self, Login, user},
    domain::user::{Role, Status},
    entitlement::{Entitlement, State},
    exchange::download::{PATIENCE, Source},
    health,
    leaving::Leaving,
    metrics::Metrics,
};

/// As few as a tenant's CRM may have; requests come one by one.
const CONNECTIONS: u32 = 2;
/// The application gives up sooner.
const LONGEST_ANSWER: Duration = Duration::from_secs(15);
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// What a problem says of itself is only repeated when it is one of the application's own words.
const LONGEST_WORD: usize = 32;

/// Where the application listens for as long as this lives.
struct Served {
    app: App,
    application: SocketAddr,
    management: SocketAddr,
    _stop: watch::Sender<()>,
}

/// A browser.
struct Visitor {
    address: SocketAddr,
    session: Option<Token>,
}

/// What came back.
struct Answer {
    status: u16,
    body: Value,
}

/// Serves the database and asks. Whether there was somebody who can sign in: without, only what strangers see is tried.
pub(super) async fn serve(database: Login, programs: &Programs, deadline: Deadline) -> Result<bool, Problem> {
    let served = start(database, programs).await.map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "smoke.not_started");
        not_served("GET /", "nothing")
    })?;
    let asked = ask(&served, deadline).await;
    served.app.db.close().await;
    asked
}

async fn start(database: Login, programs: &Programs) -> anyhow::Result<Served> {
    let listen = async || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen");
    let (application, management) = (listen().await?, listen().await?);
    let addresses = (application.local_addr()?, management.local_addr()?);
    let app = App {
        db: db::pool(database.options(), CONNECTIONS),
        entitlement: watch::channel(Entitlement { state: State::Active, ..Entitlement::none() }).1,
        clock: Clock::system(),
        passwords: Arc::new(Passwords::default()),
        public_url: Arc::new(PublicUrl { https: false, authority: addresses.0.to_string() }),
        exit: Source {
            login: watch::channel(database).1,
            origin: None,
            programs: programs.clone(),
            patience: PATIENCE,
        },
        metrics: Metrics::new()?,
    };
    let (stop, stopping) = watch::channel(());
    serve::answer(management, health::router(app.clone(), Leaving::default()), stopping.clone());
    serve::answer(application, app::router(app.clone()), stopping);
    Ok(Served { app, application: addresses.0, management: addresses.1, _stop: stop })
}

async fn ask(served: &Served, deadline: Deadline) -> Result<bool, Problem> {
    let failed = |error: sqlx::Error| Problem::database(&error);
    let people = async || {
        let mut db = served.app.db.acquire().await.map_err(failed)?;
        user::list(&mut db).await.map_err(failed)
    };
    let people = deadline.patiently(people, Problem::is_of_absence).await?;
    let probe = Visitor { address: served.management, session: None };
    // Without people it never is.
    let status = if people.is_empty() { 503 } else { 200 };
    let ready = async || probe.get("GET /readyz", "/readyz", status).await;
    deadline.patiently(ready, |problem| matches!(problem, Problem::NotServed { .. })).await?;
    let mut visitor = Visitor { address: served.application, session: None };
    visitor.get("GET /", "/", 200).await?;
    visitor.get("GET /api/v1/workspace", "/api/v1/workspace", 200).await?;
    visitor.get("GET /api/v1/session", "/api/v1/session", 401).await?;

    let is_administrator =
        |person: &&user::UserRow| person.status == Status::Active && person.role == Role::Admin;
    let Some(administrator) = people.iter().find(is_administrator) else {
        tracing::info!("smoke.nobody_to_sign_in: only what strangers see was tried");
        return Ok(false);
    };
    let mut db = served.app.db.acquire().await.map_err(failed)?;
    let (nothing, now) = (header::HeaderMap::new(), served.app.clock.now());
    let opened = session::open(&mut db, &nothing, administrator.id, now).await;
    visitor.session = Some(opened.map_err(|error| match error {
        crate::error::Error::Database(source) => failed(source),
        _ => not_served("GET /api/v1/session", "nothing"),
    })?);
    drop(db);
    work(&visitor).await?;
    Ok(true)
}

/// What an administrator does all day.
async fn work(visitor: &Visitor) -> Result<(), Problem> {
    const LIST: &str = "/api/v1/companies";
    visitor.get("GET /api/v1/session", "/api/v1/session", 200).await?;
    visitor.get("GET /api/v1/companies", LIST, 200).await?;
    let company = json!({"name": "drill"});
    let made = visitor.send("POST /api/v1/companies", Method::POST, LIST, &company, 201).await?;
    let path = format!("{LIST}/{}", made["id"].as_str().unwrap_or_default());
    let change = json!({"shortName": "drilled"});
    visitor.send("PATCH /api/v1/companies/{id}", Method::PATCH, &path, &change, 200).await?;
    let read = "GET /api/v1/companies/{id}";
    let again = visitor.get(read, &path, 200).await?;
    if again["name"] == company["name"] && again["shortName"] == change["shortName"] {
        return Ok(());
    }
    Err(not_served(read, "200 without what was written"))
}

impl Visitor {
    async fn get(&self, request: &'static str, path: &str, expected: u16) -> Result<Value, Problem> {
        let answer = self.ask(self.request(Method::GET, path).body(Full::default())).await;
        judge(request, answer, expected)
    }

    /// For what changes something, as our own pages do it.
    async fn send(
        &self,
        request: &'static str,
        method: Method,
        path: &str,
        body: &Value,
        expected: u16,
    ) -> Result<Value, Problem> {
        let csrf = self.session.as_ref().map(Token::csrf).unwrap_or_default();
        let sent = self
            .request(method, path)
            .header("sec-fetch-site", "same-origin")
            .header(header::ORIGIN, format!("http://{}", self.address))
            .header("x-csrf-token", csrf)
            // What was just made is the first of its versions.
            .header(header::IF_MATCH, "\"1\"")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()));
        judge(request, self.ask(sent).await, expected)
    }

    fn request(&self, method: Method, path: &str) -> request::Builder {
        let request =
            Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        match &self.session {
            // As browsers send it back: without what follows.
            Some(token) => {
                let [(_, cookie)] = session::cookie(token);
                request.header(header::COOKIE, cookie.split(';').next().unwrap_or_default())
            }
            None => request,
        }
    }

    async fn ask(&self, request: axum::http::Result<Request<Full<Bytes>>>) -> anyhow::Result<Answer> {
        timeout(LONGEST_ANSWER, exchange(self.address, request?)).await.context("no answer in time")?
    }
}

/// One request on a connection of its own.
async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        // The front end is no JSON, and is only looked at by its status.
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
    };
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        ended = connection => {
            ended?;
            asking.await
        }
    }
}

fn judge(request: &'static str, answer: anyhow::Result<Answer>, expected: u16) -> Result<Value, Problem> {
    let answer = answer.map_err(|error| {
        tracing::error!(request, error = format!("{error:#}"), "smoke.no_answer");
        not_served(request, "nothing")
    })?;
    if answer.status == expected {
        tracing::info!(request, status = expected, "smoke.answered");
        return Ok(answer.body);
    }
    let word = answer.body["type"].as_str().filter(|word| is_word(word));
    let said = word.map(|word| format!(" ({word})")).unwrap_or_default();
    Err(not_served(request, &format!("{}{said} instead of {expected}", answer.status)))
}

fn is_word(text: &str) -> bool {
    text.len() <= LONGEST_WORD && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn not_served(request: &'static str, answer: &str) -> Problem {
    Problem::NotServed { request, answer: answer.to_owned() }
}
