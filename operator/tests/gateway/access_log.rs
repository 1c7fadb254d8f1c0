//! One line a request: every one at debug level, faults at info level.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{edge, eventually, mirror, nobody, route};

/// Collects what is logged by this test's thread, on which everything of the test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn requests(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == "access").collect()
    }
}

impl Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn one_line_a_request_without_what_people_searched_for() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(tracing::Level::DEBUG).with_writer(log.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    // Of one subscriber alone, tracing asks the thread that comes to a log statement first whether anybody listens. That
    // may be another test's thread, where nobody does. Of two it asks them both.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let edge = edge(&["--connect-timeout", "50ms"]).await;
    edge.route(&[
        route("acme.example", "acme", mirror("acme").await),
        route("gone.example", "gone", nobody().await),
    ]);
    let answer = edge.get("acme.example", "/companies?q=secret").await;
    edge.get("gone.example", "/").await;
    edge.get("nobody.example", "/").await;
    eventually("three lines", async || log.requests().len() == 3).await;

    let [served, unreachable, unknown] = <[Value; 3]>::try_from(log.requests()).unwrap();
    let fields = &served["fields"];
    assert_eq!(served["level"], "DEBUG");
    assert_eq!((&fields["tenant"], &fields["host"]), (&"acme".into(), &"acme.example".into()));
    assert_eq!((&fields["method"], &fields["path"]), (&"GET".into(), &"/companies".into()));
    assert_eq!((&fields["status"], &fields["complete"]), (&200.into(), &true.into()));
    assert_eq!(fields["bytes_out"], answer.text.len());
    assert_eq!(fields["request_id"], answer.header("x-request-id"));
    assert!(!served.to_string().contains("secret"), "{served}");
    assert_eq!(
        (&unreachable["level"], &unreachable["fields"]["result"]),
        (&"INFO".into(), &"unreachable".into())
    );
    assert_eq!((&unknown["level"], &unknown["fields"]["tenant"]), (&"DEBUG".into(), &Value::Null));
}
