//! Writing: first the rows, then one short critical section in which changes get their order.
//!
//! A `Tx` locks and changes rows. Sealing it takes an advisory lock that is held until the commit; only a
//! `Sealed` transaction can number changes and add to the audit chain. So numbers become visible in their
//! order, the chain never forks, and because everybody takes row locks before the advisory lock (never
//! after it, except on rows of their own), writers cannot wait for each other in a circle.

use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::audit::{self, Entry, Link};

/// Any number, as long as nothing else uses it as an advisory lock.
const ORDER_LOCK: i64 = 0x0043_524d_5345_5131;

/// A transaction that may change rows.
pub struct Tx(Transaction<'static, Postgres>);

impl Tx {
    /// Begins.
    pub async fn begin(pool: &PgPool) -> Result<Self, sqlx::Error> {
        pool.begin().await.map(Self)
    }

    /// For queries.
    pub fn db(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Waits for its turn and keeps it until the commit.
    pub async fn seal(mut self) -> Result<Sealed, sqlx::Error> {
        sqlx::query!("select pg_advisory_xact_lock($1)", ORDER_LOCK).execute(&mut *self.0).await?;
        // A statement of its own: its snapshot must be younger than the lock.
        let last = audit::last(&mut self.0).await?;
        Ok(Sealed { tx: self.0, last })
    }

    /// Commits changes that nobody follows: sessions and links.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.0.commit().await
    }
}

/// A transaction whose turn it is.
pub struct Sealed {
    tx: Transaction<'static, Postgres>,
    last: Link,
}

impl Sealed {
    /// For queries.
    pub fn db(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Adds to the audit chain.
    pub async fn audit(&mut self, entry: Entry<'_>) -> Result<(), sqlx::Error> {
        self.last = audit::append(&mut self.tx, &self.last, entry).await?;
        Ok(())
    }

    /// Ends the turn.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.tx.commit().await
    }
}
