//! The admin port, plain HTTP: `/livez`, `/readyz`, `/metrics`.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use larder_types::{Error, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, readiness::Readiness};

/// What the admin port tells of.
#[derive(Debug, Clone)]
pub struct Admin {
    /// `/readyz`.
    pub readiness: Readiness,
    /// `/metrics`.
    pub metrics: Metrics,
}

impl Admin {
    /// Answers on `listener` until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> Result<()> {
        let served = axum::serve(listener, self.router()).with_graceful_shutdown(stop.cancelled_owned()).await;
        served.map_err(|error| Error::unavailable("the admin port cannot be served").with_source(error))
    }

    fn router(self) -> Router {
        Router::new()
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let unmet = admin.readiness.unmet();
    if unmet.is_empty() {
        return "ready\n".into_response();
    }
    let reasons: String = unmet.iter().map(|(name, reason)| format!("not ready: {name}: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, reasons).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
