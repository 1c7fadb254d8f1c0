//! The events of one watch on their way to the operator, and what can disturb them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{SinkExt, channel::mpsc::Sender};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    plan::Disturbance,
    proxy::{BoxError, Chunk, Shared},
};

/// How late a delayed event comes.
const DELAY: Duration = Duration::from_millis(700);
/// How many earlier events are replayed.
const REPLAYED: usize = 5;

/// Passes events on until either side ends the watch.
pub(super) async fn relay(shared: Arc<Shared>, resource: String, body: Body, out: Sender<Chunk>) {
    let mut lines = Lines { body, buffer: Vec::new() };
    let mut events = Events { out, waiting: VecDeque::new(), earlier: VecDeque::new() };
    loop {
        let due = events.waiting.front().map(|waiting| waiting.due);
        let more = tokio::select! {
            line = lines.next() => match line {
                Ok(Some(line)) => {
                    let disturbance = if is_news(&line) { shared.state.event(&resource) } else { None };
                    events.take(line, disturbance).await
                }
                Ok(None) => {
                    events.send_all().await;
                    false
                }
                Err(error) => {
                    events.send_all().await;
                    let _ = events.out.send(Err(error)).await;
                    false
                }
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => events.send_first().await,
        };
        if !more {
            return;
        }
    }
}

/// Whether a line tells of an object; bookmarks and errors do not.
fn is_news(line: &[u8]) -> bool {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    matches!(event["type"].as_str(), Some("ADDED" | "MODIFIED" | "DELETED"))
}

/// An event that comes late.
struct Waiting {
    due: Instant,
    object: Value,
    line: Bytes,
}

/// Events on their way.
struct Events {
    out: Sender<Chunk>,
    waiting: VecDeque<Waiting>,
    earlier: VecDeque<Bytes>,
}

impl Events {
    /// Lets an event come as it should or as it is disturbed; false when the watch is over.
    async fn take(&mut self, line: Bytes, disturbance: Option<Disturbance>) -> bool {
        match disturbance {
            // Behind events that wait, it waits too: a watch keeps the order.
            None if !self.waiting.is_empty() => self.delay(line),
            None => return self.pass(line).await,
            Some(Disturbance::Delay) => self.delay(line),
            Some(Disturbance::Skip) => {
                let object = object_of(&line);
                self.waiting.retain(|waiting| waiting.object != object);
                self.delay(line);
            }
            Some(Disturbance::Replay) => {
                for old in self.earlier.clone() {
                    if !self.send(old).await {
                        return false;
                    }
                }
                return self.pass(line).await;
            }
            Some(Disturbance::Cut) => {
                let half = line.slice(..line.len() / 2);
                let _ = self.send(half).await;
                let _ = self.out.send(Err("the watch is cut on purpose".into())).await;
                return false;
            }
            Some(Disturbance::Gone) => {
                let _ = self.send(gone()).await;
                return false;
            }
        }
        true
    }

    fn delay(&mut self, line: Bytes) {
        self.waiting.push_back(Waiting { due: Instant::now() + DELAY, object: object_of(&line), line });
    }

    async fn send_first(&mut self) -> bool {
        match self.waiting.pop_front() {
            Some(waiting) => self.pass(waiting.line).await,
            None => true,
        }
    }

    async fn send_all(&mut self) {
        while !self.waiting.is_empty() && self.send_first().await {}
    }

    /// Sends an event and remembers it.
    async fn pass(&mut self, line: Bytes) -> bool {
        if self.earlier.len() == REPLAYED {
            self.earlier.pop_front();
        }
        self.earlier.push_back(line.clone());
        self.send(line).await
    }

    async fn send(&mut self, line: Bytes) -> bool {
        self.out.send(Ok(Frame::data(line))).await.is_ok()
    }
}

/// Namespace and name of the object that an event is about.
fn object_of(line: &[u8]) -> Value {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    let metadata = &event["object"]["metadata"];
    json!([metadata["namespace"], metadata["name"]])
}

/// What the API server says when it no longer has the versions since the one that a watch should go on from.
fn gone() -> Bytes {
    let event = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 410 on purpose", "reason": "Expired", "code": 410,
    }});
    Bytes::from(format!("{event}\n"))
}

/// The lines of a body, each with its end.
struct Lines {
    body: Body,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line. Nothing is lost when the call is given up before it returns.
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                return Ok(Some(Bytes::from(std::mem::replace(&mut self.buffer, rest))));
            }
            match self.body.frame().await {
                Some(frame) => self.buffer.extend(frame?.into_data().unwrap_or_default()),
                None => return Ok(None),
            }
        }
    }
}
