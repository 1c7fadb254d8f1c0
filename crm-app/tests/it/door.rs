//! A backup door in this process, over real HTTP, with faults on request.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    future::pending,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crm_app::{args, backup::Door};
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Body as _, Bytes, Frame, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub const STORE: &str = "main";
pub const TENANT: &str = "acme";
pub const UID: &str = "5f0c6a2e-2f5e-4a53-8f0b-1f6d3c1f2a77";
/// Nothing here is waited for any longer.
pub const WITHIN: Duration = Duration::from_secs(30);

/// What goes wrong, and with which requests: `PUT data`, `GET manifest.json`, `GET list` and so on.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The answer is no, before anything of the body is read.
    Refuse(&'static str, u16, &'static str),
    /// The same, but only for the first request.
    RefuseOnce(&'static str, u16, &'static str),
    /// Some of the body is taken, and the connection closed.
    HangUp(&'static str),
    /// All is done as it should be, and the connection closed without an answer, the first time.
    LoseAnswer(&'static str),
    /// All of the body is taken, and nothing said.
    Silence(&'static str),
    /// All is done as it should be, and nothing said.
    Withhold(&'static str),
    /// The stored object is not quite what was sent, and the door says so.
    Garble(&'static str),
    /// The answer's body ends in its middle with the connection.
    CutOff(&'static str),
    /// A new token takes the place of the old one after this request.
    RenewToken(&'static str),
}

#[derive(Default)]
struct World {
    objects: BTreeMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    /// Request, path, token.
    seen: Vec<(String, String, String)>,
    /// Requests whose bodies never ended as they should.
    broken_off: Vec<String>,
}

/// The door. It closes with this value.
pub struct FakeDoor {
    address: String,
    folder: tempfile::TempDir,
    world: Arc<Mutex<World>>,
    taken: watch::Receiver<usize>,
    _server: JoinSet<()>,
}

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    token_file: PathBuf,
    /// Bytes of bodies so far.
    taken: watch::Sender<usize>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;
/// The connection is closed without another word.
type Answer = Result<Response<Body>, io::Error>;

impl FakeDoor {
    pub async fn start(faults: impl IntoIterator<Item = Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        fs::write(&token_file, "first\n").unwrap();
        let world = Arc::new(Mutex::new(World { faults: faults.into_iter().collect(), ..World::default() }));
        let (sender, taken) = watch::channel(0);
        let shared = Shared { world: Arc::clone(&world), token_file, taken: sender };
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| serve(shared.clone(), request));
                    // A service that fails closes the connection, as it should.
                    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, folder, world, taken, _server: server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// The door as a Job of the tenant sees it.
    pub fn door(&self) -> Door {
        self.door_at(&self.url())
    }

    /// The same at another address.
    pub fn door_at(&self, url: &str) -> Door {
        Door::new(args::Store {
            door: url.parse().unwrap(),
            token_file: self.token_file(),
            store: STORE.to_owned(),
            tenant: TENANT.to_owned(),
            tenant_uid: UID.to_owned(),
        })
    }

    /// Names of the stored objects, without what they have in common.
    pub fn objects(&self) -> Vec<String> {
        let prefix = format!("/v1/{STORE}/{TENANT}/{UID}/");
        self.world().objects.keys().map(|path| path.strip_prefix(&prefix).unwrap().to_owned()).collect()
    }

    /// The one object of this name.
    pub fn object(&self, name: &str) -> Vec<u8> {
        let world = self.world();
        let mut found = world.objects.iter().filter(|(path, _)| path.ends_with(name));
        let (Some((_, bytes)), None) = (found.next(), found.next()) else { panic!("not one {name}") };
        bytes.clone()
    }

    /// The one manifest.
    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&self.object("manifest.json")).unwrap()
    }

    /// Damages the one object of this name.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        change(world.objects.iter_mut().find(|(path, _)| path.ends_with(name)).unwrap().1);
    }

    pub fn change_manifest(&self, change: impl FnOnce(&mut Value)) {
        self.change("manifest.json", |bytes| {
            let mut manifest = serde_json::from_slice(bytes).unwrap();
            change(&mut manifest);
            *bytes = serde_json::to_vec(&manifest).unwrap();
        });
    }

    /// From now on.
    pub fn break_with(&self, fault: Fault) {
        self.world().faults.push(fault);
    }

    /// From now on all is well.
    pub fn heal(&self) {
        self.world().faults.clear();
    }

    /// Requests and their tokens, in order.
    pub fn seen(&self) -> Vec<(String, String)> {
        self.world().seen.iter().map(|(request, _, token)| (request.clone(), token.clone())).collect()
    }

    /// Waits until a request of this kind came.
    pub async fn asked(&self, request: &str) {
        let mut taken = self.taken.clone();
        let came = async {
            while !self.world().seen.iter().any(|(seen, ..)| seen == request) {
                taken.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WITHIN, came).await.unwrap_or_else(|_| panic!("no {request} came"));
    }

    /// Waits until a request of this kind was broken off in the middle of its body.
    pub async fn broke_off(&self, request: &str) {
        let mut taken = self.taken.clone();
        let came = async {
            while !self.world().broken_off.iter().any(|broken| broken == request) {
                taken.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WITHIN, came).await.unwrap_or_else(|_| panic!("no {request} was broken off"));
    }

    /// Waits until so many objects have names that end like this.
    pub async fn has(&self, end: &str, count: usize) {
        let mut taken = self.taken.clone();
        let came = async {
            while self.objects().iter().filter(|name| name.ends_with(end)).count() < count {
                taken.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WITHIN, came).await.unwrap_or_else(|_| panic!("there are no {count} {end}"));
    }

    /// Waits until so many bytes of bodies came.
    pub async fn took(&self, bytes: usize) {
        let mut taken = self.taken.clone();
        let came = taken.wait_for(|taken| bytes <= *taken);
        tokio::time::timeout(WITHIN, came).await.expect("so many bytes never came").unwrap();
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Takes the first fault that fits, and forgets it if it happens once.
    fn fault(&self, request: &str) -> Option<Fault> {
        let mut world = self.world();
        let at = world.faults.iter().position(|fault| fault.is_with(request))?;
        let fault = world.faults[at].clone();
        if matches!(fault, Fault::RefuseOnce(..) | Fault::LoseAnswer(_) | Fault::RenewToken(_)) {
            world.faults.remove(at);
        }
        Some(fault)
    }

    async fn body(&self, mut body: Incoming, at_most: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < at_most {
            let Some(frame) = body.frame().await else { return Ok(all) };
            let bytes = frame.map_err(io::Error::other)?.into_data().unwrap();
            all.extend_from_slice(&bytes);
            self.taken.send_modify(|taken| *taken += bytes.len());
        }
        Ok(all)
    }
}

impl Fault {
    fn is_with(&self, request: &str) -> bool {
        match self {
            Self::Refuse(with, ..)
            | Self::RefuseOnce(with, ..)
            | Self::HangUp(with)
            | Self::LoseAnswer(with)
            | Self::Silence(with)
            | Self::Withhold(with)
            | Self::Garble(with)
            | Self::CutOff(with)
            | Self::RenewToken(with) => *with == request,
        }
    }
}

async fn serve(shared: Shared, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let prefix = format!("/v1/{STORE}/{TENANT}/{UID}");
    let rest = path.strip_prefix(&prefix).unwrap_or_else(|| panic!("asked for {path}"));
    let name = match rest.rsplit_once('/') {
        None => "list",
        Some(("/exports", _)) => "bundle",
        Some((_, name)) => name,
    };
    let kind = format!("{} {name}", request.method());
    let token = request.headers()[header::AUTHORIZATION].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    shared.world().seen.push((kind.clone(), path.clone(), token.to_owned()));
    shared.taken.send_modify(|_| {});

    let fault = shared.fault(&kind);
    match fault {
        Some(Fault::Refuse(_, status, reason) | Fault::RefuseOnce(_, status, reason)) => {
            return Ok(answer(status, &json!({"reason": reason, "message": "words"})));
        }
        Some(Fault::HangUp(_)) => {
            shared.body(request.into_body(), 1).await?;
            return Err(io::Error::other("hangs up"));
        }
        Some(Fault::Silence(_)) => {
            shared.body(request.into_body(), usize::MAX).await?;
            return pending().await;
        }
        _ => {}
    }
    let cut_off = matches!(fault, Some(Fault::CutOff(_)));
    let done = match *request.method() {
        Method::PUT => put(&shared, &path, name, request.into_body(), fault.as_ref()).await,
        _ => Ok(get(&shared, &path, cut_off)),
    };
    match fault {
        Some(Fault::LoseAnswer(_)) => return Err(io::Error::other("loses the answer")),
        Some(Fault::Withhold(_)) => {
            shared.taken.send_modify(|_| {});
            return pending().await;
        }
        Some(Fault::RenewToken(_)) => fs::write(&shared.token_file, "second\n").unwrap(),
        _ => {}
    }
    done
}

async fn put(shared: &Shared, path: &str, name: &str, body: Incoming, fault: Option<&Fault>) -> Answer {
    assert_eq!(
        body.size_hint().exact().is_none(),
        name != "manifest.json",
        "only the size of a manifest is known"
    );
    let mut bytes = match shared.body(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => {
            shared.world().broken_off.push(format!("PUT {name}"));
            shared.taken.send_modify(|_| {});
            return Err(error);
        }
    };
    if matches!(fault, Some(Fault::Garble(_))) {
        bytes[0] ^= 1;
    }
    let mut world = shared.world();
    if world.objects.contains_key(path) {
        return Ok(answer(409, &json!({"reason": "AlreadyExists", "message": "it is there"})));
    }
    if name == "manifest.json" {
        let data = path.replace(name, "data");
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let stored = world.objects.get(&data).map(Vec::len);
        if manifest["data"]["size"].as_u64() != stored.map(|size| size as u64) {
            return Ok(answer(422, &json!({"reason": "InvalidManifest", "message": "no such data"})));
        }
    }
    let stored = json!({"size": bytes.len(), "sha256": hex::encode(Sha256::digest(&bytes))});
    world.objects.insert(path.to_owned(), bytes);
    Ok(answer(201, &stored))
}

fn get(shared: &Shared, path: &str, cut_off: bool) -> Response<Body> {
    let world = shared.world();
    let list = || -> Vec<Value> {
        let manifests = world.objects.iter().rev().filter(|(path, _)| path.ends_with("manifest.json"));
        manifests.map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).collect()
    };
    let bytes = match world.objects.get(path) {
        Some(bytes) => bytes.clone(),
        None if path.ends_with(UID) => json!({"backups": list()}).to_string().into_bytes(),
        None => return answer(404, &json!({"reason": "NotFound", "message": "it is not there"})),
    };
    let length = bytes.len();
    let body = if cut_off {
        let half = Ok(Frame::data(Bytes::from(bytes[..length / 2].to_vec())));
        let end = Err(io::Error::other("cut off"));
        StreamBody::new(stream::iter([half, end]).then(async |frame| {
            // So that the half is on its way before the end comes.
            tokio::task::yield_now().await;
            frame
        }))
        .boxed_unsync()
    } else {
        whole(bytes)
    };
    Response::builder().header(header::CONTENT_LENGTH, length).body(body).unwrap()
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    Response::builder().status(status).body(whole(body.to_string().into_bytes())).unwrap()
}

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never: Infallible| match never {}).boxed_unsync()
}
