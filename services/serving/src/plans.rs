//! The plans of each project, made for the newest catalog and swapped as a whole when a newer one comes.
//!
//! A plan is made beside the threads that serve. What is kept of plans for references is bounded by their number and by
//! what they take together: all that is kept is made again for each catalog.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use larder_definitions::{Catalog, selection::Asked};
use larder_service::blocking::work_beside;
use larder_types::Result;
use parking_lot::RwLock;
use prometheus::IntCounter;

use crate::plan::Plan;

/// How many plans of references are kept, with short names and with full ones; those that were not used for longest make
/// room. Those of services are always kept.
const MAX_REFERENCE_PLANS: usize = 1_000;

/// How great those are together, by [`Plan::size`]: some 20 MB. One that is greater alone is made for its request, and not
/// kept.
pub const MAX_REFERENCE_SIZE: usize = 50_000;

/// Plans by what is asked for, without and with full names.
type Made = [HashMap<Arc<Asked>, Kept>; 2];

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
    pub async fn plan(self: &Arc<Self>, asked: &Arc<Asked>, full_names: bool) -> Result<Arc<Plan>> {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(kept) = self.made.read()[usize::from(full_names)].get(asked) {
            kept.used.store(used, Ordering::Relaxed);
            return Ok(Arc::clone(&kept.plan));
        }
        let (plans, question) = (Arc::clone(self), Arc::clone(asked));
        let plan = work_beside(move || plans.compile(&question, full_names)).await?;
        Ok(self.keep(asked, full_names, plan, used))
    }

    /// The same questions answered by a newer catalog, so that no request waits for a plan. A question that the newer
    /// catalog cannot answer is left out: its next request is told why.
    pub fn renewed(&self, catalog: Arc<Catalog>) -> Self {
        let next = Self::new(catalog, self.key_prefix.clone(), self.compiled.clone());
        next.uses.store(self.uses.load(Ordering::Relaxed), Ordering::Relaxed);
        let asked = |made: &HashMap<Arc<Asked>, Kept>| -> Vec<_> {
            made.iter().map(|(asked, kept)| (Arc::clone(asked), kept.used.load(Ordering::Relaxed))).collect()
        };
        let [short, full] = self.made.read().each_ref().map(asked);
        for (full_names, asked) in [(false, short), (true, full)] {
            for (asked, used) in asked {
                if let Ok(plan) = next.compile(&asked, full_names) {
                    next.keep(&asked, full_names, plan, used);
                }
            }
        }
        next
    }

    fn compile(&self, asked: &Asked, full_names: bool) -> Result<Arc<Plan>> {
        self.compiled.inc();
        Plan::compile(Arc::clone(&self.catalog), asked, full_names, self.key_prefix.as_deref()).map(Arc::new)
    }

    /// Whoever was first has all requests share one.
    fn keep(&self, asked: &Arc<Asked>, full_names: bool, plan: Arc<Plan>, used: u64) -> Arc<Plan> {
        if is_of_references(asked) && plan.size() > MAX_REFERENCE_SIZE {
            return plan;
        }
        let mut all = self.made.write();
        let made = &mut all[usize::from(full_names)];
        let kept = made.entry(Arc::clone(asked)).or_insert(Kept { plan, used: AtomicU64::new(used) });
        let plan = Arc::clone(&kept.plan);
        let gone = make_room(made);
        drop(all);
        // A great one takes a while: nobody waits for that.
        drop(gone);
        plan
    }
}

fn is_of_references(asked: &Asked) -> bool {
    match asked {
        Asked::Service(_) => false,
        Asked::References(_) => true,
    }
}

/// Takes the plans out for which there is no room, all of which were used before any that stays.
fn make_room(made: &mut HashMap<Arc<Asked>, Kept>) -> Vec<(Arc<Asked>, Kept)> {
    let references = made.iter().filter(|(asked, _)| is_of_references(asked));
    let mut plans: Vec<_> = references.map(|(_, kept)| (kept.used.load(Ordering::Relaxed), kept.plan.size())).collect();
    let size: usize = plans.iter().map(|(_, size)| size).sum();
    if plans.len() <= MAX_REFERENCE_PLANS && size <= MAX_REFERENCE_SIZE {
        return Vec::new();
    }
    plans.sort_unstable_by_key(|(used, _)| Reverse(*used));
    let mut room = MAX_REFERENCE_SIZE;
    let fits = |(at, (_, size)): &(usize, &(u64, usize))| {
        let left = room.checked_sub(*size).filter(|_| *at < MAX_REFERENCE_PLANS);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let oldest = plans.iter().enumerate().take_while(fits).last().map_or(u64::MAX, |(_, (used, _))| *used);
    made.extract_if(|asked, kept| is_of_references(asked) && kept.used.load(Ordering::Relaxed) < oldest).collect()
}
