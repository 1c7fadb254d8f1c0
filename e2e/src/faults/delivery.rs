//! Whether the operator has read an answer: the moment that "killed after the answer" means.
//!
//! hyper flushes a connection when an answer has been handed to the kernel, and the kernel tells how much of it the operator's
//! socket still holds unread.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{interval, timeout},
};

/// More than an operator that lives takes to read an answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the kernel is asked.
const INTERVAL: Duration = Duration::from_millis(1);

/// A connection from the operator that counts what has been written out completely.
pub(super) struct Watched {
    stream: TcpStream,
    dirty: bool,
    flushes: watch::Sender<u64>,
}

/// Tells of one connection when its answers have arrived.
#[derive(Clone)]
pub(super) struct Delivery {
    flushes: watch::Receiver<u64>,
    proxy: SocketAddr,
    operator: SocketAddr,
}

impl Watched {
    /// Watches an accepted connection.
    pub(super) fn new(stream: TcpStream) -> io::Result<(Self, Delivery)> {
        let (flushes, seen) = watch::channel(0);
        let (proxy, operator) = (stream.local_addr()?, stream.peer_addr()?);
        let delivery = Delivery { flushes: seen, proxy, operator };
        Ok((Self { stream, dirty: false, flushes }, delivery))
    }
}

impl Delivery {
    /// Begins to look out for the answer that is given next; the future ends when the operator has read it.
    pub(super) fn of_next_answer(&self) -> impl Future<Output = Result<()>> + use<> {
        let mut this = self.clone();
        this.flushes.mark_unchanged();
        async move {
            let read = async {
                this.flushes.changed().await.context("the connection ended before the answer was written")?;
                let mut ticks = interval(INTERVAL);
                while 0 < this.unread()? {
                    ticks.tick().await;
                }
                Ok(())
            };
            timeout(DEADLINE, read).await.context("the operator did not read the answer")?
        }
    }

    /// Bytes that the operator's end of the connection holds; none when it is closed.
    fn unread(&self) -> Result<u64> {
        let table =
            std::fs::read_to_string("/proc/net/tcp").context("cannot read the kernel's connections")?;
        unread(&table, self.operator.port(), self.proxy.port())
    }
}

/// Reads the receive queue of the connection between two ports from `/proc/net/tcp`, see proc_pid_net(5).
fn unread(table: &str, local: u16, remote: u16) -> Result<u64> {
    let (local, remote) = (format!(":{local:04X}"), format!(":{remote:04X}"));
    let row = table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_ours = fields.next()?.ends_with(&local) && fields.next()?.ends_with(&remote);
        if is_ours { fields.nth(1)?.split_once(':') } else { None }
    });
    let Some((_, received)) = row else { return Ok(0) };
    u64::from_str_radix(received, 16).context("a receive queue that is no number")
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.dirty = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.dirty = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() && std::mem::take(&mut self.dirty) {
            self.flushes.send_modify(|flushes| *flushes += 1);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn an_answer_has_arrived_when_it_was_read() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut operator = TcpStream::connect(listener.local_addr()?).await?;
        let (mut proxy, delivery) = Watched::new(listener.accept().await?.0)?;
        let delivered = tokio::spawn(delivery.of_next_answer());
        proxy.write_all(b"answer").await?;
        assert_eq!(*delivery.flushes.borrow(), 0, "written in part, for all we know");
        proxy.flush().await?;
        assert_eq!(*delivery.flushes.borrow(), 1);
        operator.readable().await?;
        assert_eq!(delivery.unread()?, 6);
        assert!(!delivered.is_finished());
        operator.read_exact(&mut [0; 6]).await?;
        delivered.await??;
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_that_is_closed_holds_nothing() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let operator = TcpStream::connect(listener.local_addr()?).await?;
        let (mut proxy, delivery) = Watched::new(listener.accept().await?.0)?;
        let delivered = tokio::spawn(delivery.of_next_answer());
        drop(operator);
        proxy.write_all(b"answer").await?;
        proxy.flush().await?;
        delivered.await?
    }
}
