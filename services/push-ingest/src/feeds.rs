//! What a push source's batches are checked against and where they go, worked out once per catalog.

use std::{collections::HashMap, sync::Arc, time::Duration};

use larder_definitions::{Catalog, PushSchema};
use larder_types::{Error, Name, Result};
use parking_lot::RwLock;

use crate::online::OnlineViews;

/// A push source of a catalog.
#[derive(Debug)]
pub struct Feed {
    /// Its name.
    pub source: Name,
    /// What its events consist of.
    pub schema: Arc<PushSchema>,
    /// The views that it feeds online.
    pub views: OnlineViews,
}

/// The push sources of one catalog.
#[derive(Debug)]
pub struct Feeds {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    key_prefix: Option<String>,
    expiry_grace: Duration,
    made: RwLock<HashMap<Name, Arc<Feed>>>,
}

impl Feeds {
    /// None worked out yet.
    pub fn new(catalog: Arc<Catalog>, key_prefix: Option<String>, expiry_grace: Duration) -> Self {
        Self { catalog, key_prefix, expiry_grace, made: RwLock::default() }
    }

    /// The push source of that name. NOT_FOUND with near names; INVALID_ARGUMENT for a source that is not fed by pushes;
    /// FAILED_PRECONDITION for one that no view reads, since nothing says then what its events consist of.
    pub fn feed(&self, source: &str) -> Result<Arc<Feed>> {
        if let Some(feed) = self.made.read().get(source) {
            return Ok(Arc::clone(feed));
        }
        let resolved = self.catalog.source(source)?;
        if !resolved.is_push() {
            return Err(Error::invalid_field("source", format!("`{source}` is not a push source")));
        }
        let schema = resolved.push_schema.clone().ok_or_else(|| {
            Error::failed_precondition(format!("no feature view reads push source {source}: declare one first"))
        })?;
        let name = resolved.definition.name.clone();
        let views = OnlineViews::of(&self.catalog, source, self.key_prefix.as_deref(), self.expiry_grace)?;
        let feed = Arc::new(Feed { source: name.clone(), schema, views });
        self.made.write().insert(name, Arc::clone(&feed));
        Ok(feed)
    }
}
