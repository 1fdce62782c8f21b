//! The plans of each project, made for the newest catalog and swapped as a whole when a newer one comes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use larder_definitions::{Catalog, selection::Asked};
use larder_types::Result;
use parking_lot::RwLock;
use prometheus::IntCounter;

use crate::plan::Plan;

/// How many plans of references are kept, with short names and with full ones; those that were not used for longest make
/// room. Those of services are always kept.
const MAX_REFERENCE_PLANS: usize = 1_000;

/// Plans by what is asked for, without and with full names.
type Made = [HashMap<Asked, Kept>; 2];

#[derive(Debug)]
struct Kept {
    plan: Arc<Plan>,
    /// By [`Plans::uses`].
    used: AtomicU64,
}

/// The plans made so far for one catalog.
#[derive(Debug)]
pub struct Plans {
    catalog: Arc<Catalog>,
    key_prefix: Option<String>,
    made: RwLock<Made>,
    /// Counts requests: the order in which plans were used.
    uses: AtomicU64,
    compiled: IntCounter,
}

impl Plans {
    /// None yet. `compiled` counts those that are made.
    pub fn new(catalog: Arc<Catalog>, key_prefix: Option<String>, compiled: IntCounter) -> Self {
        Self { catalog, key_prefix, made: RwLock::default(), uses: AtomicU64::new(0), compiled }
    }

    /// The catalog all of them are made from.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The plan for what is asked; made if it is not there.
    pub fn plan(&self, asked: &Asked, full_names: bool) -> Result<Arc<Plan>> {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(kept) = self.made.read()[usize::from(full_names)].get(asked) {
            kept.used.store(used, Ordering::Relaxed);
            return Ok(Arc::clone(&kept.plan));
        }
        let plan = self.compile(asked, full_names)?;
        let made = &mut self.made.write()[usize::from(full_names)];
        // Whoever was first: then all requests share one.
        let kept = made.entry(asked.clone()).or_insert(Kept { plan, used: AtomicU64::new(used) });
        let plan = Arc::clone(&kept.plan);
        make_room(made);
        Ok(plan)
    }

    /// The same questions answered by a newer catalog, so that no request waits for a plan. A question that the newer
    /// catalog cannot answer is left out: its next request is told why.
    pub fn renewed(&self, catalog: Arc<Catalog>) -> Self {
        let next = Self::new(catalog, self.key_prefix.clone(), self.compiled.clone());
        next.uses.store(self.uses.load(Ordering::Relaxed), Ordering::Relaxed);
        let asked = |made: &HashMap<Asked, Kept>| -> Vec<_> {
            made.iter().map(|(asked, kept)| (asked.clone(), kept.used.load(Ordering::Relaxed))).collect()
        };
        let [short, full] = self.made.read().each_ref().map(asked);
        for (full_names, asked) in [(false, short), (true, full)] {
            for (asked, used) in asked {
                if let Ok(plan) = next.compile(&asked, full_names) {
                    let kept = Kept { plan, used: AtomicU64::new(used) };
                    next.made.write()[usize::from(full_names)].insert(asked, kept);
                }
            }
        }
        next
    }

    fn compile(&self, asked: &Asked, full_names: bool) -> Result<Arc<Plan>> {
        self.compiled.inc();
        Plan::compile(Arc::clone(&self.catalog), asked, full_names, self.key_prefix.as_deref()).map(Arc::new)
    }
}

fn make_room(made: &mut HashMap<Asked, Kept>) {
    let references = || made.iter().filter(|(asked, _)| matches!(asked, Asked::References(_)));
    if references().count() <= MAX_REFERENCE_PLANS {
        return;
    }
    let oldest = references().min_by_key(|(_, kept)| kept.used.load(Ordering::Relaxed)).map(|(asked, _)| asked.clone());
    if let Some(oldest) = oldest {
        made.remove(&oldest);
    }
}
