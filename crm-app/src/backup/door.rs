//! The backup door (`operator store`), as one tenant's Job sees it: put and get below the tenant's own prefix.

use std::{io, path::PathBuf, time::Duration};

use futures_util::stream;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustix::net::sockopt;
use serde::Deserialize;
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet, time::timeout};

use super::{
    Deadline, Problem,
    manifest::{self, BackupId, Manifest, Tenant},
    tally::Sum,
};
use crate::args::{self, Which};

const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// A door whose node is gone never says goodbye. When nothing comes for so long, it is asked whether it is there, and again.
const SILENCE: Duration = Duration::from_secs(10);
/// By then it must have said so, and have received what is sent, or the line is given up. A door that lets an upload wait takes no
/// more of it meanwhile: this is as long as it gives its store, and longer than it waits for room.
const HEARD_WITHIN: Duration = Duration::from_mins(1);
/// Of answers that are kept in memory.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;
const LONGEST_REASON: usize = 64;

/// Where the tenant's backups are.
#[derive(Clone, Debug)]
pub struct Door {
    authority: String,
    /// Read for each request: the kubelet replaces tokens before they expire.
    token_file: PathBuf,
    store: String,
    tenant: Tenant,
}

/// A piece of a body that is sent while it is made.
pub(crate) enum Piece {
    /// Some of it.
    Data(Bytes),
    /// It is whole. Without this the request is broken off, so that what was cut short never looks whole.
    End,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A connection for one request; dropping it hangs up.
pub(crate) struct Line {
    sender: SendRequest<Body>,
    _driver: JoinSet<()>,
}

impl Door {
    /// As the command line says.
    pub fn new(args: args::Store) -> Self {
        Self {
            authority: args.door.authority,
            token_file: args.token_file,
            store: args.store,
            tenant: Tenant { name: args.tenant, uid: args.tenant_uid },
        }
    }

    /// Name of the store behind it.
    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    /// Whose backups are meant.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Sends the data object as its pieces come and says what the door has then.
    pub(super) async fn put_data(
        &self,
        line: Line,
        backup: &BackupId,
        pieces: mpsc::Receiver<Piece>,
    ) -> Result<Sum, Problem> {
        self.put(line, &format!("/{backup}/data"), pieces).await
    }

    /// Sends an exit bundle as its pieces come and says what the door has then.
    pub(crate) async fn put_bundle(
        &self,
        line: Line,
        export: &BackupId,
        pieces: mpsc::Receiver<Piece>,
    ) -> Result<Sum, Problem> {
        self.put(line, &format!("/exports/{export}.zip.age"), pieces).await
    }

    async fn put(&self, mut line: Line, path: &str, pieces: mpsc::Receiver<Piece>) -> Result<Sum, Problem> {
        let body = StreamBody::new(stream::unfold(pieces, next_frame)).boxed_unsync();
        let answer = self.send(&mut line, Method::PUT, path, body).await?;
        serde_json::from_slice(&accepted(answer, StatusCode::CREATED).await?)
            .map_err(|_| Problem::DoorRefused { status: 201, reason: None })
    }

    /// Sends the manifest, which makes the backup exist. Tried again when the door is gone in between; when it has one by
    /// then, it must be this one.
    pub(super) async fn put_manifest(&self, manifest: &Manifest, deadline: Deadline) -> Result<(), Problem> {
        let text = Bytes::from(serde_json::to_vec(manifest).map_err(|_| Problem::ManifestInvalid)?);
        let put = async || {
            let mut line = self.connect_once().await?;
            let path = format!("/{}/manifest.json", manifest.id);
            let answer = self.send(&mut line, Method::PUT, &path, whole(text.clone())).await?;
            accepted(answer, StatusCode::CREATED).await
        };
        let refused = match deadline.patiently(put, is_passing).await {
            Err(problem @ Problem::DoorRefused { status: 409, .. }) => problem,
            done => return done.map(drop),
        };
        let kept = self.manifest(&manifest.id, deadline).await;
        if kept.is_ok_and(|kept| kept == *manifest) { Ok(()) } else { Err(refused) }
    }

    /// The manifest of one backup, which is what it says it is.
    pub async fn manifest(&self, backup: &BackupId, deadline: Deadline) -> Result<Manifest, Problem> {
        let text = self.get(&format!("/{backup}/manifest.json"), deadline).await?;
        if manifest::LARGEST < text.len() {
            return Err(Problem::ManifestInvalid);
        }
        Manifest::read(&text, backup, &self.store, &self.tenant)
    }

    /// The manifest of the backup that is meant.
    pub async fn find(&self, which: &Which, deadline: Deadline) -> Result<Manifest, Problem> {
        let id = match which {
            Which::Id(id) => id.clone(),
            Which::Newest => self.newest(Timestamp::MAX, deadline).await?,
            Which::Before(limit) => self.newest(*limit, deadline).await?,
        };
        self.manifest(&id, deadline).await
    }

    /// The newest backup of the tenant that was made until then.
    async fn newest(&self, limit: Timestamp, deadline: Deadline) -> Result<BackupId, Problem> {
        #[derive(Deserialize)]
        struct List {
            backups: Vec<Listed>,
        }
        // One manifest that cannot be understood does not hide the others.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Listed {
            id: Option<String>,
            created_at: Option<String>,
        }
        let list: List =
            serde_json::from_slice(&self.get("", deadline).await?).map_err(|_| Problem::ManifestInvalid)?;
        // Ids begin with the second; two of one second are told apart by the moment itself.
        let known = list.backups.iter().filter_map(|listed| {
            let created_at: Timestamp = listed.created_at.as_deref()?.parse().ok()?;
            Some((created_at, listed.id.as_deref()?.parse().ok()?))
        });
        let in_time = known.filter(|(created_at, _)| *created_at <= limit);
        in_time.max().map(|(_, id)| id).ok_or(Problem::NoBackup)
    }

    /// The data object, to be read as it comes, and the connection that it comes by.
    pub(super) async fn data(
        &self,
        backup: &BackupId,
        deadline: Deadline,
    ) -> Result<(Incoming, Line), Problem> {
        let mut line = self.connect(deadline).await?;
        let answer =
            self.send(&mut line, Method::GET, &format!("/{backup}/data"), whole(Bytes::new())).await?;
        if answer.status() == StatusCode::OK {
            Ok((answer.into_body(), line))
        } else {
            Err(refused(answer).await)
        }
    }

    /// Connects, and again while nobody listens: a door that is being replaced costs no backup.
    pub(crate) async fn connect(&self, deadline: Deadline) -> Result<Line, Problem> {
        deadline.patiently(async || self.connect_once().await, is_passing).await
    }

    async fn connect_once(&self) -> Result<Line, Problem> {
        match timeout(LONGEST_CONNECT, open(&self.authority)).await {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) => {
                tracing::info!(%error, "door.unreachable");
                Err(Problem::DoorUnreachable)
            }
            Err(_) => Err(Problem::DoorUnreachable),
        }
    }

    async fn get(&self, path: &str, deadline: Deadline) -> Result<Bytes, Problem> {
        let mut line = self.connect(deadline).await?;
        accepted(self.send(&mut line, Method::GET, path, whole(Bytes::new())).await?, StatusCode::OK).await
    }

    async fn send(
        &self,
        line: &mut Line,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>, Problem> {
        let request = self.request(method, path, body).await?;
        line.sender.send_request(request).await.map_err(|error| {
            tracing::warn!(%error, "door.hung_up");
            Problem::DoorUnreachable
        })
    }

    async fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>, Problem> {
        let token = tokio::fs::read_to_string(&self.token_file).await.map_err(|error| {
            tracing::error!(%error, "token.unreadable");
            Problem::TokenUnreadable
        })?;
        let Tenant { name, uid } = &self.tenant;
        let mut authorization = header::HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| Problem::TokenUnreadable)?;
        authorization.set_sensitive(true);
        Request::builder()
            .method(method)
            .uri(format!("/v1/{}/{name}/{uid}{path}", self.store))
            .header(header::HOST, &self.authority)
            .header(header::AUTHORIZATION, authorization)
            .body(body)
            .map_err(|_| Problem::DoorUnreachable)
    }
}

async fn open(authority: &str) -> io::Result<Line> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let stream = if has_port {
        TcpStream::connect(authority).await?
    } else {
        TcpStream::connect((authority, 80)).await?
    };
    stream.set_nodelay(true)?;
    notice_the_end(&stream)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let mut driver = JoinSet::new();
    driver.spawn(async {
        // The request learns of it as well, and says it to whoever waits.
        _ = connection.await;
    });
    Ok(Line { sender, _driver: driver })
}

/// Without this, a Job would wait for a door that is gone until its own deadline.
fn notice_the_end(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENCE)?;
    sockopt::set_tcp_keepintvl(stream, SILENCE)?;
    let within = u32::try_from(HEARD_WITHIN.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, within)?)
}

fn whole(bytes: Bytes) -> Body {
    Full::from(bytes).map_err(|never| match never {}).boxed_unsync()
}

async fn next_frame(
    mut pieces: mpsc::Receiver<Piece>,
) -> Option<(io::Result<Frame<Bytes>>, mpsc::Receiver<Piece>)> {
    match pieces.recv().await {
        Some(Piece::Data(bytes)) => Some((Ok(Frame::data(bytes)), pieces)),
        Some(Piece::End) => None,
        None => Some((Err(io::Error::other("cut off by the sender")), pieces)),
    }
}

/// The answer's body when its status is the one that was hoped for.
async fn accepted(answer: Response<Incoming>, hoped: StatusCode) -> Result<Bytes, Problem> {
    if answer.status() != hoped {
        return Err(refused(answer).await);
    }
    let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
    let body = body.map_err(|error| {
        tracing::warn!(%error, "door.answer_cut_off");
        Problem::DoorUnreachable
    })?;
    Ok(body.to_bytes())
}

/// What the door says of why; as foreign text it is only taken when it is one word.
async fn refused(answer: Response<Incoming>) -> Problem {
    #[derive(Deserialize)]
    struct Refusal {
        reason: String,
    }
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), manifest::LARGEST).collect().await.ok();
    let reason = body
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok())
        .map(|Refusal { reason }| reason)
        .filter(|word| word.len() <= LONGEST_REASON && word.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    Problem::DoorRefused { status, reason }
}

/// Whether another try may end otherwise.
fn is_passing(problem: &Problem) -> bool {
    match problem {
        Problem::DoorUnreachable => true,
        Problem::DoorRefused { status, .. } => *status == 429 || 500 <= *status,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Sends two pieces, and the end or not; gives what came over the wire and what the request came to.
    async fn sent(last: Option<Piece>) -> (String, Result<Sum, Problem>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "token\n").unwrap();
        let door = Door {
            authority: listener.local_addr().unwrap().to_string(),
            token_file,
            store: "main".to_owned(),
            tenant: Tenant { name: "acme".to_owned(), uid: "5f0c".to_owned() },
        };
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut wire = Vec::new();
            while !wire.ends_with(b"\r\n0\r\n\r\n") && stream.read_buf(&mut wire).await.unwrap() != 0 {}
            let answer = "HTTP/1.1 201 Created\r\ncontent-length: 26\r\n\r\n{\"size\":4,\"sha256\":\"ab12\"}";
            // Nobody listens any more when it was broken off.
            _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8(wire).unwrap()
        };
        let (pieces, receiver) = mpsc::channel(4);
        for piece in [Piece::Data("ab".into()), Piece::Data("cd".into())].into_iter().chain(last) {
            pieces.try_send(piece).ok().unwrap();
        }
        drop(pieces);
        let sending = async {
            let line = door.connect(Deadline::within(LONGEST_CONNECT)).await?;
            door.put_data(line, &"20261122T010000Z-k3v9x2".parse().unwrap(), receiver).await
        };
        timeout(LONGEST_CONNECT, async { tokio::join!(serving, sending) }).await.unwrap()
    }

    #[tokio::test]
    async fn a_body_has_an_end_only_when_its_end_was_sent() {
        let (wire, stored) = sent(Some(Piece::End)).await;
        assert!(
            wire.starts_with("PUT /v1/main/acme/5f0c/20261122T010000Z-k3v9x2/data HTTP/1.1\r\n"),
            "{wire}"
        );
        assert!(wire.contains("\r\nauthorization: Bearer token\r\n"), "{wire}");
        assert!(wire.ends_with("2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"), "{wire}");
        assert_eq!(stored, Ok(Sum { size: 4, sha256: "ab12".to_owned() }));

        let (wire, stored) = sent(None).await;
        assert!(!wire.ends_with("0\r\n\r\n"), "{wire}");
        assert_eq!(stored, Err(Problem::DoorUnreachable));
    }
    /// As the kernel has it. That the end of a door is noticed is shown on a real cluster.
    #[tokio::test]
    async fn a_door_that_says_nothing_is_asked_whether_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        notice_the_end(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), SILENCE);
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 60_000);
    }
}
