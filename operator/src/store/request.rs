//! From a request to an answer: who asks, whether they may, and what the store says.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use prometheus::IntCounter;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::{sync::oneshot, time::sleep};

use super::{
    Door,
    backend::{self, Backend, Object},
    body::{Answer, Upload, streamed, whole},
    caller::{Access, Caller},
    manifest,
    path::{BackupId, Key, Part, Prefix, StoreName, Target},
    places::{Lane, Place},
    problem::Problem,
    retention::AHEAD,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// How many backups a list has at most: the newest.
const LISTED: usize = 1000;
/// How many manifests are fetched at the same time for a list.
const FETCHED: usize = 4;
/// How long after its moment a backup may be put: many times what a Job has.
const PUT_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Put,
    Get,
    List,
    Other,
}

impl Operation {
    fn of(method: &Method, target: Option<&Target>) -> Self {
        match (method, target) {
            (&Method::PUT, Some(Target::Object(..))) => Self::Put,
            (&Method::GET, Some(Target::Object(..))) => Self::Get,
            (&Method::GET, Some(Target::Catalogue(..))) => Self::List,
            _ => Self::Other,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::List => "list",
            Self::Other => "other",
        }
    }
}

/// Answers one request. There is always an answer.
///
/// The work is done beside the connection: when a client goes away, what it began is ended in order, not dropped.
pub(super) async fn handle(
    door: Arc<Door>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut upload = Upload::new(body, door.limits.body_timeout);
    let (tell, told) = oneshot::channel();
    let tasks = door.tasks.clone();
    tasks.spawn(async move {
        let result = answer(&door, &parts, &mut upload).await;
        let refused = result.is_err();
        // Nobody listens any more when the connection is gone.
        let _ = tell.send(result.unwrap_or_else(|problem| problem.answer()));
        if refused {
            upload.linger().await;
        }
    });
    Ok(told.await.unwrap_or_else(|_| broken().answer()))
}

fn broken() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", "the door has a fault; its log says which")
}

async fn answer(door: &Arc<Door>, parts: &Parts, body: &mut Upload) -> Result<Response<Answer>, Problem> {
    let target = parse(&parts.uri);
    let operation = Operation::of(&parts.method, target.as_ref().ok());
    let result = carry_out(door, parts, target, operation, body).await;
    let label = match &result {
        Ok(_) => "ok",
        Err(problem) => {
            let (path, reason) = (parts.uri.path(), problem.reason);
            if problem.is_fault() {
                tracing::warn!(path, reason, message = problem.message, "a request failed");
            } else {
                tracing::debug!(path, reason, message = problem.message, "a request was refused");
            }
            reason
        }
    };
    door.metrics.requests.with_label_values(&[operation.label(), label]).inc();
    result
}

async fn carry_out(
    door: &Arc<Door>,
    parts: &Parts,
    target: Result<Target, Problem>,
    operation: Operation,
    body: &mut Upload,
) -> Result<Response<Answer>, Problem> {
    let caller = door.callers.identify(&parts.headers).await?;
    let (target, access) = match (target?, operation) {
        (_, Operation::Other) => return Err(not_allowed()),
        (target, Operation::Put) => (target, Access::Write),
        (target, Operation::Get | Operation::List) => (target, Access::Read),
    };
    caller.authorize(access, target.prefix())?;
    let store = target.store().clone();
    let result = match target {
        Target::Object(store, key) if access == Access::Write => put(door, &store, &key, body).await,
        Target::Object(store, key) => get(door, &caller, &store, &key).await,
        Target::Catalogue(store, prefix) => list(door, &caller, store, prefix).await,
    };
    if result.as_ref().is_err_and(Problem::is_fault) {
        door.stores.look_again(&store);
    }
    result
}

fn parse(uri: &Uri) -> Result<Target, Problem> {
    if uri.query().is_some() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "InvalidPath",
            "there is nothing to say after a '?'",
        ));
    }
    Ok(uri.path().parse::<Target>()?)
}

fn not_allowed() -> Problem {
    let message = "only GET, and PUT of what is not there yet: nothing is ever changed or deleted here";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}

async fn put(
    door: &Door,
    store: &StoreName,
    key: &Key,
    body: &mut Upload,
) -> Result<Response<Answer>, Problem> {
    timely(&key.backup, (door.now)())?;
    let lane = if key.part == Part::Bundle { Lane::ExitBundles } else { Lane::Backups };
    let _place = door.places.upload(&key.prefix, lane).await?;
    let backend = door.stores.backend(store)?;
    if backend.size(key).await?.is_some() {
        return Err(Problem::already_exists(key));
    }
    let received = match key.part {
        Part::Data | Part::Bundle => put_data(door, &backend, key, body).await?,
        Part::Manifest => put_manifest(&backend, store, key, body).await?,
    };
    if key.part == Part::Manifest {
        door.stores.has_grown(store, &key.prefix);
    }
    tracing::info!(store = store.as_str(), object = %key, bytes = received.size, "an object was put");
    let text = json!({"size": received.size, "sha256": received.sha256}).to_string();
    let mut response = Response::new(whole(text.into()));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(response)
}

/// A backup is put in the hours after the moment in its name. What may be removed follows from these moments: with names of the
/// past, whoever has a tenant's token could have new backups take the places of older ones.
fn timely(backup: &BackupId, now: Timestamp) -> Result<(), Problem> {
    if backup.time() <= now + AHEAD && now <= backup.time() + PUT_WITHIN {
        return Ok(());
    }
    let (hours, ahead) = (PUT_WITHIN.as_hours(), AHEAD.as_mins());
    let message = format!(
        "here it is {now:.0}: a backup is put within {hours} hours of the time in its name, which is ahead by {ahead} minutes at most; do the nodes' clocks agree?"
    );
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Untimely", message))
}

/// What came of an object.
struct Received {
    size: u64,
    sha256: String,
}

async fn put_data(door: &Door, backend: &Backend, key: &Key, body: &mut Upload) -> Result<Received, Problem> {
    let mut upload = backend.upload(key).await?;
    let received = tokio::select! {
        received = receive(door, body, &mut upload) => received,
        () = door.abort.cancelled() => Err(stopping()),
        () = sleep(door.limits.upload_timeout) => Err(too_slow(door.limits.upload_timeout)),
    };
    match received {
        Ok(received) => {
            upload.finish().await?;
            Ok(received)
        }
        Err(problem) => {
            upload.abandon().await;
            Err(problem)
        }
    }
}

async fn receive(door: &Door, body: &mut Upload, upload: &mut backend::Upload) -> Result<Received, Problem> {
    let (mut size, mut hash) = (0, Sha256::new());
    while let Some(piece) = body.next().await? {
        size += piece.len() as u64;
        door.metrics.received.inc_by(piece.len() as u64);
        hash.update(&piece);
        upload.write(piece).await?;
    }
    Ok(Received { size, sha256: hex::encode(hash.finalize()) })
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "the door is being stopped: put it again")
}

fn too_slow(limit: Duration) -> Problem {
    let message = format!("an upload has {} s, so nothing of it is kept", limit.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "TooSlow", message)
}

async fn put_manifest(
    backend: &Backend,
    store: &StoreName,
    key: &Key,
    body: &mut Upload,
) -> Result<Received, Problem> {
    let text = body.collect(manifest::MAX_BYTES).await?;
    let facts = manifest::check(&text, store, key)?;
    let data = Key { part: Part::Data, ..key.clone() };
    manifest::check_size(facts.size, backend.size(&data).await?)?;
    let received = Received { size: text.len() as u64, sha256: hex::encode(Sha256::digest(&text)) };
    let mut upload = backend.upload(key).await?;
    match upload.write(text).await {
        Ok(()) => upload.finish().await?,
        Err(error) => {
            upload.abandon().await;
            return Err(error.into());
        }
    }
    Ok(received)
}

async fn get(
    door: &Arc<Door>,
    caller: &Caller,
    store: &StoreName,
    key: &Key,
) -> Result<Response<Answer>, Problem> {
    let place = place(door, caller)?;
    let backend = door.stores.backend(store)?;
    let Some(Object { size, content }) = backend.get(key).await? else {
        return Err(Problem::not_found(format!("there is no {key}")));
    };
    let sent = door.metrics.sent.clone();
    let mut response = Response::new(streamed(content.inspect_ok(move |piece| {
        // Held until the last piece is gone.
        let _ = &place;
        sent.inc_by(piece.len() as u64);
    })));
    let content_type = if key.part == Part::Manifest { JSON } else { BINARY };
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
    Ok(response)
}

async fn list(
    door: &Arc<Door>,
    caller: &Caller,
    store: StoreName,
    prefix: Prefix,
) -> Result<Response<Answer>, Problem> {
    let place = place(door, caller)?;
    let backend = door.stores.backend(&store)?;
    let mut backups = backend.backups(&prefix).await?;
    backups.sort_unstable_by(|one, other| other.cmp(one));
    backups.truncate(LISTED);
    let unreadable = door.metrics.unreadable_manifests.clone();
    let manifests = stream::iter(backups)
        .map(move |backup| {
            let key = Key { prefix: prefix.clone(), backup, part: Part::Manifest };
            fetch(backend.clone(), store.clone(), key, unreadable.clone())
        })
        .buffered(FETCHED)
        .try_filter_map(future::ok);
    let mut response = Response::new(streamed(in_a_list(manifests).inspect_ok(move |_| {
        let _ = &place;
    })));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(response)
}

/// The manifest of a backup; none when the backup is not complete, or the manifest is not what it was when it was put.
async fn fetch(
    backend: Arc<Backend>,
    store: StoreName,
    key: Key,
    unreadable: IntCounter,
) -> Result<Option<Bytes>, backend::Error> {
    let Some(object) = backend.get(&key).await? else { return Ok(None) };
    let error = match object.collect(manifest::MAX_BYTES).await {
        Ok(text) => match manifest::check(&text, &store, &key) {
            Ok(_) => return Ok(Some(text)),
            Err(error) => error.to_string(),
        },
        Err(error @ backend::Error::TooLarge(_)) => error.to_string(),
        Err(error) => return Err(error),
    };
    unreadable.inc();
    tracing::error!(store = store.as_str(), object = %key, error, "a manifest is left out of the list");
    Ok(None)
}

/// JSON around texts that are JSON.
fn in_a_list(
    texts: impl Stream<Item = Result<Bytes, backend::Error>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, backend::Error>> + Send + 'static {
    let once = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
    let separated = texts.enumerate().flat_map(|(at, text)| {
        let comma = if at == 0 { "" } else { "," };
        stream::iter([Ok(Bytes::from_static(comma.as_bytes())), text])
    });
    once("{\"backups\":[").chain(separated).chain(once("]}"))
}

/// A place among its own for a tenant, whosever backups it reads; the operator needs none.
fn place(door: &Door, caller: &Caller) -> Result<Option<Place>, Problem> {
    match caller {
        Caller::Tenant { own, .. } => door.places.request(own).map(Some),
        Caller::Operator => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2026-11-22T14:00:00Z", true)]
    #[case("2026-11-23T14:00:00Z", true)]
    #[case("2026-11-23T14:00:01Z", false)]
    #[case("2026-11-22T13:50:00Z", true)]
    #[case("2026-11-22T13:49:59Z", false)]
    fn a_backup_is_put_soon_after_its_moment(#[case] now: Timestamp, #[case] ok: bool) {
        let backup = BackupId::parse("20261122T140000Z-ab12cd").unwrap();
        assert_eq!(timely(&backup, now).map_err(|problem| problem.reason).is_ok(), ok);
    }
}
