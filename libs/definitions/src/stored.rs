//! JSON that outlives a process: `{"format":1,"content":{…}}`.
//!
//! A newer format, or content with a field or variant that this release does not know, is UNIMPLEMENTED: it was written by
//! a newer release. Anything else that cannot be read is DATA_LOSS. No bytes make this panic.

use larder_types::{Error, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    format: u32,
    content: T,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// `what` names the thing for errors, e.g. `revision 7`.
pub(crate) fn encode<T: Serialize>(what: &str, format: u32, content: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(&Stored { format, content })
        .map_err(|error| Error::internal(format!("{what} cannot be written")).with_source(error))
}

/// Reads what [`encode`] wrote under any format up to `format`.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, format: u32, bytes: &[u8]) -> Result<T> {
    let head: Head = serde_json::from_slice(bytes).map_err(|error| corrupt(what, error))?;
    if head.format > format {
        return Err(Error::unimplemented(format!(
            "{what} has format {}, this release reads up to {format}: use the release that wrote it, or a newer one",
            head.format
        )));
    }
    if head.format == 0 {
        return Err(Error::data_loss(format!("{what} has format 0, which no release wrote")));
    }
    let stored: Stored<T> = serde_json::from_slice(bytes).map_err(|error| corrupt(what, error))?;
    Ok(stored.content)
}

fn corrupt(what: &str, error: serde_json::Error) -> Error {
    let text = error.to_string();
    let unknown = ["unknown field", "unknown variant", "no variant of enum"];
    let is_newer = error.is_data() && unknown.iter().any(|start| text.starts_with(start));
    if is_newer {
        Error::unimplemented(format!("{what} was written by a newer release: {text}")).with_source(error)
    } else {
        Error::data_loss(format!("{what} is not what was written: {text}")).with_source(error)
    }
}
