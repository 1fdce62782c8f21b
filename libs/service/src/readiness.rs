//! Whether a service can do its work: a list of named conditions, all of which must hold.
//!
//! The admin port's `/readyz` and gRPC health answer from it. Conditions that have to be looked at are probes: services say
//! what there is to look at, and the process does it again and again ([`Readiness::keep_probing`]).

mod probes;

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use probes::Probes;

/// The conditions of one service, or of all services in one process. Clones share them.
#[derive(Debug, Clone)]
pub struct Readiness {
    unmet: Arc<watch::Sender<BTreeMap<&'static str, String>>>,
    probes: Probes,
}

impl Readiness {
    /// Without conditions: ready.
    pub fn new() -> Self {
        Self { unmet: Arc::new(watch::Sender::new(BTreeMap::new())), probes: Probes::default() }
    }

    /// Adds a condition that does not hold yet, since `reason`.
    pub fn condition(&self, name: &'static str, reason: impl Into<String>) -> Condition {
        let condition = self.named(name);
        condition.not_ready(reason);
        condition
    }

    fn named(&self, name: &'static str) -> Condition {
        Condition { name, readiness: self.clone() }
    }

    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        self.unmet.borrow().is_empty()
    }

    /// The conditions that do not hold, each with the reason.
    pub fn unmet(&self) -> Vec<(&'static str, String)> {
        self.unmet.borrow().iter().map(|(name, reason)| (*name, reason.clone())).collect()
    }

    /// Waits until every condition holds.
    pub async fn ready(&self) {
        // The sender lives as long as self, so waiting cannot fail.
        let _ = self.unmet.subscribe().wait_for(BTreeMap::is_empty).await;
    }

    /// Tells of every change; the value is what does not hold.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<&'static str, String>> {
        self.unmet.subscribe()
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

/// One condition. Dropping it leaves it as it is.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Condition {
    /// It holds.
    pub fn ready(&self) {
        let changed = self.readiness.unmet.send_if_modified(|unmet| unmet.remove(self.name).is_some());
        if changed {
            tracing::info!(condition = self.name, "ready");
        }
    }

    /// It does not hold, since `reason`.
    pub fn not_ready(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.readiness.unmet.send_if_modified(|unmet| {
            let changed = unmet.get(self.name) != Some(&reason);
            if changed {
                tracing::info!(condition = self.name, reason, "not ready");
                unmet.insert(self.name, reason);
            }
            changed
        });
    }
}
