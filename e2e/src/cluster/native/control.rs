//! How the command line talks to the supervisor: one line of JSON each way over a Unix socket.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

/// The supervisor answers at once or is gone.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the supervisor is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// How the parts are.
    Status,
    /// To open a loopback port that leads somewhere, or tell the one that does already.
    Forward {
        /// Where it leads.
        target: Target,
        /// The wanted port; 0 takes a free one.
        local_port: u16,
    },
}

/// Where a loopback port leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The API server.
    ApiServer,
    /// A port of a Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
}

/// What the supervisor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// State of each part.
    Parts(Vec<PartState>),
    /// The loopback port that leads to the target.
    Port(u16),
    /// It could not be done.
    Error(String),
}

/// State of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartState {
    /// Name of the part.
    pub name: String,
    /// Its process, when it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// What it is doing, in words.
    pub state: String,
}

/// Asks the supervisor that listens on `socket`.
pub async fn ask(socket: &Path, request: &Request) -> Result<Answer> {
    let exchange = async {
        let mut stream = BufReader::new(UnixStream::connect(socket).await?);
        send(&mut stream, request).await?;
        receive(&mut stream).await
    };
    let answer = timeout(DEADLINE, exchange).await.context("the supervisor does not answer")??;
    match answer {
        Answer::Error(error) => bail!(error),
        answer => Ok(answer),
    }
}

/// Sends one message.
pub async fn send(stream: &mut BufReader<UnixStream>, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await?;
    Ok(())
}

/// Receives one message.
pub async fn receive<T: for<'a> Deserialize<'a>>(stream: &mut BufReader<UnixStream>) -> Result<T> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    serde_json::from_str(&line).with_context(|| format!("not a message: {line:?}"))
}
