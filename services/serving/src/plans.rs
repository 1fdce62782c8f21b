//! The plans of each project, made for the newest catalog and swapped as a whole when a newer one comes.

use std::{collections::HashMap, sync::Arc};

use larder_definitions::{Catalog, selection::Asked};
use larder_types::Result;
use parking_lot::RwLock;
use prometheus::IntCounter;

use crate::plan::Plan;

/// How many plans of references are kept; services are always kept. Beyond it a request makes its own.
const MAX_REFERENCE_PLANS: usize = 1_000;

/// Plans by what is asked for, without and with full names.
type Made = [HashMap<Asked, Arc<Plan>>; 2];

/// The plans made so far for one catalog.
#[derive(Debug)]
pub struct Plans {
    catalog: Arc<Catalog>,
    key_prefix: Option<String>,
    made: RwLock<Made>,
    compiled: IntCounter,
}

impl Plans {
    /// None yet. `compiled` counts those that are made.
    pub fn new(catalog: Arc<Catalog>, key_prefix: Option<String>, compiled: IntCounter) -> Self {
        Self { catalog, key_prefix, made: RwLock::default(), compiled }
    }

    /// The catalog all of them are made from.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The plan for what is asked; made if it is not there.
    pub fn plan(&self, asked: &Asked, full_names: bool) -> Result<Arc<Plan>> {
        if let Some(plan) = self.made.read()[usize::from(full_names)].get(asked) {
            return Ok(Arc::clone(plan));
        }
        let plan = self.compile(asked, full_names)?;
        let mut made = self.made.write();
        let made = &mut made[usize::from(full_names)];
        if matches!(asked, Asked::Service(_)) || made.len() < MAX_REFERENCE_PLANS {
            // Whoever was first: then all requests share one.
            return Ok(Arc::clone(made.entry(asked.clone()).or_insert(plan)));
        }
        Ok(plan)
    }

    /// The same questions answered by a newer catalog, so that no request waits for a plan. A question that the newer
    /// catalog cannot answer is left out: its next request is told why.
    pub fn renewed(&self, catalog: Arc<Catalog>) -> Self {
        let next = Self::new(catalog, self.key_prefix.clone(), self.compiled.clone());
        let [short, full] = self.made.read().each_ref().map(|made| made.keys().cloned().collect::<Vec<_>>());
        for (asked, full_names) in
            short.iter().map(|asked| (asked, false)).chain(full.iter().map(|asked| (asked, true)))
        {
            if let Ok(plan) = next.compile(asked, full_names) {
                next.made.write()[usize::from(full_names)].insert(asked.clone(), plan);
            }
        }
        next
    }

    fn compile(&self, asked: &Asked, full_names: bool) -> Result<Arc<Plan>> {
        self.compiled.inc();
        Plan::compile(Arc::clone(&self.catalog), asked, full_names, self.key_prefix.as_deref()).map(Arc::new)
    }
}
