//! What the answers of an object storage mean.

use super::Error;

/// What storages say when they are full, or will not take more from us.
pub(super) const FULL: [&str; 5] =
    ["QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageFull", "ServiceQuotaExceeded"];

/// What it means for us.
pub(super) fn classify(error: &object_store::Error, bucket: &str) -> Error {
    let text = error.to_string();
    let word = code(&text);
    let is_full = text.contains("status code: 507") || word.is_some_and(|word| FULL.contains(&word));
    let short = word.map_or_else(|| cause(error), str::to_owned);
    // Refused lists come as errors of no kind.
    let is_refused = ["status code: 401", "status code: 403"].iter().any(|status| text.contains(status));
    match error {
        _ if is_full => Error::OutOfSpace(short),
        _ if is_refused => Error::AccessDenied(short),
        _ if word == Some("NoSuchBucket") => Error::BucketMissing(bucket.to_owned()),
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
            Error::AlreadyExists
        }
        object_store::Error::NotFound { .. } => Error::BucketMissing(bucket.to_owned()),
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Error::AccessDenied(short)
        }
        _ if text.contains("status code: ") || text.contains("error response") => Error::Failing(short),
        _ => Error::Unreachable(short),
    }
}

/// Whether it is the bucket that is not there.
pub(super) fn names_bucket(source: &impl ToString) -> bool {
    source.to_string().contains("NoSuchBucket")
}

/// The storage's own word for what is wrong.
pub(super) fn code(text: &str) -> Option<&str> {
    Some(text.split_once("<Code>")?.1.split_once("</Code>")?.0)
}

/// What began it all, without addresses and times, which differ each time and would make a status differ.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &'static str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn a_storages_own_word_is_told() {
        let full = error(
            "Server returned non-2xx status code: 403 Forbidden: <Error><Code>QuotaExceeded</Code></Error>",
        );
        assert!(matches!(classify(&full, "b"), Error::OutOfSpace(word) if word == "QuotaExceeded"));
        let full = error("Server returned non-2xx status code: 507 Insufficient Storage: ");
        assert!(matches!(classify(&full, "b"), Error::OutOfSpace(_)));
        let failing = error(
            "Server returned non-2xx status code: 500 Internal Server Error: <Code>InternalError</Code>",
        );
        assert!(matches!(classify(&failing, "b"), Error::Failing(word) if word == "InternalError"));
        let refused = error("Server returned non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code>");
        assert!(matches!(classify(&refused, "b"), Error::AccessDenied(word) if word == "AccessDenied"));
        let gone = error("Server returned non-2xx status code: 404 Not Found: <Code>NoSuchBucket</Code>");
        assert!(matches!(classify(&gone, "b"), Error::BucketMissing(bucket) if bucket == "b"));
        assert!(matches!(classify(&error("connection refused"), "b"), Error::Unreachable(_)));
    }
}
