//! The plans of each project, made for the newest catalog and swapped as a whole when a newer one comes.

use std::{collections::HashMap, sync::Arc};

use larder_definitions::{Catalog, selection::Asked};
use larder_types::Result;
use parking_lot::RwLock;

use crate::plan::Plan;

/// How many plans of references are kept; services are always kept. Beyond it a request makes its own.
const MAX_REFERENCE_PLANS: usize = 1_000;

/// What a plan is made for.
type Question = (Asked, bool);

/// The plans made so far for one catalog.
#[derive(Debug)]
pub struct Plans {
    catalog: Arc<Catalog>,
    key_prefix: Option<String>,
    made: RwLock<HashMap<Question, Arc<Plan>>>,
}

impl Plans {
    /// None yet.
    pub fn new(catalog: Arc<Catalog>, key_prefix: Option<String>) -> Self {
        Self { catalog, key_prefix, made: RwLock::default() }
    }

    /// The catalog all of them are made from.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The plan for a question; made if it is not there.
    pub fn plan(&self, asked: Asked, full_names: bool) -> Result<Arc<Plan>> {
        let question = (asked, full_names);
        if let Some(plan) = self.made.read().get(&question) {
            return Ok(Arc::clone(plan));
        }
        let plan = self.compile(&question)?;
        let mut made = self.made.write();
        if matches!(question.0, Asked::Service(_)) || made.len() < MAX_REFERENCE_PLANS {
            made.insert(question, Arc::clone(&plan));
        }
        Ok(plan)
    }

    /// The same questions answered by a newer catalog, so that no request waits for a plan. A question that the newer
    /// catalog cannot answer is left out: its next request is told why.
    pub fn renewed(&self, catalog: Arc<Catalog>) -> Self {
        let next = Self::new(catalog, self.key_prefix.clone());
        let questions: Vec<Question> = self.made.read().keys().cloned().collect();
        for question in questions {
            if let Ok(plan) = next.compile(&question) {
                next.made.write().insert(question, plan);
            }
        }
        next
    }

    fn compile(&self, (asked, full_names): &Question) -> Result<Arc<Plan>> {
        Plan::compile(Arc::clone(&self.catalog), asked, *full_names, self.key_prefix.as_deref()).map(Arc::new)
    }
}
