//! A project as an entry of the registry's log of projects.

use larder_types::{Name, Result};
use serde::{Deserialize, Serialize};

use crate::stored;

/// The newest format.
const FORMAT: u32 = 1;

/// That there is a project; the entry's number is the project's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectRecord {
    /// The project.
    pub name: Name,
}

impl ProjectRecord {
    /// As bytes that outlive a process.
    pub fn encode(&self) -> Result<Vec<u8>> {
        stored::encode(&format!("project {}", self.name), FORMAT, self)
    }

    /// Reads what any release up to this one wrote; UNIMPLEMENTED: a newer one did, DATA_LOSS: none did.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        stored::decode("a project", FORMAT, bytes)
    }
}
