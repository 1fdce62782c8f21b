//! Spans kept in memory, to see what a trace consists of.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::{Dispatch, subscriber::NoSubscriber};

/// Of one subscriber alone, threads of other tests, which have none, decide whether a span is made at all.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

/// The spans that have ended. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl Spans {
    /// Of a subscriber with this provider, spans come here as they end.
    pub fn provider(&self) -> SdkTracerProvider {
        LazyLock::force(&SECOND);
        SdkTracerProvider::builder().with_simple_exporter(self.clone()).build()
    }

    /// Those that have ended so far.
    pub fn ended(&self) -> Vec<SpanData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}
