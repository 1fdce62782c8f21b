//! Who did what, to what and from where, as it is logged.

use std::sync::{Arc, Mutex};

use larder_client::RegistryClient;
use larder_service::{
    config::{LogFormat, TelemetryConfig},
    telemetry,
};
use larder_test_kit::Spans;

use crate::{
    declared::{BASE, whole},
    surroundings::{PATIENCE, Registry, Storage, project},
};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Those that came since the last time.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The one line there is has all of `parts`.
fn assert_line(lines: &[String], parts: &[&str]) {
    let [line] = lines else { panic!("not one line: {lines:?}") };
    for part in parts {
        assert!(line.contains(part), "no {part} in {line}");
    }
}

#[test]
fn changes_and_reads_are_logged_with_who_what_and_from_where() {
    let (lines, spans) = (Lines::default(), Spans::default());
    let writer = lines.clone();
    let config = TelemetryConfig { log_format: LogFormat::Json, log_filter: "off,larder::audit=debug".to_owned() };
    let subscriber = telemetry::subscriber(&config, &spans.provider(), move || writer.clone()).unwrap();
    // The server's own tasks see the subscriber too, since all of them run on this thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let registry = Registry::start(&Storage::in_memory(), &larder_test_kit::clock()).await;
            let [in_process, over_a_port] = registry.both_ways().await;
            for (way, address) in
                [(over_a_port, "\"address\":\"127.0.0.1:"), (in_process, "\"address\":\"in process\"")]
            {
                let client = RegistryClient::new(way).within(PATIENCE);
                let who = ["\"target\":\"larder::audit\"", "\"principal\":\"anonymous\"", address];
                client.apply(&project(), &whole(BASE)).await.unwrap();
                let what = ["\"level\":\"INFO\"", "\"action\":\"apply_definitions\"", "\"decision\":\"allowed\""];
                let to_what = ["\"resources\":\"project payments\""];
                assert_line(&lines.take(), &[&who[..], &what[..], &to_what[..]].concat());
                // The registry says of each of its projects that it is there.
                client.projects().await.unwrap();
                let what = ["\"level\":\"DEBUG\"", "\"action\":\"read_definitions\""];
                assert_line(&lines.take(), &[&who[..], &what[..], &to_what[..]].concat());
            }
        });
    });
}
