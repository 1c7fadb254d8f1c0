//! Slows down guessing: of one account's password from anywhere, and of any from one address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};
use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

use crate::{app::App, db::rate_limit, db::rate_limit::Bucket, domain::email::Email, error::Error};

/// Ten tries, then one in half a minute: nobody guesses a password at that pace. (Somebody else's tries can
/// make the owner wait; sessions that are open go on.)
const ACCOUNT: Bucket = Bucket { holds: 10, drains_one_in: SignedDuration::from_secs(30) };
/// A whole office may stand behind one address in the morning.
const ADDRESS: Bucket = Bucket { holds: 60, drains_one_in: SignedDuration::from_secs(5) };
/// Each exit bundle reads all of the database. A download that broke off may be tried again a few times.
const EXIT_LINKS: Bucket = Bucket { holds: 5, drains_one_in: SignedDuration::from_mins(5) };

/// Counts a try to sign in before anything is compared.
pub async fn sign_in(app: &App, client: Client, email: &Email) -> Result<(), Error> {
    count(app, &key("address", &client.prefix()), ADDRESS).await?;
    count(app, &key("account", email.as_str()), ACCOUNT).await
}

/// Counts a try to use a one-time link.
pub async fn link(app: &App, client: Client) -> Result<(), Error> {
    count(app, &key("address", &client.prefix()), ADDRESS).await
}

/// Counts a link to an exit bundle; all of a workspace's count together.
pub async fn exit_link(app: &App) -> Result<(), Error> {
    count(app, &key("exit-link", ""), EXIT_LINKS).await
}

/// Who knew the password was not guessing.
pub async fn signed_in(app: &App, email: &Email) -> Result<(), Error> {
    let mut db = app.db.acquire().await?;
    Ok(rate_limit::forget(&mut db, &key("account", email.as_str())).await?)
}

async fn count(app: &App, key: &[u8; 32], bucket: Bucket) -> Result<(), Error> {
    let mut db = app.db.acquire().await?;
    let room = rate_limit::fill(&mut db, key, bucket, app.clock.now()).await?;
    room.map_err(|wait| Error::RateLimited { retry_after_s: wait.as_secs().max(1) })
}

fn key(kind: &str, who: &str) -> [u8; 32] {
    Sha256::new().chain_update(kind).chain_update([0]).chain_update(who).finalize().into()
}

/// The address that a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(IpAddr);

impl Client {
    /// The last address in `X-Forwarded-For` is the one our gateway saw; those before it are hearsay.
    fn new(headers: &HeaderMap, peer: IpAddr) -> Self {
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .next_back()
            .and_then(|value| value.to_str().ok())
            .and_then(|list| list.rsplit(',').next())
            .and_then(|address| address.trim().parse().ok());
        Self(forwarded.unwrap_or(peer).to_canonical())
    }

    /// What one customer of an internet provider has: an address, or a /64 network of IPv6.
    fn prefix(self) -> String {
        match self.0 {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
        }
    }
}

impl FromRequestParts<App> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Error> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        Ok(Self::new(&parts.headers, peer.unwrap_or(IpAddr::from([127, 0, 0, 1]))))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, "10.0.0.9")]
    #[case(Some("203.0.113.7"), "203.0.113.7")]
    #[case(Some("1.2.3.4, 203.0.113.7"), "203.0.113.7")]
    #[case(Some("::ffff:203.0.113.7"), "203.0.113.7")]
    #[case(Some("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::")]
    #[case(Some("unknown"), "10.0.0.9")]
    fn the_address_is_what_our_gateway_saw(#[case] forwarded: Option<&'static str>, #[case] expected: &str) {
        let headers = forwarded.map(|list| ("x-forwarded-for".parse().unwrap(), list.parse().unwrap()));
        let client = Client::new(&headers.into_iter().collect(), IpAddr::from([10, 0, 0, 9]));
        assert_eq!(client.prefix(), expected);
    }
}
