//! A way to the storage on which things go wrong.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use e2e::host::wait::{Look, Wait};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::lab::DEADLINE;

/// What becomes of a request.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Pass,
    /// The storage never sees it.
    Answer(&'static str),
    /// The storage never sees it, and nobody answers.
    Silence,
    /// The storage does it, and nobody hears of that.
    Unheard,
}

/// Decides by the first line of a request.
type Judge = Box<dyn FnMut(&str) -> Fate + Send>;

/// A relay between the door and the storage.
pub(crate) struct Relay {
    pub(crate) address: String,
    judge: Arc<Mutex<Judge>>,
    disturbed: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) async fn start(storage: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let judge: Arc<Mutex<Judge>> = Arc::new(Mutex::new(Box::new(|_| Fate::Pass)));
        let disturbed = Arc::<AtomicUsize>::default();
        let (by, count) = (judge.clone(), disturbed.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (storage, by, count) = (storage.clone(), by.clone(), count.clone());
                tokio::spawn(async move {
                    // Either side may hang up whenever it likes.
                    let _ = relay(client, &storage, &by, &count).await;
                });
            }
        });
        Ok(Self { address, judge, disturbed })
    }

    /// From now on requests are judged so.
    pub(crate) fn judge(&self, judge: impl FnMut(&str) -> Fate + Send + 'static) {
        *self.judge.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(judge);
        self.disturbed.store(0, Ordering::Release);
    }

    /// Waits until that many requests did not simply pass.
    pub(crate) async fn until_disturbed(&self, times: usize) -> Result<()> {
        Wait::new(format!("{times} disturbed requests"), DEADLINE)
            .until(async || {
                let now = self.disturbed.load(Ordering::Acquire);
                Ok(if times <= now { Look::Done(()) } else { Look::NotYet(now.to_string()) })
            })
            .await
    }
}

async fn relay(
    mut client: TcpStream,
    storage: &str,
    judge: &Mutex<Judge>,
    disturbed: &AtomicUsize,
) -> Result<()> {
    let (mut from_storage, mut to_storage) = TcpStream::connect(storage).await?.into_split();
    let (mut from_client, mut to_client) = client.split();
    let mut some = vec![0; 64 << 10];
    // Answers come after requests, so one direction at a time would do, but for large bodies.
    let mut muted = false;
    let mut answers = vec![0; 64 << 10];
    loop {
        tokio::select! {
            read = from_client.read(&mut some) => {
                let request = match read? { 0 => return Ok(()), length => &some[..length] };
                let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line);
                let fate = if line.ends_with(" HTTP/1.1") {
                    judge.lock().unwrap_or_else(PoisonError::into_inner)(&line)
                } else {
                    Fate::Pass
                };
                if matches!(fate, Fate::Answer(_) | Fate::Silence) {
                    disturbed.fetch_add(1, Ordering::AcqRel);
                }
                match fate {
                    Fate::Pass => to_storage.write_all(request).await?,
                    Fate::Answer(text) => to_client.write_all(text.as_bytes()).await?,
                    Fate::Silence => {}
                    Fate::Unheard => {
                        muted = true;
                        to_storage.write_all(request).await?;
                    }
                }
            }
            read = from_storage.read(&mut answers) => {
                let answer = match read? { 0 => return Ok(()), length => &answers[..length] };
                if muted {
                    disturbed.fetch_add(1, Ordering::AcqRel);
                    // What comes now is the answer that is to be lost, and nothing else.
                    copy(&mut from_storage, &mut tokio::io::sink()).await?;
                    return Ok(());
                }
                to_client.write_all(answer).await?;
            }
        }
    }
}
