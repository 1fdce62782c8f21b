//! Logs to standard error, spans to whoever was given as their exporter.

mod json;

use std::panic::PanicHookInfo;

use larder_contracts::ipc::is_caught;
use larder_types::{Error, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, TelemetryConfig};

/// A provider that exports nothing. Calls still have trace ids, which logs show and other services are told.
pub fn without_export() -> SdkTracerProvider {
    SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build()
}

/// Installs the subscriber and the panic hook of this process, once, in `main`. `provider` has the exporters; flush it
/// with its own `shutdown` when everything else has stopped.
pub fn install(config: &TelemetryConfig, provider: &SdkTracerProvider) -> Result<()> {
    let subscriber = subscriber(config, provider, std::io::stderr)?;
    subscriber.try_init().map_err(|error| Error::internal("the log is installed already").with_source(error))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// One that is the answer to wrong bytes is no defect, and who sends them must not fill the log.
fn log_panic(panic: &PanicHookInfo<'_>) {
    if is_caught() {
        return;
    }
    let place = panic.location().map(ToString::to_string);
    let message = panic.payload_as_str().unwrap_or("no message");
    tracing::error!(place, message, backtrace = %std::backtrace::Backtrace::capture(), "panic");
}

/// The subscriber that [`install`] installs, writing to `writer`.
pub fn subscriber<W>(
    config: &TelemetryConfig,
    provider: &SdkTracerProvider,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + 'static>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let TelemetryConfig { log_format, log_filter } = config;
    let filter = EnvFilter::try_new(log_filter)
        .map_err(|error| Error::invalid_field("telemetry.log_filter", error.to_string()))?;
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("larder"));
    let lines: Box<dyn Layer<_> + Send + Sync> = match log_format {
        LogFormat::Text => tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().event_format(json::Lines).with_writer(writer).boxed(),
    };
    Ok(Registry::default().with(spans).with(lines).with(filter))
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        panic::{catch_unwind, set_hook, take_hook},
        sync::{Arc, Mutex},
    };

    use larder_contracts::ipc::IpcDecoder;

    use super::*;

    /// A schema with a column of a type that there is not: Arrow panics over it.
    const NO_SCHEMA: &[u8] =
        b"\xff\xff\xff\xffx\x00\x00\x00\x10\x00\x00\x00\x00\x00\x0a\x00\x0c\x00\x0a\x00\x09\x00\x04\x00\x0a\
        \x00\x00\x00\x10\x00\x00\x00\x00\x01\x04\x00\x08\x00\x08\x00\x00\x00\x04\x00\x08\x00\x00\x00\x04\x00\
        \x00\x00\x01\x00\x00\x00\x14\x00\x00\x00\x10\x00\x14\x00\x10\x00\x0e\x00\x0f\x00\x04\x00\x00\x00\x08\
        \x00\x10\x00\x00\x00\x18\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x01\x86\x10\x00\x00\x00\x00\x00\x00\x00\
        \x04\x00\x04\x00\x04\x00\x00\x00\x01\x00\x00\x00a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
        \x00\x00\x00\xff\xff\xff\xff";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_unless_it_is_the_answer_to_wrong_bytes() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(&TelemetryConfig::default(), &without_export(), move || writer.clone()).unwrap();
        let (wrong, right) = tracing::subscriber::with_default(subscriber, || {
            let before = take_hook();
            set_hook(Box::new(log_panic));
            let wrong = (IpcDecoder::new().decode(NO_SCHEMA.into()).unwrap_err().to_string(), lines.take());
            let right = (catch_unwind(|| panic!("a defect")).is_err(), lines.take());
            set_hook(before);
            (wrong, right)
        });
        assert!(wrong.0.contains("do not fit together"), "{}", wrong.0);
        assert_eq!(wrong.1, "");
        assert!(right.0 && right.1.contains("a defect"), "{}", right.1);
    }
}
