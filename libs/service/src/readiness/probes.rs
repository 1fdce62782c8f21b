//! Conditions that have to be looked at: whether a store can be written, whether another service answers.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use larder_types::{Error, ErrorCode, Result};
use tokio_util::sync::CancellationToken;

use super::Readiness;
use crate::metrics::Metrics;

/// How long after a look the next one begins.
const PAUSE: Duration = Duration::from_secs(5);

/// What has not answered by then does not hold.
const PATIENCE: Duration = Duration::from_secs(5);

type Looking = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What there is to look at.
#[derive(Debug, Clone, Default)]
pub(super) struct Probes(Arc<Mutex<Vec<Probe>>>);

#[derive(Clone)]
struct Probe {
    name: &'static str,
    is_vital: bool,
    look: Arc<dyn Fn() -> Looking + Send + Sync>,
}

impl Readiness {
    /// Adds a condition that holds when a look at `subject` is `Ok`. Services of one process share what they have in common:
    /// where there is a probe of that name, this is the same one.
    pub fn probe<S, F>(&self, name: &'static str, subject: S, look: impl Fn(S) -> F + Send + Sync + 'static)
    where
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.add(Probe { name, is_vital: false, look: Arc::new(move || Box::pin(look(subject.clone()))) });
    }

    /// The same, and FAILED_PRECONDITION means that only another process can go on.
    pub fn vital_probe<S, F>(&self, name: &'static str, subject: S, look: impl Fn(S) -> F + Send + Sync + 'static)
    where
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.add(Probe { name, is_vital: true, look: Arc::new(move || Box::pin(look(subject.clone()))) });
    }

    /// Looks at everything until `stop`, and then forgets what there is to look at: probes hold stores, which are to close
    /// with the process's other parts. The error says why only another process can go on.
    pub async fn keep_probing(&self, metrics: &Metrics, stop: CancellationToken) -> Result<()> {
        let probed = self.probe_until(metrics, stop).await;
        self.probes.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        probed
    }

    async fn probe_until(&self, metrics: &Metrics, stop: CancellationToken) -> Result<()> {
        while let Some(looked) = stop.run_until_cancelled(self.probe_all(metrics)).await {
            looked?;
            if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Looks at everything once, all at the same time.
    pub async fn probe_all(&self, metrics: &Metrics) -> Result<()> {
        let probes = self.probes.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let looked = join_all(probes.iter().map(Probe::look)).await;
        let mut outcome = Ok(());
        for (probe, found) in probes.iter().zip(looked) {
            metrics.condition(probe.name, found.is_ok());
            match found {
                Ok(()) => self.named(probe.name).ready(),
                Err(error) => {
                    self.named(probe.name).not_ready(error.message());
                    if probe.is_vital && error.code() == ErrorCode::FailedPrecondition {
                        outcome = outcome.and(Err(error.context(probe.name)));
                    }
                }
            }
        }
        outcome
    }

    fn add(&self, probe: Probe) {
        let mut probes = self.probes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if probes.iter().all(|known| known.name != probe.name) {
            probes.push(probe);
        }
    }
}

impl Probe {
    async fn look(&self) -> Result<()> {
        let looked = tokio::time::timeout(PATIENCE, (self.look)()).await;
        looked.unwrap_or_else(|_| Err(Error::unavailable(format!("no answer within {} s", PATIENCE.as_secs()))))
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("name", &self.name).field("is_vital", &self.is_vital).finish_non_exhaustive()
    }
}
