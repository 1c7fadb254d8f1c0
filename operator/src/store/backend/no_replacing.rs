//! The way to an object storage, on which no request can replace an object.
//!
//! `object_store` sends `If-None-Match: *` with a single put, but not with the request that completes a multipart upload,
//! where S3 knows it as well. Nor does it know Object Lock, whose headers must be signed. Both are added on the way.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::{
    HeaderMap, HeaderValue, Method, Uri,
    header::{HeaderName, IF_NONE_MATCH},
};
use jiff::{SignedDuration, Timestamp};
use object_store::{
    ClientOptions,
    aws::{AwsAuthorizer, AwsCredential},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
        ReqwestConnector,
    },
};

const ANY: HeaderValue = HeaderValue::from_static("*");
const CONTENT_HASH: &str = "x-amz-content-sha256";
const LOCK_MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const LOCK_UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");

/// Connects to a storage.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) lock: Option<Arc<Lock>>,
}

/// Signs the headers that keep an object from being deleted.
pub(super) struct Lock {
    pub(super) days: i32,
    pub(super) credential: AwsCredential,
    pub(super) region: String,
    pub(super) now: fn() -> Timestamp,
    /// Paths that contain this are not locked.
    pub(super) except: &'static str,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("days", &self.days).finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(NoReplacing { inner, lock: self.lock.clone() }))
    }
}

#[derive(Debug)]
struct NoReplacing {
    inner: HttpClient,
    lock: Option<Arc<Lock>>,
}

#[async_trait]
impl HttpService for NoReplacing {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if completes_upload(request.method(), request.uri()) {
            // Not among the signed headers, and need not be: only those of Amazon's own names must.
            request.headers_mut().insert(IF_NONE_MATCH, ANY);
        }
        if let Some(lock) = &self.lock
            && makes_object(request.method(), request.uri(), request.headers())
            && !request.uri().path().contains(lock.except)
        {
            lock.sign(&mut request).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        }
        self.inner.execute(request).await
    }
}

impl Lock {
    fn sign(&self, request: &mut HttpRequest) -> Result<(), object_store::Error> {
        let until = (self.now)() + SignedDuration::from_hours(24 * i64::from(self.days));
        let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let digest = request.headers().get(CONTENT_HASH).and_then(|hash| hex::decode(hash.as_bytes()).ok());
        let headers = request.headers_mut();
        headers.insert(LOCK_MODE, HeaderValue::from_static("COMPLIANCE"));
        if let Ok(until) = HeaderValue::from_str(&until) {
            headers.insert(LOCK_UNTIL, until);
        }
        AwsAuthorizer::new(&self.credential, "s3", &self.region).try_authorize(request, digest.as_deref())
    }
}

/// Whether the request makes one object of the parts of an upload.
fn completes_upload(method: &Method, uri: &Uri) -> bool {
    method == Method::POST && parameters(uri).any(|(name, _)| name == "uploadId")
}

/// Whether the request makes an object or begins one. A lock is given at the beginning of an upload.
fn makes_object(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let begins = method == Method::POST && parameters(uri).any(|(name, _)| name == "uploads");
    begins || (method == Method::PUT && headers.contains_key(IF_NONE_MATCH))
}

fn parameters(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    uri.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Method::POST, "/b/k?uploadId=x%3D", true, false)]
    #[case(Method::POST, "/b/k?uploads", false, true)]
    #[case(Method::POST, "/b/k?uploads=", false, true)]
    #[case(Method::PUT, "/b/k?partNumber=1&uploadId=x", false, false)]
    #[case(Method::PUT, "/b/k", false, false)]
    #[case(Method::DELETE, "/b/k?uploadId=x", false, false)]
    #[case(Method::POST, "/b?delete", false, false)]
    fn requests_are_told_apart(
        #[case] method: Method,
        #[case] uri: &str,
        #[case] completes: bool,
        #[case] makes: bool,
    ) {
        let uri: Uri = uri.parse().unwrap();
        assert_eq!(completes_upload(&method, &uri), completes);
        assert_eq!(makes_object(&method, &uri, &HeaderMap::new()), makes);
    }

    #[test]
    fn a_conditional_put_makes_an_object() {
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, ANY)]);
        assert!(makes_object(&Method::PUT, &Uri::from_static("/b/k"), &headers));
    }

    #[test]
    fn a_lock_is_part_of_the_signature() {
        let lock = Lock {
            days: 30,
            credential: AwsCredential { key_id: "id".into(), secret_key: "secret".into(), token: None },
            region: "us-east-1".into(),
            now: || Timestamp::UNIX_EPOCH,
            except: "/.tenantry/",
        };
        let mut request: HttpRequest = http::Request::builder()
            .method(Method::POST)
            .uri("http://s3.example/b/k?uploads")
            .body(bytes::Bytes::new().into())
            .unwrap();
        lock.sign(&mut request).unwrap();
        let headers = request.headers();
        assert_eq!(headers[LOCK_UNTIL], "1970-01-31T00:00:00Z");
        let signature = headers["authorization"].to_str().unwrap();
        assert!(
            signature.contains("x-amz-object-lock-mode;x-amz-object-lock-retain-until-date"),
            "{signature}"
        );
        assert!(!format!("{lock:?}").contains("secret"));
    }
}
